//! Partitions that come and go.

use super::failures::error;
use super::harness::*;
use super::joining::{OPTIONS, pipeline, shop, until_read};
use dujiang_core::Code;
use dujiang_scratch::Postgres;
use std::sync::Arc;

/// F57: a partition that is made as one, or attached empty, is followed; one that is attached with rows is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f57_rows_that_come_with_a_partition_are_said() {
    let server = own();
    server
        .sql(
            "CREATE SCHEMA shop; CREATE TABLE shop.p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); ALTER TABLE shop.p REPLICA IDENTITY FULL; \
             CREATE TABLE p1 PARTITION OF shop.p FOR VALUES FROM (0) TO (10); ALTER TABLE p1 REPLICA IDENTITY FULL; INSERT INTO shop.p VALUES (1, 1)",
        )
        .unwrap();
    let mut pipeline = pipeline(&server, OPTIONS);
    pipeline.until("caught-up").await.unwrap();
    server
        .sql(
            "CREATE TABLE p2 PARTITION OF shop.p FOR VALUES FROM (10) TO (20); ALTER TABLE p2 REPLICA IDENTITY FULL; INSERT INTO shop.p VALUES (11, 1); \
             CREATE TABLE p3 (LIKE shop.p INCLUDING ALL); ALTER TABLE p3 REPLICA IDENTITY FULL; \
             ALTER TABLE shop.p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30); INSERT INTO shop.p VALUES (21, 1)",
        )
        .unwrap();
    for _ in 0..3 {
        pipeline.until("idle").await.unwrap();
    }
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["shop.p"], rows_of(&server, "shop.p", 1));
    server
        .sql(
            "CREATE TABLE p4 (LIKE shop.p INCLUDING ALL); INSERT INTO p4 VALUES (31, 1); ALTER TABLE p4 REPLICA IDENTITY FULL; \
             ALTER TABLE shop.p ATTACH PARTITION p4 FOR VALUES FROM (30) TO (40)",
        )
        .unwrap();
    let error = error(&mut pipeline).await;
    assert_eq!(error.code(), Code::UnloggedRows);
    assert!(error.message().contains("shop.p") && error.message().contains("p4"), "{error:?}");
}

/// F57: a partitioned table that joins has the partitions that it has, with the rows they were attached with; what is attached
/// afterwards is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f57_the_partitions_of_a_table_that_joins_are_read_with_it() {
    let server = shop();
    let mut pipeline = pipeline(&server, OPTIONS);
    pipeline.until("caught-up").await.unwrap();
    server
        .sql(
            "CREATE TABLE p1 (id int PRIMARY KEY, v int); ALTER TABLE p1 REPLICA IDENTITY FULL; INSERT INTO p1 VALUES (1, 1); \
             CREATE TABLE shop.p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); ALTER TABLE shop.p REPLICA IDENTITY FULL; \
             ALTER TABLE shop.p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (10)",
        )
        .unwrap();
    while !pipeline.status().snapshot.iter().any(|t| t.table.to_string() == "shop.p") {
        pipeline.step().await.unwrap();
    }
    until_read(&mut pipeline, "shop.p").await;
    for _ in 0..3 {
        pipeline.until("idle").await.unwrap();
    }
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["shop.p"], rows_of(&server, "shop.p", 1));
    server
        .sql("CREATE TABLE p2 (LIKE shop.p INCLUDING ALL); INSERT INTO p2 VALUES (11, 1); ALTER TABLE p2 REPLICA IDENTITY FULL; ALTER TABLE shop.p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)")
        .unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::UnloggedRows);
}

/// F57: rows that came after their partition was attached are not taken for older, however many transactions the server runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f57_a_busy_server_does_not_make_rows_older() {
    let server = Arc::new(own());
    server
        .sql(
            "CREATE TABLE quiet (); CREATE SCHEMA shop; CREATE TABLE shop.p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); \
             ALTER TABLE shop.p REPLICA IDENTITY FULL",
        )
        .unwrap();
    let mut pipeline = pipeline(&server, OPTIONS);
    pipeline.until("caught-up").await.unwrap();
    let busy = "SET synchronous_commit = off; DO $$ BEGIN WHILE to_regclass('quiet') IS NOT NULL LOOP \
        PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    let busy = tokio::task::spawn_blocking({
        let server = server.clone();
        move || server.sql(busy).unwrap()
    });
    for n in 1..=5 {
        server
            .sql(&format!(
                "CREATE TABLE p{n} (LIKE shop.p INCLUDING ALL); ALTER TABLE p{n} REPLICA IDENTITY FULL; \
                 ALTER TABLE shop.p ATTACH PARTITION p{n} FOR VALUES FROM ({n}) TO ({n} + 1); INSERT INTO shop.p VALUES ({n}, 1)"
            ))
            .unwrap();
        pipeline.until_now(&server).await.unwrap();
    }
    for _ in 0..3 {
        pipeline.until("idle").await.unwrap();
    }
    server.sql("DROP TABLE quiet").unwrap();
    busy.await.unwrap();
    assert_eq!(pipeline.sink.rows["shop.p"], rows_of(&server, "shop.p", 1));
}

