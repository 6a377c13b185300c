//! How other tools have lost or repeated rows between snapshot and stream, each case by its number.

use super::harness::*;
use super::load;
use dujiang_core::Kind;
use dujiang_scratch::{Postgres, PostgresOptions};
use std::sync::atomic::Ordering;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL; \
    INSERT INTO t SELECT n, 0 FROM generate_series(1, 400) n";
const CHUNKS: (&str, &str) = ("scan.incremental.snapshot.chunk.size", "20");

fn read(pipeline: &Pipeline) -> usize {
    pipeline.sink.images.iter().filter(|image| image.kind == Kind::Read).count()
}

/// Four connections read at a time, each chunk under a snapshot of its own, while transactions change several tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_connections_at_a_time_see_each_transaction_once() {
    let server = own();
    load::create(&server, "many");
    let (stop, thread) = load::writer(&server, "many", 11, 200);
    let options = [CHUNKS, ("scan.incremental.snapshot.parallelism", "4")];
    let mut pipeline = Pipeline::new(source(&server, r"postgres.many.\.*", &options));
    pipeline.until("caught-up").await.unwrap();
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    pipeline.until_now(&server).await.unwrap();
    load::compare(&server, "many", &pipeline.sink);
}

/// Keys move from chunks that are read to those that are not, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f22_keys_that_move_between_chunks_are_read_once() {
    let server = own();
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[CHUNKS]));
    for round in 0..12 {
        while pipeline.step().await.unwrap() != "batch" && !pipeline.events.contains(&"snapshot-done") {}
        pipeline.barrier().unwrap();
        let n = round * 20;
        server
            .sql(&format!(
                "UPDATE t SET id = id + 10000 WHERE id BETWEEN {n} AND {n} + 3; UPDATE t SET id = -id WHERE id BETWEEN 395 - {n} AND 398 - {n}; \
                 UPDATE t SET id = id - 9000, v = v + 1 WHERE id > 10000 AND id % 2 = 0"
            ))
            .unwrap();
    }
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
    }
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// A snapshot that crashes before every barrier and after every barrier goes on, and reads nothing again that it had handed out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_a_snapshot_goes_on_where_it_was() {
    let server = own();
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[CHUNKS]));
    let mut round = 0;
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
        round += 1;
        if round % 3 != 0 {
            pipeline.barrier().unwrap();
        }
        if round < 40 {
            pipeline.crash();
        }
    }
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(read(&pipeline), 400, "each row once");
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// A barrier between any two batches, in the midst of a table that is read as a whole as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_barriers_in_a_chunk_repeat_nothing() {
    let server = own();
    server.sql(TABLE).unwrap();
    server
        .sql(
            "CREATE TABLE w (k text COLLATE \"en-x-icu\" PRIMARY KEY, v int); ALTER TABLE w REPLICA IDENTITY FULL; \
             INSERT INTO w SELECT n, 0 FROM generate_series(1, 20000) n",
        )
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.[tw]", &[CHUNKS]));
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    assert_eq!(read(&pipeline), 20400, "each row once");
}

