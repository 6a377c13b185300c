//! A standby as the source (F62): its slot, its snapshots, which do not name transactions, and its promotion.

use super::harness::*;
use super::load;
use dujiang_core::Code;
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};
use std::sync::atomic::Ordering;
use std::time::Duration;

const FEEDBACK: [&str; 2] = ["primary_slot_name=standby", "hot_standby_feedback=on"];

/// A primary server with tables of `load`, and a standby of it.
fn pair(schema: &str, publication: &str) -> (Postgres, Postgres) {
    let mut server = Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap();
    load::create(&server, schema);
    server
        .sql(&format!(
            "SELECT pg_create_physical_replication_slot('standby', true); CREATE PUBLICATION {publication} FOR TABLES IN SCHEMA {schema}"
        ))
        .unwrap();
    let standby = server.standby(&FEEDBACK).unwrap();
    (server, standby)
}

/// A slot at a standby is made when the primary server logs which transactions are under way.
async fn opened(pipeline: &mut Pipeline, primary: &Postgres) {
    let opening = pipeline.open();
    tokio::pin!(opening);
    for _ in 0..600 {
        match tokio::time::timeout(Duration::from_millis(100), &mut opening).await {
            Ok(opened) => {
                opened.unwrap();
                return;
            }
            Err(_) => drop(primary.sql("SELECT pg_log_standby_snapshot()").unwrap()),
        }
    }
    panic!("the slot at the standby is not made");
}

