use super::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_read_and_then_followed() {
    for server in every() {
        a_table_is_read_and_then_followed_on(&server).await;
    }
}

async fn a_table_is_read_and_then_followed_on(server: &dujiang_scratch::Postgres) {
    server
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, v bigint, name text); ALTER TABLE t REPLICA IDENTITY FULL; \
             INSERT INTO t SELECT n, n * 10, 'row ' || n FROM generate_series(1, 1000) n",
        )
        .unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "100")];
    let mut pipeline = Pipeline::new(source(server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 1000);
    server
        .sql(
            "BEGIN; UPDATE t SET v = 0 WHERE id <= 10; DELETE FROM t WHERE id > 990; INSERT INTO t VALUES (5000, 1, NULL); \
             COMMIT; UPDATE t SET id = 6000 WHERE id = 1",
        )
        .unwrap();
    pipeline.until_now(server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(server, "t", 1));
    assert_eq!(pipeline.events, ["snapshot-done", "caught-up"]);
}

/// Keys whose order only the server knows, or none at all: the table is read as a whole under one snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_without_an_ordered_key_are_read_as_a_whole() {
    for server in every() {
        tables_without_an_ordered_key_are_read_as_a_whole_on(&server).await;
    }
}

async fn tables_without_an_ordered_key_are_read_as_a_whole_on(server: &dujiang_scratch::Postgres) {
    server
        .sql(
            "CREATE TABLE k (name text COLLATE \"en-x-icu\" PRIMARY KEY, v int); ALTER TABLE k REPLICA IDENTITY FULL; \
             CREATE TABLE f (k float8 PRIMARY KEY, v int); ALTER TABLE f REPLICA IDENTITY FULL; \
             INSERT INTO k SELECT 'ä' || n, 0 FROM generate_series(1, 20000) n; INSERT INTO f SELECT n, 0 FROM generate_series(1, 20000) n",
        )
        .unwrap();
    let mut pipeline = Pipeline::new(source(server, "postgres.public.[kf]", &[]));
    while pipeline.step().await.unwrap() != "batch" {}
    server.sql("UPDATE k SET v = 1 WHERE name LIKE '%7'; DELETE FROM f WHERE k < 100").unwrap();
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(server).await.unwrap();
    for table in ["k", "f"] {
        assert_eq!(pipeline.sink.rows[&format!("public.{table}")], rows_of(server, table, 1), "{table}");
    }
}

/// Rows of partitions are rows of the table (F29, F57); a condition of the publication holds for the snapshot as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f29_partitions_and_row_filters_hold_in_the_snapshot() {
    for server in every() {
        f29_partitions_and_row_filters_hold_in_the_snapshot_on(&server).await;
    }
}

async fn f29_partitions_and_row_filters_hold_in_the_snapshot_on(server: &dujiang_scratch::Postgres) {
    server
        .sql(
            "CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); \
             CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (500); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (500) TO (9000); \
             ALTER TABLE p REPLICA IDENTITY FULL; ALTER TABLE p1 REPLICA IDENTITY FULL; ALTER TABLE p2 REPLICA IDENTITY FULL; \
             INSERT INTO p SELECT n, n FROM generate_series(1, 1000) n; \
             CREATE PUBLICATION mine FOR TABLE p WHERE (id % 2 = 0) WITH (publish_via_partition_root = true)",
        )
        .unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "70"), ("publication.name", "mine")];
    let mut pipeline = Pipeline::new(source(server, "postgres.public.p", &options));
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(pipeline.sink.count("public.p"), 500);
    server.sql("UPDATE p SET v = -1 WHERE id % 10 = 0; INSERT INTO p VALUES (2001, 0), (2002, 0)").unwrap();
    pipeline.until_now(server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.p"], rows_of(server, "p WHERE id % 2 = 0", 1));
}

