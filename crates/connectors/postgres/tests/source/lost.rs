use super::harness::*;
use super::load;
use dujiang_postgres::lsn::Lsn;
use dujiang_scratch::Random;
use dujiang_testkit::proxy::{Direction, Proxy};
use std::sync::atomic::Ordering;

/// P05: whatever the pattern of lost connections, what is captured is what was committed, once and in order (F6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_lost_connections_lose_and_repeat_nothing() {
    let server = own();
    let proxy = Proxy::to_port(server.port()).unwrap();
    load::create(&server, "lost");
    let (stop, thread) = load::writer(&server, "lost", 5, 400);
    let options = [("scan.incremental.snapshot.chunk.size", "20"), ("heartbeat.interval", "200ms")];
    let mut pipeline = Pipeline::new(source_at(proxy.port(), r"postgres.lost.\.*", &options));
    pipeline.open().await.unwrap();
    let mut random = Random::new(6);
    let (mut caught_up, mut cuts) = (false, 0);
    while !caught_up || cuts < 30 {
        caught_up |= pipeline.step().await.unwrap() == "caught-up";
        if random.chance(20) && cuts < 60 {
            proxy.cut();
            cuts += 1;
        }
        if random.chance(20) {
            pipeline.barrier().unwrap();
            pipeline.ack().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    pipeline.until_now(&server).await.unwrap();
    load::compare(&server, "lost", &pipeline.sink);
}

/// A peer that says nothing any more is noticed by its missing signs of life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_a_half_open_connection_is_replaced() {
    let server = own();
    server.sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL").unwrap();
    let proxy = Proxy::to_port(server.port()).unwrap();
    let options = [("heartbeat.interval", "100ms")];
    let mut pipeline = Pipeline::new(source_at(proxy.port(), "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO t VALUES (1)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    proxy.rules(Direction::ToClient, |rules| rules.swallow = true);
    server.sql("INSERT INTO t VALUES (2)").unwrap();
    while pipeline.status().disconnected.is_none() {
        pipeline.step().await.unwrap();
    }
    proxy.heal();
    proxy.cut();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.count("public.t"), 2);
}

/// R1: barriers and crashes inside a transaction larger than a batch; all its rows have one commit, many have one place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r01_a_large_transaction_keeps_its_ids_through_crashes() {
    let server = own();
    server
        .sql("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (LIKE t INCLUDING ALL); ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE u REPLICA IDENTITY FULL")
        .unwrap();
    let options = [("scan.startup.mode", "latest-offset")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.[tu]", &options));
    pipeline.until("caught-up").await.unwrap();
    server
        .sql(
            "BEGIN; INSERT INTO t SELECT n, 0 FROM generate_series(1, 30000) n; INSERT INTO u SELECT n, 0 FROM generate_series(1, 9000) n; \
             UPDATE t SET v = 1 WHERE id % 2 = 0; DELETE FROM u WHERE id < 5000; INSERT INTO t VALUES (-1, 5); COMMIT",
        )
        .unwrap();
    let end = end_of_log(&server);
    for round in 0.. {
        let at_end = |pipeline: &Pipeline| Lsn::parse(&pipeline.status().position).unwrap() >= end;
        while pipeline.step().await.unwrap() != "batch" && !at_end(&pipeline) {}
        if at_end(&pipeline) || round > 100 {
            break;
        }
        if round % 2 == 0 {
            pipeline.barrier().unwrap();
        }
        pipeline.crash();
    }
    pipeline.until_now(&server).await.unwrap();
    assert!(pipeline.crashes >= 4, "{}", pipeline.crashes);
    for table in ["t", "u"] {
        assert_eq!(pipeline.sink.rows[&format!("public.{table}")], rows_of(&server, table, 1));
    }
    let ids: Vec<_> = pipeline.sink.images.iter().filter(|i| i.table == "public.u").map(|i| i.id.clone()).collect();
    let transaction = ids[0].split_once("/public").unwrap().0.to_owned();
    let ordinals: Vec<_> = (0..9000 + 4999).map(|n| format!("{transaction}/public.u/{n}")).collect();
    assert_eq!(ids, ordinals);
}

/// R2: twenty long transactions overlap; a crash at every commit; positions are those of commits, not of changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r02_interleaved_long_transactions_survive_a_crash_at_every_commit() {
    let server = with(&["max_prepared_transactions=30"]);
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL").unwrap();
    let options = [("scan.startup.mode", "latest-offset")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    // Each is prepared while all others are open, and committed in another order.
    let mut script = String::new();
    for round in 0..5 {
        for n in 0..20 {
            script += &format!("BEGIN; INSERT INTO t VALUES ({}, {n}); PREPARE TRANSACTION 'r{n}';\n", round * 20 + n);
        }
        for n in 0..20 {
            script += &format!("COMMIT PREPARED 'r{}';\n", n * 7 % 20);
            script += &format!("UPDATE t SET v = v + 1 WHERE id = {};\n", round * 20 + n * 7 % 20);
        }
    }
    server.sql(&script).unwrap();
    for _ in 0..40 {
        while pipeline.step().await.unwrap() != "batch" {
            if pipeline.sink.count("public.t") == 100 {
                break;
            }
        }
        pipeline.barrier().unwrap();
        pipeline.ack().await;
        pipeline.crash();
    }
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// F1: the server keeps its log until what came before is durable, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_the_slot_moves_with_what_is_durable_and_not_before() {
    let server = own();
    server.sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL").unwrap();
    let options = [("heartbeat.interval", "100ms"), ("slot.name", "f01")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    let confirmed = || confirmed(&server, "f01");
    let before = confirmed();
    server.sql("INSERT INTO t VALUES (1)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    for _ in 0..3 {
        pipeline.step().await.unwrap();
    }
    assert_eq!(confirmed(), before, "nothing was said to be durable");
    pipeline.ack().await;
    let wanted = Lsn::parse(&pipeline.status().position).unwrap();
    while confirmed() <= before {
        pipeline.step().await.unwrap();
    }
    assert!(confirmed() <= wanted);
}

/// F6: the server is killed again and again; what it had committed comes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_a_killed_server_loses_and_repeats_nothing() {
    let mut server = with(&["fsync=on", "synchronous_commit=on"]);
    load::create(&server, "killed");
    let options = [("scan.incremental.snapshot.chunk.size", "50"), ("heartbeat.interval", "200ms")];
    let mut pipeline = Pipeline::new(source(&server, r"postgres.killed.\.*", &options));
    pipeline.open().await.unwrap();
    for round in 0..4 {
        let (stop, thread) = load::writer(&server, "killed", 20 + round, 60);
        for step in 0..30 {
            pipeline.step().await.unwrap();
            if step % 7 == 0 {
                pipeline.barrier().unwrap();
                pipeline.ack().await;
            }
        }
        server.kill9();
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        server.restart().unwrap();
        // What the load had prepared and not decided would keep its rows from the next one.
        for gid in server.sql("SELECT gid FROM pg_prepared_xacts").unwrap().lines() {
            server.sql(&format!("COMMIT PREPARED '{gid}'")).unwrap();
        }
    }
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
    }
    pipeline.until_now(&server).await.unwrap();
    load::compare(&server, "killed", &pipeline.sink);
}

