//! Restarts at every place of a transaction.

use super::harness::*;
use crate::support;
use dujiang_mysql::position::decode_head;
use dujiang_scratch::{Kind, Options};

/// R4, F41: a checkpoint exactly at each commit, whose last operation changes a key or is one of several rows in a statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r04_f41_checkpoints_at_commits() {
    for kind in [Kind::MariaDb, Kind::Mysql57, Kind::MysqlNewest] {
        let server = support::own(&Options::default().on(kind));
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT)").unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
        pipeline.until("caught-up").await.unwrap();
        for n in 0..12 {
            let id = n * 10;
            let sql = format!(
                "BEGIN; INSERT INTO d.t VALUES ({id}, 0), ({}, 0), ({}, 0); UPDATE d.t SET v = {n}; \
                 UPDATE d.t SET id = id + 5 WHERE id = {id}; COMMIT",
                id + 1,
                id + 2
            );
            server.sql(&sql).unwrap();
            pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
            assert!(decode_head(pipeline.position.as_ref().unwrap()).unwrap().inside.is_empty());
            pipeline.crash();
        }
        server.sql("DELETE FROM d.t WHERE id = 1").unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1), "{}", server.version());
    }
}

/// R5: a barrier between the rows of a transaction records what was handed out, and not the transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r05_the_identifier_joins_at_the_commit() {
    for kind in [Kind::MariaDb, Kind::MysqlNewest] {
        let server = support::own(&Options::default().on(kind));
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT)").unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t", &[("scan.startup.mode", "latest-offset")]));
        pipeline.until("caught-up").await.unwrap();
        let before = last_gtid(&server);
        let rows: Vec<String> = (0..30_000).map(|n| format!("({n}, 0)")).collect();
        server.sql(&format!("INSERT INTO d.t VALUES {}", rows.join(","))).unwrap();
        let after = last_gtid(&server);
        let mut parts = 0;
        while sequence(&pipeline_position(&pipeline)) < sequence(&after) {
            while pipeline.step().await.unwrap() != "batch" {}
            pipeline.barrier().unwrap();
            let head = decode_head(pipeline.position.as_ref().unwrap()).unwrap();
            if let [inside] = &head.inside[..] {
                assert_eq!(sequence(&head.gtid), sequence(&before), "{}", head.gtid);
                assert!(inside.changes.values().all(|count| *count < 30_000));
                parts += 1;
            }
            pipeline.crash();
        }
        assert!(parts >= 2, "{parts}");
        assert_eq!(pipeline.sink.count("d.t"), 30_000);
    }
}

/// The identifiers in the last barrier's position.
fn pipeline_position(pipeline: &Pipeline) -> String {
    pipeline.position.as_ref().map(|position| decode_head(position).unwrap().gtid).unwrap_or_default()
}
