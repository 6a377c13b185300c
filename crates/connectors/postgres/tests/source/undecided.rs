//! Transactions that the server sends before their outcome is known.

use super::harness::*;
use super::session::Session;
use dujiang_core::{Code, Kind};
use dujiang_postgres::lsn::Lsn;
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions, Random};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int, x text); ALTER TABLE t REPLICA IDENTITY FULL";
const FROM_NOW: (&str, &str) = ("scan.startup.mode", "latest-offset");

/// A server that sends transactions of more than 64 kB while they are in progress.
fn streaming() -> Postgres {
    with(&["logical_decoding_work_mem=64kB", "max_prepared_transactions=30"])
}

fn two_phase_slot(server: &Postgres, name: &str) {
    server.sql(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput', false, true)")).unwrap();
}

/// Rows of about a kilobyte that no compression makes smaller.
fn rows(first: u64, last: u64) -> String {
    format!(
        "INSERT INTO t SELECT n, 0, (SELECT string_agg(md5((n * 50 + m)::text), '') FROM generate_series(1, 30) m) \
         FROM generate_series({first}, {last}) n"
    )
}

/// Transactions that were sent while they were in progress.
fn streamed(server: &Postgres) -> u64 {
    server.sql("SELECT coalesce(sum(stream_txns), 0) FROM pg_stat_replication_slots").unwrap().trim().parse().unwrap()
}

async fn until_streamed(pipeline: &mut Pipeline, server: &Postgres, more_than: u64) {
    while streamed(server) <= more_than {
        pipeline.step().await.unwrap();
    }
}

/// Nothing is handed out before the commit; others commit meanwhile; what is rolled back never comes, alone or as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f59_transactions_in_progress_wait_for_their_commit() {
    let server = streaming();
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[FROM_NOW]));
    pipeline.until("caught-up").await.unwrap();
    let (mut kept, mut gone) = (Session::new(&server), Session::new(&server));
    kept.run(&format!("BEGIN; {}; SAVEPOINT a; {}; SAVEPOINT b; {}", rows(1, 200), rows(201, 400), rows(401, 600)));
    until_streamed(&mut pipeline, &server, 0).await;
    kept.run(&format!("ROLLBACK TO a; {}", rows(1001, 1200)));
    gone.run(&format!("BEGIN; {}", rows(5001, 5300)));
    until_streamed(&mut pipeline, &server, 1).await;
    server.sql("INSERT INTO t VALUES (9000, 1, 'a')").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 1, "only what is committed");
    // A restart in the midst of both.
    pipeline.crash();
    pipeline.open().await.unwrap();
    kept.run(&format!("SAVEPOINT c; UPDATE t SET v = 7 WHERE id <= 200; RELEASE c; {}; COMMIT", rows(1201, 1300)));
    gone.run("ROLLBACK");
    server.sql("UPDATE t SET v = v + 1 WHERE id % 3 = 0").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    let rolled_back = |id: &u64| (201..=600).contains(id) || (5001..=5300).contains(id);
    let ids = pipeline.sink.images.iter().map(|image| image.cells[0].parse().unwrap());
    assert_eq!(ids.filter(rolled_back).count(), 0);
}

/// A crash while the rows of a transaction that waited are handed out: they keep their ids, and come once. COPY logs many rows as one
/// record with one place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f04_rows_of_one_place_that_came_in_pieces_keep_their_ids_through_crashes() {
    let server = streaming();
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[FROM_NOW]));
    pipeline.until("caught-up").await.unwrap();
    let lines: String = (1..=20000).map(|n| format!("{n}\t0\tcopied\n")).collect();
    server
        .sql(&format!(
            "BEGIN;\nCOPY t FROM stdin;\n{lines}\\.\nUPDATE t SET v = id; COMMIT; DELETE FROM t WHERE id < 100;"
        ))
        .unwrap();
    let end = end_of_log(&server);
    for round in 0..12 {
        while pipeline.step().await.unwrap() != "batch" && Lsn::parse(&pipeline.status().position).unwrap() < end {}
        if round % 3 != 2 {
            pipeline.barrier().unwrap();
        }
        pipeline.crash();
        pipeline.open().await.unwrap();
    }
    pipeline.until_now(&server).await.unwrap();
    assert!(streamed(&server) > 0);
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    let inserted = pipeline.sink.images.iter().filter(|i| i.kind == Kind::Insert);
    let ordinals: Vec<u64> = inserted.map(|i| i.id.rsplit_once('/').unwrap().1.parse().unwrap()).collect();
    assert!(ordinals.iter().copied().eq(0..20000), "in order, without a gap");
}

