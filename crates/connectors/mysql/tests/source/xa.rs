//! Distributed transactions: their rows count from their commit, whatever happens between PREPARE and that.

use super::harness::*;
use crate::support;
use dujiang_core::Code;
use dujiang_scratch::{Kind, Options, Random, Server};
use std::collections::BTreeSet;

fn server(kind: Kind) -> Server {
    support::own(&Options::default().on(kind))
}

/// Prepares a distributed transaction and leaves its session.
fn prepare(server: &Server, xid: &str, statements: &str) {
    server.sql(&format!("USE d; XA START {xid}; {statements}; XA END {xid}; XA PREPARE {xid}")).unwrap();
}

/// The server lets go of a transaction a moment after its session.
fn decide(server: &Server, verb: &str, xid: &str) {
    decide_in(server, "SELECT 1", verb, xid);
}

fn decide_in(server: &Server, setting: &str, verb: &str, xid: &str) {
    let mut session = server.session().unwrap();
    session.run(setting).unwrap();
    for _ in 0..20_000 {
        match session.run(&format!("XA {verb} {xid}")) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.sql_code(), Some(1397), "{error}"),
        }
    }
    panic!("{} has forgotten {xid}", server.version());
}

/// The newest MySQL also compresses what it prepares.
fn compress(server: &Server, kind: Kind) {
    if kind == Kind::MysqlNewest {
        server.sql("SET GLOBAL binlog_transaction_compression = ON").unwrap();
    }
}

async fn same(pipeline: &mut Pipeline, server: &Server) {
    pipeline.until_gtid(&last_gtid(server)).await.unwrap();
    for table in ["d.t", "d.u"] {
        let found = pipeline.sink.rows.get(table).cloned().unwrap_or_default();
        assert_eq!(found, rows_of(server, table, 1), "{table} on {}", server.version());
    }
}

const TABLES: &str = "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT); CREATE TABLE d.u LIKE d.t; \
                      CREATE TABLE d.foreign_one LIKE d.t; INSERT INTO d.t VALUES (1, 0), (2, 0)";

/// Prepared before the snapshot, before a restart, before a crash of the server; committed, rolled back, in one phase.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xa_rows_count_from_their_commit() {
    for kind in Kind::ALL {
        let mut server = server(kind);
        server.sql(TABLES).unwrap();
        // See `xa_that_the_server_has_lost_counts_as_rolled_back`.
        let early = if kind == Kind::MysqlNewest { "'early'" } else { "'early','b',7" };
        prepare(
            &server,
            early,
            "INSERT INTO t VALUES (10, 1); SAVEPOINT s; INSERT INTO t VALUES (-5, 1); ROLLBACK TO s; INSERT INTO u VALUES (12, 1)",
        );
        let mut pipeline = Pipeline::new(source(&server, "d.t,d.u", &[]));
        pipeline.until("caught-up").await.unwrap();
        assert_eq!(pipeline.sink.count("d.t"), 2);
        compress(&server, kind);
        prepare(&server, "'kept1'", "INSERT INTO t VALUES (20, 1); UPDATE t SET v = 5 WHERE id = 1");
        prepare(&server, "'drop1'", "INSERT INTO u VALUES (30, 1); DELETE FROM t WHERE id = 2");
        prepare(&server, "'else1'", "INSERT INTO foreign_one VALUES (1, 1)");
        server.sql("INSERT INTO d.t VALUES (40, 1); FLUSH BINARY LOGS; INSERT INTO d.u VALUES (41, 1)").unwrap();
        same(&mut pipeline, &server).await;
        pipeline.crash();
        server.sql("INSERT INTO d.t VALUES (42, 1)").unwrap();
        same(&mut pipeline, &server).await;
        server.kill9().unwrap();
        server.restart().unwrap();
        decide(&server, "COMMIT", early);
        same(&mut pipeline, &server).await;
        assert!(pipeline.sink.rows["d.u"].contains_key(&vec!["12".to_owned()]));
        pipeline.crash();
        decide(&server, "ROLLBACK", "'drop1'");
        decide(&server, "COMMIT", "'else1'");
        decide(&server, "COMMIT", "'kept1'");
        compress(&server, kind);
        server
            .sql("USE d; XA START 'one'; INSERT INTO t VALUES (50, 1); XA END 'one'; XA COMMIT 'one' ONE PHASE")
            .unwrap();
        // The name is free again.
        prepare(&server, "'kept1'", "INSERT INTO t VALUES (60, 1)");
        same(&mut pipeline, &server).await;
        pipeline.crash();
        decide(&server, "COMMIT", "'kept1'");
        same(&mut pipeline, &server).await;
        assert_eq!(pipeline.sink.count("d.t"), 8, "{}", server.version());
        let position = pipeline.position.clone().unwrap();
        assert!(dujiang_mysql::position::decode_head(&position).unwrap().prepared.is_empty());
    }
}

