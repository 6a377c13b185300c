//! How fast the decoder is: generates a binlog on a private MariaDB, then decodes the file in one thread, beside the
//! row decoder of `mysql_common`, which gives one value per cell.
//!
//! `cargo run --release -p dujiang-mysql --example decode_bench [rows] [rounds] [folder] [case]`; the folder keeps the
//! generated files for the next run.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use dujiang_core::batch::TimePrecision;
use dujiang_core::schema::TableSchema;
use dujiang_core::{Origin, TableId};
use dujiang_mysql::decode::event::{Event, EventData, EventFormat};
use dujiang_mysql::decode::file::FileEvents;
use dujiang_mysql::decode::{CatalogColumn, Column, RowsEvent, TableBuilder, TableMap, column};
use dujiang_scratch::{Options, Server, Session};
use mysql_common::binlog::EventStreamReader;
use mysql_common::binlog::consts::{BinlogVersion, EventType};
use mysql_common::binlog::events::EventData as LibraryData;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

const LINEITEM: &str =
    "CREATE TABLE lineitem (l_orderkey BIGINT NOT NULL, l_partkey INT NOT NULL, l_suppkey INT NOT NULL,
    l_linenumber INT NOT NULL, l_quantity DECIMAL(15,2) NOT NULL, l_extendedprice DECIMAL(15,2) NOT NULL,
    l_discount DECIMAL(15,2) NOT NULL, l_tax DECIMAL(15,2) NOT NULL, l_returnflag CHAR(1) NOT NULL,
    l_linestatus CHAR(1) NOT NULL, l_shipdate DATE NOT NULL, l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL,
    l_shipinstruct CHAR(25) NOT NULL, l_shipmode CHAR(10) NOT NULL, l_comment VARCHAR(44) NOT NULL,
    PRIMARY KEY (l_orderkey, l_linenumber)) CHARSET utf8mb4";
const LINEITEM_ROWS: &str = "INSERT INTO lineitem SELECT seq div 4, seq*7919 % 200000, seq*31 % 10000, seq % 4, 1 + seq % 50,
    (seq*7919 % 10000000)/100, (seq % 11)/100, (seq % 9)/100, ELT(1 + seq % 3, 'A','N','R'), ELT(1 + seq % 2, 'O','F'),
    DATE_ADD('1992-01-02', INTERVAL seq % 2500 DAY), DATE_ADD('1992-01-31', INTERVAL seq % 2400 DAY),
    DATE_ADD('1992-02-04', INTERVAL seq % 2500 DAY), ELT(1 + seq % 4, 'DELIVER IN PERSON','COLLECT COD','NONE','TAKE BACK RETURN'),
    ELT(1 + seq % 7, 'TRUCK','MAIL','REG AIR','FOB','SHIP','RAIL','AIR'),
    LEFT('carefully final deposits detect slyly agai blithely', 10 + seq*13 % 34) FROM ";
const SBTEST: &str = "CREATE TABLE sbtest (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0,
    c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '') CHARSET utf8mb4";
const SBTEST_ROWS: &str = "INSERT INTO sbtest SELECT seq, seq*7919 % 1000000, REPEAT(LPAD(seq, 11, '0'), 10),
    REPEAT(LPAD(seq, 11, '7'), 5) FROM ";

/// As in the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of a batch; larger ones leave the processor's caches, and their memory comes fresh from the kernel.
const BATCH_ROWS: usize = 8192;
const CASES: [&str; 4] = ["lineitem", "sbtest", "sparse", "small"];

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |default| args.next().map_or(default, |a| a.parse::<u64>().unwrap());
    let (rows, rounds) = (number(1_000_000), number(9));
    let dir = args.next().map_or_else(|| std::env::temp_dir().join("dujiang-decode-bench"), PathBuf::from);
    let only = args.next();
    if !dir.join("catalog").exists() {
        generate_all(&dir, rows);
    }
    let tables = catalog(&std::fs::read_to_string(dir.join("catalog")).unwrap());
    for case in CASES.iter().filter(|case| only.as_deref().is_none_or(|only| only == **case)) {
        let file = std::fs::read(dir.join(case)).unwrap();
        measure(case, file.len(), rounds, || decode(&file, &tables));
        measure(&format!("{case}, library"), file.len(), rounds.min(3), || decode_with_library(&file));
    }
    let (buffer, packets) = result_rows(BATCH_ROWS as u32);
    let bytes = buffer.len() * RESULT_BATCHES;
    measure("result rows, one call", bytes, rounds, || {
        decode_result(&tables, |builder| {
            builder.append_binary_rows(&buffer, &packets).unwrap();
        })
    });
    measure("result rows, one by one", bytes, rounds, || {
        decode_result(&tables, |builder| {
            for (start, end) in &packets {
                builder.append_binary_row(&buffer[*start..*end]).unwrap();
            }
        })
    });
}

