//! Scratch servers for real: they start fast, come back after a crash, and leave nothing behind.

#![allow(clippy::unwrap_used, missing_docs)]

use dujiang_scratch::{Error, Options, Server};
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
