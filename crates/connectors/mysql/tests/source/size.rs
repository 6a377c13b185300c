//! Sizes: many columns, many tables, long rows, keys that are all in one place.

use super::harness::*;
use crate::support::{self, numbers};
use dujiang_core::Kind as Change;
use dujiang_scratch::{Kind, Options};

/// As many columns as a server allows, in a table of an engine that allows so many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_4096_columns() {
    let server = support::own(&Options::default().on(Kind::MysqlNewest));
    let columns: String = (1..4096).map(|n| format!(", c{n} TINYINT")).collect();
    server.sql(&format!("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY{columns}) ENGINE=MyISAM")).unwrap();
    server.sql("INSERT INTO d.t (id, c1, c4095) VALUES (1, 1, -1), (2, 2, -2), (3, NULL, 127)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("UPDATE d.t SET c2048 = 7, c4095 = NULL WHERE id > 1; DELETE FROM d.t WHERE id = 1").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
    assert_eq!(pipeline.sink.rows["d.t"][&vec!["3".to_owned()]].len(), 4096);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_tables() {
    let server = support::own(&Options::default());
    let create =
        |n| format!("CREATE TABLE t{n} (id INT PRIMARY KEY, v INT); INSERT INTO t{n} VALUES (1, {n}), (2, {n});");
    let tables: String = (0..400).map(create).collect();
    server.sql(&format!("CREATE DATABASE d; USE d; {tables}")).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.\\.*", &[]));
    pipeline.until("caught-up").await.unwrap();
    let changes: String =
        (0..400).map(|n| format!("UPDATE t{n} SET v = -{n} WHERE id = 2; INSERT INTO t{n} VALUES (3, 0);")).collect();
    server.sql(&format!("USE d; {changes}")).unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    for n in 0..400 {
        let name = format!("d.t{n}");
        assert_eq!(pipeline.sink.rows[&name], rows_of(&server, &name, 1));
    }
}

/// A chunk is cut by rows in the order of the key, not by dividing the range of its values: however the keys lie, no chunk is
/// larger than asked for, and the last one is no exception.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f27_skewed_keys_are_cut_into_equal_chunks() {
    let server = support::own(&Options::default());
    server
        .sql(&format!(
            "CREATE DATABASE d; USE d; CREATE TABLE s (k VARCHAR(60) PRIMARY KEY, v INT); CREATE TABLE n (k BIGINT UNSIGNED PRIMARY KEY, v INT);
             INSERT INTO s SELECT CONCAT(IF(seq % 10 = 0, MD5(seq), CONCAT(REPEAT('same prefix ', 4), seq)), ''), seq FROM {};
             INSERT INTO n SELECT IF(seq % 100 = 0, 18446744073709551615 - seq, seq), seq FROM {}",
            numbers(3000),
            numbers(3000)
        ))
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.\\.*", &[("scan.incremental.snapshot.chunk.size", "100")]));
    while pipeline.step().await.unwrap() != "snapshot-done" {}
    let reads = pipeline.open_batches().iter().filter(|batch| batch.kinds[0] == Change::Read);
    let chunks: Vec<_> = reads.map(|batch| (batch.schema.id.table.to_string(), batch.images())).collect();
    pipeline.barrier().unwrap();
    for table in ["s", "n"] {
        let sizes: Vec<usize> = chunks.iter().filter(|(name, _)| name == table).map(|(_, images)| *images).collect();
        assert_eq!((sizes.len(), sizes.iter().max(), sizes.iter().sum()), (30, Some(&100), 3000), "{table}: {sizes:?}");
        let name = format!("d.{table}");
        assert_eq!(pipeline.sink.rows[&name], rows_of(&server, &name, 1));
    }
}

/// Longer than a packet, on both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f59_rows_longer_than_a_packet() {
    for kind in [Kind::MariaDb, Kind::Mysql57] {
        let server = support::own(&Options { redo_log_mb: 512, ..Options::default().on(kind) });
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v LONGTEXT)").unwrap();
        let long = |letter: char| format!("REPEAT('{letter}', 17 * 1024 * 1024)");
        server.sql(&format!("INSERT INTO d.t VALUES (1, {}), (2, 'short')", long('a'))).unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
        pipeline.until("caught-up").await.unwrap();
        server
            .sql(&format!("INSERT INTO d.t VALUES (3, {}); UPDATE d.t SET v = {} WHERE id = 1", long('b'), long('c')))
            .unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        let lengths: Vec<(usize, u8)> =
            pipeline.sink.rows["d.t"].values().map(|row| (row[1].len(), row[1].as_bytes()[0])).collect();
        assert_eq!(lengths, [(17 << 20, b'c'), (5, b's'), (17 << 20, b'b')], "{kind:?}");
    }
}
