//! Tables that come while the pipeline runs.

use super::harness::*;
use dujiang_scratch::Postgres;

pub const OPTIONS: &[(&str, &str)] =
    &[("heartbeat.interval", "100ms"), ("slot.name", "s"), ("scan.incremental.snapshot.chunk.size", "50")];

pub fn shop() -> Postgres {
    filled(own())
}

fn filled(server: Postgres) -> Postgres {
    server
        .sql("CREATE SCHEMA shop; CREATE TABLE shop.a (id int PRIMARY KEY, v int); ALTER TABLE shop.a REPLICA IDENTITY FULL; INSERT INTO shop.a VALUES (1, 1)")
        .unwrap();
    server
}

pub fn pipeline(server: &Postgres, options: &[(&str, &str)]) -> Pipeline {
    Pipeline::new(source(server, r"postgres.shop.\.*", options))
}

/// Until the table has been read.
pub async fn until_read(pipeline: &mut Pipeline, table: &str) {
    let read = |pipeline: &Pipeline| pipeline.status().snapshot.iter().any(|t| t.table.to_string() == table && t.done);
    while !read(pipeline) {
        pipeline.step().await.unwrap();
    }
}

/// Rows of before, of meanwhile and of after, and the old tables go on beside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_created_later_is_read_and_followed() {
    for server in every() {
        follows_a_new_table(&filled(server)).await;
    }
}

async fn follows_a_new_table(server: &Postgres) {
    let mut pipeline = pipeline(server, OPTIONS);
    pipeline.until("caught-up").await.unwrap();
    server
        .sql("CREATE TABLE shop.b (id int PRIMARY KEY, v int); ALTER TABLE shop.b REPLICA IDENTITY FULL; INSERT INTO shop.b SELECT n, 0 FROM generate_series(1, 1000) n")
        .unwrap();
    for round in 1..=20 {
        server.sql(&format!("UPDATE shop.b SET v = v + 1 WHERE id % 7 = {round} % 7; DELETE FROM shop.b WHERE id = {round} * 3; INSERT INTO shop.b VALUES ({round} + 5000, 1), (-{round}, 1); UPDATE shop.a SET v = {round}")).unwrap();
        pipeline.step().await.unwrap();
    }
    until_read(&mut pipeline, "shop.b").await;
    server.sql("UPDATE shop.b SET v = -1 WHERE id % 10 = 0; DELETE FROM shop.b WHERE id > 900").unwrap();
    pipeline.until_now(server).await.unwrap();
    for table in ["shop.a", "shop.b"] {
        assert_eq!(pipeline.sink.rows[table], rows_of(server, table, 1), "{table}");
    }
    let created: Vec<_> =
        pipeline.changes.iter().filter(|c| c.before.is_none()).map(|c| c.after.id.to_string()).collect();
    assert_eq!(created, ["shop.b"]);
}

/// A crash at every step on the way in, with and without a barrier before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_joins_once_whatever_crashes() {
    let server = shop();
    let mut pipeline = pipeline(&server, OPTIONS);
    pipeline.until("caught-up").await.unwrap();
    let (mut done, mut round) = (false, 0);
    server
        .sql("CREATE TABLE shop.b (id int PRIMARY KEY, v int); ALTER TABLE shop.b REPLICA IDENTITY FULL; INSERT INTO shop.b SELECT n, 0 FROM generate_series(1, 2000) n")
        .unwrap();
    while !done {
        for _ in 0..round % 9 + 1 {
            pipeline.step().await.unwrap();
        }
        done = pipeline.status().snapshot.iter().any(|t| t.table.to_string() == "shop.b" && t.done) || round > 60;
        if round % 3 > 0 || done {
            pipeline.barrier().unwrap();
        }
        server.sql(&format!("UPDATE shop.b SET v = v + 1 WHERE id % 11 = {round} % 11; INSERT INTO shop.b VALUES ({round} + 5000, 1)")).unwrap();
        if !done {
            pipeline.crash();
        }
        round += 1;
    }
    until_read(&mut pipeline, "shop.b").await;
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["shop.b"], rows_of(&server, "shop.b", 1));
    assert!(pipeline.crashes > 5, "{}", pipeline.crashes);
}

/// What was written before the table was published, and is committed after, is in no message of the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_when_a_table_comes_is_in_its_snapshot() {
    let server = shop();
    let mut pipeline = pipeline(&server, OPTIONS);
    pipeline.until("caught-up").await.unwrap();
    server
        .sql("CREATE TABLE shop.b (id int PRIMARY KEY, v int); ALTER TABLE shop.b REPLICA IDENTITY FULL; INSERT INTO shop.b SELECT n, 0 FROM generate_series(1, 100) n; BEGIN; INSERT INTO shop.b VALUES (1000, 7); UPDATE shop.b SET v = 7 WHERE id = 50; PREPARE TRANSACTION 'held'")
        .unwrap();
    let published = "SELECT count(*) FROM pg_publication_tables WHERE tablename = 'b'";
    while server.sql(published).unwrap().trim() == "0" {
        pipeline.step().await.unwrap();
    }
    for _ in 0..5 {
        pipeline.step().await.unwrap();
    }
    server.sql("COMMIT PREPARED 'held'").unwrap();
    until_read(&mut pipeline, "shop.b").await;
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["shop.b"], rows_of(&server, "shop.b", 1));
}

/// A table that cannot be captured yet is taken in when it can; a publication of somebody else is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_mended_later_joins_then() {
    let server = shop();
    server.sql("CREATE PUBLICATION mine FOR TABLE shop.a").unwrap();
    let options: Vec<_> = OPTIONS.iter().copied().chain([("publication.name", "mine")]).collect();
    let mut pipeline = pipeline(&server, &options);
    pipeline.until("caught-up").await.unwrap();
    server.sql("CREATE TABLE shop.b (id int, v int); INSERT INTO shop.b VALUES (1, 1), (2, 2)").unwrap();
    for _ in 0..3 {
        pipeline.step().await.unwrap();
    }
    server.sql("ALTER TABLE shop.b REPLICA IDENTITY FULL; UPDATE shop.b SET v = 3 WHERE id = 2").unwrap();
    pipeline.step().await.unwrap();
    assert!(pipeline.changes.is_empty());
    server.sql("ALTER TABLE shop.b ADD PRIMARY KEY (id); ALTER PUBLICATION mine ADD TABLE shop.b; INSERT INTO shop.b VALUES (3, 3)").unwrap();
    while pipeline.changes.is_empty() {
        pipeline.step().await.unwrap();
    }
    until_read(&mut pipeline, "shop.b").await;
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["shop.b"], rows_of(&server, "shop.b", 1));
}
