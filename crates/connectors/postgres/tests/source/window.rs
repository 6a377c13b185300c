use super::harness::*;
use dujiang_scratch::Postgres;
use std::time::Duration;

/// The log moves before rows become visible: a commit that waits for a standby is in the log and in no snapshot. The snapshot
/// goes on meanwhile, in chunks before, at and behind the row; then the commit is let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_commit_that_waits_for_a_standby_is_in_exactly_one_part() {
    let server = own();
    server
        .sql("CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t SELECT n, 0 FROM generate_series(1, 4000) n")
        .unwrap();
    for round in 1..=3 {
        let slot = format!("round_{round}");
        let options = [("scan.incremental.snapshot.chunk.size", "100"), ("slot.name", &*slot)];
        let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
        pipeline.open().await.unwrap();
        for _ in 0..round * 5 {
            pipeline.step().await.unwrap();
        }
        let waiting = WaitingCommits::on(&server);
        let before = end(&server);
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                server.sql(&format!("UPDATE t SET v = {round} WHERE id IN (1, 700, 2500, 3999)")).unwrap();
            });
            while end(&server) == before {
                std::thread::yield_now();
            }
            let stepping = async {
                // Now it is in the log only; the stream comes to it while chunks are read.
                let until = std::time::Instant::now() + Duration::from_millis(700);
                while std::time::Instant::now() < until && !pipeline.events.contains(&"snapshot-done") {
                    if let Ok(step) = tokio::time::timeout(Duration::from_millis(100), pipeline.step()).await {
                        step.unwrap();
                    }
                }
                drop(waiting);
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(stepping));
            writing.join().unwrap();
        });
        while !pipeline.events.contains(&"caught-up") {
            pipeline.step().await.unwrap();
        }
        pipeline.until_now(&server).await.unwrap();
        assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1), "round {round}");
    }
}

/// Commits wait for a standby that does not exist, until this is dropped.
pub struct WaitingCommits<'s>(&'s Postgres);

impl<'s> WaitingCommits<'s> {
    pub fn on(server: &'s Postgres) -> Self {
        wait_for(server, "nobody");
        Self(server)
    }
}

impl Drop for WaitingCommits<'_> {
    fn drop(&mut self) {
        wait_for(self.0, "");
    }
}

fn wait_for(server: &Postgres, names: &str) {
    server.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).unwrap();
    server.sql("SELECT pg_reload_conf()").unwrap();
    // The setting reaches a new session at once, and those that wait when the checkpointer has told them.
    while server.sql("SHOW synchronous_standby_names").unwrap().trim() != names {}
}

pub fn end(server: &Postgres) -> String {
    server.sql("SELECT pg_current_wal_flush_lsn()").unwrap()
}
