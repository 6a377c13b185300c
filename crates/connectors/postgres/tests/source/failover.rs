//! Standbys and their promotion: INV-5 and INV-6 on real timelines.

use super::failures::{TABLE, error, followed};
use super::harness::*;
use dujiang_core::Code;
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};

/// Waits until a standby has all that is logged by now.
fn caught_up(standby: &Postgres, primary: &Postgres) {
    let end = end_of_log(primary);
    while standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")).unwrap().trim() != "t" {}
}

/// F62, F35: since 17 the slot is kept at the standby, too; the pipeline goes on there after the promotion. The primary server of before
/// is refused from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f62_a_promoted_standby_with_the_slot_is_followed_and_the_old_primary_refused() {
    let options = PostgresOptions::default().on(PostgresKind::Newest);
    let mut server = Postgres::start_with(&options).unwrap();
    server.sql(&format!("{TABLE}; SELECT pg_create_physical_replication_slot('standby', true)")).unwrap();
    let standby =
        server.standby(&["primary_slot_name=standby", "hot_standby_feedback=on", "sync_replication_slots=on"]).unwrap();
    let options = [("slot.name", "s"), ("heartbeat.interval", "100ms")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(server.sql("SELECT failover FROM pg_replication_slots WHERE slot_name = 's'").unwrap().trim(), "t");
    let synced = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 's' AND synced AND NOT temporary";
    for round in 2.. {
        // The standby's copy of the slot is complete once the slot has moved past the place where the copy began.
        server.sql(&format!("INSERT INTO t VALUES ({round}); CHECKPOINT")).unwrap();
        pipeline.until_now(&server).await.unwrap();
        pipeline.ack().await;
        caught_up(&standby, &server);
        if standby.sql(synced).unwrap().trim() == "1" {
            break;
        }
    }
    pipeline.crash();
    caught_up(&standby, &server);
    standby.sql("SELECT pg_promote()").unwrap();
    standby.sql("INSERT INTO t VALUES (-1), (-2)").unwrap();
    pipeline.source = source(&standby, "postgres.public.t", &options);
    pipeline.open().await.unwrap();
    pipeline.until_now(&standby).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&standby, "t", 1));
    pipeline.crash();
    pipeline.source = source(&server, "postgres.public.t", &options);
    let error = error(&mut pipeline).await;
    assert_eq!(error.code(), Code::OtherServer);
    assert!(error.help_text().unwrap().contains("left behind by a promotion"), "{error:?}");
}

/// Before 17 a slot does not follow: what was written meanwhile cannot be read at the new server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_without_the_slot_halts() {
    let mut server = own();
    server.sql(TABLE).unwrap();
    let standby = server.standby(&[]).unwrap();
    let mut pipeline = followed(&server).await;
    caught_up(&standby, &server);
    standby.sql("SELECT pg_promote()").unwrap();
    pipeline.source = source(&standby, "postgres.public.t", &[("slot.name", "s")]);
    let error = error(&mut pipeline).await;
    assert_eq!(error.code(), Code::SlotLost);
    assert!(error.help_text().unwrap().contains("failover"), "{error:?}");
}

/// The standby was promoted before it had all that was delivered: those rows are no more at the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_was_behind_when_it_was_promoted_halts() {
    let mut server = own();
    server.sql(TABLE).unwrap();
    let mut standby = server.standby(&[]).unwrap();
    caught_up(&standby, &server);
    standby.stop();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[("slot.name", "s")]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO t SELECT generate_series(2, 5000)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    pipeline.crash();
    standby.restart_with(&[]).unwrap();
    standby.sql("SELECT pg_promote()").unwrap();
    pipeline.source = source(&standby, "postgres.public.t", &[("slot.name", "s")]);
    let error = error(&mut pipeline).await;
    assert_eq!(error.code(), Code::OtherServer);
    assert!(error.facts().iter().any(|(name, _)| *name == "the old timeline was left at"), "{error:?}");
}
