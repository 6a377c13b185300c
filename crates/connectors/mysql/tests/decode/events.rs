//! Whole logs: every event of a real server is known, whatever its settings; and no bytes make a parser panic.

use super::capture::{Host, Table, is_mariadb, origin};
use super::types::assert_all_equal;
use dujiang_core::Code;
use dujiang_mysql::decode::event::{Event, EventData, EventFormat};
use dujiang_mysql::decode::file::FileEvents;
use dujiang_mysql::decode::header::event_type;
use dujiang_scratch::Options;
use proptest::prelude::*;
use std::sync::LazyLock;

static COMPRESSED: LazyLock<Host> = LazyLock::new(|| {
    Host::start(&Options::default().arg("--log-bin-compress=ON").arg("--log-bin-compress-min-len=10"))
});

/// All events of a log: (type, what it says).
fn all_events(files: &[Vec<u8>]) -> Vec<(u8, String)> {
    let mut out = Vec::new();
    for file in files {
        let mut format = EventFormat::unknown();
        let mut events = FileEvents::new(file).unwrap();
        while let Some(bytes) = events.next_event().unwrap() {
            let event = Event::parse(bytes, &format).unwrap();
            let data = event.data(&format).unwrap();
            out.push((event.header.event_type, format!("{data:?}")));
            match data {
                EventData::FormatDescription(found) => format = found,
                EventData::Unknown { event_type, .. } => panic!("event type {event_type} is not known"),
                EventData::CompressedQuery(query) => {
                    let mut buffer = Vec::new();
                    let text = query.inflate(&mut buffer).unwrap().text().unwrap().into_owned();
                    out.push((0, text));
                }
                EventData::Query(query) => out.push((0, query.text().unwrap().into_owned())),
                _ => {}
            }
        }
    }
    out
}

const WORK: [&str; 6] = [
    "INSERT INTO $t (v, w) VALUES ('a', REPEAT('x', 500)), (NULL, REPEAT('y', 500))",
    "UPDATE $t SET w = CONCAT(w, '!')",
    "BEGIN; INSERT INTO $t (v, w) VALUES ('b', 'tx'); SAVEPOINT s; DELETE FROM $t WHERE v = 'a'; ROLLBACK TO s; COMMIT",
    "XA START 'x'; INSERT INTO $t (v, w) VALUES ('xa', 'xa'); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x'",
    "ALTER TABLE $t COMMENT 'größer'",
    "DELETE FROM $t WHERE v = 'b'",
];

#[test]
fn every_event_of_a_server_is_known() {
    let mut table = Table::create("v VARCHAR(10), w TEXT");
    WORK.iter().for_each(|sql| drop(table.run(sql)));
    if !is_mariadb() {
        return;
    }
    let events = all_events(&table.log());
    let has = |wanted: u8| events.iter().any(|(found, _)| *found == wanted);
    for wanted in [
        event_type::FORMAT_DESCRIPTION,
        event_type::MARIADB_GTID_LIST,
        event_type::MARIADB_BINLOG_CHECKPOINT,
        event_type::MARIADB_GTID,
        event_type::QUERY,
        event_type::MARIADB_ANNOTATE_ROWS,
        event_type::TABLE_MAP,
        event_type::XID,
        event_type::XA_PREPARE,
        event_type::ROTATE,
    ] {
        assert!(has(wanted), "event type {wanted} was not met");
    }
    assert!(events.iter().any(|(_, said)| said.contains("COMMENT 'größer'")));
    assert_eq!(table.logged().unwrap().changes(), 2 + 2 + 1 + 1 + 1);
}

#[test]
fn a_compressed_transaction_holds_the_same_rows() {
    let mut table = Table::create("v VARCHAR(10), w TEXT");
    if table.run("SHOW VARIABLES LIKE 'binlog_transaction_compression'").is_empty() {
        return;
    }
    table.run("SET SESSION binlog_transaction_compression = ON");
    table.run(WORK[0]);
    assert_all_equal(&mut table, "a compressed transaction");
    let events = all_events(&table.log());
    assert!(events.iter().any(|(found, _)| *found == event_type::TRANSACTION_PAYLOAD));
}

