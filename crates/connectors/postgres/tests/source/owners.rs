//! A slot that is there may be somebody else's.

use super::failures::TABLE;
use super::harness::*;
use dujiang_core::examine::Outcome;
use dujiang_core::{Code, Error};
use dujiang_scratch::Postgres;
use dujiang_testkit::examination::{complaints, outcome, visit};

const CONSUME: &str = "SELECT count(*) FROM pg_logical_slot_get_binary_changes('theirs', NULL, NULL, 'proto_version', '1', 'publication_names', 'theirs')";

/// The start is refused, as doctor has said, and nothing was touched.
async fn refused(server: &Postgres, slot: &str) -> Error {
    let place = confirmed(server, slot);
    let mut pipeline = Pipeline::new(source(server, "postgres.public.t", &[("slot.name", slot)]));
    let examination = pipeline.source.examine(&visit(0)).await;
    let told: Vec<_> = complaints(&examination).iter().map(|c| (c.0, c.1, c.2.code())).collect();
    assert_eq!(told, [("slot", true, Code::SlotForeign)], "{examination:?}");
    let error = pipeline.open().await.map(drop).unwrap_err();
    assert_eq!(error.code(), Code::SlotForeign, "{error:?}");
    assert_eq!(confirmed(server, slot), place);
    assert_eq!(server.sql("SELECT pubname FROM pg_publication").unwrap().trim(), "theirs");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_others_read_is_not_moved() {
    for server in every() {
        server.sql(&format!("{TABLE}; CREATE PUBLICATION theirs FOR TABLE t")).unwrap();
        server
            .sql("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput'); INSERT INTO t VALUES (2)")
            .unwrap();
        server.sql(CONSUME).unwrap();
        server.sql("INSERT INTO t VALUES (3)").unwrap();
        let error = refused(&server, "theirs").await;
        assert_eq!(error.remedies()[0].statement, "SELECT pg_drop_replication_slot('theirs')");

        server.sql("SELECT pg_create_logical_replication_slot('subscribed', 'pgoutput')").unwrap();
        server.sql("CREATE DATABASE other").unwrap();
        let subscribe = "CREATE SUBSCRIPTION sub CONNECTION 'dbname=postgres' PUBLICATION theirs WITH (connect = false, slot_name = 'subscribed')";
        server.sql_in("other", subscribe).unwrap();
        let error = refused(&server, "subscribed").await;
        assert!(error.facts().iter().any(|(_, text)| text == "sub of the database other"), "{error:?}");
        server.sql_in("other", "ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub").unwrap();

        // Nobody has read it: it may have been made for this pipeline, and doctor says what becomes of it.
        let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[("slot.name", "subscribed")]));
        let examination = pipeline.source.examine(&visit(0)).await;
        let Outcome::Ok(text) = outcome(&examination, "slot") else { panic!("{examination:?}") };
        assert!(text.contains("to the end of the log"), "{text}");
        pipeline.until("caught-up").await.unwrap();
        // A start that came to no checkpoint has read it, and the next one may go on with it.
        server.sql("INSERT INTO t VALUES (4)").unwrap();
        pipeline.until_now(&server).await.unwrap();
        drop(pipeline);
        let mut again = Pipeline::new(source(&server, "postgres.public.t", &[("slot.name", "subscribed")]));
        again.until("caught-up").await.unwrap();
        assert_eq!(again.sink.rows["public.t"], rows_of(&server, "t", 1));
    }
}

/// What is told at the end of a bounded run can be run, and leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_remains_after_a_bounded_run_is_dropped_by_what_is_told() {
    let server = own();
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[("scan.startup.mode", "snapshot")]));
    pipeline.until("end").await.unwrap();
    let told = pipeline.source.remains().unwrap();
    pipeline.crash();
    while server.sql("SELECT count(*) FROM pg_replication_slots WHERE active").unwrap().trim() != "0" {}
    server.sql(told.split_once(", run ").unwrap().1).unwrap();
    assert_eq!(
        server
            .sql("SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)")
            .unwrap()
            .trim(),
        "0"
    );
}
