//! Raw binlog events, and every way a server refuses to send them.

use crate::support::{connect, own, reads_as_written, root, shared, user};
use dujiang_core::{Code, Error};
use dujiang_mysql::client::{BinlogRequest, BinlogStart, BinlogStream, Connection};
use dujiang_scratch::{Kind, Options, Server};
use std::time::Duration;

const ROTATE: u8 = 4;
const QUERY: u8 = 2;
const FORMAT_DESCRIPTION: u8 = 15;
const WRITE_ROWS: u8 = 23;
const HEARTBEAT: u8 = 27;
const MARIADB_GTID: u8 = 162;

fn request(server_id: u32, start: BinlogStart) -> BinlogRequest {
    BinlogRequest { server_id, start, heartbeat: Duration::from_secs(10), replica_uuid: None, wait_at_end: false }
}

fn from_file(file: &str, position: u64) -> BinlogStart {
    BinlogStart::FilePosition { file: file.into(), position }
}

async fn open(server: &Server, request: &BinlogRequest) -> BinlogStream {
    connect(server).await.dump(request).await.unwrap()
}

/// All events of a dump that does not wait: (type, length).
async fn events(server: &Server, request: &BinlogRequest) -> Result<Vec<(u8, usize)>, Error> {
    let mut stream = open(server, request).await;
    let mut out = Vec::new();
    while let Some(event) = stream.next_event().await? {
        assert_eq!(u32::from_le_bytes(event[9..13].try_into().unwrap()) as usize, event.len());
        out.push((event[4], event.len()));
    }
    Ok(out)
}

async fn error_of(server: &Server, request: &BinlogRequest) -> Error {
    let error = events(server, request).await.expect_err("the server should refuse");
    assert!(error.help_text().is_some());
    error
}

#[tokio::test]
async fn events_come_from_a_file_position_and_from_a_gtid() {
    let server = own(&Options::default());
    server.sql("CREATE DATABASE b; CREATE TABLE b.t (id INT PRIMARY KEY, big LONGBLOB)").unwrap();
    server.sql("INSERT INTO b.t VALUES (1, REPEAT('x', 40000000)), (2, 'small')").unwrap();
    let all = events(&server, &request(7, from_file("bin.000001", 4))).await.unwrap();
    assert_eq!((all[0].0, all[1].0), (ROTATE, FORMAT_DESCRIPTION));
    assert!(all.iter().any(|&(kind, length)| kind == WRITE_ROWS && length > 40_000_000), "{all:?}");
    let mut c = connect(&server).await;
    let here = c.query_value("SELECT @@gtid_binlog_pos").await.unwrap().unwrap();
    server.sql("INSERT INTO b.t VALUES (3, 'y')").unwrap();
    let later = events(&server, &request(7, BinlogStart::MariaDbGtids(here.clone()))).await.unwrap();
    assert_eq!(later.iter().filter(|e| e.0 == MARIADB_GTID).count(), 1, "{later:?}");
    assert_eq!(later.iter().filter(|e| e.0 == WRITE_ROWS).count(), 1);
    let first = events(&server, &request(7, BinlogStart::MariaDbGtids(String::new()))).await.unwrap();
    assert_eq!(
        first.iter().filter(|e| e.0 == WRITE_ROWS).count(),
        all.iter().filter(|e| e.0 == WRITE_ROWS).count() + 1
    );
    // Without our capability a MariaDB server would replace GTID events by BEGIN.
    assert!(first.iter().any(|e| e.0 == MARIADB_GTID) && !first.iter().any(|e| e.0 == QUERY && e.1 < 60));
}

/// INV-6: MariaDB tells a hole in the numbers of its log from a position that it never came to.
#[tokio::test]
async fn inv6_a_hole_where_the_position_lies_is_named() {
    for kind in [Kind::MariaDb, Kind::MariaDbNewest] {
        let server = own(&Options::default().on(kind));
        server.sql("CREATE DATABASE b; SET gtid_seq_no = 9; CREATE DATABASE c").unwrap();
        let error = error_of(&server, &request(7, BinlogStart::MariaDbGtids("0-1-4".into()))).await;
        assert_eq!(error.code(), Code::OtherServer, "{error:?}");
        reads_as_written(&error, &[(&format!("127.0.0.1:{}", server.port()), "<server>")]);
    }
}

#[tokio::test]
async fn a_waiting_stream_gets_heartbeats_and_later_events_and_may_be_cancelled() {
    let server = own(&Options::default());
    server.sql("CREATE DATABASE b; CREATE TABLE b.t (id INT PRIMARY KEY)").unwrap();
    let here = connect(&server).await.query_value("SELECT @@gtid_binlog_pos").await.unwrap().unwrap();
    let heartbeat = Duration::from_millis(50);
    let waiting = BinlogRequest { wait_at_end: true, heartbeat, ..request(7, BinlogStart::MariaDbGtids(here)) };
    let mut stream = open(&server, &waiting).await;
    let mut kinds = Vec::new();
    while !kinds.contains(&HEARTBEAT) {
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(1), stream.next_event()).await {
            kinds.push(event.unwrap().unwrap()[4]);
        }
    }
    assert!(!kinds.contains(&WRITE_ROWS));
    server.sql("INSERT INTO b.t VALUES (1)").unwrap();
    while !kinds.contains(&WRITE_ROWS) {
        kinds.push(stream.next_event().await.unwrap().unwrap()[4]);
    }
    assert_eq!(
        connect(&server).await.query("SHOW SLAVE HOSTS").await.unwrap().get(0).unwrap().required(0).unwrap(),
        "7"
    );
}

