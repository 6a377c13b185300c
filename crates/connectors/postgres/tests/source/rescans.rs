//! Tables and ranges that are read a second time, by others or here.

use super::harness::*;
use super::joining::{OPTIONS, until_read};
use dujiang_core::Kind;

const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int); \
    ALTER TABLE a REPLICA IDENTITY FULL; ALTER TABLE b REPLICA IDENTITY FULL; \
    INSERT INTO a SELECT n, 1 FROM generate_series(1, 500) n; INSERT INTO b SELECT n, 2 FROM generate_series(1, 500) n";

fn read(pipeline: &Pipeline, table: &str) -> usize {
    pipeline.sink.images.iter().filter(|image| image.kind == Kind::Read && image.table == table).count()
}

/// F24, F46: a table that is named at a restart is read beside the stream, once, whatever crashes; no other one is read again. One that
/// is no longer named is forgotten; named again, it is read anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_f46_tables_are_added_and_removed_on_restart() {
    let server = own();
    server.sql(TABLES).unwrap();
    let of = |tables: &str| source_of("rescans", server.port(), tables, OPTIONS);
    let mut pipeline = Pipeline::new(of("postgres.public.a"));
    pipeline.until("caught-up").await.unwrap();
    pipeline.crash();
    // What happens to it before it joins is in its snapshot, whatever it was.
    server
        .sql("UPDATE b SET v = 3 WHERE id < 100; DELETE FROM b WHERE id > 490; INSERT INTO a VALUES (501, 1)")
        .unwrap();
    pipeline.source = of("postgres.public.[ab]");
    let mut events = 0;
    while !pipeline.events.iter().skip(2).any(|event| *event == "caught-up") {
        pipeline.step().await.unwrap();
        events += 1;
        if events % 7 == 0 {
            server.sql(&format!("UPDATE b SET v = v + 1 WHERE id % 7 = {}", events % 5)).unwrap();
            pipeline.barrier().unwrap();
            pipeline.crash();
        }
        assert!(events < 3000);
    }
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!((read(&pipeline, "public.a"), read(&pipeline, "public.b")), (500, 490));
    for table in ["a", "b"] {
        assert_eq!(pipeline.sink.rows[&format!("public.{table}")], rows_of(&server, table, 1));
    }
    pipeline.crash();
    pipeline.source = of("postgres.public.a");
    server.sql("DELETE FROM b WHERE id < 400; INSERT INTO a VALUES (502, 1)").unwrap();
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.a"], rows_of(&server, "a", 1));
    pipeline.crash();
    pipeline.sink.rows.remove("public.b");
    pipeline.source = of("postgres.public.[ab]");
    pipeline.open().await.unwrap();
    until_read(&mut pipeline, "public.b").await;
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.b"], rows_of(&server, "b", 1));
    assert_eq!(read(&pipeline, "public.a"), 500);
}

/// F26: fewer connections read on after a restart, and then more: what was read stays read, and rows that are deleted meanwhile, on either
/// side, do not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f26_a_snapshot_goes_on_with_another_number_of_connections() {
    let server = own();
    server.sql(TABLES).unwrap();
    let with = |connections: &str| {
        let parallel = ("scan.incremental.snapshot.parallelism", connections);
        source(&server, "postgres.public.[ab]", &[OPTIONS, &[parallel]].concat())
    };
    let mut pipeline = Pipeline::new(with("4"));
    for (round, connections) in ["1", "4", "2", "1", "3", "2"].into_iter().enumerate() {
        for _ in 0..2 {
            while pipeline.step().await.unwrap() != "batch" && !pipeline.events.contains(&"snapshot-done") {}
        }
        pipeline.barrier().unwrap();
        pipeline.crash();
        server
            .sql(&format!(
                "DELETE FROM a WHERE id % 11 = {round}; DELETE FROM b WHERE id % 11 = {round}; INSERT INTO a VALUES ({round} - 10, 0); \
                 UPDATE b SET v = v + 1 WHERE id % 13 = {round}"
            ))
            .unwrap();
        pipeline.source = with(connections);
    }
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
    }
    pipeline.until_now(&server).await.unwrap();
    for table in ["a", "b"] {
        assert_eq!(pipeline.sink.rows[&format!("public.{table}")], rows_of(&server, table, 1));
    }
}
