use super::harness::*;
use super::load;
use crate::support;
use dujiang_core::Code;
use dujiang_mysql::client::{BinlogRequest, BinlogStart};
use dujiang_scratch::{Family, Kind, Options, Random, Server};
use dujiang_testkit::proxy::{Direction, Proxy};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// P05: whatever the pattern of lost connections, what is captured is what was committed, once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_f16_lost_connections_lose_and_repeat_nothing() {
    // The others differ in how a stream is begun, not in how it is lost.
    for (kind, cuts) in [(Kind::MariaDb, 30), (Kind::MariaDbNewest, 8), (Kind::Mysql57, 8), (Kind::MysqlNewest, 8)] {
        lose(kind, cuts).await;
    }
}

async fn lose(kind: Kind, least: u32) {
    let server = support::own(&Options::default().on(kind));
    let proxy = Proxy::to_port(server.port()).unwrap();
    load::create(&server, "lost");
    let (stop, thread) = load::writer(&server, "lost", 5, 100);
    let options = [("scan.incremental.snapshot.chunk.size", "20"), ("heartbeat.interval", "200ms")];
    let mut pipeline = Pipeline::new(source_at(proxy.port(), "lost.\\.*", &options));
    pipeline.open().await.unwrap();
    let mut random = Random::new(6);
    let mut caught_up = false;
    let mut cuts = 0;
    while !caught_up || cuts < least {
        caught_up |= pipeline.step().await.unwrap() == "caught-up";
        if random.chance(20) && cuts < 2 * least {
            proxy.cut();
            cuts += 1;
        }
        if random.chance(20) {
            pipeline.barrier().unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    load::compare(&server, "lost", &pipeline.sink);
}

/// A peer that says nothing any more is noticed by its missing signs of life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_f36_a_half_open_connection_is_replaced() {
    for kind in Kind::ALL {
        let server = support::own(&Options::default().on(kind));
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)").unwrap();
        let proxy = Proxy::to_port(server.port()).unwrap();
        let mut pipeline = Pipeline::new(source_at(proxy.port(), "d.t", &[("heartbeat.interval", "100ms")]));
        pipeline.until("caught-up").await.unwrap();
        server.sql("INSERT INTO d.t VALUES (1)").unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        proxy.rules(Direction::ToClient, |rules| rules.swallow = true);
        server.sql("INSERT INTO d.t VALUES (2)").unwrap();
        while pipeline.status().disconnected.is_none() {
            pipeline.step().await.unwrap();
        }
        proxy.heal();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        assert_eq!(pipeline.sink.count("d.t"), 2, "{}", server.version());
    }
}

/// Two pipelines under one server id throw each other out; before long one of them says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_id_that_another_pipeline_uses_is_explained() {
    for kind in [Kind::MariaDb, Kind::MysqlNewest] {
        let server = support::own(&Options::default().on(kind));
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)").unwrap();
        let ours = [("server-id", "6001"), ("heartbeat.interval", "100ms")];
        let mut pipelines = [(); 2].map(|()| Pipeline::new(source(&server, "d.t", &ours)));
        let error = 'all: loop {
            for pipeline in &mut pipelines {
                if let Err(error) = pipeline.step_or_barrier(Duration::from_millis(50)).await {
                    break 'all error;
                }
            }
        };
        assert_eq!(error.code(), Code::ServerIdTaken, "{error:?} on {}", server.version());
        if kind == Kind::MariaDb {
            let address = format!("127.0.0.1:{}", server.port());
            dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[(&address, "<server>")]);
        }
    }
}

/// R1, R5: barriers and crashes inside a transaction larger than a batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p39_r01_a_large_transaction_keeps_its_ids_through_crashes() {
    let server = own();
    server.sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE TABLE u LIKE t").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.\\.*", &[("scan.startup.mode", "latest-offset")]));
    pipeline.until("caught-up").await.unwrap();
    let sql = "USE d; BEGIN; INSERT INTO t SELECT seq, 0 FROM seq_1_to_30000; INSERT INTO u SELECT seq, 0 FROM seq_1_to_9000; \
               UPDATE t SET v = 1 WHERE id % 2 = 0; DELETE FROM u WHERE id < 5000; INSERT INTO t VALUES (-1, 5); COMMIT";
    server.sql(sql).unwrap();
    let expected = last_gtid(&server);
    for round in 0.. {
        while pipeline.step().await.unwrap() != "batch" {}
        if sequence(&pipeline.status().position) >= sequence(&expected) {
            break;
        }
        if round % 2 == 0 {
            pipeline.barrier().unwrap();
        }
        pipeline.crash();
    }
    pipeline.barrier().unwrap();
    assert!(pipeline.crashes >= 4, "{}", pipeline.crashes);
    assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
    assert_eq!(pipeline.sink.rows["d.u"], rows_of(&server, "d.u", 1));
    let ids: Vec<_> = pipeline.sink.images.iter().filter(|i| i.table == "d.u").map(|i| i.id.clone()).collect();
    let ordinals: Vec<_> = (0..9000 + 4999).map(|n| format!("{expected}/d.u/{n}")).collect();
    assert_eq!(ids, ordinals);
}

