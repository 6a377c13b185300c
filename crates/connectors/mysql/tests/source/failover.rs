//! Another server behind the same address, cut connections, purged and renamed files: resumed exactly, or refused by name.

use super::harness::*;
use crate::support;
use dujiang_core::Code;
use dujiang_scratch::{Family, Kind, Options, Server};
use dujiang_testkit::proxy::{Direction, Proxy};
use std::net::SocketAddr;

const TABLE: &str = "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT); INSERT INTO d.t VALUES (1, 0)";

fn start(kind: Kind, id: u32) -> Server {
    let replicates = match kind.family() {
        Family::MariaDb => "--log-slave-updates=ON",
        Family::MySql => "--log-replica-updates=ON",
    };
    support::own(&Options { server_id: id, ..Options::default() }.on(kind).arg(replicates))
}

/// Makes `replica` follow `primary`.
fn follow(replica: &Server, primary: &Server) {
    let port = primary.port();
    let sql = match replica.family() {
        Family::MariaDb => format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='root', MASTER_USE_GTID=slave_pos; START SLAVE"
        ),
        Family::MySql => format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='root', SOURCE_AUTO_POSITION=1, \
             GET_SOURCE_PUBLIC_KEY=1; START REPLICA"
        ),
    };
    replica.sql(&sql).unwrap();
}

/// Waits until `replica` has everything that `primary` has.
fn level(replica: &Server, primary: &Server) {
    let gtid = last_gtid(primary);
    let sql = match replica.family() {
        Family::MariaDb => format!("SELECT MASTER_GTID_WAIT('{gtid}', 60)"),
        Family::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtid}', 60)"),
    };
    assert_eq!(replica.session().unwrap().number(&sql).unwrap(), 0);
}

fn stop_following(replica: &Server) {
    let sql = match replica.family() {
        Family::MariaDb => "STOP SLAVE; RESET SLAVE ALL",
        Family::MySql => "STOP REPLICA; RESET REPLICA ALL",
    };
    replica.sql(sql).unwrap();
}

fn lead_to(proxy: &Proxy, server: &Server) {
    proxy.retarget(SocketAddr::from(([127, 0, 0, 1], server.port())));
    proxy.cut();
}

async fn until_row(pipeline: &mut Pipeline, id: &str) {
    loop {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
        if pipeline.sink.rows.get("d.t").is_some_and(|rows| rows.contains_key(&vec![id.to_owned()])) {
            return;
        }
    }
}

/// INV-5, F35: a replica of the same lineage is followed by GTID, over files of its own, there and back; one that lacks what
/// was read is refused, and the gap is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f35_a_replica_takes_over_or_is_refused() {
    for kind in [Kind::MariaDb, Kind::MysqlNewest] {
        let (first, second) = (start(kind, 11), start(kind, 12));
        // The replica's files count otherwise.
        second.sql("FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS").unwrap();
        first.sql(TABLE).unwrap();
        follow(&second, &first);
        let proxy = Proxy::to_port(first.port()).unwrap();
        let mut pipeline = Pipeline::new(source_at(proxy.port(), "d.t", &[("heartbeat.interval", "200ms")]));
        pipeline.until("caught-up").await.unwrap();
        first.sql("INSERT INTO d.t VALUES (2, 0); UPDATE d.t SET v = 1; FLUSH BINARY LOGS").unwrap();
        until_row(&mut pipeline, "2").await;
        level(&second, &first);
        stop_following(&second);
        lead_to(&proxy, &second);
        second.sql("INSERT INTO d.t VALUES (3, 0); UPDATE d.t SET v = v + 1").unwrap();
        until_row(&mut pipeline, "3").await;
        pipeline.crash();
        second.sql("DELETE FROM d.t WHERE id = 1; INSERT INTO d.t VALUES (4, 0)").unwrap();
        until_row(&mut pipeline, "4").await;
        assert_eq!(pipeline.sink.rows["d.t"], rows_of(&second, "d.t", 1), "{}", second.version());
        // The old one never had what was read since.
        lead_to(&proxy, &first);
        let error = failure(&mut pipeline).await;
        assert_eq!(error.code(), Code::OtherServer, "{error:?}");
        let lacks = match kind.family() {
            Family::MariaDb => last_gtid(&second),
            Family::MySql => second.sql("SELECT @@server_uuid").unwrap().trim().to_owned(),
        };
        assert!(error.message().contains(&lacks), "{lacks}: {error:?}");
        pipeline.crash();
        assert_eq!(pipeline.step().await.unwrap_err().code(), Code::OtherServer);
        // Once it has caught up it will do.
        follow(&first, &second);
        level(&first, &second);
        until_caught_up(&mut pipeline, &first).await;
        assert_eq!(pipeline.sink.rows["d.t"], rows_of(&first, "d.t", 1));
    }
}

async fn until_caught_up(pipeline: &mut Pipeline, server: &Server) {
    server.sql("INSERT INTO d.t VALUES (99, 0)").unwrap();
    until_row(pipeline, "99").await;
}

