//! Snapshots as of a number, behind a log that lags.

use super::stand_in::{Manners, StandIn};
use super::{MARKER_TABLE, MARKERS, build};
use crate::source::harness::{Pipeline, assert_same, rows_of};
use crate::source::load;
use crate::support::own;
use dujiang_core::Code;
use dujiang_scratch::{Kind, Options, Random, Server};
use std::time::Duration;

async fn tenant(create: impl FnOnce(&Server), lag: Duration) -> (Server, StandIn) {
    let server = own(&Options::default().on(Kind::Mysql57).arg("--binlog-row-event-max-size=256"));
    server.sql(MARKER_TABLE).unwrap();
    create(&server);
    let stand_in = StandIn::before(&server, Manners { lag, ..Manners::default() }).await;
    (server, stand_in)
}

fn pipeline(service: &StandIn, chunk: &str) -> Pipeline {
    let options = [MARKERS, ("scan.incremental.snapshot.chunk.size", chunk)];
    Pipeline::new(build(service.port, "root", &options).unwrap())
}

/// P01, P39: a snapshot in chunks beside a stream under load, with barriers and crashes at random, while the log lags. The load
/// keeps pace with the stream, so that chunks and changes meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_snapshot_beside_load_is_exact_behind_a_lagging_log() {
    let (server, service) = tenant(|server| load::create(server, "shop"), Duration::from_millis(100)).await;
    let mut session = server.session().unwrap();
    session.run("USE shop").unwrap();
    let mut pipeline = pipeline(&service, "70");
    let (mut random, mut changes) = (Random::new(4), Random::new(3));
    let (mut caught_up, mut rounds) = (false, 0);
    while !caught_up || rounds < 60 {
        (0..3).for_each(|_| load::transaction(&mut session, &mut changes));
        caught_up |= pipeline.step().await.unwrap() == "caught-up";
        rounds += 1;
        if random.chance(30) {
            pipeline.barrier().unwrap();
        }
        if random.chance(6) && pipeline.crashes < 5 {
            pipeline.crash();
        }
    }
    session.run("INSERT INTO shop.n VALUES (100000, 0, NULL)").unwrap();
    while !pipeline.has("shop.n", "100000") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    load::compare(&server, "shop", &pipeline.sink);
    assert!(!pipeline.sink.rows.contains_key("ops.marker"));
    assert_eq!(service.strange(), Vec::<u8>::new());
}

const ORDERS: &str = "CREATE DATABASE shop; CREATE TABLE shop.orders (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT); \
                      INSERT INTO shop.orders VALUES ('A', 1), ('b', 1), ('C', 1), ('d', 1)";

const CHANGES: &str = "INSERT INTO shop.orders VALUES ('a2', 2), ('z', 2); UPDATE shop.orders SET v = 5 WHERE k = 'B'; \
                       DELETE FROM shop.orders WHERE k = 'c'; UPDATE shop.orders SET k = 'B9' WHERE k = 'd'; \
                       DELETE FROM shop.orders WHERE k = 'z'; INSERT INTO shop.orders VALUES ('Z', 3)";

async fn until_row_is_there(pipeline: &mut Pipeline, server: &Server) {
    server.sql("INSERT INTO shop.orders (k, v) VALUES ('zz', 9)").unwrap();
    while !pipeline.has("shop.orders", "zz") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
}

/// What is committed between the snapshot and the marker is in the chunk, and what the log says of it is not told again:
/// neither an insert, nor an update, a delete, or a change of the key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_after_the_snapshot_are_in_the_chunk() {
    let (server, service) = tenant(|server| drop(server.sql(ORDERS).unwrap()), Duration::from_millis(200)).await;
    service.afterwards(CHANGES);
    let mut pipeline = pipeline(&service, "2");
    pipeline.until("snapshot-done").await.unwrap();
    let read = pipeline.sink.images.len();
    assert_eq!(pipeline.sink.rows["shop.orders"], rows_of(&server, "shop.orders", 1));
    until_row_is_there(&mut pipeline, &server).await;
    assert_eq!(pipeline.sink.images.len(), read + 1, "{:?}", pipeline.sink.images);
}