#[test]
fn compressed_events_hold_the_same_rows() {
    let mut table = Table::create_on(&COMPRESSED, "v VARCHAR(10), w TEXT");
    table.run(WORK[0]);
    assert_all_equal(&mut table, "compressed events");
    WORK[1..].iter().for_each(|sql| drop(table.run(sql)));
    let events = all_events(&table.log());
    for wanted in [
        event_type::MARIADB_QUERY_COMPRESSED,
        event_type::MARIADB_WRITE_ROWS_COMPRESSED_V1,
        event_type::MARIADB_UPDATE_ROWS_COMPRESSED_V1,
        event_type::MARIADB_DELETE_ROWS_COMPRESSED_V1,
    ] {
        assert!(events.iter().any(|(found, _)| *found == wanted), "event type {wanted} was not met");
    }
    assert!(events.iter().any(|(_, said)| said.contains("COMMENT 'größer'")));
}

#[test]
fn a_wrong_byte_is_found_by_the_checksum() {
    let mut table = Table::create("v INT");
    table.run("INSERT INTO $t (v) VALUES (1)");
    for file in table.log() {
        let mut format = EventFormat::unknown();
        let mut events = FileEvents::new(&file).unwrap();
        while let Some(bytes) = events.next_event().unwrap() {
            for at in [0, 4, 20, bytes.len() - 5, bytes.len() - 1] {
                let mut broken = bytes.to_vec();
                broken[at] ^= 0x10;
                let read = Event::parse(&broken, &format).and_then(|event| event.data(&format).map(drop));
                let is_description = bytes[4] == event_type::FORMAT_DESCRIPTION;
                assert!(is_description && format == EventFormat::unknown() || read.is_err(), "byte {at}");
                if let Err(error) = read {
                    assert_eq!(error.code(), Code::LogDamaged);
                }
            }
            if let EventData::FormatDescription(found) = Event::parse(bytes, &format).unwrap().data(&format).unwrap() {
                format = found;
            }
        }
    }
}

#[test]
fn other_column_types_or_names_are_a_schema_mismatch() {
    let mut table = Table::create("v INT, w VARCHAR(10)");
    let mut before = table.builder();
    for change in ["ADD COLUMN x INT", "DROP COLUMN x, MODIFY v BIGINT", "MODIFY v INT, CHANGE w renamed VARCHAR(10)"] {
        table.run(&format!("ALTER TABLE $t {change}"));
        table.run("INSERT INTO $t (v) VALUES (1)");
    }
    let mut codes = Vec::new();
    table.each_rows_event(|map, _| codes.push(before.use_table_map(map).unwrap_err()));
    assert_eq!(codes.len(), 3);
    for (error, part) in codes.iter().zip(["the log has 4 columns", "column v is int", "column 3 is w in the schema"]) {
        assert_eq!(error.code(), Code::SchemaMismatch);
        assert!(error.message().contains(part), "{error:?}");
    }
}

#[test]
fn other_labels_are_a_schema_mismatch() {
    let mut table = Table::create("v ENUM('a','ü','c'), w SET('x','y')");
    let mut before = table.builder();
    table.run("INSERT INTO $t (v, w) VALUES ('a', 'x')");
    for change in ["MODIFY v ENUM('c','ü','a')", "MODIFY v ENUM('a','ü','c'), MODIFY w SET('x','z')"] {
        table.run(&format!("ALTER TABLE $t {change}"));
        table.run("INSERT INTO $t (v) VALUES ('a')");
    }
    let mut found = Vec::new();
    table.each_rows_event(|map, _| found.push(before.use_table_map(map).map_err(|error| error.message().to_owned())));
    assert!(found[0].is_ok(), "{found:?}");
    assert!(
        found[1].as_ref().unwrap_err().contains("label 1 of column v is a in the schema and c in the log"),
        "{found:?}"
    );
    assert!(
        found[2].as_ref().unwrap_err().contains("label 2 of column w is y in the schema and z in the log"),
        "{found:?}"
    );
}

