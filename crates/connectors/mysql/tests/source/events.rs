//! Every kind of event that servers write around and between rows.

use super::harness::*;
use crate::support;
use dujiang_core::Code;
use dujiang_mysql::gtid::GtidSet;
use dujiang_scratch::{Kind, Options, Random, Server};

const TABLE: &str = "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT)";

fn server(kind: Kind) -> Server {
    support::own(&Options::default().on(kind))
}

async fn streaming(server: &Server, tables: &str) -> Pipeline {
    let mut pipeline = Pipeline::new(source(server, tables, &[("scan.startup.mode", "latest-offset")]));
    pipeline.until("caught-up").await.unwrap();
    pipeline
}

async fn same(pipeline: &mut Pipeline, server: &Server, tables: &[&str]) {
    pipeline.until_gtid(&last_gtid(server)).await.unwrap();
    for table in tables {
        let found = pipeline.sink.rows.get(*table).cloned().unwrap_or_default();
        assert_eq!(found, rows_of(server, table, 1), "{table} on {}", server.version());
    }
}

/// A document of some depth, and a path into documents like it.
fn document(random: &mut Random, depth: u64) -> String {
    match random.below(if depth == 0 { 5 } else { 8 }) {
        0 => (random.below(100_000) as i64 - 50_000).to_string(),
        1 => format!("\"{}\"", "é\\\"x".repeat(random.below(30) as usize)),
        2 => ["true", "false", "null"][random.below(3) as usize].into(),
        3 => format!("{}.5", random.below(1_000_000_007)),
        4 => "12345678901234567890".into(),
        5 => {
            let cells: Vec<String> = (0..random.below(4)).map(|_| document(random, depth - 1)).collect();
            format!("[{}]", cells.join(", "))
        }
        _ => {
            let keys = ["a", "b", "c d", "€", "long key \\\\ with \\\" in it"];
            let mut members = Vec::new();
            for key in keys {
                if random.chance(60) {
                    members.push(format!("\"{key}\": {}", document(random, depth - 1)));
                }
            }
            format!("{{{}}}", members.join(", "))
        }
    }
}

fn path(random: &mut Random) -> String {
    let legs = [".a", ".b", ".\"c d\"", ".\"€\"", "[0]", "[1]", "[last]", ".\"long key \\\\ with \\\" in it\""];
    (0..1 + random.below(3)).fold("$".to_owned(), |path, _| path + legs[random.below(8) as usize])
}

/// P02, F31: updates of parts of JSON documents give the documents that the server holds, whatever is updated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f31_p02_partial_json() {
    let server = server(Kind::MysqlNewest);
    server
        .sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, j JSON, v INT, k JSON NOT NULL, w TEXT)")
        .unwrap();
    let mut session = server.session().unwrap();
    session
        .run("SET GLOBAL binlog_row_value_options = PARTIAL_JSON; SET binlog_row_value_options = PARTIAL_JSON")
        .unwrap();
    let mut pipeline = streaming(&server, "d.t").await;
    let seed = std::env::var("DUJIANG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(31);
    eprintln!("DUJIANG_SEED={seed}");
    let mut random = Random::new(seed);
    for case in 0..250u64 {
        let text = |random: &mut Random| document(random, 3).replace('\\', "\\\\").replace('\'', "''");
        let sql = match random.below(5) {
            0 => format!(
                "INSERT IGNORE INTO d.t VALUES ({}, '{}', 0, '{}', 'w')",
                case % 12,
                text(&mut random),
                text(&mut random)
            ),
            1 => format!("UPDATE d.t SET v = {case}, j = NULLIF(j, JSON_OBJECT()) WHERE id % 5 = 1"),
            _ => {
                let function = ["JSON_SET", "JSON_REPLACE", "JSON_REMOVE", "JSON_ARRAY_INSERT", "JSON_INSERT"];
                let function = function[random.below(5) as usize];
                let path = path(&mut random).replace('\\', "\\\\");
                let column = ["j", "k"][random.below(2) as usize];
                let value = match function {
                    "JSON_REMOVE" => String::new(),
                    _ => format!(", CAST('{}' AS JSON)", text(&mut random)),
                };
                format!("UPDATE d.t SET {column} = {function}({column}, '{path}'{value}), v = v + {} ", random.below(2))
            }
        };
        // Paths that a function does not take, and documents that are no arrays, are the server's to refuse.
        if let Err(error) = session.run(&sql) {
            assert!(matches!(error.sql_code(), Some(3140..=3167)), "{sql}: {error}");
        }
    }
    same(&mut pipeline, &server, &["d.t"]).await;
    let log = server.sql("SHOW BINARY LOGS").unwrap();
    let file = log.lines().last().unwrap().split('\t').next().unwrap();
    let events = server.sql(&format!("SHOW BINLOG EVENTS IN '{file}'")).unwrap();
    assert!(events.matches("Update_rows_partial").count() > 100);
}

