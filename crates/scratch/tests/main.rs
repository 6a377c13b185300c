//! Scratch servers for real: they start fast, come back after a crash, and leave nothing behind.

#![allow(clippy::unwrap_used, missing_docs)]

use dujiang_scratch::{Error, Family, Kind, Options, Postgres, PostgresKind, PostgresOptions, Server};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits for something that must happen soon.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_server_is_ready_for_capture_and_leaves_nothing_behind() {
    let server = Server::start(&Options::default()).unwrap();
    let settings = server
        .sql("SELECT @@log_bin, @@binlog_format, @@binlog_row_image, @@binlog_checksum, @@server_id, @@bind_address")
        .unwrap();
    assert_eq!(settings, "1\tROW\tFULL\tCRC32\t1\t127.0.0.1\n");
    let (pid, dir) = (server.pid().unwrap(), server.dir().to_owned());
    drop(server);
    assert!(!is_alive(pid) && !dir.exists());
}

#[test]
fn committed_rows_survive_a_kill_on_the_same_port() {
    let mut server = Server::start(&Options::default()).unwrap();
    let port = server.port();
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (7)").unwrap();
    server.kill9().unwrap();
    assert!(!server.is_running() && server.sql("SELECT 1").is_err());
    server.restart().unwrap();
    assert_eq!((server.sql("SELECT id FROM d.t").unwrap().as_str(), server.port()), ("7\n", port));
    server.stop().unwrap();
    server.restart_with(&Options { row_image: "MINIMAL", ..Options::default() }).unwrap();
    assert_eq!(server.sql("SELECT COUNT(*), @@binlog_row_image FROM d.t").unwrap(), "1\tMINIMAL\n");
}

#[test]
fn a_wrong_argument_is_reported_with_the_servers_own_words() {
    let error = Server::start(&Options::default().arg("--no-such-option=1")).unwrap_err();
    assert!(matches!(&error, Error::DidNotStart { log } if log.contains("no-such-option")), "{error}");
}

#[test]
fn a_refused_statement_is_an_error() {
    let server = Server::start(&Options { binlog: false, ..Options::default() }).unwrap();
    let error = server.sql("SELECT * FROM nowhere.nothing").unwrap_err();
    assert!(matches!(error, Error::Sql { .. }), "{error}");
}