/// What is in the snapshot and not yet in the log is told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_before_the_snapshot_come_late_in_the_log() {
    let (server, service) = tenant(|server| drop(server.sql(ORDERS).unwrap()), Duration::from_millis(400)).await;
    let mut pipeline = pipeline(&service, "2");
    pipeline.open().await.unwrap();
    CHANGES.split("; ").for_each(|statement| drop(server.sql(statement).unwrap()));
    pipeline.until("snapshot-done").await.unwrap();
    until_row_is_there(&mut pipeline, &server).await;
    assert_eq!(pipeline.sink.rows["shop.orders"], rows_of(&server, "shop.orders", 1));
}

#[test]
fn a_chunk_without_its_window_lacks_changes() {
    let test = "oceanbase::snapshot::changes_after_the_snapshot_are_in_the_chunk";
    dujiang_testkit::saboteur::turns_red("fold-window", test);
}

/// A snapshot that cannot be read is replaced by a new one, whatever the reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_gone_is_taken_anew() {
    let (server, service) = tenant(|server| drop(server.sql(ORDERS).unwrap()), Duration::ZERO).await;
    let mut pipeline = pipeline(&service, "2");
    service.refuse(1412, "Unable to read data -- Table definition has changed");
    service.refuse(4138, "snapshot is discarded");
    service.refuse(4344, "invalid timestamp");
    service.refuse(4012, "Timeout, query has reached the maximum query timeout: 10000000(us)");
    pipeline.until("snapshot-done").await.unwrap();
    assert!(service.has_refused());
    assert_eq!(pipeline.sink.rows["shop.orders"], rows_of(&server, "shop.orders", 1));
    for (number, message, code) in [
        (4138, "snapshot is discarded", Code::SnapshotGone),
        (4012, "Timeout, query has reached the maximum query timeout: 10000000(us)", Code::QueryTimeout),
    ] {
        let mut again = self::pipeline(&service, "2");
        (0..6).for_each(|_| service.refuse(number, message));
        let error = again.until("snapshot-done").await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }
}

/// The catalog is ahead of the log: what the log says of the table before it was altered is read with the columns it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_altered_while_it_is_read_is_exact() {
    let (server, service) = tenant(|server| drop(server.sql(ORDERS).unwrap()), Duration::from_millis(300)).await;
    let mut pipeline = pipeline(&service, "2");
    pipeline.open().await.unwrap();
    server.sql("UPDATE shop.orders SET v = 7 WHERE k = 'a'; ALTER TABLE shop.orders ADD COLUMN w INT; INSERT INTO shop.orders VALUES ('e', 1, 2)").unwrap();
    pipeline.until("snapshot-done").await.unwrap();
    until_row_is_there(&mut pipeline, &server).await;
    assert_same(&server, &pipeline.sink, "shop.orders", 1);
    assert_eq!(pipeline.changes.len(), 1, "{:?}", pipeline.changes);
}

/// A table that joins later does so at a marker: what it holds is read, what happens to it afterwards is followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_moved_into_the_pattern_joins_at_a_marker() {
    let (server, service) = tenant(|server| drop(server.sql(ORDERS).unwrap()), Duration::from_millis(200)).await;
    let options = [MARKERS, ("scan.binlog.newly-added-table.enabled", "true")];
    let mut pipeline = Pipeline::new(build(service.port, "root", &options).unwrap());
    pipeline.until("caught-up").await.unwrap();
    let moved = "CREATE TABLE ops.moved (id INT PRIMARY KEY, v INT); INSERT INTO ops.moved VALUES (1, 1), (2, 2); \
                 RENAME TABLE ops.moved TO shop.moved; UPDATE shop.moved SET v = 9 WHERE id = 2";
    server.sql(moved).unwrap();
    while !pipeline.has("shop.moved", "2") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    server.sql("INSERT INTO shop.moved VALUES (3, 3)").unwrap();
    while !pipeline.has("shop.moved", "3") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    assert_eq!(pipeline.sink.rows["shop.moved"], rows_of(&server, "shop.moved", 1));
}