/// After images without what did not change are completed; images without columns before are refused by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_completed_or_refused() {
    let server = server(Kind::MariaDbNewest);
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT, w TEXT)").unwrap();
    server.sql("SET GLOBAL binlog_row_image = FULL_NODUP").unwrap();
    let mut pipeline = streaming(&server, "d.t").await;
    let mut session = server.session().unwrap();
    session.run("INSERT INTO d.t VALUES (1, 1, 'a'), (2, NULL, NULL), (3, 3, 'c')").unwrap();
    session
        .run("UPDATE d.t SET v = 5 WHERE id < 3; UPDATE d.t SET w = NULL; UPDATE d.t SET id = 7, w = 'x' WHERE id = 3")
        .unwrap();
    session.run("DELETE FROM d.t WHERE id = 1").unwrap();
    same(&mut pipeline, &server, &["d.t"]).await;
    session.run("SET binlog_row_image = MINIMAL; UPDATE d.t SET v = 6 WHERE id = 2").unwrap();
    assert_eq!(failure(&mut pipeline).await.code(), Code::BinlogRowImage);
}

/// F32: transactions that MySQL compresses, in one event however large, with keys that only the server can order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f32_compressed_transactions() {
    let server = server(Kind::MysqlNewest);
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT); CREATE TABLE d.s (k VARCHAR(20) PRIMARY KEY, v INT)").unwrap();
    let mut session = server.session().unwrap();
    session.run("SET binlog_transaction_compression = ON; SET cte_max_recursion_depth = 100000").unwrap();
    let many = |from: u32, to: u32| {
        format!("WITH RECURSIVE n AS (SELECT {from} x UNION ALL SELECT x + 1 FROM n WHERE x < {to}) SELECT x")
    };
    session
        .run(&format!(
            "INSERT INTO d.s {}, 0 FROM n",
            many(1, 3000).replacen(") SELECT x", ") SELECT CONCAT('Key ', x)", 1)
        ))
        .unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "500")];
    let mut pipeline = Pipeline::new(source(&server, "d.t,d.s", &options));
    pipeline.step().await.unwrap();
    session.run(&format!("USE d; BEGIN; INSERT INTO t {}, 0 FROM n; UPDATE s SET v = v + 1; DELETE FROM s WHERE k LIKE '%9'; UPDATE t SET v = 1 WHERE id % 3 = 0; COMMIT", many(1, 40_000))).unwrap();
    session.run("UPDATE d.s SET v = 7 WHERE k LIKE '%8'").unwrap();
    let expected = last_gtid(&server);
    for round in 0.. {
        pipeline.step().await.unwrap();
        if sequence(&pipeline.status().position) >= sequence(&expected) && pipeline.events.contains(&"caught-up") {
            break;
        }
        if round % 2 == 0 {
            pipeline.barrier().unwrap();
        }
        if round % 3 == 2 && pipeline.crashes < 12 {
            pipeline.crash();
        }
    }
    pipeline.barrier().unwrap();
    same(&mut pipeline, &server, &["d.t", "d.s"]).await;
    assert!(pipeline.crashes > 2);
}