#[tokio::test]
async fn purged_binlogs_are_a_lost_position() {
    let mut server = own(&Options::default());
    server.sql("CREATE DATABASE b; CREATE TABLE b.t (id INT PRIMARY KEY)").unwrap();
    let old = connect(&server).await.query_value("SELECT @@gtid_binlog_pos").await.unwrap().unwrap();
    server.sql("INSERT INTO b.t VALUES (1); FLUSH BINARY LOGS; INSERT INTO b.t VALUES (2); FLUSH BINARY LOGS").unwrap();
    // The server keeps a file until the storage engine needs it no longer for recovery: after a clean stop it does not.
    server.restart().unwrap();
    server.sql("PURGE BINARY LOGS TO 'bin.000003'").unwrap();
    assert!(!server.sql("SHOW BINARY LOGS").unwrap().contains("bin.000001"), "the server keeps its binlog");
    for start in [BinlogStart::MariaDbGtids(old), from_file("bin.000001", 4), from_file("bin.999999", 4)] {
        let error = error_of(&server, &request(7, start)).await;
        assert_eq!(error.code(), Code::PositionLost, "{error:?}");
    }
    let beyond = error_of(&server, &request(7, from_file("bin.000003", 99_999_999))).await;
    assert_eq!(beyond.code(), Code::PositionLost, "{beyond:?}");
    let too_far = connect(&server).await.dump(&request(7, from_file("bin.000003", 1 << 32))).await.err().unwrap();
    assert_eq!(too_far.code(), Code::StartNotPossible);
}

#[tokio::test]
async fn a_gtid_the_server_never_had_belongs_to_another_server() {
    let server = own(&Options::default());
    server.sql("CREATE DATABASE b").unwrap();
    let error = error_of(&server, &request(7, BinlogStart::MariaDbGtids("0-1-4711".into()))).await;
    assert_eq!(error.code(), Code::OtherServer, "{error:?}");
}

#[tokio::test]
async fn a_position_inside_an_event_or_a_damaged_file_is_named() {
    let server = own(&Options::default());
    server.sql("CREATE DATABASE b; CREATE TABLE b.t (id INT PRIMARY KEY, v TEXT)").unwrap();
    server.sql("INSERT INTO b.t VALUES (1, REPEAT('x', 5000)); FLUSH BINARY LOGS").unwrap();
    let file = server.data_dir().join("bin.000001");
    let mut bytes = std::fs::read(&file).unwrap();
    let inside = bytes.windows(20).position(|w| w == [b'x'; 20]).unwrap();
    bytes[inside + 100] ^= 0x40;
    std::fs::write(&file, &bytes).unwrap();
    let read = events(&server, &request(7, from_file("bin.000001", 4))).await;
    // A server that does not verify what it sends leaves it to the reader's own check of the event.
    assert!(read.is_ok() || read.is_err_and(|e| e.code() == Code::LogDamaged));
    server.sql("SET GLOBAL master_verify_checksum=ON").unwrap();
    let error = error_of(&server, &request(7, from_file("bin.000001", 4))).await;
    assert_eq!(error.code(), Code::LogDamaged, "{error:?}");
    let error = error_of(&server, &request(7, from_file("bin.000001", inside as u64))).await;
    assert_eq!(error.code(), Code::LogDamaged, "{error:?}");
}

#[tokio::test]
async fn a_second_client_with_our_server_id_is_found_out() {
    let server = own(&Options::default());
    server.sql("CREATE DATABASE b").unwrap();
    let waiting = BinlogRequest { wait_at_end: true, ..request(7, from_file("bin.000001", 4)) };
    let mut first = open(&server, &waiting).await;
    first.next_event().await.unwrap();
    let mut second = open(&server, &waiting).await;
    second.next_event().await.unwrap();
    let error = loop {
        if let Err(error) = first.next_event().await {
            break error;
        }
    };
    assert!(matches!(error.code(), Code::ServerIdTaken | Code::ConnectionLost), "{error:?}");
}

#[tokio::test]
async fn a_user_without_the_privilege_is_told_which_one() {
    let server = shared();
    server.sql("CREATE USER IF NOT EXISTS binlog_poor@'%' IDENTIFIED BY 'p'").unwrap();
    let poor = Connection::connect(&user(server, "binlog_poor", "p")).await.unwrap();
    let error = poor.dump(&request(7, from_file("bin.000001", 4))).await.err().unwrap();
    assert_eq!(error.code(), Code::MissingPrivilege, "{error:?}");
}

#[tokio::test]
async fn a_server_without_binlog_says_so() {
    let server = own(&Options { binlog: false, ..Options::default() });
    let error = error_of(&server, &request(7, from_file("", 4))).await;
    assert_eq!(error.code(), Code::BinlogOff, "{error:?}");
}

#[tokio::test]
async fn a_server_that_dies_is_a_lost_connection() {
    let mut server = own(&Options::default());
    let waiting = BinlogRequest { wait_at_end: true, ..request(7, from_file("bin.000001", 4)) };
    let mut stream = open(&server, &waiting).await;
    stream.next_event().await.unwrap();
    let endpoint = root(&server);
    server.kill9().unwrap();
    let error = loop {
        if let Err(error) = stream.next_event().await {
            break error;
        }
    };
    assert_eq!(error.code(), Code::ConnectionLost, "{error:?}");
    assert_eq!(Connection::connect(&endpoint).await.err().unwrap().code(), Code::SourceUnreachable);
}
