//! Has real servers write what the seeds begin with. `UPDATE_SEEDS=1` keeps it; otherwise it is looked at as the seeds are.

use super::targets::{self, Declared, EVERY, MARIADB_TOO, MYSQL_TOO};
use crate::support::walk::each_event;
use dujiang_mysql::decode::header::HEADER_LENGTH;
use dujiang_mysql::decode::{EventData, RowsEvent, RowsKind};
use dujiang_scratch::{Family, Kind, Options, Server};
use dujiang_testkit::fuzz;

const STATEMENTS: [&str; 24] = [
    "CREATE TABLE $d.made (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(10) NOT NULL DEFAULT 'x''y' COMMENT 'z', KEY (v)) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS $d.`od``d` (a INT, b DECIMAL(10,2) UNSIGNED /* c */, c ENUM('a','b') -- x
    )",
    "CREATE TABLE $d.like_it LIKE $d.made",
    "CREATE TABLE $d.part (id INT PRIMARY KEY, n INT) PARTITION BY HASH(id) PARTITIONS 2",
    "ALTER TABLE $d.made ADD COLUMN a VARCHAR(10) CHARACTER SET latin1 COLLATE latin1_bin NULL AFTER v, ADD b BIT(3) FIRST",
    "ALTER TABLE $d.made CHANGE a c BIGINT UNSIGNED, MODIFY v VARCHAR(20), DROP COLUMN b",
    "ALTER TABLE $d.made ADD COLUMN (x INT, y TIMESTAMP(3) NULL), ADD INDEX i (x), ADD CONSTRAINT k CHECK (c > 0)",
    "ALTER TABLE $d.made RENAME COLUMN x TO xx, DROP INDEX i",
    "ALTER TABLE $d.made ALTER y SET DEFAULT '2026-11-20 00:00:00', CONVERT TO CHARACTER SET utf8mb4",
    "ALTER TABLE $d.made DROP PRIMARY KEY, ADD PRIMARY KEY (id, c)",
    "ALTER TABLE $d.part TRUNCATE PARTITION p0",
    "ALTER TABLE $d.part REMOVE PARTITIONING",
    "ALTER TABLE $d.part RENAME TO $d.parted",
    "RENAME TABLE $d.parted TO $d.x, $d.`od``d` TO $d.odd",
    "CREATE INDEX n ON $d.x (n)",
    "CREATE UNIQUE INDEX u ON $d.odd (a)",
    "DROP INDEX n ON $d.x",
    "CREATE TABLE $d.picked AS SELECT 1 AS one, 'a' AS letter",
    "CREATE VIEW $d.seen AS SELECT id FROM $d.x",
    "TRUNCATE TABLE $d.odd",
    "CREATE TRIGGER $d.tr BEFORE INSERT ON $d.x FOR EACH ROW SET NEW.n = 1",
    "CREATE PROCEDURE $d.p() BEGIN SELECT 1; DROP TABLE $d.x; END",
    "DROP TABLE $d.odd, $d.like_it",
    "ANALYZE TABLE $d.x",
];

fn columns(parts: &[&[Declared]]) -> String {
    let one = |(name, column_type, charset): &Declared| match charset {
        Some(charset) => {
            // The set stands before the attributes.
            let (base, attributes) =
                column_type.split_once(" /*").map_or((*column_type, ""), |(base, _)| (base, "COMPRESSED"));
            format!("`{name}` {base} {attributes} CHARACTER SET {charset} COLLATE {charset}_bin")
        }
        None if *name == "ts" => format!("`{name}` {column_type} NULL"),
        None => format!("`{name}` {column_type}"),
    };
    parts.concat().iter().map(one).collect::<Vec<_>>().join(", ")
}

const ROWS: [&str; 3] = [
    "1,-128,65535,-8388608,18446744073709551615,1.5,-2.25e300,12345678901234567890123456789012345.5,b'101',2026,'2026-11-20',
     '-838:59:59.5','2026-11-20 01:02:03.456789','2026-11-20 01:02:03.45','ab','caf\u{e9}','a longer text \u{1F600}','ab','abc',
     REPEAT('x',300),'b','x,z',ST_GeomFromText('POINT(1 2)'),-0.12345",
    "2,127,0,8388607,0,0,0,0,b'0',1901,'1000-01-01','838:59:59','9999-12-31 23:59:59.999999','1970-01-01 00:00:01','','','','','','',
     'a','',ST_GeomFromText('POINT(0 0)'),0",
    "3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL",
];

