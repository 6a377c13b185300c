//! How other tools have lost changes by what they took for a position, each case by its number.

use super::harness::*;
use super::session::Session;
use dujiang_postgres::lsn::Lsn;
use dujiang_scratch::Postgres;

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL; CREATE TABLE other (id int)";
const OPTIONS: &[(&str, &str)] = &[("heartbeat.interval", "100ms"), ("slot.name", "s")];

fn place(server: &Postgres, sql: &str) -> Lsn {
    Lsn::parse(server.sql(sql).unwrap().trim()).unwrap()
}

async fn followed(server: &Postgres) -> Pipeline {
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(server, "postgres.public.t", OPTIONS));
    pipeline.until("caught-up").await.unwrap();
    pipeline
}

async fn until_confirmed(pipeline: &mut Pipeline, server: &Postgres, wanted: Lsn) {
    while confirmed(server, "s") < wanted {
        pipeline.step().await.unwrap();
    }
}

/// A change that was logged before a commit that is durable, and committed after it, still comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f02_a_position_is_that_of_a_commit_not_of_a_change() {
    let server = own();
    let mut pipeline = followed(&server).await;
    let mut early = Session::new(&server);
    early.run("BEGIN; INSERT INTO t SELECT n, 0 FROM generate_series(1, 100) n");
    server.sql("INSERT INTO t VALUES (1000, 1)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    pipeline.ack().await;
    let end = end_of_log(&server);
    pipeline.until_now(&server).await.unwrap();
    pipeline.ack().await;
    until_confirmed(&mut pipeline, &server, end).await;
    pipeline.crash();
    early.run("COMMIT");
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    assert_eq!(pipeline.sink.count("public.t"), 101);
}

/// While a snapshot is read the slot never passes what a restart needs, whatever is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_the_slot_does_not_pass_the_position_of_a_snapshot() {
    let server = own();
    server.sql(TABLE).unwrap();
    server.sql("INSERT INTO t SELECT n, 0 FROM generate_series(1, 600) n").unwrap();
    let options = [OPTIONS, &[("scan.incremental.snapshot.chunk.size", "20")]].concat();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    let mut round = 0;
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
        pipeline.ack().await;
        round += 1;
        server.sql(&format!("UPDATE t SET v = {round} WHERE id % 40 = {}", round % 40)).unwrap();
        if round % 5 == 0 {
            pipeline.crash();
        }
    }
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// Only tables that are not captured change: the position moves all the same, and with it the slot (F8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_changes_of_other_tables_move_the_slot() {
    let server = own();
    let mut pipeline = followed(&server).await;
    server.sql("INSERT INTO other SELECT generate_series(1, 1000)").unwrap();
    let end = end_of_log(&server);
    pipeline.until_now(&server).await.unwrap();
    pipeline.ack().await;
    until_confirmed(&mut pipeline, &server, end).await;
}

/// Another database is written to, ours is idle, and nobody writes a heartbeat into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_an_idle_database_does_not_hold_the_log_back() {
    let server = own();
    let mut pipeline = followed(&server).await;
    server.sql("CREATE DATABASE busy").unwrap();
    server.sql_in("busy", "CREATE TABLE o AS SELECT n FROM generate_series(1, 20000) n").unwrap();
    let end = place(&server, "SELECT pg_current_wal_flush_lsn()");
    while Lsn::parse(&pipeline.status().position).unwrap() < end {
        pipeline.step().await.unwrap();
    }
    pipeline.barrier().unwrap();
    pipeline.ack().await;
    until_confirmed(&mut pipeline, &server, end).await;
    let restart = || place(&server, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 's'");
    let before = restart();
    // The log itself is let go when the server has noted which transactions are under way.
    while restart() <= before {
        server.sql_in("busy", "INSERT INTO o VALUES (1); CHECKPOINT").unwrap();
        let end = place(&server, "SELECT pg_current_wal_flush_lsn()");
        while Lsn::parse(&pipeline.status().position).unwrap() < end {
            pipeline.step().await.unwrap();
        }
        pipeline.barrier().unwrap();
        pipeline.ack().await;
    }
}

