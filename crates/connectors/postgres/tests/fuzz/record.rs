//! Has real servers send what the seeds begin with. `UPDATE_SEEDS=1` keeps it; otherwise it is looked at as the seeds are.

use super::targets::{framed, pgoutput};
use crate::support::{Db, on};
use dujiang_scratch::{PostgresKind, PostgresOptions};
use dujiang_testkit::fuzz;

const SETUP: &str = r#"
CREATE SCHEMA s;
CREATE TYPE s.mood AS ENUM ('sad', 'it''s ok');
CREATE DOMAIN s.price AS numeric(10,2);
CREATE TYPE s.pair AS (a int, b text);
CREATE TABLE s.every (id int PRIMARY KEY, b bool, i2 smallint, i8 bigint, o oid, f4 real, f8 double precision, n numeric,
  n2 numeric(76,30), price s.price, m money, d date, t time, ts timestamp, tz timestamptz(3), iv interval, c char(5), v varchar(9),
  x text, doc jsonb, j json, u uuid, bits varbit, bin bytea, mood s.mood, ints int[]);
CREATE TABLE s.odd (id int PRIMARY KEY, p s.pair, ip inet, r int4range, ps s.pair[], texts text[][]);
CREATE TABLE s.whole (id int PRIMARY KEY, x text);
ALTER TABLE s.whole REPLICA IDENTITY FULL;
ALTER TABLE s.every ALTER x SET STORAGE EXTERNAL;
CREATE TABLE s.other (id int);
CREATE PUBLICATION p FOR ALL TABLES;
CREATE PUBLICATION read_in_binary FOR TABLE s.every, s.whole, s.other;
"#;

const ROW: &str = r#"true,-5,9223372036854775807,7,1.5,'-Infinity',1e5,-123.456,1.50,-1234.56,'0044-03-15 BC','12:34:56.789',
'2026-11-20 01:02:03.5','2026-11-20 01:02:03+02','1 year -3 days','ab','varchar',repeat('large ',1000),'{"a":[1,null]}','[]',
'0fa7cba9-7175-8eda-97eb-d0567bb2823b','0101','\x00ff','sad','{1,NULL,3}'"#;

/// One transaction each.
const CHANGES: [&str; 14] = [
    "INSERT INTO s.every VALUES (1, $row), (2, $row)",
    "INSERT INTO s.every (id) VALUES (3)",
    "INSERT INTO s.odd VALUES (1, '(1,\"x,y\")', '10.0.0.0/8', '[1,5)', '{\"(1,a)\",NULL}', '{{a,\"b c\"}}')",
    "UPDATE s.every SET i2 = 6 WHERE id = 1",
    "UPDATE s.every SET id = 4 WHERE id = 2",
    "DELETE FROM s.every WHERE id = 3",
    "INSERT INTO s.whole VALUES (1, 'a'), (2, NULL)",
    "UPDATE s.whole SET x = 'b'",
    "DELETE FROM s.whole WHERE id = 1",
    "BEGIN; INSERT INTO s.every (id) VALUES (10); SAVEPOINT a; INSERT INTO s.every (id) VALUES (11); ROLLBACK TO a;
     INSERT INTO s.whole VALUES (12, 'c'); INSERT INTO s.other VALUES (1); COMMIT",
    "SELECT pg_catalog.pg_logical_emit_message(true, 'kind', 'content')",
    "BEGIN; INSERT INTO s.every (id) VALUES (20); PREPARE TRANSACTION 'one'",
    "BEGIN; INSERT INTO s.whole VALUES (21, 'd'); PREPARE TRANSACTION 'two'",
    "TRUNCATE s.every, s.whole",
];

async fn record(db: &mut Db) -> Vec<(String, Vec<Vec<u8>>)> {
    for statement in SETUP.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        db.run(statement).await;
    }
    db.rows("SELECT pg_catalog.pg_create_logical_replication_slot('s', 'pgoutput', false, true)").await;
    for change in CHANGES {
        // Statements of their own: together they would be one transaction.
        for statement in change.split("; ") {
            if change.starts_with("TRUNCATE") {
                db.run("COMMIT PREPARED 'one'").await;
                db.run("ROLLBACK PREPARED 'two'").await;
            }
            db.rows(&statement.replace("$row", ROW)).await;
        }
    }
    let newest = db.version >= 180_000;
    let mut streams = Vec::new();
    for (binary, streaming) in [(false, "off"), (true, "off"), (false, "parallel")] {
        if streaming != "off" {
            if !newest {
                continue;
            }
            // Every change comes in a piece of its own.
            db.run("SET debug_logical_replication_streaming = 'immediate'").await;
        }
        let version = if newest { 4 } else { 3 };
        let publication = if binary { "read_in_binary" } else { "p" };
        let options = format!(
            "'proto_version', '{version}', 'publication_names', '{publication}', 'binary', '{binary}', 'streaming', '{streaming}',
             'messages', 'true'"
        );
        let sql =
            format!("SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes('s', NULL, NULL, {options})");
        let rows = db.connection.query(&sql, &[]).await.unwrap_or_else(|e| panic!("{e:?}"));
        let messages = rows.iter().map(|row| row.bytes(0).unwrap().to_vec()).collect();
        streams.push((format!("{}-{streaming}{}", db.version / 10_000, if binary { "-binary" } else { "" }), messages));
    }
    streams
}

/// What the servers send now is read without an error, and the seeds hold no less.
#[test]
fn seeds_are_what_servers_send() {
    for kind in PostgresKind::ALL {
        let options = PostgresOptions::default().on(kind).set("max_prepared_transactions=4");
        on(&options, &async |db: &mut Db| {
            let streams = record(db).await;
            let every = db.know_published("s.every", None, true).await.shape;
            let shapes = [every, db.know("s.whole").await.shape, db.know_published("s.odd", None, true).await.shape];
            if fuzz::updates_seeds() && kind == PostgresKind::ALL[0] {
                let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/shapes.json");
                std::fs::write(file, serde_json::to_string_pretty(&shapes).unwrap() + "\n").unwrap();
            }
            let mut failed = Vec::new();
            for (name, messages) in streams {
                let outcome = pgoutput(&framed(&messages));
                println!("{name}: {} messages, {} images", messages.len(), outcome.images);
                if fuzz::updates_seeds() {
                    fuzz::write_seed("pgoutput", &name, &framed(&messages));
                } else if outcome.images < 10 || outcome.failed.is_some() {
                    failed.push(format!("{name}: {} images, {:?}", outcome.images, outcome.failed));
                }
            }
            assert!(failed.is_empty(), "{failed:#?}");
        });
    }
}