/// One binlog file per case, and the tables' columns.
fn generate_all(dir: &std::path::Path, rows: u64) {
    let server = Server::start(&Options { buffer_pool_mb: 512, redo_log_mb: 512, ..Options::default() }).unwrap();
    let mut session = server.session().unwrap();
    session.run("CREATE DATABASE b; USE b; SET unique_checks=0").unwrap();
    session.run(LINEITEM).unwrap();
    session.run(SBTEST).unwrap();
    let files = [
        generate(&server, &mut session, &format!("{LINEITEM_ROWS} seq_1_to_{rows}")),
        generate(&server, &mut session, &format!("{SBTEST_ROWS} seq_1_to_{rows}")),
        nullable(&server, &mut session, rows),
        small(&server, &mut session, rows / 5),
    ];
    std::fs::create_dir_all(dir).unwrap();
    for (case, file) in CASES.iter().zip(files) {
        std::fs::copy(file, dir.join(case)).unwrap();
    }
    let columns = session
        .run(
            "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IFNULL(CHARACTER_SET_NAME, ''), IS_NULLABLE
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='b' ORDER BY TABLE_NAME, ORDINAL_POSITION",
        )
        .unwrap();
    let lines: Vec<String> =
        columns.iter().map(|row| row.iter().flatten().cloned().collect::<Vec<_>>().join("\t")).collect();
    std::fs::write(dir.join("catalog"), lines.join("\n")).unwrap();
}

/// Runs statements in a binlog file of their own; returns its path.
fn generate(server: &Server, session: &mut Session, sql: &str) -> PathBuf {
    session.run("FLUSH BINARY LOGS").unwrap();
    let file = session.run("SHOW MASTER STATUS").unwrap()[0][0].clone().unwrap();
    session.run(sql).unwrap();
    session.run("FLUSH BINARY LOGS").unwrap();
    server.data_dir().join(file)
}

/// The same rows with NULLs strewn in.
fn nullable(server: &Server, session: &mut Session, rows: u64) -> PathBuf {
    let ddl = LINEITEM.replace("lineitem", "sparse").replacen("NOT NULL", "NULL__", 1);
    let ddl = ddl.replace(" NOT NULL", " NULL").replace("NULL__", "NOT NULL");
    let ddl = ddl.replace("l_linenumber INT NULL", "l_linenumber INT NOT NULL");
    session.run(&ddl).unwrap();
    let sql = LINEITEM_ROWS.replace("INTO lineitem", "INTO sparse").replace("(seq % 11)/100", "NULLIF(seq % 3, 0)");
    let sql = sql.replace("ELT(1 + seq % 2, 'O','F')", "ELT(seq % 3, 'O','F')");
    generate(server, session, &format!("{sql} seq_1_to_{rows}"))
}

/// Transactions of 3 to 10 rows over five tables.
fn small(server: &Server, session: &mut Session, rows: u64) -> PathBuf {
    for t in 0..5 {
        session.run(&SBTEST.replace("sbtest", &format!("t{t}"))).unwrap();
    }
    let mut sql = String::new();
    let mut id = 0;
    let mut script = Vec::new();
    while id < rows {
        sql.push_str("BEGIN;");
        for step in 0..(3 + id % 8) {
            let (table, key) = ((id + step) % 5, id * 10 + step);
            match step % 4 {
                3 => sql.push_str(&format!("UPDATE t{} SET k=k+1 WHERE id={};", (table + 2) % 5, key - 3)),
                _ => {
                    sql.push_str(&format!("INSERT INTO t{table} VALUES ({key},{id},REPEAT('{id}-', 10),'pad {key}');"))
                }
            }
        }
        id += 3 + id % 8;
        sql.push_str("COMMIT;");
        if sql.len() > 500_000 {
            script.push(std::mem::take(&mut sql));
        }
    }
    script.push(sql);
    session.run("SET SESSION innodb_lock_wait_timeout=1").unwrap();
    session.run("FLUSH BINARY LOGS").unwrap();
    let file = session.run("SHOW MASTER STATUS").unwrap()[0][0].clone().unwrap();
    for part in script.iter().filter(|part| !part.is_empty()) {
        session.run(part).unwrap();
    }
    session.run("FLUSH BINARY LOGS").unwrap();
    server.data_dir().join(file)
}

