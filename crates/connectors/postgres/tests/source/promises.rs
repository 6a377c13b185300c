//! What every source promises, on a real server's log.

use super::harness::*;
use dujiang_testkit::conformance;

const CHANGES: &str = "INSERT INTO t SELECT n, 'first' FROM generate_series(1, 500) n; \
    BEGIN; UPDATE t SET v = 'second' WHERE id <= 100; DELETE FROM t WHERE id > 450; \
    INSERT INTO u VALUES (1, 'other'), (2, NULL); COMMIT; \
    UPDATE u SET v = 'changed' WHERE id = 2; DELETE FROM u WHERE id = 1";
/// 500 inserts; 100 updates of two images, 50 deletes, 2 inserts; one update, one delete.
const IMAGES: usize = 500 + 200 + 50 + 2 + 2 + 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p39_the_stream_keeps_what_every_source_promises() {
    let server = own();
    let shapes = "(id int PRIMARY KEY, v text)";
    server
        .sql(&format!(
            "CREATE TABLE t {shapes}; CREATE TABLE u {shapes}; ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE u REPLICA IDENTITY FULL; \
             CREATE PUBLICATION p FOR TABLE t, u; SELECT pg_create_logical_replication_slot('s', 'pgoutput')"
        ))
        .unwrap();
    server.sql(CHANGES).unwrap();
    let port = server.port();
    let open = || {
        let start = [("scan.startup.mode", "committed-offset"), ("slot.name", "s"), ("publication.name", "p")];
        source_at(port, "postgres.public.[tu]", &start)
    };
    conformance::source::all(open, IMAGES).await;
}