const DOCUMENTS: [&str; 6] = [
    r#"{"a": [1, -2, 3.5, "x", null, true, {"b": []}], "b": {"c": 9223372036854775807, "d": 18446744073709551615}, "e": "\u00e9"}"#,
    "[]",
    "12345678901",
    r#""a scalar""#,
    r#"{"": {"long key that goes on and on": [[[[[[0]]]]]]}}"#,
    r#"[70000, 1e300, false, {"k": 1, "kk": 2, "kkk": 3}]"#,
];

struct Recorded {
    log: Vec<u8>,
    statements: Vec<String>,
    /// Of `every`, as `row_image` takes them.
    images: Vec<Vec<u8>>,
    documents: Vec<Vec<u8>>,
    map: Vec<u8>,
}

fn record(kind: Kind) -> Recorded {
    let server = Server::start(&Options::default().on(kind).arg("--local-infile=0")).unwrap();
    let mysql = server.family() == Family::MySql;
    let (database, too, sets): (_, &[Declared], _) = if mysql {
        let sets =
            ["SET SESSION binlog_transaction_compression=ON", "SET SESSION binlog_row_value_options=PARTIAL_JSON"];
        ("d", &MYSQL_TOO, sets)
    } else {
        ("m", &MARIADB_TOO, ["SET GLOBAL log_bin_compress=ON", "SET GLOBAL log_bin_compress_min_len=10"])
    };
    let mut session = server.session().unwrap();
    let mut run = |sql: &str| session.run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    run(&format!("CREATE DATABASE {database}"));
    run("SET NAMES utf8mb4");
    run("SET time_zone='+00:00', sql_mode=''");
    run(&format!("CREATE TABLE {database}.every ({}, PRIMARY KEY (id))", columns(&[&EVERY, too])));
    run(&format!("CREATE TABLE {database}.docs (id INT PRIMARY KEY, j JSON)"));
    run("FLUSH BINARY LOGS");
    let file = run("SHOW BINARY LOGS").pop().unwrap()[0].clone().unwrap();
    let more = if mysql {
        ["'{\"a\":1}',TO_VECTOR('[1,2,3]')", "'[]',NULL", "NULL,NULL"]
    } else {
        [
            "REPEAT('y',100),'123e4567-e89b-12d3-a456-426614174000','1.2.3.4','::1'",
            "'',NULL,NULL,NULL",
            "NULL,NULL,NULL,NULL",
        ]
    };
    for compressed in [false, true] {
        if compressed {
            sets[..1].iter().for_each(|set| drop(run(set)));
            if !mysql {
                run(sets[1]);
            }
        }
        for (row, more) in ROWS.iter().zip(more) {
            run(&format!("INSERT INTO {database}.every VALUES ({row},{more})"));
        }
        run(&format!("UPDATE {database}.every SET i1 = 7, `long` = 'other' WHERE id < 3"));
        run(&format!("DELETE FROM {database}.every"));
    }
    if mysql {
        run("SET SESSION binlog_transaction_compression=OFF");
        for (id, document) in DOCUMENTS.iter().enumerate() {
            run(&format!("INSERT INTO d.docs VALUES ({id}, '{}')", document.replace('\\', "\\\\")));
        }
        run(sets[1]);
        for change in [
            "JSON_SET(j, '$.b.c', 9, '$.a[1]', 'text') WHERE id=0",
            "JSON_REMOVE(j, '$.a[0]', '$.e') WHERE id=0",
            "JSON_REPLACE(j, '$[0]', JSON_OBJECT('n', 1)) WHERE id=5",
            "JSON_SET(j, '$.\"\".\"long key that goes on and on\"[0]', 1.25) WHERE id=4",
        ] {
            run(&format!("UPDATE d.docs SET j={change}"));
        }
    } else {
        run("SET GLOBAL log_bin_compress=OFF");
    }
    let mut refused = Vec::new();
    for statement in STATEMENTS {
        refused.extend(session.run(&statement.replace("$d", database)).err());
    }
    assert!(refused.is_empty(), "{refused:?}");
    session.run("FLUSH BINARY LOGS").unwrap();
    let log = std::fs::read(server.data_dir().join(file)).unwrap();
    let (statements, images, documents, map) = Default::default();
    let mut recorded = Recorded { statements, images, documents, map, log: Vec::new() };
    let mut table = String::new();
    each_event(&log, |event, _, data| match data {
        EventData::TableMap(map) => {
            table = map.table.to_owned();
            if map.table == "every" {
                recorded.map = event.without_checksum()[HEADER_LENGTH..].to_vec();
            }
        }
        EventData::Rows(rows) => keep_rows(&rows, &table, mysql, &mut recorded),
        EventData::Query(query) if !matches!(query.statement, b"BEGIN" | b"COMMIT") => {
            recorded.statements.push(query.text().unwrap().into_owned());
        }
        _ => {}
    });
    recorded.log = log;
    recorded
}