/// F5: texts that others write into the log, inside a transaction and outside, disturb nothing, whatever is restarted where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_logical_messages_inside_a_transaction_lose_no_row_behind_them() {
    let server = own();
    server.sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL").unwrap();
    let options = [("scan.startup.mode", "latest-offset")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    server
        .sql(
            "BEGIN; INSERT INTO t SELECT generate_series(1, 9000); SELECT pg_logical_emit_message(true, 'x', 'y'); \
             INSERT INTO t SELECT generate_series(9001, 20000); SELECT pg_logical_emit_message(false, 'x', 'y'); COMMIT",
        )
        .unwrap();
    for _ in 0..3 {
        while pipeline.step().await.unwrap() != "batch" {}
        pipeline.barrier().unwrap();
        pipeline.crash();
    }
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// F13: a pipeline that has met no event yet has a position all the same; what is written while it is off comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_what_is_written_while_an_idle_pipeline_is_off_is_not_lost() {
    let server = own();
    server.sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
    pipeline.open().await.unwrap();
    pipeline.barrier().unwrap();
    pipeline.crash();
    server.sql("INSERT INTO t VALUES (1), (2)").unwrap();
    pipeline.until("caught-up").await.unwrap();
    pipeline.crash();
    server.sql("INSERT INTO t VALUES (3)").unwrap();
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// Commits that did not wait for the disk (`synchronous_commit = off`) are part of what was there when the stream was opened,
/// although the server does not send them before they are on its disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_no_disk_are_caught_up_with() {
    let server = with(&["fsync=on", "synchronous_commit=off", "wal_writer_delay=10s"]);
    server.sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    pipeline.barrier().unwrap();
    pipeline.crash();
    for id in 1..=20 {
        server.sql(&format!("INSERT INTO t VALUES ({id})")).unwrap();
    }
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}