/// What the server has lost in a crash holds nothing up: it was rolled back, and its files may go. Which ones a server loses cannot
/// be told beforehand (MySQL 9.7: some of several whose identifiers differ in format or lengths): here one is rolled back without
/// the log knowing, which looks the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xa_that_the_server_has_lost_counts_as_rolled_back() {
    for kind in [Kind::MariaDb, Kind::Mysql57, Kind::MysqlNewest] {
        let mut server = server(kind);
        server.sql(TABLES).unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t,d.u", &[]));
        pipeline.until("caught-up").await.unwrap();
        prepare(&server, "'lost1'", "INSERT INTO t VALUES (10, 1)");
        prepare(&server, "'kept1'", "INSERT INTO t VALUES (20, 1)");
        server.sql("INSERT INTO d.u VALUES (0, 1); FLUSH BINARY LOGS; INSERT INTO d.u VALUES (1, 1)").unwrap();
        same(&mut pipeline, &server).await;
        decide_in(&server, "SET sql_log_bin = 0", "ROLLBACK", "'lost1'");
        // With a commit the server writes out what it has done before.
        server.sql("INSERT INTO d.u VALUES (3, 1)").unwrap();
        same(&mut pipeline, &server).await;
        assert_eq!(prepared(&pipeline), 2);
        server.kill9().unwrap();
        server.restart().unwrap();
        server.sql("INSERT INTO d.u VALUES (2, 1)").unwrap();
        while prepared(&pipeline) > 1 {
            pipeline.step().await.unwrap();
            pipeline.barrier().unwrap();
        }
        pipeline.crash();
        decide(&server, "COMMIT", "'kept1'");
        same(&mut pipeline, &server).await;
        assert_eq!((prepared(&pipeline), pipeline.sink.count("d.t")), (0, 3), "{}", server.version());
        assert!(pipeline.has("d.t", "20"));
    }
}

/// Transactions without an outcome in the last position.
fn prepared(pipeline: &Pipeline) -> usize {
    dujiang_mysql::position::decode_head(pipeline.position.as_ref().unwrap()).unwrap().prepared.len()
}

/// Without GTIDs nothing but places tells what was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xa_rows_count_from_their_commit_without_gtids() {
    for kind in Kind::MYSQL {
        let server = support::own(&Options { gtid: false, ..Options::default() }.on(kind));
        server.sql(TABLES).unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t,d.u", &[]));
        pipeline.until("caught-up").await.unwrap();
        prepare(&server, "'early'", "INSERT INTO t VALUES (10, 1)");
        // One that begins with what is prepared.
        let latest = [("scan.startup.mode", "latest-offset"), ("server-id", "6001")];
        let mut other = Pipeline::new(source(&server, "d.t,d.u", &latest));
        other.until("caught-up").await.unwrap();
        prepare(&server, "'kept'", "INSERT INTO t VALUES (20, 1); INSERT INTO u VALUES (20, 1)");
        prepare(&server, "'dropped'", "INSERT INTO t VALUES (30, 1); DELETE FROM t WHERE id = 2");
        marked(&mut pipeline, &server, 1).await;
        pipeline.crash();
        server.sql("FLUSH BINARY LOGS").unwrap();
        marked(&mut pipeline, &server, 2).await;
        decide(&server, "COMMIT", "'early'");
        pipeline.crash();
        decide(&server, "ROLLBACK", "'dropped'");
        marked(&mut pipeline, &server, 3).await;
        pipeline.crash();
        decide(&server, "COMMIT", "'kept'");
        server
            .sql("USE d; XA START 'one'; INSERT INTO t VALUES (40, 1); XA END 'one'; XA COMMIT 'one' ONE PHASE")
            .unwrap();
        marked(&mut pipeline, &server, 4).await;
        assert_eq!(pipeline.sink.count("d.t"), 5);
        while !other.has("d.t", "40") {
            other.step().await.unwrap();
            other.barrier().unwrap();
        }
        assert!(other.has("d.t", "10") && other.has("d.u", "20") && !other.has("d.t", "30"));
        let position = pipeline.position.clone().unwrap();
        assert!(dujiang_mysql::position::decode_head(&position).unwrap().prepared.is_empty());
    }
}