type Tables = HashMap<String, (Arc<TableSchema>, Arc<[Column]>)>;

fn catalog(lines: &str) -> Tables {
    let mut columns: HashMap<String, Vec<Column>> = HashMap::new();
    for line in lines.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let parsed = column(CatalogColumn {
            name: cells[1],
            column_type: cells[2],
            charset: Some(cells[3]).filter(|c| !c.is_empty()),
            collation: None,
            nullable: cells[4] == "YES",
        });
        columns.entry(cells[0].to_owned()).or_default().push(parsed.unwrap());
    }
    let schema = |name: &str, columns: &[Column]| {
        TableSchema::by_value(TableId::new("b", name), columns.iter().map(|c| c.field.clone()).collect(), vec![0])
    };
    columns.into_iter().map(|(name, c)| (name.clone(), (schema(&name, &c), c.into()))).collect()
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn measure(name: &str, bytes: usize, rounds: u64, mut run: impl FnMut() -> u64) {
    let mut times = Vec::new();
    let mut images = 0;
    for _ in 0..rounds {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        images = run();
        times.push((cpu_seconds() - cpu, wall.elapsed().as_secs_f64()));
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (cpu, wall) = times[times.len() / 2];
    println!(
        "{name:>24}: {:.2} M images/CPU-s (best {:.2}), {:.0} ns/image, {:.0} MB/s, {images} images, {:.1} MB, wall {wall:.3} s",
        images as f64 / cpu / 1e6,
        images as f64 / times[0].0 / 1e6,
        cpu * 1e9 / images as f64,
        bytes as f64 / cpu / 1e6,
        bytes as f64 / 1e6,
    );
}

const RESULT_BATCHES: usize = 50;

/// Rows of `lineitem` as a SELECT of the binary protocol sends them.
fn result_rows(rows: u32) -> (Vec<u8>, Vec<(usize, usize)>) {
    let (mut out, mut packets) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&u64::from(row / 4).to_le_bytes());
        for n in [row * 7919 % 200_000, row * 31 % 10_000, row % 4] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        let date = |n: u32| [4, 0xc8, 7, 1 + (n % 12) as u8, 1 + (n % 28) as u8];
        let text = |out: &mut Vec<u8>, text: &str| {
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        };
        for decimal in [
            format!("{}.00", 1 + row % 50),
            format!("{}.{:02}", row * 7 % 100_000, row % 100),
            "0.04".into(),
            "0.08".into(),
        ] {
            text(&mut out, &decimal);
        }
        text(&mut out, ["A", "N", "R"][row as usize % 3]);
        text(&mut out, ["O", "F"][row as usize % 2]);
        (0..3).for_each(|n| out.extend_from_slice(&date(row + n)));
        text(&mut out, ["DELIVER IN PERSON", "COLLECT COD", "NONE"][row as usize % 3]);
        text(&mut out, ["TRUCK", "MAIL", "REG AIR"][row as usize % 3]);
        text(&mut out, &"carefully final deposits detect slyly agai"[..10 + row as usize % 30]);
        packets.push((start, out.len()));
    }
    (out, packets)
}

fn decode_result(tables: &Tables, mut append: impl FnMut(&mut TableBuilder)) -> u64 {
    let (schema, columns) = tables["lineitem"].clone();
    let mut builder = TableBuilder::new(schema, columns).unwrap();
    builder.begin_span(Origin {
        transaction: "snapshot:1",
        position: "",
        commit_micros: 0,
        precision: TimePrecision::Seconds,
        first_ordinal: 0,
    });
    let mut images = 0;
    for _ in 0..RESULT_BATCHES {
        append(&mut builder);
        images += builder.finish().unwrap().unwrap().images() as u64;
    }
    images
}

