//! A sink that is keyed by another unique column than the source, while rows move between keys of the source.

use super::harness::*;
use super::load::client;
use dujiang_scratch::{Postgres, Random};
use dujiang_testkit::workload::{Moves, SHAPE};
use std::io::Write;

/// P02: no row is missing in the end that moved into a chunk while it is still to be deleted from where it was. Chunks that the
/// stream waits for come before their place, and what is told again then meets rows that are there, or are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_f22_a_sink_with_keys_of_its_own_follows_rows_that_move() {
    for server in every() {
        follows(&server, 3).await;
    }
}

async fn follows(server: &Postgres, seed: u64) {
    let mut moves = Moves::new("public.m", seed, 600, 2);
    let table = format!("CREATE TABLE m {SHAPE}; ALTER TABLE m REPLICA IDENTITY FULL;");
    server.sql(&format!("{table} {}", moves.first())).unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "5"), ("slot.name", "rekeyed")];
    let mut pipeline = Pipeline::new(source(server, "postgres.public.m", &options));
    pipeline.in_order = true;
    pipeline.sink.keyed_by = Some(vec![0]);
    pipeline.sink.told_again = true;
    moves.start(|| {
        let mut client = Feed::new(client(server, "public"));
        move |sql: &str| client.run(sql)
    });
    let mut random = Random::new(seed);
    while !pipeline.events.contains(&"caught-up") {
        pipeline.interrupted_step(&mut random).await.unwrap();
    }
    moves.stop();
    pipeline.open().await.unwrap();
    pipeline.until_now(server).await.unwrap();
    println!("{} images, {} crashes", pipeline.sink.images.len(), pipeline.crashes);
    assert_eq!(pipeline.sink.rows["public.m"], rows_of(server, "m", 1));
}

/// A psql that is fed, and waited for when no more comes.
struct Feed(std::process::Child);

impl Feed {
    fn new(client: std::process::Child) -> Self {
        Self(client)
    }

    fn run(&mut self, sql: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql}").unwrap();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
