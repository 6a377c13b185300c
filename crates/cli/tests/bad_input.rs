//! What users get wrong, and what breaks around them: one message with code, place, reason and remedy, the right exit code,
//! and nothing lost.

use crate::support::{Ended, Place, reads_as_written};
use dujiang_scratch::{Options, Server};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

const TABLE: &str = "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, name VARCHAR(20));
INSERT INTO shop.t VALUES (1, 'one'), (2, 'two')";

/// A pipeline file for a server, with options that take the place of the usual ones.
fn pipeline(port: u16, out: &Path, changes: &[(&str, &str)]) -> String {
    let mut source = vec![
        ("type", "mariadb".to_owned()),
        ("hostname", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("username", "root".to_owned()),
        ("password", "''".to_owned()),
        ("tables", "shop.t".to_owned()),
        ("connect.timeout", "5s".to_owned()),
        ("connect.max-retries", "0".to_owned()),
    ];
    let mut name = "bad";
    for (key, value) in changes {
        match source.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = (*value).to_owned(),
            None if *key == "pipeline" => name = value,
            None => source.push((key, (*value).to_owned())),
        }
    }
    let source: String = source.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect();
    let out = out.display();
    format!("source:\n{source}sink:\n  type: file\n  path: {out}\n  format: json\npipeline:\n  name: {name}\n")
}

/// Runs until caught up and demands one error with this code, a remedy, and the right exit code.
#[track_caller]
fn refused(place: &Place, text: &str, code: &str, exit: i32) -> Ended {
    place.file("p.yaml", text);
    let ended = place.run(["run", "p.yaml", "--until", "caught-up"]).code(exit);
    let log = ended.log();
    let errors: Vec<_> = log.iter().filter(|line| line["level"] == "error").collect();
    assert_eq!(errors.len(), 1, "{}", ended.err);
    assert_eq!(errors[0]["code"], code, "{}", ended.err);
    assert!(errors[0]["help"].as_str().is_some_and(|help| !help.is_empty()), "no remedy: {}", errors[0]);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    ended
}

/// The same, and what it says is written down.
#[track_caller]
fn refused_in_words(place: &Place, text: &str, code: &str, exit: i32) -> Ended {
    let ended = refused(place, text, code, exit);
    reads_as_written(code, &ended.rendered(), place);
    ended
}

fn server(options: &Options) -> Server {
    let server = Server::start(options).expect("a server");
    server.sql(TABLE).expect("a table");
    server
}

#[test]
fn what_the_user_got_wrong_about_the_server() {
    let server = server(&Options::default());
    server.sql("CREATE USER capture IDENTIFIED BY 'right'; GRANT SELECT ON shop.* TO capture").unwrap();
    let place = Place::new();
    let out = place.path("out");
    let port = server.port();
    let capture = |password| [("username", "capture"), ("password", password)];
    let ended = refused_in_words(&place, &pipeline(port, &out, &capture("wr0ng-Pass")), "E0201", 77);
    assert!(!ended.err.contains("wr0ng-Pass"), "a password was printed: {}", ended.err);
    refused_in_words(&place, &pipeline(port, &out, &capture("right")), "E0221", 77);
    refused_in_words(&place, &pipeline(port, &out, &[("tables", "nowhere.t")]), "E0203", 78);
    refused(&place, &pipeline(port, &out, &[("tables", "shop.nothing")]), "E0300", 78);
    refused_in_words(&place, &pipeline(port, &out, &[("hostname", "no-such-host.invalid")]), "E0200", 69);
    refused(&place, &pipeline(dujiang_scratch::free_port(), &out, &[]), "E0200", 69);
    assert!(!out.exists(), "nothing was to be touched");
}

#[test]
fn tables_that_cannot_be_captured() {
    let server = server(&Options::default());
    server
        .sql(
            "CREATE TABLE shop.heap (a INT, b INT);
             CREATE TABLE shop.child (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES shop.t (id) ON DELETE CASCADE)",
        )
        .unwrap();
    let place = Place::new();
    let out = place.path("out");
    refused_in_words(&place, &pipeline(server.port(), &out, &[("tables", "shop.heap")]), "E0301", 78);
    refused_in_words(&place, &pipeline(server.port(), &out, &[("tables", "shop.child")]), "E0302", 78);
}

#[test]
fn servers_that_cannot_be_captured_from() {
    let wrong = [
        (Options { binlog: false, ..Options::default() }, "E0211"),
        (Options { binlog_format: "STATEMENT", ..Options::default() }, "E0212"),
        (Options { row_image: "MINIMAL", ..Options::default() }, "E0213"),
    ];
    for (options, code) in wrong {
        let server = server(&options);
        let place = Place::new();
        refused_in_words(&place, &pipeline(server.port(), &place.path("out"), &[]), code, 78);
    }
}

