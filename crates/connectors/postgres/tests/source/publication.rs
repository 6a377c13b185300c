//! What happens to a publication beside the pipeline: changes that the server passes over come back in no way, and are said.

use super::failures::{TABLE, error};
use super::harness::*;
use dujiang_core::Code;
use dujiang_core::examine::{Outcome, Visit};
use dujiang_postgres::catalog::Imprint;
use dujiang_postgres::position::{self, Head};
use dujiang_scratch::Postgres;
use dujiang_testkit::examination::{outcome, visit};

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

const ALL: &str = "insert, update, delete, truncate";

/// What a publication may have left out for a while does not show in what it publishes afterwards.
fn changes(version: u32) -> Vec<String> {
    let mut changes = vec![
        "ALTER PUBLICATION p DROP TABLE t; INSERT INTO t VALUES (10); ALTER PUBLICATION p ADD TABLE t".to_owned(),
        format!("ALTER PUBLICATION p SET (publish = 'insert'); DELETE FROM t WHERE id = 10; ALTER PUBLICATION p SET (publish = '{ALL}')"),
        "ALTER PUBLICATION p SET (publish_via_partition_root = true); ALTER PUBLICATION p SET (publish_via_partition_root = false)".into(),
        format!("DROP PUBLICATION p; {MADE}"),
        "ALTER PUBLICATION p OWNER TO other".into(),
    ];
    if version >= 15 {
        changes.push("ALTER PUBLICATION p SET TABLE t WHERE (id > 5)".into());
        changes.push("ALTER PUBLICATION p SET TABLE t WHERE (id > 3)".into());
        changes.push("ALTER PUBLICATION p ADD TABLES IN SCHEMA public".into());
    }
    changes
}

/// A publication that was changed, and changed back, while the pipeline was off or between two looks halts it until it is passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_was_changed_and_changed_back_halts() {
    for server in every() {
        server.sql(&format!("{TABLE}; CREATE ROLE other SUPERUSER; {MADE}")).unwrap();
        let of = |on_change| {
            let options = [
                ("publication.name", "p"),
                ("slot.name", "s"),
                ("publication.changed", on_change),
                ("heartbeat.interval", "100ms"),
            ];
            source(&server, "postgres.public.t", &options)
        };
        let mut pipeline = Pipeline::new(of("halt"));
        pipeline.until("caught-up").await.unwrap();
        let version = server.version().split('.').next().unwrap().parse().unwrap();
        for change in changes(version) {
            println!("{change}");
            pipeline.crash();
            server.sql(&change).unwrap();
            let visit = Visit { position: pipeline.position.clone(), ..visit(0) };
            let examination = pipeline.source.examine(&visit).await;
            let Outcome::Finding(found) = outcome(&examination, "publication") else { panic!("{examination:?}") };
            assert_eq!(found.code(), Code::Publication);
            for _ in 0..2 {
                halts(&mut pipeline, "was changed, and may have left changes out").await;
                pipeline.crash();
            }
            // Whoever knows that nothing is missing says so, once.
            pipeline.source = of("pass-over");
            pipeline.until("caught-up").await.unwrap();
            pipeline.source = of("halt");
            pipeline.crash();
            pipeline.until("caught-up").await.unwrap();
        }
        server
            .sql("BEGIN; ALTER PUBLICATION p SET TABLE t WHERE (id > 7); ALTER PUBLICATION p SET TABLE t; COMMIT")
            .unwrap();
        halts(&mut pipeline, "was changed, and may have left changes out").await;
    }
}

/// What others publish, and what the server does to its catalog, changes nothing for captured tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_tables_may_come_and_go() {
    for server in every() {
        server.sql(&format!("{TABLE}; CREATE TABLE o (id int PRIMARY KEY); {MADE}")).unwrap();
        let options = [("publication.name", "p"), ("slot.name", "s"), ("heartbeat.interval", "100ms")];
        let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
        pipeline.until("caught-up").await.unwrap();
        for change in [
            "ALTER PUBLICATION p ADD TABLE o",
            "ALTER PUBLICATION p SET TABLE t",
            "ALTER PUBLICATION p SET TABLE o, t",
            "ALTER PUBLICATION p ADD TABLES IN SCHEMA public; ALTER PUBLICATION p DROP TABLES IN SCHEMA public",
            "COMMENT ON PUBLICATION p IS 'of ours'; ALTER TABLE t ADD CHECK (id < 1000)",
            "VACUUM FREEZE pg_publication; VACUUM FREEZE pg_publication_rel",
            "VACUUM FULL pg_publication; VACUUM FULL pg_publication_rel",
        ] {
            println!("{change}");
            server.sql(&format!("{change}; INSERT INTO t SELECT 1 + max(id) FROM t")).unwrap();
            for _ in 0..2 {
                pipeline.open().await.unwrap();
                pipeline.until_now(&server).await.unwrap();
                assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
                pipeline.crash();
            }
        }
        // A position of before this was kept is taken as it is, and then kept to.
        let (head, shapes) = position::decode(pipeline.position.as_ref().unwrap()).unwrap();
        assert!(!head.published.is_empty());
        let old = Head { published: Imprint::default(), ..head };
        let shapes = position::encode_shapes(&shapes.iter().collect::<Vec<_>>()).unwrap();
        pipeline.position = Some(position::encode(&old, &shapes).unwrap());
        pipeline.until("caught-up").await.unwrap();
        pipeline.crash();
        server.sql("ALTER PUBLICATION p DROP TABLE t; ALTER PUBLICATION p ADD TABLE t").unwrap();
        halts(&mut pipeline, "was changed, and may have left changes out").await;
    }
}

/// What a mended publication left out stays lost, and that is said as long as the pipeline goes on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_was_mended_still_asks_for_a_new_snapshot() {
    for server in every() {
        server.sql(&format!("{TABLE}; {MADE}")).unwrap();
        let mut pipeline = running(&server).await;
        pipeline.crash();
        server.sql("ALTER PUBLICATION p SET (publish = 'insert'); DELETE FROM t").unwrap();
        halts(&mut pipeline, "does not publish every kind of change").await;
        server.sql(&format!("ALTER PUBLICATION p SET (publish = '{ALL}')")).unwrap();
        halts(&mut pipeline, "was changed, and may have left changes out").await;
    }
}

/// A role whose transactions only read unless they say otherwise is no standby.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_only_reads_by_default_makes_its_publication() {
    let server = own();
    server
        .sql(&format!(
            "{TABLE}; CREATE ROLE capture SUPERUSER LOGIN REPLICATION; ALTER ROLE capture SET default_transaction_read_only = on"
        ))
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[("username", "capture")]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO t VALUES (2)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 2);
}

/// A start that cannot be leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_missing_is_told_before_a_publication_is_made() {
    let server = own();
    server.sql(TABLE).unwrap();
    let options = [("slot.name", "s"), ("scan.startup.mode", "committed-offset")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    assert_eq!(error(&mut pipeline).await.code(), Code::SlotLost);
    server.sql("SELECT pg_create_physical_replication_slot('s')").unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::SlotForeign);
    assert_eq!(server.sql("SELECT count(*) FROM pg_publication").unwrap().trim(), "0");
}
