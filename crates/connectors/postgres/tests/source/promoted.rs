//! A standby that is promoted while a snapshot is read, and lacks what chunks of it show (INV-5).

use super::harness::*;
use super::pooler::{replicates, startup};
use dujiang_core::Code;
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is in no row at first.
const MARK: &str = "hold this back";
/// The end of an answer inside a transaction.
const READY: &[u8] = b"Z\0\0\0\x05T";
const OPTIONS: [(&str, &str); 3] =
    [("slot.name", "s"), ("heartbeat.interval", "100ms"), ("scan.incremental.snapshot.chunk.size", "20")];

/// One address before a server at a time. An answer of an ordinary session in which [`MARK`] is, is kept until it is let go.
struct Address {
    port: u16,
    server: Arc<AtomicU16>,
    let_go: watch::Sender<bool>,
    kept: watch::Receiver<bool>,
}

impl Address {
    async fn of(server: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = Arc::new(AtomicU16::new(server.port()));
        let ((let_go, gate), (keeps, kept)) = (watch::channel(false), watch::channel(false));
        let server = behind.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (port, gate, keeps) = (server.load(Ordering::Relaxed), gate.clone(), keeps.clone());
                tokio::spawn(async move {
                    // Closed at once while nobody listens there.
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        carry(client, server, gate, keeps).await;
                    }
                });
            }
        });
        Self { port, server: behind, let_go, kept }
    }
}

/// Both sides are dropped when one has ended.
async fn carry(mut client: TcpStream, server: TcpStream, gate: watch::Receiver<bool>, keeps: watch::Sender<bool>) {
    let startup = startup(&mut client).await;
    let ((mut asks, answers), (from, mut to)) = (client.into_split(), server.into_split());
    if to.write_all(&startup).await.is_err() {
        return;
    }
    let gate = (!replicates(&startup)).then_some(gate);
    tokio::spawn(async move { tokio::io::copy(&mut asks, &mut to).await });
    answer(from, answers, gate, keeps).await;
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    gate: Option<watch::Receiver<bool>>,
    keeps: watch::Sender<bool>,
) {
    let mut answer = Vec::new();
    loop {
        let ended = matches!(from.read_buf(&mut answer).await, Ok(0) | Err(_));
        if let Some(mut gate) = gate.clone()
            && answer.windows(MARK.len()).any(|bytes| bytes == MARK.as_bytes())
            && !*gate.borrow()
        {
            if !answer.ends_with(READY) && !ended {
                continue;
            }
            keeps.send_replace(true);
            let _ = gate.wait_for(|open| *open).await;
        }
        if to.write_all(&answer).await.is_err() || ended {
            return;
        }
        answer.clear();
    }
}

/// A primary server, a standby of it that has the slot, and a pipeline that has handed out one chunk, which the standby has, too. The
/// stream tells of nothing that the standby lacks; chunks do.
async fn at_a_snapshot() -> (Postgres, Postgres, Address, Pipeline) {
    let mut primary = Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap();
    primary
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL; \
             INSERT INTO t SELECT n, 'as it was' FROM generate_series(1, 60) n; \
             SELECT pg_create_physical_replication_slot('standby', true)",
        )
        .unwrap();
    let standby = primary
        .standby(&["primary_slot_name=standby", "hot_standby_feedback=on", "sync_replication_slots=on"])
        .unwrap();
    primary
        .sql(
            "ALTER SYSTEM SET synchronized_standby_slots = 'standby'; \
             SELECT pg_create_logical_replication_slot('s', 'pgoutput', false, false, true)",
        )
        .unwrap();
    primary.reload().unwrap();
    let synced = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 's' AND synced AND NOT temporary";
    while standby.sql(synced).unwrap().trim() != "1" {
        primary.sql("CHECKPOINT; SELECT pg_replication_slot_advance('s', pg_current_wal_flush_lsn())").unwrap();
    }
    let address = Address::of(&primary).await;
    let mut pipeline = Pipeline::new(source_at(address.port, "postgres.public.t", &OPTIONS));
    while pipeline.step().await.unwrap() != "batch" {}
    pipeline.barrier().unwrap();
    pipeline.crash();
    caught_up(&standby, &primary);
    (primary, standby, address, pipeline)
}

/// Waits until a standby has all that is logged by now.
fn caught_up(standby: &Postgres, primary: &Postgres) {
    let end = end_of_log(primary);
    while standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")).unwrap().trim() != "t" {}
}

/// The primary server is gone, and the standby stands behind its address, without what was written since it was stopped.
async fn fail_over(primary: &mut Postgres, standby: &mut Postgres, address: &Address) {
    primary.kill9();
    standby.restart().unwrap();
    standby.sql("SELECT pg_promote()").unwrap();
    address.server.store(standby.port(), Ordering::Relaxed);
}

/// The pipeline halts, and says why.
async fn is_refused(pipeline: &mut Pipeline) {
    let error = loop {
        match pipeline.step().await {
            Ok(event) => assert_ne!(event, "caught-up", "the standby is followed"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::OtherServer, "{error:?}");
    assert!(error.message().contains("before it had all that the snapshot has read"), "{error:?}");
}

/// Chunks that were handed out, or are read, are looked at when the stream comes to the standby; and by a pipeline that is started then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv5_a_standby_that_lacks_what_chunks_show_is_refused_at_the_reconnection() {
    let (mut primary, mut standby, address, mut pipeline) = at_a_snapshot().await;
    standby.stop();
    primary.sql("UPDATE t SET v = 'lost' WHERE id = 30").unwrap();
    while pipeline.sink.images.iter().all(|image| image.cells[1] != "lost") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    fail_over(&mut primary, &mut standby, &address).await;
    is_refused(&mut pipeline).await;
    pipeline.crash();
    is_refused(&mut pipeline).await;
}

/// A chunk that was on its way from the old primary server when the stream came to the standby.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv5_a_chunk_that_shows_what_a_promoted_standby_lacks_is_refused() {
    let (mut primary, mut standby, mut address, mut pipeline) = at_a_snapshot().await;
    standby.stop();
    primary.sql(&format!("UPDATE t SET v = '{MARK}' WHERE id = 30")).unwrap();
    pipeline.open().await.unwrap();
    while !*address.kept.borrow_and_update() {
        pipeline.step().await.unwrap();
    }
    fail_over(&mut primary, &mut standby, &address).await;
    let followed = "SELECT active FROM pg_replication_slots WHERE slot_name = 's'";
    while standby.sql(followed).unwrap().trim() != "t" {
        pipeline.step().await.unwrap();
    }
    // The reader, too, knows where it is by now.
    while pipeline.step().await.unwrap() != "idle" {}
    address.let_go.send_replace(true);
    is_refused(&mut pipeline).await;
}
