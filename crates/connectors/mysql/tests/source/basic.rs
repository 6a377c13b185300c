use super::harness::*;
use crate::support::{self, numbers};
use dujiang_scratch::{Kind, Options, Server};

#[tokio::test]
async fn a_table_is_read_and_then_followed() {
    for kind in Kind::ALL {
        read_and_followed(&support::own(&Options::default().on(kind))).await;
    }
}

async fn read_and_followed(server: &Server) {
    let sql =
        "CREATE DATABASE s1; USE s1; CREATE TABLE s1.t (id INT PRIMARY KEY, v BIGINT UNSIGNED, name VARCHAR(40)); \
               INSERT INTO s1.t SELECT seq, seq * 10, CONCAT('row ', seq) FROM "
            .to_owned()
            + &numbers(1000);
    server.sql(&sql).unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "100")];
    let mut pipeline = Pipeline::new(source(server, "s1.\\.*", &options));
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(pipeline.sink.count("s1.t"), 1000);
    server
        .sql("BEGIN; UPDATE s1.t SET v = 0 WHERE id <= 10; DELETE FROM s1.t WHERE id > 990; INSERT INTO s1.t VALUES (5000, 1, NULL); COMMIT; UPDATE s1.t SET id = 6000 WHERE id = 1")
        .unwrap();
    pipeline.until_gtid(&last_gtid(server)).await.unwrap();
    assert_eq!(pipeline.sink.rows["s1.t"], rows_of(server, "s1.t", 1));
    assert_eq!(pipeline.events, ["snapshot-done", "caught-up"]);
}

/// Engines without row versions are locked while a chunk is read, and end their transactions with COMMIT as a statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f40_tables_without_transactions() {
    let server = support::shared();
    server.sql("CREATE DATABASE s2; USE s2; CREATE TABLE t (id INT PRIMARY KEY, v INT) ENGINE=MyISAM; INSERT INTO t SELECT seq, 0 FROM seq_1_to_3000").unwrap();
    let mut writer = server.session().unwrap();
    let thread = std::thread::spawn(move || {
        for n in 0..400 {
            writer
                .run(&format!(
                    "UPDATE s2.t SET v = v + 1 WHERE id % 100 = {}; INSERT INTO s2.t VALUES ({}, 0)",
                    n % 100,
                    5000 + n
                ))
                .unwrap();
        }
    });
    let options = [("scan.incremental.snapshot.chunk.size", "100")];
    let mut pipeline = Pipeline::new(source(server, "s2.t", &options));
    pipeline.until("caught-up").await.unwrap();
    thread.join().unwrap();
    pipeline.until_gtid(&last_gtid(server)).await.unwrap();
    assert_eq!(pipeline.sink.rows["s2.t"], rows_of(server, "s2.t", 1));
}