/// R7: the link is lost while the sink stalls within a transaction, and no GTID tells where that was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r07_links_lost_within_a_transaction_without_gtid_lose_and_repeat_nothing() {
    let server = support::own(&Options { gtid: false, ..Options::default().on(Kind::Mysql57) });
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT)").unwrap();
    let proxy = Proxy::to_port(server.port()).unwrap();
    let options = [("heartbeat.interval", "100ms"), ("scan.startup.mode", "latest-offset")];
    let mut pipeline = Pipeline::new(source_at(proxy.port(), "d.t", &options));
    pipeline.until("caught-up").await.unwrap();
    let doubled: String = (0..15).map(|n| format!("INSERT INTO d.t SELECT id + {}, {n} FROM d.t; ", 1 << n)).collect();
    server.sql(&format!("BEGIN; INSERT INTO d.t VALUES (1, 0); {doubled}COMMIT")).unwrap();
    let mut cuts = 0;
    while pipeline.sink.count("d.t") < 1 << 15 {
        if pipeline.step().await.unwrap() != "batch" {
            pipeline.barrier().unwrap();
            continue;
        }
        proxy.cut();
        cuts += 1;
        if cuts % 2 == 0 {
            pipeline.barrier().unwrap();
        }
        if cuts % 3 == 0 {
            pipeline.crash();
        }
    }
    pipeline.barrier().unwrap();
    assert!(cuts >= 4, "{cuts}");
    assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
    assert_eq!(pipeline.sink.images.len(), 1 << 15);
}

/// INV-6: what is purged is said, never passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_log_halts() {
    let server = own();
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[("heartbeat.interval", "100ms")]));
    pipeline.until("caught-up").await.unwrap();
    pipeline.crash();
    until_nobody_reads(&server);
    server.sql("INSERT INTO d.t VALUES (2); FLUSH BINARY LOGS; INSERT INTO d.t VALUES (3); FLUSH BINARY LOGS").unwrap();
    purge(&server);
    let error = loop {
        match pipeline.step().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::PositionLost, "{error:?}");
    assert_eq!(pipeline.sink.count("d.t"), 1);
}

/// INV-5, R8: another server behind the same address, and the same one with its history thrown away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r08_another_history_is_refused() {
    for kind in Kind::ALL {
        refuse_another(kind).await;
    }
}

