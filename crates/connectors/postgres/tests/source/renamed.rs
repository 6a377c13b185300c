//! Captured tables that get other names.

use super::failures::{TABLE, error, followed};
use super::harness::*;
use dujiang_core::Code;

/// A table that was renamed and got its name back is the same table, with the rows that it got meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_has_its_name_back_is_gone_on_with() {
    for server in every() {
        server.sql(TABLE).unwrap();
        let mut pipeline = followed(&server).await;
        server.sql("ALTER TABLE t RENAME TO t_old; INSERT INTO t_old VALUES (2)").unwrap();
        let halted = error(&mut pipeline).await.code();
        assert!(matches!(halted, Code::TableGone | Code::SchemaChange), "{halted:?}");
        pipeline.crash();
        server
            .sql("ALTER TABLE t_old ADD COLUMN v int; INSERT INTO t_old VALUES (3, 3); ALTER TABLE t_old RENAME TO t")
            .unwrap();
        server.sql("INSERT INTO t VALUES (4, 4); UPDATE t SET v = 1 WHERE id = 1").unwrap();
        pipeline.open().await.unwrap();
        pipeline.until_now(&server).await.unwrap();
        assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    }
}