/// A log with every kind of event, to be damaged.
static LOG: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let columns = "v VARCHAR(10), w TEXT, d DATE, t TIME(3), e ENUM('a','b'), n DECIMAL(20,5), b BIT(3)";
    let mut tables = [Table::create(columns), Table::create_on(&COMPRESSED, columns)];
    let mut files = Vec::new();
    for table in &mut tables {
        WORK.iter().for_each(|sql| drop(table.run(sql)));
        table.run("INSERT INTO $t (v, d, t, e, n, b) VALUES ('z', '2020-01-01', '-10:00:00.5', 'b', -12.5, 5)");
        files.extend(table.log());
    }
    files
});

/// Builders of a table like those in [`LOG`].
fn builder() -> dujiang_mysql::decode::TableBuilder {
    static TABLE: LazyLock<std::sync::Mutex<Table>> = LazyLock::new(|| {
        let columns = "v VARCHAR(10), w TEXT, d DATE, t TIME(3), e ENUM('a','b'), n DECIMAL(20,5), b BIT(3)";
        std::sync::Mutex::new(Table::create(columns))
    });
    TABLE.lock().unwrap().builder()
}

/// Reads a log that may be damaged as far as it goes; only errors may come of it.
fn read_damaged(file: &[u8]) {
    let mut format = EventFormat::unknown().without_checksum();
    let mut builder = builder();
    builder.begin_span(origin("tx"));
    let mut buffer = Vec::new();
    let Ok(mut events) = FileEvents::new(file) else { return };
    while let Ok(Some(bytes)) = events.next_event() {
        let Ok(event) = Event::parse(bytes, &format) else { continue };
        match event.data(&format) {
            Ok(EventData::FormatDescription(found)) => format = found.without_checksum(),
            Ok(EventData::TableMap(map)) => drop(builder.use_table_map(&map)),
            Ok(EventData::Rows(rows)) => drop(builder.append_rows(&rows)),
            Ok(EventData::CompressedRows(rows)) => {
                if let Ok(rows) = rows.inflate(&mut buffer) {
                    let _ = builder.append_rows(&rows);
                }
            }
            Ok(EventData::TransactionPayload(payload)) => {
                if let Ok(mut inner) = payload.events() {
                    while let Ok(Some(_)) = inner.peek(&payload) {
                        inner.advance();
                    }
                }
            }
            Ok(EventData::Query(query)) => drop(query.text().map(drop)),
            _ => {}
        }
        if builder.rows() > 10_000 {
            let _ = builder.finish();
        }
    }
    let _ = builder.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p05_a_damaged_log_never_panics(
        file in any::<prop::sample::Index>(),
        wounds in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = file.get(&LOG).clone();
        for (at, value) in wounds {
            let at = at.index(bytes.len());
            // lengths of events stay, so that the damage is inside
            bytes[at] = value;
        }
        bytes.truncate(bytes.len().min(4 + cut.index(bytes.len()) * 2));
        read_damaged(&bytes);
    }

    #[test]
    fn p05_any_body_is_read_or_refused(kind in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut event = vec![0; 19];
        event[4] = kind;
        event[9..13].copy_from_slice(&(19 + body.len() as u32).to_le_bytes());
        event.extend_from_slice(&body);
        let format = EventFormat::unknown().without_checksum();
        let mut file = vec![0xfe, b'b', b'i', b'n'];
        file.extend_from_slice(&event);
        read_damaged(&file);
        if let Ok(event) = Event::parse(&event, &format) {
            let _ = event.data(&format);
        }
    }
}