/// Columns that change inside a transaction in progress change with its commit, those of a part that was rolled back never. (The
/// server cannot always decode the latter before the commit: then it is asked again without.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f60_columns_changed_in_a_transaction_in_progress_change_with_its_commit() {
    let server = streaming();
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[FROM_NOW]));
    pipeline.until("caught-up").await.unwrap();
    let mut session = Session::new(&server);
    session.run(&format!(
        "BEGIN; {}; SAVEPOINT a; ALTER TABLE t ADD COLUMN gone int; {}; ROLLBACK TO a; {}; ALTER TABLE t ADD COLUMN w int; \
         UPDATE t SET w = id WHERE id > 100; {}",
        rows(1, 150),
        rows(151, 300),
        rows(301, 450),
        rows(451, 600).replace("generate_series(1, 30) m)", "generate_series(1, 30) m), 5")
    ));
    until_streamed(&mut pipeline, &server, 0).await;
    assert!(pipeline.changes.is_empty(), "not before the commit");
    session.run("COMMIT");
    server.sql("INSERT INTO t VALUES (9000, 1, 'a', 2)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    let columns: Vec<usize> = pipeline.changes.iter().map(|c| c.after.arrow.fields().len()).collect();
    assert_eq!(columns, [4]);
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// A crash between the columns of before and of after: they are not changed back for rows that were handed out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f60_columns_are_not_changed_back_after_a_crash_in_the_transaction() {
    let small = own();
    let large = streaming();
    for server in [&small, &large] {
        server.sql(TABLE).unwrap();
        let mut pipeline = Pipeline::new(source(server, "postgres.public.t", &[FROM_NOW]));
        pipeline.until("caught-up").await.unwrap();
        server
            .sql(
                "BEGIN; INSERT INTO t SELECT n, 0, 'before' FROM generate_series(1, 20000) n; ALTER TABLE t ADD COLUMN w int; \
                 INSERT INTO t SELECT n, 0, 'after', 5 FROM generate_series(20001, 40000) n; COMMIT",
            )
            .unwrap();
        let end = end_of_log(server);
        for _ in 0..10 {
            while pipeline.step().await.unwrap() != "batch" && Lsn::parse(&pipeline.status().position).unwrap() < end {}
            pipeline.barrier().unwrap();
            pipeline.crash();
            pipeline.open().await.unwrap();
        }
        pipeline.until_now(server).await.unwrap();
        assert!(!pipeline.changes.is_empty());
        assert!(pipeline.changes.iter().all(|change| change.after.arrow.fields().len() == 4), "only forward");
        assert_eq!(pipeline.sink.rows["public.t"], rows_of(server, "t", 1));
    }
    assert!(streamed(&large) > 0);
}

/// The spool has a limit. Transactions in progress are then left to the server; prepared ones cannot be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f59_a_spool_without_room_is_said() {
    let server = streaming();
    server.sql(TABLE).unwrap();
    two_phase_slot(&server, "s");
    let options = [FROM_NOW, ("spool.max-bytes", "100kb"), ("slot.name", "s")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    server.sql(&format!("BEGIN; {}; COMMIT", rows(1, 1000))).unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 1000);
    server.sql(&format!("BEGIN; {}; PREPARE TRANSACTION 'p'", rows(1001, 2000))).unwrap();
    let error = loop {
        if let Err(error) = pipeline.step().await {
            break error;
        }
    };
    assert_eq!(error.code(), Code::SpoolFull, "{error:?}");
    assert!(error.help_text().is_some());
    server.sql("ROLLBACK PREPARED 'p'").unwrap();
}