const PARTITIONED: &str = "CREATE SCHEMA shop; CREATE TABLE shop.p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); \
    ALTER TABLE shop.p REPLICA IDENTITY FULL; \
    CREATE TABLE p1 PARTITION OF shop.p FOR VALUES FROM (0) TO (10); ALTER TABLE p1 REPLICA IDENTITY FULL; INSERT INTO shop.p VALUES (1, 1)";

/// A table of its own that becomes a partition, with these rows in it.
fn attach(server: &Postgres, number: u32, rows: &str) {
    let (from, to) = (number * 10 - 10, number * 10);
    let rows = if rows.is_empty() { String::new() } else { format!("INSERT INTO p{number} VALUES {rows};") };
    server
        .sql(&format!(
            "CREATE TABLE p{number} (LIKE shop.p INCLUDING ALL); ALTER TABLE p{number} REPLICA IDENTITY FULL; {rows}
             ALTER TABLE shop.p ATTACH PARTITION p{number} FOR VALUES FROM ({from}) TO ({to})"
        ))
        .unwrap();
}

/// F57: what was attached with rows while the pipeline was off is said at its start, at every one, until it is to be passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f57_rows_that_come_with_a_partition_while_the_pipeline_is_off_are_said() {
    let server = own();
    server.sql(PARTITIONED).unwrap();
    let mut followed = pipeline(&server, OPTIONS);
    followed.until("caught-up").await.unwrap();
    followed.crash();
    // What comes empty, or goes, is followed.
    attach(&server, 2, "");
    server.sql("INSERT INTO shop.p VALUES (11, 1); CREATE TABLE p3 PARTITION OF shop.p FOR VALUES FROM (20) TO (30); ALTER TABLE p3 REPLICA IDENTITY FULL; INSERT INTO shop.p VALUES (21, 1)").unwrap();
    followed.open().await.unwrap();
    followed.until_now(&server).await.unwrap();
    assert_eq!(followed.sink.rows["shop.p"], rows_of(&server, "shop.p", 1));
    followed.crash();
    server.sql("ALTER TABLE shop.p DETACH PARTITION p3; DROP TABLE p2").unwrap();
    followed.open().await.unwrap();
    followed.until_now(&server).await.unwrap();
    assert_eq!(followed.sink.count("shop.p"), 3, "rows that left without being logged stay");
    followed.crash();
    attach(&server, 4, "(31, 1)");
    for _ in 0..2 {
        let error = error(&mut followed).await;
        assert_eq!(error.code(), Code::UnloggedRows);
        assert!(error.message().contains("p4"), "{error:?}");
        followed.crash();
    }
    let halting = std::mem::replace(
        &mut followed.source,
        source(&server, r"postgres.shop.\.*", &[OPTIONS, &[("partitions.attached-rows", "pass-over")]].concat()),
    );
    followed.open().await.unwrap();
    followed.until_now(&server).await.unwrap();
    assert_eq!(followed.sink.count("shop.p"), 3);
    followed.crash();
    followed.source = halting;
    server.sql("INSERT INTO shop.p VALUES (32, 1)").unwrap();
    followed.open().await.unwrap();
    followed.until_now(&server).await.unwrap();
    assert_eq!(followed.sink.count("shop.p"), 4, "what was passed over is known");
}

/// F57: a partition that is made, filled and attached by one transaction; one that was made as a partition has only rows that are
/// logged, and need not be readable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f57_a_partition_that_is_made_filled_and_attached_at_once_is_said() {
    for server in every() {
        server.sql(PARTITIONED).unwrap();
        server
            .sql("CREATE ROLE capture LOGIN REPLICATION; GRANT USAGE ON SCHEMA shop TO capture; GRANT SELECT ON shop.p TO capture; CREATE PUBLICATION ours FOR TABLE shop.p WITH (publish_via_partition_root = true)")
            .unwrap();
        let options = [OPTIONS, &[("username", "capture"), ("publication.name", "ours")]].concat();
        let mut weak = pipeline(&server, &options);
        let mut strong = pipeline(&server, &[OPTIONS, &[("slot.name", "t")]].concat());
        for pipeline in [&mut weak, &mut strong] {
            pipeline.until("caught-up").await.unwrap();
        }
        server
            .sql(
                "BEGIN; CREATE TABLE p2 PARTITION OF shop.p FOR VALUES FROM (10) TO (20); ALTER TABLE p2 REPLICA IDENTITY FULL; \
                 INSERT INTO shop.p VALUES (11, 1); COMMIT",
            )
            .unwrap();
        for pipeline in [&mut weak, &mut strong] {
            for _ in 0..3 {
                pipeline.until("idle").await.unwrap();
            }
            pipeline.until_now(&server).await.unwrap();
            assert_eq!(pipeline.sink.rows["shop.p"], rows_of(&server, "shop.p", 1));
        }
        server
            .sql(
                "BEGIN; CREATE TABLE p3 AS SELECT 21 AS id, 1 AS v; ALTER TABLE p3 ADD PRIMARY KEY (id), REPLICA IDENTITY FULL; \
                 ALTER TABLE shop.p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30); COMMIT",
            )
            .unwrap();
        assert_eq!(error(&mut strong).await.code(), Code::UnloggedRows);
    }
}