/// INV-6: what was purged before it was read is named, to the transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_gap_is_named() {
    let server = start(Kind::MysqlNewest, 1);
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[("heartbeat.interval", "100ms")]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO d.t VALUES (2, 0)").unwrap();
    until_row(&mut pipeline, "2").await;
    pipeline.crash();
    // The server purges no file that a reader holds.
    let mut session = server.session().unwrap();
    while session.number("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog%'").unwrap()
        > 0
    {}
    session.run("INSERT INTO d.t VALUES (3, 0); INSERT INTO d.t VALUES (4, 0); FLUSH BINARY LOGS").unwrap();
    let last = session.run("SHOW BINARY LOGS").unwrap().last().unwrap()[0].clone().unwrap();
    session.run(&format!("PURGE BINARY LOGS TO '{last}'")).unwrap();
    let error = pipeline.step().await.unwrap_err();
    assert_eq!(error.code(), Code::PositionLost, "{error:?}");
    let executed = last_gtid(&server);
    let (uuid, number) = executed.rsplit_once(['-', ':']).unwrap();
    let number: u64 = number.parse().unwrap();
    let gap = format!("{}:{}-{number} was purged", uuid.split(':').next().unwrap(), number - 1);
    assert!(error.message().contains(&gap), "{gap}: {error:?}");
}

/// F14: foreign tables alone move the position, so that files before them may go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_idle_tables_keep_their_position_fresh() {
    for kind in [Kind::MariaDb, Kind::MysqlNewest] {
        let server = start(kind, 1);
        server.sql(TABLE).unwrap();
        server.sql("CREATE TABLE d.foreign_one (id INT)").unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t", &[("heartbeat.interval", "100ms")]));
        pipeline.until("caught-up").await.unwrap();
        server.sql("INSERT INTO d.foreign_one VALUES (1); FLUSH BINARY LOGS; INSERT INTO d.foreign_one VALUES (2); FLUSH BINARY LOGS").unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        let last =
            server.sql("SHOW BINARY LOGS").unwrap().lines().last().unwrap().split('\t').next().unwrap().to_owned();
        while !pipeline.status().position.starts_with(&last) {
            pipeline.step().await.unwrap();
        }
        pipeline.barrier().unwrap();
        pipeline.crash();
        let mut session = server.session().unwrap();
        while session.run("SHOW BINARY LOGS").unwrap().len() > 1 {
            session.run(&format!("PURGE BINARY LOGS TO '{last}'")).unwrap();
        }
        server.sql("INSERT INTO d.t VALUES (2, 0)").unwrap();
        until_row(&mut pipeline, "2").await;
    }
}

/// F38: file names count on past six digits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f38_files_count_past_six_digits() {
    for (kind, reset) in
        [(Kind::MariaDb, "RESET MASTER TO 999999"), (Kind::MysqlNewest, "RESET BINARY LOGS AND GTIDS TO 999999")]
    {
        let server = start(kind, 1);
        server.sql(&format!("{reset}; {TABLE}")).unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t", &[("heartbeat.interval", "100ms")]));
        pipeline.until("caught-up").await.unwrap();
        for id in 2..5 {
            server.sql(&format!("INSERT INTO d.t VALUES ({id}, 0); FLUSH BINARY LOGS")).unwrap();
            until_row(&mut pipeline, &id.to_string()).await;
            pipeline.crash();
        }
        assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
    }
}

/// P05, R7: the connection is cut at every byte of a transaction, the bytes around it included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_cut_at_every_byte_of_a_transaction() {
    let server = start(Kind::MariaDb, 1);
    server.sql(TABLE).unwrap();
    let proxy = Proxy::to_port(server.port()).unwrap();
    let mut pipeline = Pipeline::new(source_at(proxy.port(), "d.t", &[("scan.startup.mode", "latest-offset")]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO d.t VALUES (2, 0)").unwrap();
    until_row(&mut pipeline, "2").await;
    let before = proxy.passed(Direction::ToClient);
    server.sql("INSERT INTO d.t VALUES (3, 0)").unwrap();
    until_row(&mut pipeline, "3").await;
    let length = proxy.passed(Direction::ToClient) - before;
    assert!((150..600).contains(&length), "{length}");
    // All connections together had passed on so many bytes when the present one began.
    let mut begin = proxy.passed(Direction::ToClient);
    proxy.cut();
    server.sql("INSERT INTO d.t VALUES (4, 0)").unwrap();
    until_row(&mut pipeline, "4").await;
    let mut cuts = 0;
    for at in 0..length + 2 {
        let (accepted, id) = (proxy.accepted(), at + 5);
        let cut_at = proxy.passed(Direction::ToClient) - begin + at;
        proxy.rules(Direction::ToClient, |rules| rules.cut_at = Some(cut_at));
        server.sql(&format!("INSERT INTO d.t VALUES ({id}, {at})")).unwrap();
        until_row(&mut pipeline, &id.to_string()).await;
        if proxy.accepted() > accepted {
            cuts += 1;
            begin += cut_at;
        }
        proxy.heal();
    }
    assert!(cuts >= length - 2, "{cuts} of {length}");
    let rows = rows_of(&server, "d.t", 1);
    assert_eq!(pipeline.sink.count("d.t"), rows.len() - 1, "the first row was there before");
}
