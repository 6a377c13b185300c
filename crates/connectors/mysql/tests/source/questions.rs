//! Answers of the server that take longer than the time between two barriers.

use super::harness::*;
use crate::support;
use dujiang_scratch::{Kind, Options, Server};
use dujiang_testkit::proxy::{Direction, Proxy};
use std::collections::BTreeSet;
use std::time::Duration;

/// A table that joins is locked by somebody else: the question waits through barriers, and is not asked again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_outlives_barriers() {
    for kind in Kind::ALL {
        let server = support::own(&Options::default().on(kind));
        server
            .sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE TABLE o LIKE t; INSERT INTO o VALUES (1, 1)")
            .unwrap();
        let mut pipeline = Pipeline::new(source(&server, r"d.t\.*", &[]));
        pipeline.until("caught-up").await.unwrap();
        server.sql("RENAME TABLE d.o TO d.t_in").unwrap();
        let (mut locker, mut watcher) = (server.session().unwrap(), server.session().unwrap());
        locker.run("LOCK TABLES d.t_in WRITE").unwrap();
        let waiting =
            "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata lock%'";
        let (mut askers, mut barriers) = (BTreeSet::new(), 0);
        while barriers < 20 {
            let came = pipeline.step_or_barrier(Duration::from_millis(20)).await.unwrap();
            let now = watcher.run(waiting).unwrap();
            barriers += u32::from(!came && !now.is_empty());
            askers.extend(now.into_iter().flatten().flatten());
        }
        assert_eq!(askers.len(), 1, "{askers:?} on {}", server.version());
        locker.run("UNLOCK TABLES; INSERT INTO d.t_in VALUES (2, 2)").unwrap();
        while pipeline.sink.count("d.t_in") < 2 {
            pipeline.step().await.unwrap();
            pipeline.barrier().unwrap();
        }
    }
}

/// Everything that a reader may ask while it reads, over a connection so slow that no answer comes before the next barrier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_is_answered_in_the_end() {
    for kind in [Kind::MariaDb, Kind::Mysql57] {
        let server = support::own(&Options::default().on(kind));
        server
            .sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE TABLE o LIKE t; INSERT INTO o VALUES (1, 1); \
                  CREATE TABLE k (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT)")
            .unwrap();
        for n in 0..60 {
            server.sql(&format!("INSERT INTO d.k VALUES ('key {n}', 0)")).unwrap();
        }
        let proxy = Proxy::to_port(server.port()).unwrap();
        let chunks = [("scan.incremental.snapshot.chunk.size", "10")];
        let mut pipeline = Pipeline::new(source_at(proxy.port(), r"d.[tk]\.*", &chunks));
        pipeline.open().await.unwrap();
        for direction in [Direction::ToServer, Direction::ToClient] {
            proxy.rules(direction, |rules| rules.delay = SLOW);
        }
        // Rows that lie among chunks, by keys that only the server can compare.
        for n in 0..60 {
            server
                .sql(&format!("UPDATE d.k SET v = 1 WHERE k = 'KEY {n}'; INSERT INTO d.k VALUES ('other {n}', 2)"))
                .unwrap();
        }
        answered(&server, &mut pipeline).await;
        // Statements that the catalog confirms, and that it does not know of any more.
        server.sql("USE d; ALTER TABLE t ADD a INT; INSERT INTO t VALUES (1, 1, 1)").unwrap();
        answered(&server, &mut pipeline).await;
        server.sql("USE d; ALTER TABLE t ADD b INT; INSERT INTO t VALUES (2, 2, 2, 2); ALTER TABLE t DROP a; INSERT INTO t VALUES (3, 3, 3)").unwrap();
        // Tables that join with their rows.
        server.sql("USE d; RENAME TABLE o TO t_in; CREATE TABLE IF NOT EXISTS t_maybe (id INT PRIMARY KEY); INSERT INTO t_maybe VALUES (1)").unwrap();
        answered(&server, &mut pipeline).await;
        // A change that only its rows show.
        server.sql("USE d; SET sql_log_bin = 0; ALTER TABLE t ADD c INT; SET sql_log_bin = 1; INSERT INTO t VALUES (4, 4, 4, 4)").unwrap();
        answered(&server, &mut pipeline).await;
        for table in ["d.k", "d.t", "d.t_in", "d.t_maybe"] {
            assert_same(&server, &pipeline.sink, table, 1);
        }
        // A table that is added joins later than the others.
        server.sql("CREATE TABLE d.later (id INT PRIMARY KEY); INSERT INTO d.later VALUES (1)").unwrap();
        pipeline.crash();
        pipeline.source = source_at(proxy.port(), r"d.[tkl]\.*", &chunks);
        answered(&server, &mut pipeline).await;
        assert_same(&server, &pipeline.sink, "d.later", 1);
    }
}

/// What the connection adds to every answer, and the time between two barriers.
const SLOW: Duration = Duration::from_millis(15);
const INTERVAL: Duration = Duration::from_millis(10);

/// Until everything that is logged by now is in the sink.
async fn answered(server: &Server, pipeline: &mut Pipeline) {
    let wanted = sequence(&last_gtid(server));
    for _ in 0..3_000 {
        pipeline.step_or_barrier(INTERVAL).await.unwrap();
        let status = pipeline.status();
        if sequence(&status.position) >= wanted && status.snapshot.iter().all(|table| table.done) {
            return pipeline.barrier().unwrap();
        }
    }
    panic!("no end in sight on {}: {:?}", server.version(), pipeline.status());
}