/// What was received, however long ago, and whatever the server asks, is not confirmed before it is durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_signs_of_life_confirm_nothing_that_is_not_durable() {
    let server = with(&["wal_sender_timeout=400ms"]);
    let mut pipeline = followed(&server).await;
    pipeline.ack().await;
    let before = confirmed(&server, "s");
    server.sql("INSERT INTO t VALUES (1, 1)").unwrap();
    let end = end_of_log(&server);
    // Handed out, and the server has asked for signs of life meanwhile.
    pipeline.until_now(&server).await.unwrap();
    for _ in 0..3 {
        pipeline.step().await.unwrap();
    }
    assert!(confirmed(&server, "s") <= Lsn(end.0 - 1), "{} of {end}", confirmed(&server, "s"));
    assert!(confirmed(&server, "s") >= before);
}

/// Nothing was acknowledged until the snapshot ended, and then the pipeline crashes: the stream begins all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_the_stream_begins_although_nothing_of_the_snapshot_was_acknowledged() {
    let server = own();
    server.sql(TABLE).unwrap();
    server.sql("INSERT INTO t SELECT n, 0 FROM generate_series(1, 500) n").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", OPTIONS));
    pipeline.until("snapshot-done").await.unwrap();
    pipeline.crash();
    server.sql("UPDATE t SET v = 1 WHERE id <= 10").unwrap();
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// Changes made between the beginning of a snapshot and a crash in it, and those made while the pipeline is off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_the_place_where_the_stream_began_survives_a_crash_in_the_snapshot() {
    let server = own();
    server.sql(TABLE).unwrap();
    server.sql("INSERT INTO t SELECT n, 0 FROM generate_series(1, 1000) n").unwrap();
    let options = [OPTIONS, &[("scan.incremental.snapshot.chunk.size", "50")]].concat();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    for round in 1..6 {
        while pipeline.step().await.unwrap() != "batch" {}
        server.sql(&format!("UPDATE t SET v = {round} WHERE id % 7 = 0; DELETE FROM t WHERE id = {round}")).unwrap();
        pipeline.barrier().unwrap();
        pipeline.crash();
        server.sql(&format!("UPDATE t SET v = v + 100 WHERE id % 11 = 0; INSERT INTO t VALUES (-{round}, 0)")).unwrap();
    }
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// The captured table is idle for long while others are written to: its position is not that of its last change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_the_position_of_an_idle_table_does_not_grow_old() {
    let server = with(&["max_slot_wal_keep_size=48MB", "min_wal_size=32MB", "max_wal_size=32MB"]);
    let mut pipeline = followed(&server).await;
    for round in 0..4 {
        server
            .sql("INSERT INTO other SELECT generate_series(1, 100000); SELECT pg_switch_wal(); CHECKPOINT; INSERT INTO other VALUES (1); CHECKPOINT")
            .unwrap();
        let end = end_of_log(&server);
        pipeline.until_now(&server).await.unwrap();
        pipeline.ack().await;
        until_confirmed(&mut pipeline, &server, end).await;
        if round == 1 {
            pipeline.crash();
            pipeline.open().await.unwrap();
        }
    }
    server.sql("INSERT INTO t VALUES (1, 1)").unwrap();
    pipeline.crash();
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 1);
}

/// Acknowledgements that come in another order than the positions were made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_acknowledgements_out_of_order_never_move_the_slot_back() {
    let server = own();
    let mut pipeline = followed(&server).await;
    let mut positions = Vec::new();
    for n in 0..3 {
        server.sql(&format!("INSERT INTO t VALUES ({n}, 0)")).unwrap();
        pipeline.until_now(&server).await.unwrap();
        positions.push((pipeline.position.clone().unwrap(), Lsn::parse(&pipeline.status().position).unwrap()));
    }
    server.sql("INSERT INTO t VALUES (100, 0)").unwrap();
    for n in [1, 0, 2, 1] {
        pipeline.position = Some(positions[n].0.clone());
        pipeline.ack().await;
    }
    until_confirmed(&mut pipeline, &server, positions[2].1).await;
    for _ in 0..3 {
        pipeline.step().await.unwrap();
    }
    assert_eq!(confirmed(&server, "s"), positions[2].1, "neither back nor ahead");
}
