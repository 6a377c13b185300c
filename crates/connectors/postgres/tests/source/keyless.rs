//! Tables without a key are read in the order of what their rows hold, chunk by chunk.

use super::harness::*;
use dujiang_core::{Code, Kind};
use dujiang_scratch::Postgres;

/// Larger than what is read as a whole: numbers, some of them NULL, times, texts that begin alike, hundreds of rows of each kind, and
/// columns that nobody orders. An index makes the server read it without sorting it all.
const TABLE: &str = "CREATE TABLE log (flag bool, n int, at timestamptz, what text, more json); \
    ALTER TABLE log ALTER more SET STORAGE EXTERNAL, REPLICA IDENTITY FULL; \
    CREATE INDEX ON log (n); \
    INSERT INTO log SELECT i % 2 = 0, nullif(i % 50, 5), '2026-01-01'::timestamptz + (i % 10) * '1 min'::interval, \
      CASE WHEN i % 5 > 0 THEN repeat('x', 40) || i % 5 END, to_json(repeat('y', 600)) FROM generate_series(1, 30000) i; \
    ALTER TABLE log ALTER what SET STORAGE EXTERNAL; UPDATE log SET what = repeat('w', 3000) || n WHERE n = 2; \
    UPDATE log SET more = to_json(repeat('z', 5000)) WHERE n = 1 AND NOT flag; VACUUM log";

fn rows(server: &Postgres) -> Vec<String> {
    let sql = "SELECT flag, coalesce(n::text, 'NULL'), extract(epoch FROM at)::int8 * 1000000, coalesce(what, 'NULL'), \
        md5(more::text), count(*) FROM log GROUP BY 1, 2, 3, 4, 5";
    let mut rows: Vec<String> = server.sql(sql).unwrap().lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

/// What the sink has, in the same form; the hashes are the server's.
fn sunk(server: &Postgres, pipeline: &Pipeline) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::<Vec<String>, usize>::new();
    for row in pipeline.sink.rows["public.log"].values() {
        *counts.entry(row.clone()).or_default() += 1;
    }
    let hashes: std::collections::HashMap<String, String> = counts
        .keys()
        .map(|row| row[4].clone())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .map(|more| (more.clone(), server.sql(&format!("SELECT md5('{more}')")).unwrap().trim().to_owned()))
        .collect();
    let mut rows: Vec<String> = counts
        .iter()
        .map(|(row, count)| {
            let flag = if row[0] == "true" { "t" } else { "f" };
            format!("{flag}\t{}\t{}\t{}\t{}\t{count}", row[1], row[2], row[3], hashes[&row[4]])
        })
        .collect();
    rows.sort();
    rows
}

/// Crashes after every few chunks, while rows are inserted, deleted, changed, and moved to other blocks and other chunks; some of
/// them are equal, and large values are not logged again. At last a column is added in the midst.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_a_table_without_key_goes_on_chunk_by_chunk() {
    let server = own();
    server.sql(TABLE).unwrap();
    let mut pipeline =
        Pipeline::new(source(&server, "postgres.public.log", &[("scan.incremental.snapshot.chunk.size", "2900")]));
    let mut round = 0;
    while !pipeline.events.contains(&"caught-up") {
        if pipeline.step().await.unwrap() != "batch" {
            continue;
        }
        pipeline.barrier().unwrap();
        round += 1;
        if round % 2 == 0 && round < 12 {
            pipeline.crash();
            server
                .sql(&format!(
                    "INSERT INTO log SELECT * FROM log WHERE n = {round} LIMIT 20; \
                     DELETE FROM log WHERE ctid IN (SELECT ctid FROM log WHERE n = 3 * {round} LIMIT 30); \
                     UPDATE log SET n = n + 1 WHERE n % 10 = {round} AND flag; \
                     UPDATE log SET flag = NOT flag WHERE n IN (1, 2); \
                     UPDATE log SET what = NULL, n = NULL WHERE n = 38 + {round}; VACUUM log"
                ))
                .unwrap();
        }
    }
    assert!(pipeline.crashes >= 4, "{} crashes", pipeline.crashes);
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(sunk(&server, &pipeline), rows(&server));
    let read = pipeline.sink.images.iter().filter(|image| image.kind == Kind::Read).count();
    // A row that moves over what was read so far is read again: some hundreds at each crash.
    assert!((29_000..36_000).contains(&read), "each row once: {read}");
}

/// The table is rewritten, so that every row lies elsewhere, while its snapshot is interrupted; and it gets a column.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_a_table_without_key_may_be_rewritten_and_get_columns() {
    let server = own();
    server.sql(TABLE).unwrap();
    let mut pipeline =
        Pipeline::new(source(&server, "postgres.public.log", &[("scan.incremental.snapshot.chunk.size", "2900")]));
    for _ in 0..3 {
        while pipeline.step().await.unwrap() != "batch" {}
        pipeline.barrier().unwrap();
    }
    pipeline.crash();
    server.sql("UPDATE log SET n = 1000 - n WHERE NOT flag").unwrap();
    server.sql("VACUUM FULL log").unwrap();
    server.sql("ALTER TABLE log ADD COLUMN late int; UPDATE log SET late = n WHERE n > 900 AND n % 3 = 0").unwrap();
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(sunk(&server, &pipeline), rows(&server));
    let late = pipeline.sink.rows["public.log"].values().filter(|row| row[5] != "NULL").count();
    assert_eq!(server.sql("SELECT count(late) FROM log").unwrap().trim(), late.to_string());
}

/// Rows that are equal in all that has an order are one chunk. When they are too many to be kept, what was handed out of them is
/// known to be a part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_too_many_equal_rows_cannot_be_gone_on_with() {
    let server = own();
    server
        .sql(
            "CREATE TABLE log (flag bool, more json); ALTER TABLE log REPLICA IDENTITY FULL; \
             INSERT INTO log SELECT i > 5000, to_json(repeat('y', 1900)) FROM generate_series(1, 40000) i",
        )
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.log", &[]));
    while pipeline.sink.count("public.log") < 6000 {
        while pipeline.step().await.unwrap() != "batch" {}
        pipeline.barrier().unwrap();
    }
    pipeline.crash();
    let error = pipeline.open().await.err().unwrap();
    assert_eq!(error.code(), Code::SnapshotInterrupted);
    // Left alone it comes to its end.
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.log", &[("slot.name", "another")]));
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(pipeline.sink.count("public.log"), 40000);
}
