//! Keys that are changed under a pipeline that tells rows apart by them.

use super::failures::error;
use super::harness::*;
use super::joining::OPTIONS;
use dujiang_core::Code;

/// Rows could be merged by what is no key any more: that halts, also at a start. The same key by another index, or under another name,
/// is no matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_gone_or_another_halts() {
    for server in every() {
        server
            .sql(
                "CREATE TABLE t (k int NOT NULL, id int CONSTRAINT pk PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; \
                 INSERT INTO t VALUES (7, 1), (8, 2)",
            )
            .unwrap();
        let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", OPTIONS));
        pipeline.until("caught-up").await.unwrap();
        server
            .sql(
                "CREATE UNIQUE INDEX other ON t (id); ALTER TABLE t DROP CONSTRAINT pk; \
                 ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY USING INDEX other; ALTER TABLE t RENAME id TO number; INSERT INTO t VALUES (9, 3)",
            )
            .unwrap();
        for _ in 0..2 {
            pipeline.until("idle").await.unwrap();
        }
        pipeline.until_now(&server).await.unwrap();
        server.sql("ALTER TABLE t DROP CONSTRAINT pk; ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY (k)").unwrap();
        for _ in 0..2 {
            let halted = error(&mut pipeline).await;
            assert_eq!(halted.code(), Code::SchemaChange, "{halted:?}");
            assert!(halted.message().contains("public.t"), "{halted:?}");
            pipeline.crash();
        }
        server
            .sql("ALTER TABLE t DROP CONSTRAINT pk; ALTER TABLE t ADD PRIMARY KEY (number, k), ADD UNIQUE (number); INSERT INTO t VALUES (10, 4)")
            .unwrap();
        pipeline.open().await.unwrap();
        pipeline.until_now(&server).await.unwrap();
        assert_eq!(pipeline.sink.count("public.t"), 4);
    }
}