fn keep_rows(rows: &RowsEvent<'_>, table: &str, mysql: bool, found: &mut Recorded) {
    let kind = match rows.kind {
        RowsKind::Insert => 0,
        RowsKind::Update => 1,
        RowsKind::Delete => 2,
    };
    let partial = if rows.partial { 0x80 } else { 0 };
    if table == "every" {
        let of = if mysql { 1 } else { 2 };
        found.images.push([&[kind | of << 2 | partial, rows.present_after[0]], rows.images].concat());
    }
    if table == "docs" {
        found.documents.extend(documents(rows));
    }
}

/// The documents of rows of `docs` in the form of `jsonb`: length, document, differences.
fn documents(rows: &RowsEvent<'_>) -> Option<Vec<u8>> {
    // Which are NULL, the key, the length of the document in four bytes.
    let counted = |bytes: &[u8]| Some(u32::from_le_bytes(*bytes.get(..4)?.first_chunk()?) as usize);
    let image = rows.images.get(5..)?;
    let length = counted(image)?;
    let document = image.get(4..4 + length)?;
    let mut seed = [&(length as u16).to_le_bytes()[..], document].concat();
    if rows.partial {
        // An option, which documents are partial, then as before.
        let after = image.get(4 + length + 2 + 5..)?;
        seed.extend_from_slice(after.get(4..4 + counted(after)?)?);
    }
    Some(seed)
}

/// What the servers write now is read without an error, and the seeds hold no less.
#[test]
fn seeds_are_what_servers_write() {
    let kinds =
        [(Kind::MysqlNewest, "mysql-9"), (Kind::MariaDb, "mariadb-10.11"), (Kind::MariaDbNewest, "mariadb-11.8")];
    let all: Vec<_> = std::thread::scope(|scope| {
        let started = kinds.map(|(kind, name)| (name, scope.spawn(move || record(kind))));
        started.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect()
    });
    for (name, recorded) in &all {
        let (images, failed) = targets::event_stream(&recorded.log);
        // Three rows in, two updated, three out, twice.
        assert!(images == 20 && failed.is_none(), "{name}: {images} images, {failed:?}");
        assert_eq!(recorded.images.len(), 10, "{name}");
        assert!(recorded.statements.len() > 20, "{name}: {:?}", recorded.statements);
        let documents = if *name == "mysql-9" { 10 } else { 0 };
        assert_eq!(recorded.documents.len(), documents, "{name}");
        if fuzz::updates_seeds() {
            keep(name, recorded);
        }
    }
}

fn keep(name: &str, recorded: &Recorded) {
    fuzz::write_seed("event_stream", &format!("{name}-types"), &recorded.log);
    let map = match name {
        "mysql-9" => "every-mysql.map",
        "mariadb-10.11" => "every-mariadb.map",
        // All else is as in the older version.
        _ => return,
    };
    let seeds = recorded.images.iter().map(|image| ("row_image", image.as_slice()));
    let seeds = seeds.chain(recorded.documents.iter().map(|document| ("jsonb", document.as_slice())));
    let seeds = seeds.chain(recorded.statements.iter().map(|statement| ("ddl_text", statement.as_bytes())));
    for (number, (target, bytes)) in seeds.enumerate() {
        fuzz::write_seed(target, &format!("{name}-{number:02}"), bytes);
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz");
    std::fs::write(format!("{folder}/{map}"), &recorded.map).unwrap();
}