async fn refuse_another(kind: Kind) {
    let setup = "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1)";
    let server = support::own(&Options::default().on(kind));
    let other = support::own(&Options { server_id: 7, ..Options::default() }.on(kind));
    server.sql(setup).unwrap();
    other.sql(setup).unwrap();
    let proxy = Proxy::to_port(server.port()).unwrap();
    let mut pipeline = Pipeline::new(source_at(proxy.port(), "d.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO d.t VALUES (2)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    proxy.retarget(std::net::SocketAddr::from(([127, 0, 0, 1], other.port())));
    proxy.cut();
    let error = loop {
        match pipeline.step().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::OtherServer, "{error:?}");
    proxy.retarget(std::net::SocketAddr::from(([127, 0, 0, 1], server.port())));
    let reset = match server.family() {
        Family::MariaDb => "RESET MASTER",
        Family::MySql if server.version().starts_with("5.") => "RESET MASTER",
        Family::MySql => "RESET BINARY LOGS AND GTIDS",
    };
    server.sql(reset).unwrap();
    pipeline.crash();
    let error = pipeline.step().await.unwrap_err();
    assert_eq!(error.code(), Code::OtherServer, "{error:?}");
    // It counts past the place that was read, but it is another history.
    server.sql("CREATE TABLE d.u (id INT PRIMARY KEY); INSERT INTO d.u VALUES (1); INSERT INTO d.u VALUES (2); INSERT INTO d.u VALUES (3); INSERT INTO d.u VALUES (4)").unwrap();
    let error = pipeline.step().await.unwrap_err();
    assert_eq!(error.code(), Code::OtherServer, "{error:?}");
}

/// A MariaDB server that crashes while it writes leaves a torn event at the end of that file, and refuses to send it. The dump
/// has to pass it when a transaction before it is undecided, and so does whoever looks for later changes of a table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_torn_end_of_a_file_is_passed_when_nothing_else_is_missing() {
    let mut server = own();
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.\\.*", &[("heartbeat.interval", "100ms")]));
    pipeline.until("caught-up").await.unwrap();
    // The dump begins before what is undecided, in the file with the torn end.
    server.sql("XA START 'x'; INSERT INTO d.t VALUES (1); XA END 'x'; XA PREPARE 'x'").unwrap();
    server.sql("INSERT INTO d.t VALUES (2)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    pipeline.crash();
    crash_within_an_event(&mut server).await;
    server.sql("INSERT INTO d.t VALUES (3)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    server.sql("XA COMMIT 'x'").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    // A table is made in the file with the torn end, and read about while that lies ahead.
    pipeline.crash();
    server.sql("CREATE TABLE d.u (id INT PRIMARY KEY); INSERT INTO d.u VALUES (1)").unwrap();
    crash_within_an_event(&mut server).await;
    server.sql("INSERT INTO d.u VALUES (2); INSERT INTO d.t VALUES (4)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    for table in ["d.t", "d.u"] {
        assert_eq!(pipeline.sink.rows[table], rows_of(&server, table, 1), "{table}");
    }
}

/// Whoever looks at the log before the stream begins passes a torn end only with the same proof: here it hides a transaction too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv6_a_torn_end_that_hides_more_is_not_passed_by_a_start_either() {
    let mut server = own();
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)").unwrap();
    let first = server.session().unwrap().run("SHOW MASTER STATUS").unwrap()[0].clone();
    server.sql("INSERT INTO d.t VALUES (1); INSERT INTO d.t VALUES (2)").unwrap();
    let within = first[1].clone().unwrap();
    let first = first[0].clone().unwrap();
    crash_within_an_event(&mut server).await;
    server.sql("INSERT INTO d.t VALUES (3)").unwrap();
    let starts: [&[(&str, &str)]; 2] = [
        &[("scan.startup.mode", "earliest-offset")],
        &[
            ("scan.startup.mode", "specific-offset"),
            ("scan.startup.specific-offset.file", &first),
            ("scan.startup.specific-offset.pos", &within),
        ],
    ];
    for start in starts {
        let mut pipeline = Pipeline::new(source(&server, "d.t", start));
        pipeline.open().await.unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
    }
    // The torn event, and the end of the transaction before it.
    let file = std::fs::OpenOptions::new().write(true).open(server.data_dir().join(&first)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 50).unwrap();
    for start in starts {
        let mut pipeline = Pipeline::new(source(&server, "d.t", start));
        let error = pipeline.open().await.err().expect("a refusal");
        assert_eq!(error.code(), Code::LogDamaged);
        let told: Vec<_> = error.facts().iter().map(|(name, _)| *name).collect();
        assert_eq!(told, ["read", "committed before the next file"], "{error:?}");
    }
}

/// Kills the server, tears the end of its log as if it had been writing, and starts it again.
async fn crash_within_an_event(server: &mut Server) {
    let name = server.session().unwrap().run("SHOW MASTER STATUS").unwrap()[0][0].clone().unwrap();
    server.kill9().unwrap();
    let file = server.data_dir().join(&name);
    let mut torn = std::fs::read(&file).unwrap();
    let next = torn.len() as u32 + 100;
    // The header of an event of 100 bytes (time, type, server, size, place of the next one), and no more than a few of them.
    torn.extend(
        [0u32.to_le_bytes().as_slice(), &[2], &1u32.to_le_bytes(), &100u32.to_le_bytes(), &next.to_le_bytes()].concat(),
    );
    torn.extend([0; 20]);
    std::fs::write(&file, torn).unwrap();
    server.restart().unwrap();
    assert_eq!(refused_in(server, name).await, Code::LogDamaged);
}

/// What the server says when it has sent the whole events of a file.
async fn refused_in(server: &Server, file: String) -> Code {
    let request = BinlogRequest {
        server_id: 77,
        start: BinlogStart::FilePosition { file, position: 4 },
        heartbeat: Duration::from_secs(1),
        replica_uuid: None,
        wait_at_end: false,
    };
    let mut stream = support::connect(server).await.dump(&request).await.unwrap();
    loop {
        match stream.next_event().await {
            Ok(event) => assert!(event.is_some(), "the end is not torn"),
            Err(error) => return error.code(),
        }
    }
}

/// The server restarts: files end without a rotation, the stream goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_is_survived() {
    for kind in Kind::ALL {
        restart(support::own(&Options::default().on(kind))).await;
    }
}

async fn restart(mut server: Server) {
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    for round in 2..5 {
        server.sql(&format!("INSERT INTO d.t VALUES ({round})")).unwrap();
        if round % 2 == 0 {
            server.kill9().unwrap()
        } else {
            server.stop().unwrap()
        };
        server.restart().unwrap();
        server.sql(&format!("INSERT INTO d.t VALUES ({})", round * 100)).unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    }
    assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
}
