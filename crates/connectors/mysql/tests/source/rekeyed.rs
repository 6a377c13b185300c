//! A sink that is keyed by another unique column than the source, while rows move between keys of the source.

use super::harness::*;
use dujiang_scratch::{Kind, Random, Server};
use dujiang_testkit::workload::{Moves, SHAPE};

/// P01: every row of the sink is there when it is deleted, and not there when it comes: no chunk is handed out before its place
/// in the stream, where a row that has moved into it is still to be deleted from where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_f22_a_sink_with_keys_of_its_own_follows_rows_that_move_on_mariadb() {
    follows(own(), 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_f22_a_sink_with_keys_of_its_own_follows_rows_that_move_on_mysql() {
    follows(own_on(Kind::MysqlNewest), 4).await;
}

async fn follows(server: Server, seed: u64) {
    let mut moves = Moves::new("d.m", seed, 600, 2);
    server.sql(&format!("CREATE DATABASE d; CREATE TABLE d.m {SHAPE}; {}", moves.first())).unwrap();
    moves.start(|| {
        let mut session = server.session().unwrap();
        move |sql: &str| {
            while let Err(error) = session.run(sql) {
                // Whoever loses a deadlock begins again.
                assert_eq!(error.sql_code(), Some(1213), "{error}");
                session.run("ROLLBACK").unwrap();
            }
        }
    });
    let options = [("scan.incremental.snapshot.chunk.size", "5"), ("heartbeat.interval", "1s")];
    let mut pipeline = Pipeline::new(source(&server, "d.m", &options));
    pipeline.in_order = true;
    pipeline.sink.keyed_by = Some(vec![0]);
    let mut random = Random::new(seed);
    while !pipeline.events.contains(&"caught-up") {
        if !pipeline.events.contains(&"snapshot-done") {
            // However busy the machine is, rows move between any two chunks.
            moves.wait_for(5);
        }
        pipeline.interrupted_step(&mut random).await.unwrap();
    }
    moves.stop();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    assert_eq!(pipeline.sink.rows["d.m"], rows_of(&server, "d.m", 1));
}