#[test]
fn a_named_folder_stays_and_can_be_started_again() {
    let dir: PathBuf = std::env::temp_dir().join(format!("dujiang-named-{}", std::process::id()));
    let options = Options::default().dir(dir.join("x".repeat(100)));
    Server::start(&options).unwrap().sql("CREATE DATABASE kept").unwrap();
    let again = Server::start(&options).unwrap();
    assert!(again.sql("SHOW DATABASES").unwrap().contains("kept"));
    drop(again);
    assert!(dir.exists());
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Not a test of its own: the process that [`a_server_dies_with_the_process_that_started_it`] kills.
#[test]
fn helper_process_that_owns_a_server() {
    if std::env::var_os("DUJIANG_SCRATCH_HELPER").is_none() {
        return;
    }
    let server = Server::start(&Options::default()).unwrap();
    eprintln!("owns {} {}", server.pid().unwrap(), server.dir().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_server_dies_with_the_process_that_started_it() {
    let mut helper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_process_that_owns_a_server", "--nocapture"])
        .env("DUJIANG_SCRATCH_HELPER", "1")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(helper.stderr.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("owns ")).unwrap();
    let [pid, dir] = [1, 2].map(|i| line.split(' ').nth(i).unwrap().to_owned());
    assert!(is_alive(pid.parse().unwrap()));
    helper.kill().unwrap();
    helper.wait().unwrap();
    eventually("the server's end", || !is_alive(pid.parse().unwrap()));
    eventually("the folder's removal", || !Path::new(&dir).exists());
}

#[test]
fn sessions_answer_with_rows_nulls_and_codes() {
    let server = Server::start(&Options::default()).unwrap();
    let mut session = server.session().unwrap();
    let rows = session.run("SELECT 'é\\'', NULL; DO 1; SELECT 3, ''").unwrap();
    let text = |t: &str| Some(t.to_owned());
    assert_eq!(rows, [vec![text("é'"), None], vec![text("3"), text("")]]);
    assert_eq!(session.run("SELECT 1; SELECT * FROM no.where_; SELECT 2").unwrap_err().sql_code(), Some(1146));
    assert_eq!(session.number("SELECT LENGTH(REPEAT('x', 17000000)) FROM (SELECT 1) d").unwrap(), 17_000_000);
    let long = session.run("SET max_statement_time=60; SELECT REPEAT('x', 16777215 - 4)").unwrap();
    assert_eq!(long[0][0].as_ref().unwrap().len(), 16_777_211);
}

#[test]
fn the_shop_runs_on_a_real_server() {
    use dujiang_scratch::shop::{Load, schema_sql};
    let server = Server::start(&Options::default()).unwrap();
    let mut session = server.session().unwrap();
    session.run(schema_sql()).unwrap();
    let mut load = Load::new(1).initial(1_000).alter_after(500);
    for transaction in load.initial_transactions() {
        session.run(&transaction.sql).unwrap();
    }
    let started = Instant::now();
    let changes: u64 = load.take(2_000).map(|t| session.run(&t.sql).map(|_| t.changes).unwrap()).sum();
    println!("{changes} changes in {:?}", started.elapsed());
    assert_eq!(session.number("SELECT COUNT(*) FROM shop.orders o LEFT JOIN shop.order_items i ON o.id = i.order_id WHERE o.id > 1000 AND i.line IS NULL").unwrap(), 0);
    assert!(session.number("SELECT COUNT(loyalty_points IS NULL) FROM shop.customers").unwrap() > 1_000);
}

#[test]
fn every_kind_of_server_starts_and_logs() {
    for kind in Kind::ALL {
        let started = Instant::now();
        let server = Server::start(&Options::default().on(kind)).unwrap();
        println!("{kind:?}: {} in {:?}", server.version(), started.elapsed());
        assert_eq!(server.family(), kind.family());
        let settings = "SELECT @@log_bin, @@binlog_format, @@binlog_row_image, @@binlog_checksum, @@bind_address";
        assert_eq!(server.sql(settings).unwrap(), "1\tROW\tFULL\tCRC32\t127.0.0.1\n", "{kind:?}");
        assert_eq!(
            server.sql("SELECT COUNT(*) FROM mysql.user WHERE user='root' AND host='127.0.0.1'").unwrap(),
            "1\n"
        );
        match kind.family() {
            Family::MySql => {
                assert_eq!(server.sql("SELECT @@gtid_mode, @@enforce_gtid_consistency").unwrap(), "ON\tON\n");
                let other = Server::start(&Options { gtid: false, ..Options::default().on(kind) }).unwrap();
                assert_eq!(other.sql("SELECT @@gtid_mode").unwrap(), "OFF\n");
                let id = |server: &Server| server.sql("SELECT @@server_uuid").unwrap();
                assert_ne!(id(&server), id(&other), "two servers have two identities");
            }
            Family::MariaDb => assert!(server.version().contains("MariaDB")),
        }
    }
}

#[test]
fn a_commit_can_be_made_to_wait_for_a_replica() {
    for kind in [Kind::MariaDb, Kind::MariaDbNewest, Kind::MysqlNewest] {
        let server = Server::start(&Options::default().on(kind).semi_sync(kind.family())).unwrap();
        let status = server.sql("SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync%wait_point'").unwrap();
        assert!(status.contains("AFTER_SYNC"), "{kind:?}: {status}");
    }
}

#[test]
fn a_server_that_is_not_there_says_how_to_get_it() {
    let error =
        dujiang_scratch::Error::NoSuchServer { kind: format!("{:?}", Kind::Mysql57), path: "/nowhere/mysqld".into() };
    assert_eq!(
        error.to_string(),
        "Mysql57 is not at `/nowhere/mysqld`; `cargo xtask servers` gets it (and `cargo xtask test` does so by itself), or \
         DUJIANG_SERVERS names the folder of the unpacked servers"
    );
}

#[test]
fn postgres_of_every_version_logs_changes_comes_back_after_a_crash_and_leaves_nothing_behind() {
    let mut versions = Vec::new();
    for kind in PostgresKind::ALL {
        let mut server = Postgres::start_with(&PostgresOptions::default().on(kind).set("work_mem=5MB")).unwrap();
        println!("PostgreSQL {}", server.version());
        let told =
            server.sql("SHOW wal_level; SHOW work_mem; CREATE TABLE t (x int); INSERT INTO t VALUES (7)").unwrap();
        assert_eq!(told, "logical\n5MB\n");
        let port = server.port();
        server.kill9();
        assert!(server.sql("SELECT 1").is_err());
        server.restart().unwrap();
        assert_eq!((server.sql("SELECT x FROM t").unwrap().as_str(), server.port()), ("7\n", port));
        server.restart_with(&["wal_level=replica"]).unwrap();
        assert_eq!(server.sql("SHOW wal_level").unwrap(), "replica\n");
        assert!(matches!(server.sql("SELECT no FROM t"), Err(Error::Sql { .. })));
        versions.push(server.version().to_owned());
        let dir = server.socket_dir().to_owned();
        drop(server);
        assert!(!dir.exists());
    }
    assert_ne!(versions[0], versions[1]);
    let error = Postgres::start_with(&PostgresOptions::default().set("no_such_setting=1")).err().unwrap();
    assert!(matches!(&error, Error::DidNotStart { log } if log.contains("no_such_setting")), "{error}");
}