/// F57: TRUNCATE of one partition is in no message of the stream. TRUNCATE of the table is, and what is only written anew keeps its rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f57_a_partition_that_is_emptied_is_said() {
    for server in every() {
        server
            .sql(
                "CREATE SCHEMA shop; CREATE TABLE shop.p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); \
                 CREATE TABLE p1 PARTITION OF shop.p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF shop.p FOR VALUES FROM (10) TO (20); \
                 ALTER TABLE shop.p REPLICA IDENTITY FULL; ALTER TABLE p1 REPLICA IDENTITY FULL; ALTER TABLE p2 REPLICA IDENTITY FULL; \
                 INSERT INTO shop.p VALUES (1, 1), (11, 1), (12, 1)",
            )
            .unwrap();
        let mut pipeline = pipeline(&server, OPTIONS);
        pipeline.until("caught-up").await.unwrap();
        for sql in [
            "TRUNCATE shop.p",
            "INSERT INTO shop.p VALUES (2, 1), (13, 1), (14, 1)",
            "VACUUM FULL p2",
            "DELETE FROM p2 WHERE id = 13; TRUNCATE shop.p; INSERT INTO shop.p VALUES (3, 1), (15, 1)",
        ] {
            server.sql(sql).unwrap();
            for _ in 0..2 {
                pipeline.until("idle").await.unwrap();
            }
            pipeline.until_now(&server).await.unwrap();
            assert_eq!(pipeline.sink.rows["shop.p"], rows_of(&server, "shop.p", 1), "{sql}");
        }
        server.sql("TRUNCATE p1; INSERT INTO shop.p VALUES (16, 1)").unwrap();
        // While it runs, and at the next start.
        for _ in 0..2 {
            let error = error(&mut pipeline).await;
            assert_eq!(error.code(), Code::UnloggedRows, "{error:?}");
            assert!(error.message().contains("shop.p") && error.message().contains("public.p1"), "{error:?}");
            pipeline.crash();
        }
        let pass: Vec<_> = OPTIONS.iter().copied().chain([("partitions.attached-rows", "pass-over")]).collect();
        pipeline.source = source(&server, r"postgres.shop.\.*", &pass);
        pipeline.until("caught-up").await.unwrap();
        for _ in 0..2 {
            pipeline.until("idle").await.unwrap();
        }
        pipeline.until_now(&server).await.unwrap();
        assert_eq!(pipeline.sink.count("shop.p"), 3, "the row that was truncated stays");
        pipeline.source = source(&server, r"postgres.shop.\.*", OPTIONS);
        pipeline.crash();
        server.sql("TRUNCATE p2").unwrap();
        assert_eq!(error(&mut pipeline).await.code(), Code::UnloggedRows);
    }
}

/// F57: a partitioned table that is left out for a run and named again is read anew, whatever became of its partitions meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f57_a_table_that_was_left_out_is_read_anew_with_its_partitions() {
    let server = own();
    server
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); \
             ALTER TABLE p REPLICA IDENTITY FULL; CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); ALTER TABLE p1 REPLICA IDENTITY FULL; \
             CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); ALTER TABLE p2 REPLICA IDENTITY FULL; INSERT INTO p VALUES (1), (11)",
        )
        .unwrap();
    let options = [("heartbeat.interval", "100ms")];
    let tables = |names: &str| source_of("left out", server.port(), &format!("postgres.public.{names}"), &options);
    let mut pipeline = Pipeline::new(tables("[tp]"));
    pipeline.until("caught-up").await.unwrap();
    pipeline.crash();
    pipeline.source = tables("t");
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    pipeline.crash();
    server
        .sql(
            "TRUNCATE p1; CREATE TABLE p3 (id int PRIMARY KEY); INSERT INTO p3 VALUES (21); ALTER TABLE p3 REPLICA IDENTITY FULL; \
             ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30)",
        )
        .unwrap();
    let mut again = Pipeline::new(tables("[tp]"));
    again.position.clone_from(&pipeline.position);
    again.until("caught-up").await.unwrap();
    again.until("idle").await.unwrap();
    again.until_now(&server).await.unwrap();
    assert_eq!(again.sink.rows["public.p"], rows_of(&server, "p", 1));
}
