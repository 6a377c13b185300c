//! Tables that inherit from others: the log tells each one's rows under its own name.

use super::harness::*;
use super::joining::OPTIONS;
use dujiang_scratch::Postgres;

async fn read_and_followed(server: &Postgres, tables: &str, captured: &[&str]) {
    let mut pipeline = Pipeline::new(source_of(tables, server.port(), tables, &OPTIONS[..1]));
    pipeline.until("caught-up").await.unwrap();
    server
        .sql("UPDATE par SET v = v + 1; DELETE FROM par WHERE id % 10 = 3; INSERT INTO kid SELECT max(id) + 1, 1, 1 FROM kid; INSERT INTO par SELECT max(id) + 1, 1 FROM ONLY par")
        .unwrap();
    pipeline.until_now(server).await.unwrap();
    for table in captured {
        let rows = rows_of(server, &format!("ONLY {table}"), 1);
        assert_eq!(pipeline.sink.rows[&format!("public.{table}")], rows, "{tables}: {table}");
    }
    assert_eq!(pipeline.sink.rows.len(), captured.len());
}

/// Rows of a table that inherits are none of the table it inherits from, neither in the snapshot nor in the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_tables_that_inherit_are_told_once_and_under_their_own_name() {
    for server in every() {
        server
            .sql(
                "CREATE TABLE par (id int PRIMARY KEY, v int); CREATE TABLE kid (w int, PRIMARY KEY (id)) INHERITS (par); \
                 ALTER TABLE par REPLICA IDENTITY FULL; ALTER TABLE kid REPLICA IDENTITY FULL; \
                 INSERT INTO par SELECT n, 0 FROM generate_series(1, 40) n; INSERT INTO kid SELECT n, 0, n FROM generate_series(30, 90) n",
            )
            .unwrap();
        read_and_followed(&server, "postgres.public.par", &["par"]).await;
        read_and_followed(&server, "postgres.public.(par|kid)", &["par", "kid"]).await;
    }
}
