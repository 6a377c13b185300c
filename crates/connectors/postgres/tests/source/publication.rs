//! What happens to a publication beside the pipeline: changes that the server passes over come back in no way, and are said.

use super::failures::{TABLE, error};
use super::harness::*;
use dujiang_core::Code;
use dujiang_scratch::Postgres;

const MADE: &str = "CREATE PUBLICATION p FOR TABLE t";

/// It is looked at when it starts, and then not again for long.
async fn running(server: &Postgres) -> Pipeline {
    let options = [("publication.name", "p"), ("slot.name", "s"), ("heartbeat.interval", "60s")];
    let mut pipeline = Pipeline::new(source(server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    pipeline
}

async fn halts(pipeline: &mut Pipeline, why: &str) {
    let error = error(pipeline).await;
    assert_eq!(error.code(), Code::Publication, "{error:?}");
    assert!(error.message().contains(why), "{error:?}");
    assert!(error.help_text().unwrap().contains("new snapshot"), "{error:?}");
}

/// 18 only warns, in its own language, and goes on without the changes; those before refuse to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_is_made_anew_while_it_is_read_halts() {
    for server in every() {
        server.sql(&format!("{TABLE}; {MADE}; ALTER ROLE postgres SET client_min_messages = 'error'")).unwrap();
        let mut pipeline = running(&server).await;
        server.sql(&format!("DROP PUBLICATION p; INSERT INTO t VALUES (2); {MADE}; INSERT INTO t VALUES (3)")).unwrap();
        halts(&mut pipeline, "was not there when changes were written").await;
        assert!(!pipeline.has("public.t", "3"));
    }
}

/// What a slot holds from before the publication was made is not passed over either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_from_before_its_publication_halts() {
    for server in every() {
        server
            .sql(&format!(
                "{TABLE}; SELECT pg_create_logical_replication_slot('s', 'pgoutput'); INSERT INTO t VALUES (2)"
            ))
            .unwrap();
        let options = [("slot.name", "s"), ("scan.startup.mode", "committed-offset")];
        let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
        halts(&mut pipeline, "was not there when changes were written").await;
    }
}