/// Keys at their limits, negative ones, empty texts, and texts that begin alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f27_keys_at_their_limits_lie_in_one_chunk_each() {
    let server = own();
    server
        .sql(
            "CREATE TABLE b (id bigint PRIMARY KEY, v int); \
             INSERT INTO b SELECT n, 0 FROM unnest(ARRAY[-9223372036854775808, -9223372036854775807, -1, 0, 1, 255, 256, 9223372036854775806, 9223372036854775807]) n; \
             CREATE TABLE s (id text COLLATE \"C\" PRIMARY KEY, v int); \
             INSERT INTO s SELECT k, 0 FROM unnest(ARRAY['', ' ', 'a', 'aa', 'aa ', 'aab', repeat('a', 200), repeat('a', 200) || 'b', 'b', 'é', '日本']) k; \
             CREATE TABLE y (id bytea PRIMARY KEY, v int); \
             INSERT INTO y SELECT k, 0 FROM unnest(ARRAY[''::bytea, '\\x00', '\\x0000', '\\x0001', '\\x7f', '\\x80', '\\xff', '\\xff00']) k; \
             ALTER TABLE b REPLICA IDENTITY FULL; ALTER TABLE s REPLICA IDENTITY FULL; ALTER TABLE y REPLICA IDENTITY FULL",
        )
        .unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "2")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.[bsy]", &options));
    let mut round = 0;
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
        round += 1;
        if round < 10 {
            server.sql("UPDATE b SET v = v + 1; UPDATE s SET v = v + 1; UPDATE y SET v = v + 1").unwrap();
            pipeline.crash();
        }
    }
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.b"], rows_of(&server, "b", 1));
    assert_eq!(pipeline.sink.rows["public.s"], rows_of(&server, "s", 1));
    assert_eq!(pipeline.sink.count("public.y"), 8);
    let values = |rows: &std::collections::BTreeMap<Vec<String>, Vec<String>>| -> Vec<String> {
        rows.values().map(|row| row[1].clone()).collect()
    };
    let expected = server.sql("SELECT v FROM y").unwrap();
    let mut found = values(&pipeline.sink.rows["public.y"]);
    let mut expected: Vec<String> = expected.lines().map(str::to_owned).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// Every kind of key that is read in chunks: crashes after chunks, keys that move, and rows that change meanwhile. The key is an
/// expression of a number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f27_a_crash_in_the_midst_of_any_kind_of_key() {
    const KEYS: &[(&str, &str)] = &[
        ("int2", "$::int2 - 40::int2"),
        ("int4", "$ - 40"),
        ("int8", "($ - 40) * 1000000000000"),
        ("oid", "$::oid"),
        ("xid8", "$::text::xid8"),
        (
            "float4",
            "CASE $ WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' ELSE ($ - 40) / 7.0 END::float4",
        ),
        (
            "float8",
            "CASE $ WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' ELSE ($ - 40) / 7.0 END::float8",
        ),
        (
            "numeric",
            "CASE $ WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' ELSE ($ - 40) / 7.0 END::numeric",
        ),
        ("numeric(9,3)", "($ - 40) * 5000.001"),
        ("money", "(($ - 40) * 1234.56)::numeric::money"),
        ("date", "'0001-02-01 BC'::date + $ * 11"),
        ("time", "'00:00'::time + $ * '7 min'::interval"),
        ("timestamp", "'0001-12-31 23:59:59.5 BC'::timestamp + $ * '3 h'::interval"),
        ("timestamptz", "'2026-03-29 00:00:00+00'::timestamptz + $ * '1 min'::interval"),
        ("uuid", "md5($::text)::uuid"),
        ("bytea", "sha256($::text::bytea)"),
        ("text COLLATE \"C\"", "md5($::text)"),
        ("text COLLATE \"en-x-icu\"", "md5($::text)"),
        ("char(40)", "md5($::text)"),
        ("name", "md5($::text)"),
    ];
    let server = own();
    let table = |at: usize| format!("k{at:02}");
    for (at, (of, key)) in KEYS.iter().enumerate() {
        let (t, key) = (table(at), key.replace('$', "n"));
        server
            .sql(&format!(
                "CREATE TABLE {t} (k {of} PRIMARY KEY, n int, v int); ALTER TABLE {t} REPLICA IDENTITY FULL; \
                 INSERT INTO {t} SELECT {key}, n, 0 FROM generate_series(0, 79) n"
            ))
            .unwrap();
    }
    let options = [("scan.incremental.snapshot.chunk.size", "7"), ("scan.incremental.snapshot.parallelism", "4")];
    let mut pipeline = Pipeline::new(source(&server, r"postgres.public.k\d+", &options));
    let mut round = 0;
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
        round += 1;
        if round % 12 == 0 && round < 150 {
            pipeline.crash();
            let change = |(at, (_, key)): (usize, &(&str, &str))| {
                let (t, moved) = (table(at), key.replace('$', "(n + 80)"));
                format!(
                    "UPDATE {t} SET v = v + 1 WHERE n % 12 = {round} / 12; DELETE FROM {t} WHERE n = {round} / 12 + 20; \
                     UPDATE {t} SET k = {moved}, n = n + 80 WHERE n < 80 AND n % 12 = {round} / 12 + 1 AND n > 2;"
                )
            };
            server.sql(&KEYS.iter().enumerate().map(change).collect::<String>()).unwrap();
        }
    }
    assert!(pipeline.crashes > 5, "{} crashes", pipeline.crashes);
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    for (at, (of, _)) in KEYS.iter().enumerate() {
        let mut found: Vec<String> =
            pipeline.sink.rows[&format!("public.{}", table(at))].values().map(|row| row[1..].join("\t")).collect();
        found.sort();
        let mut expected: Vec<String> =
            server.sql(&format!("SELECT n, v FROM {}", table(at))).unwrap().lines().map(str::to_owned).collect();
        expected.sort();
        assert_eq!(found, expected, "{of}");
    }
}