/// Snapshot and stream meet exactly while the primary server is written to, with barriers and crashes at any moment; and the pipeline
/// goes on when the standby is promoted under it, without that a place of the new timeline is taken for one of the old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f62_a_standby_is_read_and_may_be_promoted() {
    let (server, standby) = pair("many", "p");
    let options = [
        ("scan.incremental.snapshot.chunk.size", "20"),
        ("publication.name", "p"),
        ("slot.name", "s"),
        ("heartbeat.interval", "200ms"),
    ];
    let mut pipeline = Pipeline::new(source(&standby, r"postgres.many.\.*", &options));
    opened(&mut pipeline, &server).await;
    let (stop, thread) = load::writer(&server, "many", 5, 300);
    let mut random = dujiang_scratch::Random::new(6);
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
        if random.chance(20) {
            pipeline.barrier().unwrap();
            if random.chance(30) {
                pipeline.crash();
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    load::compare(&server, "many", &pipeline.sink);
    pipeline.ack().await;
    // The stream is open while the standby is promoted.
    server.sql("INSERT INTO many.n VALUES (1000, 1)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    standby.sql("SELECT pg_promote()").unwrap();
    standby.sql("INSERT INTO many.n VALUES (1001, 1); UPDATE many.c SET v = v + 1").unwrap();
    pipeline.until_now(&standby).await.unwrap();
    load::compare(&standby, "many", &pipeline.sink);
    pipeline.crash();
    standby.sql("DELETE FROM many.n WHERE id = 1000").unwrap();
    pipeline.open().await.unwrap();
    pipeline.until_now(&standby).await.unwrap();
    load::compare(&standby, "many", &pipeline.sink);
    // What the old primary server writes from now on is of another line.
    pipeline.crash();
    pipeline.source = source(&server, r"postgres.many.\.*", &options);
    assert_eq!(pipeline.open().await.err().unwrap().code(), Code::OtherServer);
}

/// A standby that is promoted while its tables are read, and one that is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f62_a_standby_may_be_restarted_and_promoted_in_the_midst_of_a_snapshot() {
    let (server, mut standby) = pair("many", "p");
    let options = [("scan.incremental.snapshot.chunk.size", "5"), ("publication.name", "p"), ("slot.name", "s")];
    let mut pipeline = Pipeline::new(source(&standby, r"postgres.many.\.*", &options));
    opened(&mut pipeline, &server).await;
    for round in 0..90 {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
        server.sql(&format!("UPDATE many.n SET v = v + 1 WHERE id % 30 = {round} % 30; UPDATE many.s SET v = {round} WHERE v % 9 = 1")).unwrap();
        if round == 20 {
            standby.kill9();
            standby.restart().unwrap();
        }
    }
    assert!(!pipeline.events.contains(&"snapshot-done"), "in the midst");
    let end = end_of_log(&server);
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
    while standby.sql(&replayed).unwrap().trim() != "t" {}
    standby.sql("SELECT pg_promote()").unwrap();
    for round in 0..20 {
        standby
            .sql(&format!(
                "UPDATE many.n SET v = v + 1 WHERE id % 20 = {round}; UPDATE many.w SET v = {round} WHERE v % 9 = 1"
            ))
            .unwrap();
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
    }
    pipeline.until_now(&standby).await.unwrap();
    load::compare(&standby, "many", &pipeline.sink);
}

/// What is missing is told before anything is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f62_what_a_standby_lacks_is_told() {
    let mut server = own();
    server.sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL").unwrap();
    let old = server.standby(&["hot_standby_feedback=on"]).unwrap();
    let mut pipeline = Pipeline::new(source(&old, "postgres.public.t", &[]));
    let error = pipeline.open().await.err().unwrap();
    assert_eq!(error.code(), Code::ServerVersion);
    assert!(error.help_text().unwrap().contains("PostgreSQL 16"), "{error:?}");

    let mut server = Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap();
    server.sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL").unwrap();
    let standby = server.standby(&[]).unwrap();
    let mut pipeline = Pipeline::new(source(&standby, "postgres.public.t", &[]));
    let error = pipeline.open().await.err().unwrap();
    assert_eq!(error.code(), Code::ServerVersion);
    assert_eq!(error.remedies()[0].statement, "ALTER SYSTEM SET hot_standby_feedback = 'on'");
    standby.sql("ALTER SYSTEM SET hot_standby_feedback = 'on'").unwrap();
    standby.reload().unwrap();
    let codes: Vec<Code> = pipeline.source.survey().await.refusals.iter().map(|error| error.code()).collect();
    assert_eq!(codes, [Code::Publication], "`plan` tells it, too");
    let error = pipeline.open().await.err().unwrap();
    assert_eq!(error.code(), Code::Publication);
    let statement = error.help_text().unwrap().split_once("at the primary server: ").unwrap().1.to_owned();
    assert!(statement.starts_with("CREATE PUBLICATION"), "{error:?}");

    // An idle standby is read to its end.
    server.sql(&format!("INSERT INTO t VALUES (1), (2); {statement}")).unwrap();
    let end = end_of_log(&server);
    while standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")).unwrap().trim() != "t" {}
    let mut pipeline = Pipeline::new(source(&standby, "postgres.public.t", &[("scan.startup.mode", "snapshot")]));
    opened(&mut pipeline, &server).await;
    pipeline.until("end").await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// Who had written before the publication was made, and commits later, does not come whole in the stream: the slot is made behind it,
/// and with a slot that was there before, the snapshot waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f62_what_was_under_way_is_read_once() {
    let mut server = Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap();
    server.sql("SELECT pg_create_physical_replication_slot('standby', true)").unwrap();
    let standby = server.standby(&FEEDBACK).unwrap();
    for (t, slot_first) in [("t0", false), ("t1", true)] {
        server
            .sql(&format!("CREATE TABLE {t} (id int PRIMARY KEY, v int); ALTER TABLE {t} REPLICA IDENTITY FULL; INSERT INTO {t} VALUES (1, 1)"))
            .unwrap();
        if slot_first {
            let made = format!("SELECT pg_create_logical_replication_slot('{t}', 'pgoutput')");
            std::thread::scope(|scope| {
                let making = scope.spawn(|| standby.sql(&made).unwrap());
                while !making.is_finished() {
                    server.sql("SELECT pg_log_standby_snapshot()").unwrap();
                }
            });
        }
        server
            .sql(&format!(
                "BEGIN; INSERT INTO {t} VALUES (2, 2); PREPARE TRANSACTION 'x'; CREATE PUBLICATION {t} FOR TABLE {t}"
            ))
            .unwrap();
        let end = end_of_log(&server);
        while standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")).unwrap().trim() != "t" {}
        let options = [("slot.name", t), ("publication.name", t)];
        let mut pipeline = Pipeline::new(source(&standby, &format!("postgres.public.{t}"), &options));
        {
            let opening = pipeline.open();
            tokio::pin!(opening);
            let mut waited = 0;
            while tokio::time::timeout(Duration::from_millis(100), &mut opening)
                .await
                .map(|opened| opened.map(drop).unwrap())
                .is_err()
            {
                waited += 1;
                assert!(waited < 600, "it goes on");
                server.sql("SELECT pg_log_standby_snapshot()").unwrap();
                if waited == 5 {
                    server.sql(&format!("COMMIT PREPARED 'x'; UPDATE {t} SET v = v + 1")).unwrap();
                }
            }
            assert!(waited >= 5, "it waits: {t}");
        }
        pipeline.until("caught-up").await.unwrap();
        pipeline.until_now(&server).await.unwrap();
        assert_eq!(pipeline.sink.rows[&format!("public.{t}")], rows_of(&server, t, 1), "{t}");
    }
}