/// What `mysql_common` makes of the file: one row object per image.
fn decode_with_library(file: &[u8]) -> u64 {
    let mut reader = EventStreamReader::new(BinlogVersion::Version4);
    let mut rest = &file[BINLOG_MAGIC..];
    let mut images = 0;
    while let Some(event) = reader.read(&mut rest).unwrap() {
        // It does not know the events of MariaDB that frame transactions.
        let Ok(kind) = event.header().event_type() else { continue };
        if !matches!(kind, EventType::WRITE_ROWS_EVENT_V1 | EventType::UPDATE_ROWS_EVENT_V1) {
            continue;
        }
        let Some(LibraryData::RowsEvent(rows)) = event.read_data().unwrap() else { continue };
        let table = reader.get_tme(rows.table_id()).unwrap();
        for row in rows.rows(table) {
            let (before, after) = std::hint::black_box(row.unwrap());
            images += u64::from(before.is_some()) + u64::from(after.is_some());
        }
    }
    images
}

/// Bytes before a binlog file's first event.
const BINLOG_MAGIC: usize = 4;

/// One captured table.
struct Open {
    builder: TableBuilder,
    ordinal: u64,
    /// The last transaction that had rows of it.
    transaction: u64,
}

/// Decodes the file; returns the number of row images that came out in batches.
fn decode(file: &[u8], tables: &Tables) -> u64 {
    let mut format = EventFormat::unknown();
    let mut open: Vec<Open> = Vec::new();
    let mut by_id: Vec<(u64, usize)> = Vec::new();
    let (mut images, mut transaction, mut number) = (0u64, String::new(), 0);
    let mut events = FileEvents::new(file).unwrap();
    while let Some(bytes) = events.next_event().unwrap() {
        let event = Event::parse(bytes, &format).unwrap();
        match event.data(&format).unwrap() {
            EventData::FormatDescription(found) => format = found,
            EventData::MariaDbGtid(gtid) => {
                transaction.clear();
                write!(transaction, "{}-{}-{}", gtid.domain, gtid.server_id, gtid.sequence).unwrap();
                number += 1;
            }
            EventData::TableMap(map) => {
                let slot = slot(&mut open, &mut by_id, tables, &map);
                open[slot].builder.use_table_map(&map).unwrap();
            }
            EventData::Rows(rows) => {
                let slot = by_id.iter().find(|(id, _)| *id == rows.table_id).unwrap().1;
                images += append(&mut open[slot], &rows, &transaction, number, event.header.timestamp);
            }
            _ => {}
        }
    }
    for table in &mut open {
        images += table.builder.finish().unwrap().map_or(0, |batch| batch.images() as u64);
    }
    images
}

/// Where the table of a map lies; a number that still means the same table needs no look-up by name.
fn slot(open: &mut Vec<Open>, by_id: &mut Vec<(u64, usize)>, tables: &Tables, map: &TableMap<'_>) -> usize {
    if let Some((_, slot)) =
        by_id.iter().find(|(id, slot)| *id == map.table_id && *open[*slot].builder.schema().id.table == *map.table)
    {
        return *slot;
    }
    by_id.retain(|(id, _)| *id != map.table_id);
    let known = open.iter().position(|table| *table.builder.schema().id.table == *map.table);
    let slot = known.unwrap_or_else(|| {
        let (schema, columns) = tables[map.table].clone();
        open.push(Open { builder: TableBuilder::new(schema, columns).unwrap(), ordinal: 0, transaction: 0 });
        open.len() - 1
    });
    by_id.push((map.table_id, slot));
    slot
}

fn append(table: &mut Open, rows: &RowsEvent<'_>, transaction: &str, number: u64, timestamp: u32) -> u64 {
    if table.transaction != number {
        (table.transaction, table.ordinal) = (number, 0);
        table.builder.begin_span(Origin {
            transaction,
            position: "bin.000001:4711",
            commit_micros: i64::from(timestamp) * 1_000_000,
            precision: TimePrecision::Seconds,
            first_ordinal: 0,
        });
    }
    table.ordinal += table.builder.append_rows(rows).unwrap().changes;
    if table.builder.rows() < BATCH_ROWS {
        return 0;
    }
    table.builder.finish().unwrap().unwrap().images() as u64
}