/// A slot made with `two_phase` sends transactions when they are prepared, once: they wait here, and the position before them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r02_prepared_transactions_wait_here_and_hold_the_position() {
    let server = streaming();
    server.sql(TABLE).unwrap();
    two_phase_slot(&server, "s");
    let options = [FROM_NOW, ("slot.name", "s"), ("heartbeat.interval", "100ms")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    let confirmed = || confirmed(&server, "s");
    server
        .sql(&format!(
            "BEGIN; INSERT INTO t VALUES (1, 1, 'a'); PREPARE TRANSACTION 'small'; BEGIN; {}; PREPARE TRANSACTION 'large'; \
             BEGIN; {}; PREPARE TRANSACTION 'gone'; INSERT INTO t VALUES (9000, 1, 'b')",
            rows(101, 400),
            rows(501, 800)
        ))
        .unwrap();
    let before = server.sql("SELECT pg_current_wal_flush_lsn()").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 1, "only what is committed");
    pipeline.ack().await;
    for _ in 0..3 {
        pipeline.step().await.unwrap();
    }
    assert!(confirmed() < Lsn::parse(before.trim()).unwrap(), "the server keeps what was prepared");
    for outcome in [
        "COMMIT PREPARED 'large'",
        "ROLLBACK PREPARED 'gone'",
        "UPDATE t SET v = 5 WHERE id < 300",
        "COMMIT PREPARED 'small'",
    ] {
        pipeline.crash();
        pipeline.open().await.unwrap();
        // A barrier before anything has come again.
        pipeline.barrier().unwrap();
        pipeline.ack().await;
        server.sql(outcome).unwrap();
        pipeline.until_now(&server).await.unwrap();
        assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1), "{outcome}");
    }
    let end = end_of_log(&server);
    pipeline.until_now(&server).await.unwrap();
    pipeline.ack().await;
    while confirmed() < end {
        pipeline.step().await.unwrap();
    }
}

/// What was prepared before the start is in the snapshot, or said to be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f21_what_was_prepared_before_the_start_is_in_the_snapshot_or_missed() {
    let server = streaming();
    server.sql(TABLE).unwrap();
    for (slot, options) in [("a", &[("slot.name", "a")][..]), ("b", &[("slot.name", "b"), FROM_NOW])] {
        two_phase_slot(&server, slot);
        server
            .sql(&format!("BEGIN; INSERT INTO t VALUES ({}, 1, 'a'); PREPARE TRANSACTION 'early'", slot.as_bytes()[0]))
            .unwrap();
        let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", options));
        pipeline.open().await.unwrap();
        pipeline.step().await.unwrap();
        server.sql("COMMIT PREPARED 'early'").unwrap();
        if slot == "a" {
            pipeline.until("caught-up").await.unwrap();
            pipeline.until_now(&server).await.unwrap();
            assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
            continue;
        }
        let error = loop {
            if let Err(error) = pipeline.step().await {
                break error;
            }
        };
        assert_eq!(error.code(), Code::PreparedBefore, "{error:?}");
    }
}

/// A transaction of rows large and small, nested savepoints, and any end.
fn transaction(random: &mut Random, session: u64, number: u64) -> String {
    let fresh = 1_000_000 * session + 1000 * number;
    let mut script = "BEGIN;\n".to_owned();
    let mut open = 0;
    for step in 0..2 + random.below(7) {
        let first = fresh + step * 100;
        let mine = format!("id / 1000000 = {session}");
        script += &match random.below(9) {
            0..3 => format!("{};\n", rows(first, first + random.below(90))),
            3 => format!("UPDATE t SET v = v + 1 WHERE {mine} AND id % 7 = {};\n", random.below(7)),
            4 => format!("DELETE FROM t WHERE {mine} AND id % 13 = {};\n", random.below(13)),
            5 => format!(
                "UPDATE t SET id = id + 500 WHERE {mine} AND id % 1000 < 50 AND id / 1000 = {};\n",
                fresh / 1000
            ),
            6 => {
                open += 1;
                format!("SAVEPOINT s{open};\n")
            }
            7 if open > 0 => {
                open -= 1;
                format!("ROLLBACK TO s{}; RELEASE s{0};\n", open + 1)
            }
            8 if open > 0 => {
                open -= 1;
                format!("RELEASE s{};\n", open + 1)
            }
            _ => format!("INSERT INTO t VALUES ({}, 0, 'small') ON CONFLICT DO NOTHING;\n", first + 99),
        };
    }
    script += &match random.below(8) {
        0 => "ROLLBACK;\n".to_owned(),
        1 => format!(
            "PREPARE TRANSACTION 'x{session}-{number}'; SELECT pg_sleep(0.02); ROLLBACK PREPARED 'x{session}-{number}';\n"
        ),
        2 | 3 => format!(
            "PREPARE TRANSACTION 'x{session}-{number}'; SELECT pg_sleep(0.02); COMMIT PREPARED 'x{session}-{number}';\n"
        ),
        _ => "COMMIT;\n".to_owned(),
    };
    script
}