#[test]
fn a_server_that_is_something_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            let _ = stream.read(&mut [0; 100]);
        }
    });
    let place = Place::new();
    refused_in_words(&place, &pipeline(port, &place.path("out"), &[]), "E0202", 69);
}

#[test]
fn places_that_cannot_be_written_to() {
    let server = server(&Options::default());
    let place = Place::new();
    let file = place.file("file", "not a folder");
    refused_in_words(&place, &pipeline(server.port(), &file.join("out"), &[]), "E0500", 73);
    let text = pipeline(server.port(), &place.path("out"), &[]);
    place.file("p.yaml", &text);
    let state = file.join("state");
    place.run(["run", "p.yaml", "--state-dir", state.to_str().unwrap(), "--until", "snapshot"]).code(73);
}

#[test]
fn output_and_state_belong_together() {
    let server = server(&Options::default());
    let place = Place::new();
    let out = place.path("out");
    let text = pipeline(server.port(), &out, &[]);
    place.file("good.yaml", &text);
    place.run(["run", "good.yaml", "--until", "caught-up"]).code(0);
    refused_in_words(&place, &pipeline(server.port(), &out, &[("pipeline", "other")]), "E0510", 78);
    let state = place.path("state/dujiang/bad");
    fs::rename(&state, place.path("aside")).unwrap();
    refused_in_words(&place, &text, "E0511", 65);
    let _ = fs::remove_dir_all(&state);
    fs::rename(place.path("aside"), &state).unwrap();
    place.run(["run", "good.yaml", "--until", "caught-up"]).code(0);
}

#[test]
fn the_state_of_another_server_is_refused() {
    let place = Place::new();
    let out = place.path("out");
    let first = server(&Options::default());
    place.file("good.yaml", &pipeline(first.port(), &out, &[]));
    first.sql("INSERT INTO shop.t VALUES (3, 'three')").unwrap();
    place.run(["run", "good.yaml", "--until", "caught-up"]).code(0);
    // Same tables and fewer transactions: its log cannot hold ours.
    let second = server(&Options { server_id: 2, ..Options::default() });
    refused_in_words(&place, &pipeline(second.port(), &out, &[]), "E0232", 65);
}

#[test]
fn a_purged_binlog_is_never_jumped_over() {
    let mut server = server(&Options::default());
    let place = Place::new();
    let text = pipeline(server.port(), &place.path("out"), &[]);
    place.file("good.yaml", &text);
    place.run(["run", "good.yaml", "--until", "caught-up"]).code(0);
    // Its dump threads end with the server; one that is left over from the run would keep the log from being purged.
    server.restart().unwrap();
    server
        .sql("INSERT INTO shop.t VALUES (3, 'three'); FLUSH BINARY LOGS; INSERT INTO shop.t VALUES (4, 'four')")
        .unwrap();
    let last = server.sql("SHOW MASTER STATUS").unwrap();
    let last = last.split('\t').next().unwrap();
    // The server keeps a log until InnoDB has made durable what it holds.
    let purge = format!("FLUSH BINARY LOGS; PURGE BINARY LOGS TO '{last}'; DO SLEEP(0.1); SHOW BINARY LOGS");
    let purged = (0..300).any(|_| server.sql(&purge).unwrap().starts_with(last));
    assert!(purged, "the server did not purge its binlog");
    let ended = refused_in_words(&place, &text, "E0231", 65);
    assert!(ended.err.contains(last) || ended.err.contains("purged"), "{}", ended.err);
}

#[test]
fn a_damaged_checkpoint_halts_and_going_back_is_possible() {
    let server = server(&Options::default());
    let place = Place::new();
    let text = pipeline(server.port(), &place.path("out"), &[]);
    place.file("good.yaml", &text);
    for id in 3..6 {
        place.run(["run", "good.yaml", "--until", "caught-up"]).code(0);
        server.sql(&format!("INSERT INTO shop.t VALUES ({id}, 'more')")).unwrap();
    }
    let newest = newest_checkpoint(&place.path("state/dujiang/bad"));
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&newest, bytes).unwrap();
    let ended = refused_in_words(&place, &text, "E0602", 65);
    assert!(ended.err.contains("--restore-from"), "the way back is not named: {}", ended.err);
}

fn newest_checkpoint(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = files.map(|entry| entry.expect("an entry of the folder").path());
    files.filter(|path| path.extension().is_some_and(|e| e == "ckpt")).max().expect("a checkpoint")
}