/// F40: engines without transactions, groups that are rolled back after they were logged, savepoints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f40_rollbacks_in_the_log() {
    for (kind, gtid) in [(Kind::MariaDb, true), (Kind::MariaDbNewest, true), (Kind::Mysql57, false)] {
        let server = support::own(&Options { gtid, ..Options::default() }.on(kind));
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT); CREATE TABLE d.m (id INT PRIMARY KEY) ENGINE=MyISAM").unwrap();
        let mut pipeline = streaming(&server, "d.\\.*").await;
        server.sql("USE d; INSERT INTO t VALUES (1, 0); INSERT INTO m VALUES (1); \
            BEGIN; INSERT INTO t VALUES (2, 0); INSERT INTO m VALUES (2); ROLLBACK; \
            BEGIN; INSERT INTO t VALUES (3, 0); CREATE TEMPORARY TABLE x (a INT); INSERT INTO x VALUES (1); UPDATE t SET v = 9; ROLLBACK; \
            BEGIN; INSERT INTO t VALUES (4, 0); SAVEPOINT `A b`; UPDATE t SET v = 4; SAVEPOINT c; INSERT INTO t VALUES (5, 0); \
            INSERT INTO m VALUES (5); ROLLBACK TO `A b`; INSERT INTO t VALUES (6, 1); RELEASE SAVEPOINT `A b`; COMMIT; \
            BEGIN; SAVEPOINT s; INSERT INTO t VALUES (7, 0); INSERT INTO m VALUES (7); ROLLBACK TO s; INSERT INTO t VALUES (7, 7); COMMIT; \
            INSERT INTO m VALUES (8), (9); DELETE FROM m WHERE id = 1; INSERT INTO t VALUES (10, 0)").unwrap();
        wait_for(&mut pipeline, "d.t", "10").await;
        for table in ["d.t", "d.m"] {
            assert_eq!(pipeline.sink.rows[table], rows_of(&server, table, 1), "{table} on {}", server.version());
        }
    }
}

/// Until a row is there; for servers without GTIDs.
async fn wait_for(pipeline: &mut Pipeline, table: &str, key: &str) {
    loop {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
        if pipeline.sink.rows.get(table).is_some_and(|rows| rows.contains_key(&vec![key.to_owned()])) {
            return;
        }
    }
}

/// Checksums switched off and on, files rotated anywhere, and statements logged with the rows; on every server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f42_checksums_and_rotations_while_running() {
    for kind in Kind::ALL {
        let server = server(kind);
        server.sql(TABLE).unwrap();
        let mut pipeline = streaming(&server, "d.t").await;
        let mut session = server.session().unwrap();
        let annotate = match kind.family() {
            dujiang_scratch::Family::MariaDb => "SET binlog_annotate_row_events = ON",
            dujiang_scratch::Family::MySql => "SET binlog_rows_query_log_events = ON",
        };
        for (at, setting) in [
            "SELECT 1",
            "SET GLOBAL binlog_checksum = NONE",
            annotate,
            "FLUSH BINARY LOGS",
            "SET GLOBAL binlog_checksum = CRC32",
        ]
        .iter()
        .enumerate()
        {
            session.run(setting).unwrap();
            session
                .run(&format!(
                    "INSERT INTO d.t VALUES ({at}, 1); FLUSH BINARY LOGS; INSERT INTO d.t VALUES ({}, 1)",
                    at + 100
                ))
                .unwrap();
            same(&mut pipeline, &server, &["d.t"]).await;
            if at % 2 == 1 {
                pipeline.crash();
            }
        }
    }
}

/// Rows larger than a packet (16 MB) come whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_larger_than_a_packet() {
    let large = Options::default().arg("--max-allowed-packet=128M");
    for kind in [Kind::MariaDb, Kind::MysqlNewest] {
        let server = support::own(&large.clone().on(kind));
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, b LONGTEXT)").unwrap();
        let mut pipeline = streaming(&server, "d.t").await;
        let mebi = 1 << 20;
        // Exactly at the border of packets, and beyond two of them.
        for (id, length) in [(1, 16 * mebi - 40), (2, 16 * mebi), (3, 33 * mebi)] {
            server.sql(&format!("INSERT INTO d.t VALUES ({id}, REPEAT('x', {length}))")).unwrap();
        }
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        let lengths: Vec<usize> = pipeline.sink.rows["d.t"].values().map(|row| row[1].len()).collect();
        assert_eq!(lengths, [16 * mebi - 40, 16 * mebi, 33 * mebi]);
    }
}