/// P05: three sessions at a time, 120 transactions, crashes and barriers at any moment.
async fn whatever_their_end(server: Postgres, two_phase: bool) {
    server.sql(TABLE).unwrap();
    if two_phase {
        two_phase_slot(&server, "s");
    }
    let mut pipeline =
        Pipeline::new(source(&server, "postgres.public.t", &[("slot.name", "s"), ("heartbeat.interval", "100ms")]));
    pipeline.until("caught-up").await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let sessions: Vec<_> = (1..=3).map(|number| (number, Session::new(&server))).collect();
    let writers: Vec<_> = sessions
        .into_iter()
        .map(|(session, mut client)| {
            std::thread::spawn(move || {
                let mut random = Random::new(40 + session);
                (0..40).for_each(|number| client.run(&transaction(&mut random, session, number)));
            })
        })
        .collect();
    let told = done.clone();
    let writing = std::thread::spawn(move || {
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        told.store(true, Ordering::Relaxed);
    });
    let mut random = Random::new(8);
    while !done.load(Ordering::Relaxed) {
        pipeline.step().await.unwrap();
        if random.chance(15) {
            pipeline.barrier().unwrap();
            pipeline.ack().await;
        }
        if random.chance(20) {
            pipeline.crash();
        }
    }
    writing.join().unwrap();
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert!(streamed(&server) > 5, "{} transactions were sent while they were in progress", streamed(&server));
    assert!(pipeline.crashes > 3, "{} crashes", pipeline.crashes);
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_transactions_in_progress_come_once_whatever_their_end() {
    whatever_their_end(streaming(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_prepared_transactions_come_once_whatever_their_end() {
    whatever_their_end(streaming(), true).await;
}

/// The newest server can be told to send every transaction while it is in progress, row by row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_every_transaction_in_pieces_comes_once_on_the_newest_server() {
    let options = PostgresOptions::default().on(PostgresKind::Newest);
    let options = options.set("debug_logical_replication_streaming=immediate").set("max_prepared_transactions=30");
    whatever_their_end(Postgres::start_with(&options).unwrap(), true).await;
}

/// Changes that came to the server by replication carry an origin; `origin: none` leaves them out, where the server can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_came_from_elsewhere_are_left_out_on_demand() {
    let options = [FROM_NOW, ("origin", "none")];
    let old = own();
    old.sql(TABLE).unwrap();
    let refusals = source(&old, "postgres.public.t", &options).survey().await.refusals;
    assert_eq!(refusals.iter().map(dujiang_core::Error::code).collect::<Vec<_>>(), [Code::ServerVersion]);
    let server = Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap();
    server.sql(TABLE).unwrap();
    let mut filtered = Pipeline::new(source(&server, "postgres.public.t", &options));
    let mut all = Pipeline::new(source(&server, "postgres.public.t", &[FROM_NOW, ("slot.name", "all")]));
    for pipeline in [&mut filtered, &mut all] {
        pipeline.until("caught-up").await.unwrap();
    }
    server
        .sql(
            "SELECT pg_replication_origin_create('elsewhere'); SELECT pg_replication_origin_session_setup('elsewhere'); \
             INSERT INTO t VALUES (1, 1, 'theirs'); SELECT pg_replication_origin_session_reset(); INSERT INTO t VALUES (2, 1, 'ours')",
        )
        .unwrap();
    for (pipeline, rows) in [(&mut filtered, 1), (&mut all, 2)] {
        pipeline.until_now(&server).await.unwrap();
        assert_eq!(pipeline.sink.count("public.t"), rows);
    }
}
