//! What every source promises, on a real server's log.

use super::harness::*;
use dujiang_scratch::{Kind, Server};
use dujiang_testkit::conformance;

const CHANGES: &str = "USE s3; INSERT INTO s3.t SELECT seq, 'first' FROM seq_1_to_500; \
    BEGIN; UPDATE s3.t SET v = 'second' WHERE id <= 100; DELETE FROM s3.t WHERE id > 450; \
    INSERT INTO s3.u VALUES (1, 'other'), (2, NULL); COMMIT; \
    UPDATE s3.u SET v = 'changed' WHERE id = 2; DELETE FROM s3.u WHERE id = 1";
/// 500 inserts; 100 updates of two images, 50 deletes, 2 inserts; one update, one delete.
const IMAGES: usize = 500 + 200 + 50 + 2 + 2 + 1;

#[tokio::test]
async fn p39_f61_the_stream_keeps_what_every_source_promises() {
    for kind in Kind::ALL {
        keeps(own_on(kind)).await;
    }
}

async fn keeps(server: Server) {
    let shapes = "(id INT PRIMARY KEY, v VARCHAR(20))";
    server.sql(&format!("CREATE DATABASE s3; CREATE TABLE s3.t {shapes}; CREATE TABLE s3.u {shapes}")).unwrap();
    let mut session = server.session().unwrap();
    let files = session.run("SHOW BINARY LOGS").unwrap();
    let last = files.last().unwrap();
    let (file, position) = (last[0].clone().unwrap(), last[1].clone().unwrap());
    sql(&server, CHANGES).unwrap();
    let port = server.port();
    let open = || {
        let start = [
            ("scan.startup.mode", "specific-offset"),
            ("scan.startup.specific-offset.file", file.as_str()),
            ("scan.startup.specific-offset.pos", position.as_str()),
        ];
        source_at(port, r"s3.\.*", &start)
    };
    conformance::source::all(open, IMAGES).await;
}
