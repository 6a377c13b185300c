//! Generated columns: those that the server does not log are in no snapshot either.

use super::failures::error;
use super::harness::*;
use super::joining::{OPTIONS, until_read};
use dujiang_core::Code;
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};
use dujiang_testkit::examination::{complaints, remedies, visit};

const TABLE: &str = "(id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED, w int)";

/// F55: snapshot, stream and a table that joins show the same columns, which are those that the server publishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f55_a_stored_generated_column_is_read_as_it_is_told() {
    for server in every() {
        let write = |table: &str| {
            format!(
                "UPDATE {table} SET v = v + 1 WHERE id < 20; DELETE FROM {table} WHERE id > 90; INSERT INTO {table} (id, v) VALUES (200, 7)"
            )
        };
        let make = |table: &str| {
            format!(
                "CREATE TABLE {table} {TABLE}; ALTER TABLE {table} REPLICA IDENTITY FULL; \
                 INSERT INTO {table} (id, v, w) SELECT n, n, -n FROM generate_series(1, 100) n; "
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

/// One that publishes generated columns.
fn newest() -> Postgres {
    Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap()
}

/// What the server has of ours.
fn made(server: &Postgres) -> String {
    server.sql("SELECT (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_replication_slots)").unwrap()
}

/// F55: the server refuses updates and deletes of a table with a virtual column whose old rows are to be logged whole, once it is
/// published. So it is not, neither at the start nor later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f55_a_virtual_column_is_refused_before_anything_is_made() {
    let server = newest();
    let make = |table: &str| {
        format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) VIRTUAL); \
             ALTER TABLE {table} REPLICA IDENTITY FULL; INSERT INTO {table} (id, v) SELECT n, n FROM generate_series(1, 10) n; "
        )
    };
    server.sql(&format!("CREATE SCHEMA shop; {}", make("shop.t"))).unwrap();
    let refused = error(&mut Pipeline::new(source(&server, r"postgres.shop.\.*", OPTIONS))).await;
    assert_eq!(refused.code(), Code::ReplicaIdentity);
    let help = refused.help_text().unwrap();
    assert!(help.contains("replica-identity: key") && help.contains("REPLICA IDENTITY DEFAULT"), "{refused:?}");
    assert_eq!(made(&server).trim(), "0\t0");
    server.sql("UPDATE shop.t SET v = v + 1 WHERE id = 1").unwrap();

    let keyed: Vec<_> = OPTIONS.iter().copied().chain([("replica-identity", "key")]).collect();
    let of_key = || source(&server, r"postgres.shop.\.*", &keyed);
    let examination = of_key().examine(&visit(0)).await;
    let told: Vec<_> = complaints(&examination).iter().map(|c| (c.0, c.1, c.2.code())).collect();
    assert_eq!(told, [("generated columns", true, Code::ReplicaIdentity)], "{examination:?}");
    remedies(&examination).iter().for_each(|statement| drop(server.sql(statement).unwrap()));
    let mut pipeline = Pipeline::new(of_key());
    pipeline.until("caught-up").await.unwrap();
    server.sql(&make("shop.later")).unwrap();
    for _ in 0..3 {
        pipeline.until("idle").await.unwrap();
    }
    server.sql("INSERT INTO shop.t (id, v) VALUES (20, 20); UPDATE shop.later SET v = 0").unwrap();
    assert!(!pipeline.sink.rows.contains_key("shop.later"));
    server.sql("ALTER TABLE shop.later REPLICA IDENTITY DEFAULT").unwrap();
    until_read(&mut pipeline, "shop.later").await;
    server.sql("INSERT INTO shop.later (id, v) VALUES (20, 20)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    for table in ["shop.t", "shop.later"] {
        let rows = rows_of(&server, &format!("(SELECT id, v FROM {table}) t"), 1);
        assert_eq!(pipeline.sink.rows[table], rows, "{table}");
    }
    server.sql("UPDATE shop.t SET v = v + 1; DELETE FROM shop.t WHERE id > 8; UPDATE shop.later SET v = 2; DELETE FROM shop.later").unwrap();
}

/// F55: a publication of somebody else that leaves stored columns out is told with the statement that mends it; a table that joins
/// waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f55_a_publication_without_stored_columns_is_told() {
    let server = newest();
    server
        .sql(&format!(
            "CREATE SCHEMA shop; CREATE TABLE shop.t {TABLE}; ALTER TABLE shop.t REPLICA IDENTITY FULL; \
             INSERT INTO shop.t (id, v) VALUES (1, 1), (2, 2); CREATE PUBLICATION mine FOR TABLE shop.t"
        ))
        .unwrap();
    server.sql("DELETE FROM shop.t WHERE id = 2").unwrap_err();
    let options: Vec<_> = OPTIONS.iter().copied().chain([("publication.name", "mine")]).collect();
    let of_mine = || source(&server, r"postgres.shop.\.*", &options);
    assert_eq!(error(&mut Pipeline::new(of_mine())).await.code(), Code::Publication);
    let examination = of_mine().examine(&visit(0)).await;
    let told: Vec<_> = complaints(&examination).iter().map(|c| (c.0, c.1, c.2.code())).collect();
    assert_eq!(told, [("publication", true, Code::Publication)], "{examination:?}");
    let planned = of_mine().survey().await.refusals;
    assert!(planned.iter().any(|refusal| refusal.code() == Code::Publication), "{planned:?}");
    remedies(&examination).iter().for_each(|statement| drop(server.sql(statement).unwrap()));
    let mut pipeline = Pipeline::new(of_mine());
    pipeline.until("caught-up").await.unwrap();
    server.sql("DELETE FROM shop.t WHERE id = 2; UPDATE shop.t SET v = 5").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["shop.t"], rows_of(&server, "shop.t", 1));
}
