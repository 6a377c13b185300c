//! What a server shows and then forgets, by a crash or a promotion, while a snapshot is read.

use super::harness::*;
use dujiang_core::Code;

const OPTIONS: [(&str, &str); 2] = [("scan.incremental.snapshot.chunk.size", "100"), ("slot.name", "s")];

/// 2,000 rows, on disk.
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL;
    INSERT INTO t SELECT n, 0 FROM generate_series(1, 2000) n; CHECKPOINT";

/// A snapshot of which some chunks are handed out, and are in the position.
async fn begun(server: &dujiang_scratch::Postgres) -> Pipeline {
    let mut pipeline = Pipeline::new(source(server, "postgres.public.t", &OPTIONS));
    while pipeline.step().await.unwrap() != "batch" {}
    pipeline.barrier().unwrap();
    assert!(pipeline.sink.count("public.t") < 2000);
    pipeline
}

/// A commit with `synchronous_commit = off` is visible before it is on disk: a server that crashes forgets it, and gives its number
/// to another transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_what_a_chunk_shows_survives_a_crash_of_the_server() {
    let mut server = with(&["synchronous_commit=off", "wal_writer_delay=10s", "full_page_writes=off"]);
    server.sql(TABLE).unwrap();
    let mut pipeline = begun(&server).await;
    // What is still to be read is read under views of after the insert.
    pipeline.crash();
    server.sql("INSERT INTO t VALUES (3000, 1)").unwrap();
    while !pipeline.events.contains(&"snapshot-done") {
        pipeline.step().await.unwrap();
    }
    pipeline.barrier().unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 2001);
    server.kill9();
    server.restart_with(&[]).unwrap();
    server.sql("UPDATE t SET v = 2 WHERE id IN (1, 1000, 1999)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert!(pipeline.sink.rows["public.t"] == rows_of(&server, "t", 1), "{} rows", pipeline.sink.count("public.t"));
}

/// The stream stands before the promotion; a chunk has been read behind it, at the server that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv5_a_chunk_that_shows_more_than_the_promoted_standby_has_halts() {
    let mut server = own();
    server.sql(TABLE).unwrap();
    let mut standby = server.standby(&[]).unwrap();
    let mut pipeline = begun(&server).await;
    pipeline.crash();
    let end = end_of_log(&server);
    while standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")).unwrap().trim() != "t" {}
    standby.stop();
    server.sql("INSERT INTO t VALUES (3000, 1)").unwrap();
    // Another session has the slot: the stream does not come forward, the snapshot does.
    let mut other = Pipeline::new(source(&server, "postgres.public.t", &OPTIONS));
    other.position.clone_from(&pipeline.position);
    other.open().await.unwrap();
    while server.sql("SELECT active FROM pg_replication_slots").unwrap().trim() != "t" {}
    while !pipeline.events.contains(&"snapshot-done") {
        pipeline.step().await.unwrap();
    }
    pipeline.barrier().unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 2001);
    pipeline.crash();
    other.crash();
    server.stop();
    standby.restart_with(&[]).unwrap();
    standby.sql("SELECT pg_promote()").unwrap();
    pipeline.source = source(&standby, "postgres.public.t", &OPTIONS);
    let error = super::failures::error(&mut pipeline).await;
    assert_eq!(error.code(), Code::OtherServer, "{error:?}");
    assert!(
        error.facts().iter().any(|(name, _)| *name == "a chunk of the snapshot shows what lies before"),
        "{error:?}"
    );
}
