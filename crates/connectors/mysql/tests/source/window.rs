use super::harness::*;
use crate::support;
use dujiang_scratch::Options;

/// The log moves before rows become visible: a commit that waits for a replica is in the log and in no read view. The
/// snapshot goes on meanwhile, in chunks before, at and behind the row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_commit_that_waits_for_a_replica_is_in_exactly_one_part() {
    let server = support::own(&waiting_for_replicas());
    server.sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t SELECT seq, 0 FROM seq_1_to_4000").unwrap();
    for round in 1..=3 {
        server.sql("SET GLOBAL rpl_semi_sync_master_enabled = 0; SET GLOBAL rpl_semi_sync_master_timeout = 700; SET GLOBAL rpl_semi_sync_master_enabled = 1").unwrap();
        let options = [("scan.incremental.snapshot.chunk.size", "100"), ("server-id", &*format!("{}", 7000 + round))];
        let mut pipeline = Pipeline::new(source(&server, "d.t", &options));
        let mut writer = server.session().unwrap();
        for _ in 0..round * 5 {
            pipeline.step().await.unwrap();
        }
        let before = last_gtid(&server);
        let thread = std::thread::spawn(move || {
            // Waits for a replica that never comes, until the timeout; meanwhile it is in the log only.
            writer.run(&format!("UPDATE d.t SET v = {round} WHERE id IN (1, 700, 2500, 3999)")).unwrap();
        });
        while last_gtid(&server) == before {
            tokio::task::yield_now().await;
        }
        while !pipeline.events.contains(&"caught-up") {
            pipeline.step().await.unwrap();
        }
        thread.join().unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1), "round {round}");
    }
}

/// A rotation sets the place that read views carry to the end of the log, past a commit that waits for a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_rotation_while_a_commit_waits_hides_nothing() {
    let server = support::own(&waiting_for_replicas());
    server.sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t SELECT seq, 0 FROM seq_1_to_4000").unwrap();
    server.sql("SET GLOBAL rpl_semi_sync_master_enabled = 0; SET GLOBAL rpl_semi_sync_master_timeout = 3000; SET GLOBAL rpl_semi_sync_master_enabled = 1").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[("scan.incremental.snapshot.chunk.size", "100")]));
    for _ in 0..5 {
        pipeline.step().await.unwrap();
    }
    let before = last_gtid(&server);
    let (mut writer, mut rotator) = (server.session().unwrap(), server.session().unwrap());
    let writing =
        std::thread::spawn(move || writer.run("UPDATE d.t SET v = 1 WHERE id IN (1, 700, 2500, 3999)").unwrap());
    while last_gtid(&server) == before {
        tokio::task::yield_now().await;
    }
    let rotating = std::thread::spawn(move || rotator.run("FLUSH BINARY LOGS").unwrap());
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
    }
    writing.join().unwrap();
    rotating.join().unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
}

fn waiting_for_replicas() -> Options {
    let semi = [
        "--rpl-semi-sync-master-enabled=1",
        "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
        "--rpl-semi-sync-master-wait-no-slave=1",
        "--rpl-semi-sync-master-timeout=1",
    ];
    semi.iter().fold(Options::default(), |o, arg| o.arg(*arg))
}