/// Until a row of this moment is in the sink; then it holds what the server holds.
async fn marked(pipeline: &mut Pipeline, server: &Server, mark: u32) {
    let key = 1_000 + mark;
    server.sql(&format!("INSERT INTO d.u VALUES ({key}, 0)")).unwrap();
    while !pipeline.has("d.u", &key.to_string()) {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    for table in ["d.t", "d.u"] {
        assert_same(server, &pipeline.sink, table, 1);
    }
}

/// P36 with distributed transactions: any mixture, with crashes, barriers and rotations anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p36_mixtures_of_distributed_transactions() {
    for kind in [Kind::MariaDb, Kind::MysqlNewest] {
        let seed = std::env::var("DUJIANG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
        eprintln!("DUJIANG_SEED={seed}");
        let server = server(kind);
        server.sql(TABLES).unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t,d.u", &[]));
        pipeline.until("caught-up").await.unwrap();
        let (mut random, mut open, mut next) = (Random::new(seed), BTreeSet::new(), 100);
        for case in 0..120u64 {
            for _ in 0..1 + random.below(3) {
                next += 1;
                let rows = format!("INSERT INTO t VALUES ({next}, 0); INSERT INTO u VALUES ({next}, {case})");
                match random.below(6) {
                    0..3 => {
                        prepare(&server, &format!("'{next}'"), &rows);
                        open.insert(next);
                    }
                    3 => drop(server.sql(&format!("USE d; BEGIN; {rows}; COMMIT")).unwrap()),
                    4 => drop(server.sql("FLUSH BINARY LOGS").unwrap()),
                    _ => drop(server.sql("UPDATE d.u SET v = v + 1 ORDER BY id LIMIT 0").unwrap()),
                }
            }
            while open.len() > random.below(6) as usize {
                let at = random.below(open.len() as u64) as usize;
                let xid = *open.iter().nth(at).unwrap();
                open.remove(&xid);
                decide(&server, if random.chance(70) { "COMMIT" } else { "ROLLBACK" }, &format!("'{xid}'"));
            }
            if random.chance(40) {
                pipeline.step().await.unwrap();
            }
            if random.chance(30) {
                pipeline.barrier().unwrap();
            }
            if random.chance(15) {
                pipeline.crash();
            }
        }
        open.iter().for_each(|xid| decide(&server, "COMMIT", &format!("'{xid}'")));
        same(&mut pipeline, &server).await;
        assert!(pipeline.crashes > 5);
    }
}

/// A distributed transaction larger than batches, with barriers and crashes in the midst of its commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r01_a_large_distributed_transaction_keeps_its_ids_through_crashes() {
    let server = server(Kind::MariaDb);
    server.sql(TABLES).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t,d.u", &[("scan.startup.mode", "latest-offset")]));
    pipeline.until("caught-up").await.unwrap();
    let rows = "INSERT INTO t SELECT seq, 0 FROM seq_10_to_40000; INSERT INTO u SELECT seq, 0 FROM seq_1_to_9000; \
                UPDATE t SET v = 1 WHERE id > 9 AND id % 2 = 0";
    prepare(&server, "'large'", rows);
    decide(&server, "COMMIT", "'large'");
    let expected = last_gtid(&server);
    for round in 0.. {
        while pipeline.step().await.unwrap() != "batch" {}
        if sequence(&pipeline.status().position) >= sequence(&expected) {
            break;
        }
        if round % 2 == 0 {
            pipeline.barrier().unwrap();
        }
        pipeline.crash();
    }
    pipeline.barrier().unwrap();
    assert!(pipeline.crashes >= 4, "{}", pipeline.crashes);
    assert_eq!((pipeline.sink.count("d.t"), pipeline.sink.count("d.u")), (39_991, 9000));
}

/// What was prepared before the place a pipeline begins at is not known, and is not passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xa_prepared_before_the_start_halts() {
    for kind in [Kind::MariaDb, Kind::MysqlNewest] {
        let server = server(kind);
        server.sql(TABLES).unwrap();
        prepare(&server, "'x'", "INSERT INTO t VALUES (10, 1)");
        let place = server.sql("SHOW BINARY LOGS").unwrap();
        let last: Vec<&str> = place.lines().last().unwrap().split('\t').collect();
        server.sql("INSERT INTO d.t VALUES (20, 1)").unwrap();
        let options = [
            ("scan.startup.mode", "specific-offset"),
            ("scan.startup.specific-offset.file", last[0]),
            ("scan.startup.specific-offset.pos", last[1]),
        ];
        let mut pipeline = Pipeline::new(source(&server, "d.t,d.u", &options));
        pipeline.until("caught-up").await.unwrap();
        decide(&server, "COMMIT", "'x'");
        let error = failure(&mut pipeline).await;
        assert_eq!(error.code(), Code::PreparedBefore, "{error:?}");
        if kind == Kind::MariaDb {
            support::reads_as_written(&error, &[]);
        }
    }
}
