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

/// Another table that took the name of a captured one was never published: the remedy that is told reads it from its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_took_the_name_of_another_is_read_anew() {
    for server in every() {
        server.sql(TABLE).unwrap();
        server.sql("CREATE TABLE u (id int PRIMARY KEY); ALTER TABLE u REPLICA IDENTITY FULL").unwrap();
        let options = [("heartbeat.interval", "100ms")];
        let tables = |names: &str| source_of("swapped", server.port(), &format!("postgres.public.{names}"), &options);
        let mut pipeline = Pipeline::new(tables("[tu]"));
        pipeline.until("caught-up").await.unwrap();
        pipeline.barrier().unwrap();
        server
            .sql(
                "BEGIN; ALTER TABLE t RENAME TO t_old; CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL;
                 COMMIT; INSERT INTO t VALUES (5, 5), (6, NULL)",
            )
            .unwrap();
        let halted = error(&mut pipeline).await;
        assert!(halted.help_text().unwrap().contains("for one run and name it again"), "{halted:?}");
        pipeline.crash();
        pipeline.source = tables("u");
        pipeline.open().await.unwrap();
        pipeline.until_now(&server).await.unwrap();
        pipeline.crash();
        let mut again = Pipeline::new(tables("[tu]"));
        again.position.clone_from(&pipeline.position);
        again.until("caught-up").await.unwrap();
        server.sql("UPDATE t SET v = 7 WHERE id = 6").unwrap();
        again.until_now(&server).await.unwrap();
        assert_eq!(again.sink.rows["public.t"], rows_of(&server, "t", 1));
    }
}