/// Keys in an order that is not that of their texts here: `citext`, a domain over `char(n)`, and any text in an encoding that is not
/// ordered as Unicode is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f27_texts_that_have_an_order_of_their_own() {
    let options = PostgresOptions { encoding: "WIN1252", locale: "C", ..PostgresOptions::default() };
    for (server, types) in [
        (Postgres::start_with(&options).unwrap(), &["text COLLATE \"C\""][..]),
        (own(), &["public.citext COLLATE \"en-x-icu\"", "code"][..]),
    ] {
        server.sql("CREATE EXTENSION citext; CREATE DOMAIN code AS char(9)").unwrap();
        for (at, of) in types.iter().enumerate() {
            server
                .sql(&format!(
                    "CREATE TABLE t{at} (k {of} PRIMARY KEY, v int); ALTER TABLE t{at} REPLICA IDENTITY FULL; \
                     INSERT INTO t{at} SELECT convert_from(k, 'UTF8'), 0 FROM unnest(ARRAY['\\xc3a9', '\\xe282ac', '\\x41', '\\x62', \
                       '\\x43', '\\x64', '\\x6109', '\\x6161', '\\x5a', '\\xe284a2', '\\xc3bf']::bytea[]) k"
                ))
                .unwrap();
        }
        let options = [("scan.incremental.snapshot.chunk.size", "2")];
        let mut pipeline = Pipeline::new(source(&server, r"postgres.public.t\d", &options));
        let (mut chunks, mut seen) = (0, 0);
        while !pipeline.events.contains(&"caught-up") {
            pipeline.step().await.unwrap();
            pipeline.barrier().unwrap();
            if read(&pipeline) > std::mem::replace(&mut seen, read(&pipeline)) && chunks < 20 {
                chunks += 1;
                let update = |at: usize| format!("UPDATE t{at} SET v = v + 1;");
                server.sql(&(0..types.len()).map(update).collect::<String>()).unwrap();
                pipeline.crash();
            }
        }
        pipeline.open().await.unwrap();
        pipeline.until_now(&server).await.unwrap();
        for (at, of) in types.iter().enumerate() {
            let mut found: Vec<String> =
                pipeline.sink.rows[&format!("public.t{at}")].values().map(|row| row[1].clone()).collect();
            found.sort();
            let expected = server.sql(&format!("SELECT v FROM t{at} ORDER BY v::text COLLATE \"C\"")).unwrap();
            assert_eq!(found, expected.lines().collect::<Vec<_>>(), "{of}");
        }
    }
}

/// A key whose columns stand in another order than those of the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f28_the_order_of_a_key_is_not_that_of_the_table() {
    let server = own();
    server
        .sql(
            "CREATE TABLE t (a int, x text COLLATE \"C\", b bigint, v int, PRIMARY KEY (b, x, a)); ALTER TABLE t REPLICA IDENTITY FULL; \
             INSERT INTO t SELECT n, 'x' || n % 3, n % 5, 0 FROM generate_series(1, 300) n",
        )
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[CHUNKS]));
    let mut round = 0;
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
        round += 1;
        if round < 12 {
            server.sql(&format!("UPDATE t SET v = v + 1 WHERE a % 12 = {round}; UPDATE t SET b = b + 1, a = a + 1000 WHERE a = {round}")).unwrap();
            pipeline.crash();
        }
    }
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    let found: std::collections::BTreeSet<_> = pipeline.sink.rows["public.t"].values().cloned().collect();
    let expected: std::collections::BTreeSet<_> = rows_of(&server, "t", 4).into_values().collect();
    assert_eq!(found, expected);
}
