//! Generated columns: those that the server does not log are in no snapshot either.

use super::harness::*;
use super::joining::{OPTIONS, until_read};

const TABLE: &str = "(id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED, w int)";

/// F55: snapshot, stream and a table that joins show the same columns, which are those that the server publishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f55_a_stored_generated_column_is_read_as_it_is_told() {
    for server in every() {
        let write = |table: &str| {
            format!(
                "UPDATE {table} SET v = v + 1 WHERE id < 20; DELETE FROM {table} WHERE id > 90; INSERT INTO {table} VALUES (200, 7)"
            )
        };
        let make = |table: &str| {
            format!(
                "CREATE TABLE {table} {TABLE}; ALTER TABLE {table} REPLICA IDENTITY FULL; \
                 INSERT INTO {table} SELECT n, n, DEFAULT, -n FROM generate_series(1, 100) n; "
            )
        };
        server.sql(&format!("CREATE SCHEMA shop; {}", make("shop.t"))).unwrap();
        let mut pipeline = Pipeline::new(source(&server, r"postgres.shop.\.*", OPTIONS));
        pipeline.until("caught-up").await.unwrap();
        server.sql(&write("shop.t")).unwrap();
        server.sql(&make("shop.later")).unwrap();
        until_read(&mut pipeline, "shop.later").await;
        server.sql(&write("shop.later")).unwrap();
        pipeline.until_now(&server).await.unwrap();
        // PostgreSQL publishes them from 18 on.
        let columns = if server.version().starts_with("18") { "*" } else { "id, v, w" };
        for table in ["shop.t", "shop.later"] {
            let rows = rows_of(&server, &format!("(SELECT {columns} FROM {table}) t"), 1);
            assert_eq!(pipeline.sink.rows[table], rows, "{table}");
        }
    }
}