/// A statement for a captured table, in a log that should have rows only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_instead_of_rows_halt() {
    for kind in [Kind::MariaDb, Kind::MysqlNewest] {
        let server = server(kind);
        server.sql(TABLE).unwrap();
        let mut pipeline = streaming(&server, "d.t").await;
        server.sql("SET SESSION binlog_format = STATEMENT; INSERT INTO d.t VALUES (1, 1)").unwrap();
        let error = failure(&mut pipeline).await;
        assert_eq!(error.code(), Code::UnknownEvent, "{error:?}");
        assert!(
            error.facts().iter().any(|(name, value)| *name == "statement" && value.contains("INSERT INTO d.t")),
            "{error:?}"
        );
    }
}

/// F34: tagged GTIDs of several sources, with gaps, are in the position as the server has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f34_tags_gaps_and_several_sources() {
    let server = server(Kind::MysqlNewest);
    server.sql(TABLE).unwrap();
    let mut pipeline = streaming(&server, "d.t").await;
    let other = "24da167c-0c0d-11e8-8442-00059a3c7b00";
    let ids = [
        format!("{other}:5"),
        "AUTOMATIC:blue".into(),
        format!("{other}:red:7"),
        format!("{other}:4"),
        format!("{other}:9"),
        "AUTOMATIC:blue".into(),
    ];
    for (at, id) in ids.iter().enumerate() {
        server
            .sql(&format!("SET gtid_next = '{id}'; INSERT INTO d.t VALUES ({at}, 0); SET gtid_next = 'AUTOMATIC'"))
            .unwrap();
        if at % 2 == 1 {
            wait_for(&mut pipeline, "d.t", &at.to_string()).await;
            pipeline.crash();
        }
    }
    wait_for(&mut pipeline, "d.t", "5").await;
    assert_eq!(pipeline.sink.count("d.t"), 6);
    let head = dujiang_mysql::position::decode_head(pipeline.position.as_ref().unwrap()).unwrap();
    let equal = format!(
        "SELECT GTID_SUBSET('{0}', @@GLOBAL.gtid_executed) AND GTID_SUBSET(@@GLOBAL.gtid_executed, '{0}')",
        head.gtid
    );
    assert_eq!(server.sql(&equal).unwrap().trim(), "1", "{}", head.gtid);
}

fn random_set(random: &mut Random) -> String {
    let sources = ["24da167c-0c0d-11e8-8442-00059a3c7b00", "34DA167C-0C0D-11E8-8442-00059A3C7B00"];
    let mut parts = Vec::new();
    for source in sources {
        for tag in ["", ":blue", ":Red_2"] {
            if random.chance(60) {
                let mut part = format!("{source}{tag}");
                for _ in 0..1 + random.below(4) {
                    let first = 1 + random.below(30);
                    part += &format!(":{first}-{}", first + random.below(8));
                }
                parts.push(part);
            }
        }
    }
    parts.join(",")
}

/// R6, F34: subsets and differences as the server itself sees them.
#[test]
fn r06_f34_sets_agree_with_the_server() {
    let server = server(Kind::MysqlNewest);
    let mut session = server.session().unwrap();
    let mut random = Random::new(6);
    for _ in 0..200 {
        let (a, b) = (random_set(&mut random), random_set(&mut random));
        let sql = format!("SELECT GTID_SUBSET('{b}', '{a}'), GTID_SUBTRACT('{a}', '{b}'), GTID_SUBTRACT('{a}', '')");
        let row = session.run(&sql).unwrap().remove(0);
        let parse = |text: &str| text.parse::<GtidSet>().unwrap();
        let (ours, theirs) = (parse(&a), parse(&b));
        assert_eq!(ours.covers(&theirs), row[0].as_deref() == Some("1"), "{sql}");
        assert_eq!(ours.subtract(&theirs), parse(row[1].as_ref().unwrap()), "{sql}");
        assert_eq!(ours, parse(row[2].as_ref().unwrap()), "{sql}");
    }
}
