use super::harness::*;
use crate::support::reads_as_written;
use dujiang_core::Code;
use dujiang_scratch::{Family, Kind, Server};

fn server(kind: Kind) -> Server {
    let server = own_on(kind);
    sql(&server, "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT); INSERT INTO d.t VALUES (1, 1)")
        .unwrap();
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_and_dropped_columns_end_the_epoch() {
    for kind in Kind::ALL {
        added_and_dropped_columns_end_the_epoch_on(server(kind)).await;
    }
}

async fn added_and_dropped_columns_end_the_epoch_on(server: Server) {
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    let sql = "USE d; INSERT INTO t VALUES (2, 2); ALTER TABLE t ADD COLUMN name VARCHAR(20) CHARACTER SET latin1 FIRST, \
               ADD w BIGINT UNSIGNED AFTER id; INSERT INTO t VALUES ('é', 3, 30, 3); CREATE INDEX i ON t (w); \
               UPDATE t SET w = 7 WHERE id = 1; ALTER TABLE t DROP COLUMN v; DELETE FROM t WHERE id = 2; \
               ALTER TABLE t ADD e ENUM('a','b') NOT NULL DEFAULT 'b'; INSERT INTO t VALUES ('x', 4, 40, 'a')";
    server.sql(sql).unwrap();
    while pipeline.changes.len() < 3 {
        if pipeline.step().await.unwrap() == "schema-change" {
            // The barrier at the change has made everything before it visible; a crash meets the change again.
            let before = pipeline.changes.len();
            pipeline.crash();
            while pipeline.step().await.unwrap() != "schema-change" {}
            assert_eq!(pipeline.changes.len(), before + 1);
            assert_eq!(pipeline.changes[before - 1].statement, pipeline.changes[before].statement);
            pipeline.changes.pop();
        }
    }
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    let versions: Vec<_> = pipeline.changes.iter().map(|c| c.after.version).collect();
    assert_eq!(versions, [2, 3, 4]);
    let names: Vec<_> = pipeline.changes[2].after.arrow.fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["name", "id", "w", "e"]);
    let last = pipeline.sink.images.last().unwrap();
    assert_eq!(last.cells, ["x", "4", "40", "a"]);
    let added = pipeline.sink.images.iter().find(|i| i.cells.contains(&"é".to_owned())).unwrap();
    assert_eq!(added.cells, ["é", "3", "30", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_followed_halts_by_name() {
    for kind in Kind::ALL {
        what_cannot_be_followed_halts_by_name_on(server(kind)).await;
    }
}

async fn what_cannot_be_followed_halts_by_name_on(server: Server) {
    for (n, (sql, code)) in [
        (
            "ALTER TABLE d.t PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (5), PARTITION q VALUES LESS THAN MAXVALUE); \
             ALTER TABLE d.t DROP PARTITION p",
            Code::UnloggedRows,
        ),
        ("SET SESSION binlog_format = STATEMENT; DELETE FROM d.t WHERE id = 77", Code::UnknownEvent),
    ]
    .into_iter()
    .enumerate()
    {
        let options = [("scan.startup.mode", "latest-offset"), ("server-id", &*format!("{}", 6000 + n))];
        let mut pipeline = Pipeline::new(source(&server, "d.t", &options));
        pipeline.until("caught-up").await.unwrap();
        server.sql(sql).unwrap();
        let gtid = last_gtid(&server);
        let error = tokio::select! {
            error = failure(&mut pipeline) => error,
            () = tokio::time::sleep(std::time::Duration::from_secs(20)) => panic!("{sql}: nothing happened up to {gtid}"),
        };
        assert_eq!(error.code(), code, "{sql}: {error:?}");
        if code == Code::UnloggedRows && server.family() == Family::MariaDb {
            reads_as_written(&error, &[]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv10_a_start_whose_columns_are_not_known_is_refused() {
    for kind in Kind::ALL {
        inv10_a_start_whose_columns_are_not_known_is_refused_on(server(kind)).await;
    }
}

async fn inv10_a_start_whose_columns_are_not_known_is_refused_on(server: Server) {
    let begin = last_gtid(&server);
    sql(&server, "INSERT INTO d.t VALUES (2, 2); ALTER TABLE d.t ADD w INT; INSERT INTO d.t VALUES (3, 3, 3)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[("scan.startup.mode", "earliest-offset")]));
    let error = pipeline.step().await.unwrap_err();
    assert_eq!(error.code(), Code::StartNotPossible);
    if server.family() == Family::MariaDb {
        reads_as_written(&error, &[]);
    }
    let options = [("scan.startup.mode", "specific-offset"), ("scan.startup.specific-offset.gtid-set", &*begin)];
    let mut pipeline = Pipeline::new(source(&server, "d.t", &options));
    assert_eq!(pipeline.step().await.unwrap_err().code(), Code::StartNotPossible);
    let after = last_gtid(&server);
    sql(&server, "INSERT INTO d.t VALUES (4, 4, 4); ALTER TABLE d.t COMMENT = 'x'; INSERT INTO d.t VALUES (5, 5, 5)")
        .unwrap();
    let options = [("scan.startup.mode", "specific-offset"), ("scan.startup.specific-offset.gtid-set", &*after)];
    let mut pipeline = Pipeline::new(source(&server, "d.t", &options));
    pipeline.until("caught-up").await.unwrap();
    let keys: Vec<_> = pipeline.sink.images.iter().map(|i| i.cells[0].as_str()).collect();
    assert_eq!(keys, ["4", "5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounded_snapshot_ends_by_itself() {
    for kind in Kind::ALL {
        a_bounded_snapshot_ends_by_itself_on(server(kind)).await;
    }
}

async fn a_bounded_snapshot_ends_by_itself_on(server: Server) {
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[("scan.startup.mode", "snapshot")]));
    pipeline.until("end").await.unwrap();
    assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
    assert_eq!(pipeline.events, ["snapshot-done", "end"]);
}

/// A chunk read behind a DDL waits until the stream has come to the DDL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_added_during_a_snapshot_are_met_in_order() {
    for kind in Kind::ALL {
        columns_added_during_a_snapshot_are_met_in_order_on(server(kind)).await;
    }
}

async fn columns_added_during_a_snapshot_are_met_in_order_on(server: Server) {
    sql(&server, "USE d; INSERT INTO t SELECT seq, seq FROM seq_2_to_3000").unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "50")];
    let mut pipeline = Pipeline::new(source(&server, "d.t", &options));
    for round in 0..3 {
        for _ in 0..5 {
            pipeline.step().await.unwrap();
        }
        sql(&server, &format!("ALTER TABLE d.t ADD w{round} INT; UPDATE d.t SET w{round} = id WHERE id % 7 = 0"))
            .unwrap();
    }
    while pipeline.changes.len() < 3 || !pipeline.events.contains(&"snapshot-done") {
        pipeline.step().await.unwrap();
    }
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    assert_eq!(pipeline.sink.count("d.t"), 3000);
}