/// The publication's list of columns holds for the snapshot, the stream, and what a chunk is resumed by (F29); lists came with 15.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f29_column_lists_hold_in_the_snapshot_and_in_the_stream() {
    for server in every() {
        server
            .sql(
                "CREATE TABLE t (secret text, id int PRIMARY KEY, more json, v int); \
                 INSERT INTO t SELECT 'hidden', n, '{}', n FROM generate_series(1, 300) n; \
                 CREATE PUBLICATION mine FOR TABLE t (v, id)",
            )
            .unwrap();
        let options =
            [("scan.incremental.snapshot.chunk.size", "70"), ("publication.name", "mine"), ("replica-identity", "key")];
        let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
        for _ in 0..2 {
            while pipeline.step().await.unwrap() != "batch" {}
            pipeline.barrier().unwrap();
            pipeline.crash();
            server.sql("INSERT INTO t SELECT 'hidden', max(id) + 1, '{}', 0 FROM t").unwrap();
        }
        pipeline.until("caught-up").await.unwrap();
        server.sql("INSERT INTO t VALUES ('hidden', 1001, '{}', 0)").unwrap();
        pipeline.until_now(&server).await.unwrap();
        let expected = rows_of(&server, "(SELECT id, v FROM t) t", 1);
        assert_eq!(pipeline.sink.rows["public.t"], expected);
    }
}

/// Columns added, dropped and renamed; a TRUNCATE is told as what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_columns_and_truncate_end_the_epoch() {
    for server in every() {
        other_columns_and_truncate_end_the_epoch_on(&server).await;
    }
}

async fn other_columns_and_truncate_end_the_epoch_on(server: &dujiang_scratch::Postgres) {
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 1)").unwrap();
    let mut pipeline = Pipeline::new(source(server, "postgres.public.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server
        .sql("INSERT INTO t VALUES (2, 2); ALTER TABLE t ADD COLUMN w text; BEGIN; UPDATE t SET w = 'x' WHERE id = 2; ALTER TABLE t DROP COLUMN v; INSERT INTO t VALUES (3, 'y'); COMMIT")
        .unwrap();
    pipeline.until_now(server).await.unwrap();
    let columns: Vec<Vec<&str>> =
        pipeline.changes.iter().map(|c| c.after.arrow.fields().iter().map(|f| f.name().as_str()).collect()).collect();
    assert_eq!(columns, [vec!["id", "v", "w"], vec!["id", "w"]]);
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(server, "t", 1));
    server.sql("TRUNCATE t; INSERT INTO t VALUES (9, 'z')").unwrap();
    while pipeline.changes.len() < 3 {
        pipeline.step().await.unwrap();
    }
    assert_eq!(pipeline.changes[2].ddl, dujiang_core::schema::Ddl::Truncate);
    pipeline.sink.rows.clear();
    pipeline.until_now(server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(server, "t", 1));
}

/// No index has the order of bytes: the server sorts, and an interrupted snapshot goes on behind the last key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_in_the_order_of_a_language_are_read_in_pieces_and_resumed() {
    let server = own();
    server
        .sql(
            "CREATE TABLE k (name text COLLATE \"en-x-icu\", n int, v int, PRIMARY KEY (name, n)); ALTER TABLE k REPLICA IDENTITY FULL; \
             INSERT INTO k SELECT chr(192 + i % 90) || chr(65 + i % 50) || i % 997, i, 0 FROM generate_series(1, 20000) i",
        )
        .unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "700")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.k", &options));
    for round in 1..=6 {
        for _ in 0..3 {
            while pipeline.step().await.unwrap() != "batch" {}
        }
        pipeline.barrier().unwrap();
        pipeline.crash();
        server
            .sql(&format!(
                "UPDATE k SET v = v + 1 WHERE n % 13 = {round}; DELETE FROM k WHERE n % 101 = {round}; \
                 INSERT INTO k VALUES ('Ä' || {round}, -{round}, 1), ('a' || {round}, -{round}, 1); UPDATE k SET name = 'z' || name WHERE n = {round}"
            ))
            .unwrap();
    }
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.k"], rows_of(&server, "k", 2));
    let reads = pipeline.sink.images.iter().filter(|image| image.kind == dujiang_core::Kind::Read).count();
    assert!(reads < 20100, "{reads} rows were read");
}
