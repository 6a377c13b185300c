use super::harness::{Pipeline, UntilNow, own, rows_of, source};

/// `inet` has no binary form that is read here, `int` has: the stream starts in binary and goes on as text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_column_that_is_not_read_in_binary_turns_the_stream_to_text() {
    let server = own();
    server
        .sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1)")
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO t VALUES (2); ALTER TABLE t ADD COLUMN a inet; INSERT INTO t VALUES (3, '10.0.0.1/8'), (4, NULL)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    server.sql("UPDATE t SET a = '::1' WHERE id = 1; DELETE FROM t WHERE id = 2").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    assert_eq!(pipeline.changes.len(), 1);
}

/// The catalog that is asked when the row is read says NOT NULL again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_null_of_the_past_makes_its_column_nullable() {
    let server = own();
    server
        .sql("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 1)")
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server
        .sql(
            "BEGIN; INSERT INTO t VALUES (2, 2); ALTER TABLE t ALTER v DROP NOT NULL; INSERT INTO t VALUES (3, NULL); COMMIT;
             UPDATE t SET v = 3 WHERE id = 3; ALTER TABLE t ALTER v SET NOT NULL; INSERT INTO t VALUES (4, 4)",
        )
        .unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    let nullable: Vec<bool> = pipeline.changes.iter().map(|c| c.after.arrow.field(1).is_nullable()).collect();
    assert_eq!(nullable, [true]);
}
