//! One address before a primary server and its standbys.

use super::harness::*;
use super::pooler::{replicates, startup};
use dujiang_core::Code;
use dujiang_scratch::{Postgres, PostgresOptions};
use dujiang_testkit::proxy::{Direction, Proxy};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// An address from which replication leads to one server, and so do the first ordinary sessions; all others lead to another one.
struct Balancer {
    port: u16,
    /// Ordinary sessions that are still led to the first server.
    first: Arc<AtomicUsize>,
}

impl Balancer {
    async fn of(one: &Postgres, other: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, first) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let (one, other, left) = (one.port(), other.port(), first.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let left = left.clone();
                tokio::spawn(async move {
                    let startup = startup(&mut client).await;
                    let is_first = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
                    let port = if replicates(&startup) || is_first().is_ok() { one } else { other };
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    if server.write_all(&startup).await.is_ok() {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, first }
    }
}

/// A standby that lags has not what the stream has passed: nothing is read from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv5_a_standby_behind_the_address_of_its_primary_is_not_read() {
    for kind in dujiang_scratch::PostgresKind::ALL {
        let mut primary = Postgres::start_with(&PostgresOptions::default().on(kind)).unwrap();
        primary
            .sql(
                "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL; \
                 INSERT INTO t SELECT n, 0 FROM generate_series(1, 60) n; CREATE PUBLICATION p FOR TABLE t",
            )
            .unwrap();
        // The standby hears nothing more, and does not notice it.
        let line = Proxy::to_port(primary.port()).unwrap();
        let conninfo = format!("primary_conninfo=host=127.0.0.1 port={} user=postgres", line.port());
        let standby = primary.standby(&[&conninfo, "hot_standby_feedback=on"]).unwrap();
        primary.sql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").unwrap();
        let end = end_of_log(&primary);
        while standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")).unwrap().trim() != "t" {}
        line.rules(Direction::ToClient, |rules| rules.stall = true);
        primary.sql("UPDATE t SET v = 1").unwrap();

        let address = Balancer::of(&primary, &standby).await;
        let options = [("slot.name", "s"), ("publication.name", "p"), ("scan.incremental.snapshot.chunk.size", "20")];
        let mut pipeline = Pipeline::new(source_at(address.port, "postgres.public.t", &options));
        // That which looks at the catalog is led to the primary server, those that read chunks are not.
        address.first.store(1, Ordering::Relaxed);
        let error = loop {
            match pipeline.step().await {
                Ok("caught-up") => {
                    pipeline.barrier().unwrap();
                    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&primary, "t", 1));
                    panic!("the standby is read");
                }
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Code::OtherServer, "{error:?}");
        assert!(error.help_text().unwrap().contains("point the source at one server"), "{error:?}");
        // All at the primary server: it goes on; and then the first of all at the standby.
        pipeline.crash();
        address.first.store(usize::MAX, Ordering::Relaxed);
        while pipeline.step().await.unwrap() != "batch" {}
        pipeline.barrier().unwrap();
        pipeline.crash();
        address.first.store(0, Ordering::Relaxed);
        let error = pipeline.open().await.err().unwrap();
        assert_eq!(error.code(), Code::OtherServer, "{error:?}");
        address.first.store(usize::MAX, Ordering::Relaxed);
        pipeline.until("caught-up").await.unwrap();
        assert_eq!(pipeline.sink.rows["public.t"], rows_of(&primary, "t", 1));
    }
}
