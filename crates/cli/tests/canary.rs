//! A secret is in no output of any command, at no level of the log, and in no file that a run leaves behind.

use crate::support::{Ended, Place};
use dujiang_scratch::{Kind, Options, Postgres, Server};
use std::path::Path;

const CANARY: &str = "Canary7Bird";

const FILE: &str = "\
source:
  type: mysql
  hostname: 127.0.0.1
  port: 1
  username: capture
  password: ${env:DB_PASSWORD}
  tables: shop.\\.*
sink:
  type: file
  path: ${env:OUT:-out}
";

/// Runs a command that knows the secret; fails if it says it.
#[track_caller]
fn silent(place: &Place, arguments: &[&str]) -> Ended {
    let mut command = place.dujiang();
    command.env("DB_PASSWORD", CANARY).env("DUJIANG_LOG", "trace").args(arguments);
    let ended = Ended::of(command.output().expect("run dujiang"));
    assert!(!ended.out.contains(CANARY) && !ended.err.contains(CANARY), "{arguments:?}:\n{}\n{}", ended.out, ended.err);
    assert!(!ended.out.is_empty() || !ended.err.is_empty() || ended.code == Some(0), "{arguments:?} says nothing");
    ended
}

/// Fails if a file below the folder holds the secret, but for those written by the test.
fn nothing_written(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            nothing_written(&path);
        } else if path.extension().is_none_or(|extension| extension != "yaml") {
            let bytes = std::fs::read(&path).expect("a file");
            assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", path.display());
        }
    }
}

/// Files that are right, mistaken, or hold the secret where it does not belong.
#[test]
fn commands_that_read_a_pipeline_file() {
    let place = Place::new();
    place.file("good.yaml", FILE);
    place.file(
        "wrong.yaml",
        &FILE.replace("hostname", "hostnme").replace("e: capture", &format!("e: c # password={CANARY}")),
    );
    place.file("written.yaml", &FILE.replace("${env:DB_PASSWORD}", CANARY));
    place.file("url.yaml", &FILE.replace("${env:OUT:-out}", &format!("s3://u:{CANARY}@bucket")));
    // A source that answers, so that `plan` gets as far as the places of the sink.
    let answers = "source:\n  type: generator\n  rows: 10\n  rate: 0\nsink:";
    let url = FILE.replace("${env:OUT:-out}", &format!("s3://u:{CANARY}@bucket"));
    place.file("places.yaml", &format!("{answers}{}", url.split("sink:").nth(1).expect("the sink")));
    silent(&place, &["plan", "places.yaml"]).code(0);
    silent(&place, &["plan", "places.yaml", "-o", "json"]).code(0);
    silent(&place, &["run", "places.yaml"]).code(0);
    // Told by the engine and by the pipeline's last words: the path of a sink that has lost its files.
    std::fs::remove_dir_all(place.path("s3:")).expect("the sink's folder");
    let lost = silent(&place, &["run", "places.yaml"]).code(65);
    assert!(lost.err.contains("s3://u:***@bucket"), "{}", lost.err);
    silent(&place, &["doctor", "places.yaml"]);
    silent(&place, &["doctor", "places.yaml", "--output-format", "json"]);
    let setting = format!("source.passwrd={CANARY}");
    for file in ["good.yaml", "wrong.yaml", "written.yaml", "url.yaml"] {
        for format in ["full", "concise", "json", "github", "sarif"] {
            silent(&place, &["check", file, "--output-format", format]);
        }
        silent(&place, &["config", "show", file, "--origin"]);
        silent(&place, &["config", "show", file, "-o", "json"]);
        silent(&place, &["run", file, "--set", &setting]);
        silent(&place, &["run", file, "--set", "source.connect.max-retries=1"]);
        for command in ["plan", "doctor"] {
            silent(&place, &[command, file, "--set", &setting]);
        }
        silent(&place, &["plan", file, "--set", "source.connect.max-retries=1", "-o", "json"]);
        silent(&place, &["doctor", file, "--output-format", "json"]);
        silent(&place, &["doctor", file, "--sql"]);
        silent(&place, &["test", file]);
        silent(&place, &["log", "ls", file]);
        silent(&place, &["dlq", "list", file]);
    }
    nothing_written(&place.path(""));
}

/// A pipeline with a log, two sinks and a dead letter, on a server that checks the password.
#[test]
fn a_run_and_all_that_looks_at_it() {
    let (place, server) = (Place::new(), Server::start(&Options::default().on(Kind::MariaDb)).expect("a server"));
    server
        .sql(&format!(
            "SET sql_mode = ''; CREATE DATABASE shop; CREATE TABLE shop.visits (id INT PRIMARY KEY, day DATE NOT NULL);
             INSERT INTO shop.visits VALUES (1, '2026-11-20'), (2, '0000-00-00');
             CREATE USER capture@'127.0.0.1' IDENTIFIED BY '{CANARY}'; GRANT ALL ON *.* TO capture@'127.0.0.1'"
        ))
        .expect("the shop");
    let sinks = "log:\n  type: embedded\n  path: log\nsinks:\n  - name: lake\n    type: file\n    path: out/lake\n  - name: \
                 print\n    type: values\npipeline:\n  name: shop\n  error.policy: dead-letter\n";
    let text = FILE.split("sink:").next().expect("the source").replace("port: 1", &format!("port: {}", server.port()));
    place.file("shop.yaml", &(text.clone() + sinks));
    for part in [&["run", "shop.yaml", "--until", "caught-up"][..], &["config", "show", "shop.yaml", "--origin"]] {
        silent(&place, part).code(0);
    }
    let letters = silent(&place, &["dlq", "list", "shop.yaml", "--capture", "-o", "json"]).code(0).out;
    assert!(letters.contains("0000-00-00"), "{letters}");
    let none = silent(&place, &["dlq", "list", "shop.yaml", "--sink", "lake"]).code(0);
    assert!(none.err.contains("the capture has a dead letter of its own: --capture"), "{}", none.err);
    for command in [
        &["dlq", "list", "shop.yaml", "--sink", "lake"][..],
        &["doctor", "shop.yaml"],
        &["doctor", "shop.yaml", "--sql"],
        &["doctor", "shop.yaml", "--output-format", "json"],
        &["plan", "shop.yaml"],
        &["plan", "shop.yaml", "-o", "json"],
        &["log", "ls", "shop.yaml"],
        &["log", "ls", "shop.yaml", "-o", "json"],
        &["log", "cat", "shop.yaml"],
        &["log", "seek", "shop.yaml", "0"],
        &["log", "verify", "shop.yaml"],
        &["run", "shop.yaml", "--restore-from", "9999"],
        &["run", "shop.yaml", "--log-format", "text", "--until", "caught-up"],
    ] {
        silent(&place, command);
    }
    // The server's own words about a password that is wrong, and a statement that changes one while the pipeline reads.
    server.sql(&format!("ALTER USER capture@'127.0.0.1' IDENTIFIED BY 'other-{CANARY}'")).expect("another password");
    let refused = silent(&place, &["run", "shop.yaml", "--until", "caught-up"]);
    assert!(refused.err.contains("E0201"), "{}", refused.err);
    for command in [&["plan", "shop.yaml"][..], &["doctor", "shop.yaml"], &["doctor", "shop.yaml", "--sql"]] {
        silent(&place, command);
    }
    server
        .sql(&format!(
            "ALTER USER capture@'127.0.0.1' IDENTIFIED BY '{CANARY}'; INSERT INTO shop.visits VALUES (3, '2026-11-21')"
        ))
        .expect("the password");
    silent(&place, &["run", "shop.yaml", "--until", "caught-up"]).code(0);
    nothing_written(&place.path(""));
}

#[test]
fn a_run_on_postgres() {
    let (place, server) = (Place::new(), Postgres::start().expect("a PostgreSQL server"));
    server
        .sql(&format!(
            "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1);
             CREATE ROLE capture LOGIN SUPERUSER REPLICATION PASSWORD '{CANARY}'"
        ))
        .expect("the table");
    let hba = server.sql("SHOW hba_file").expect("its name");
    let rules = "local all all trust\nhost all all all scram-sha-256\nhost replication all all scram-sha-256\n";
    std::fs::write(hba.trim(), rules).expect("the rules");
    server.sql("SELECT pg_reload_conf()").expect("reload");
    let text = format!(
        "source:\n  type: postgres\n  hostname: 127.0.0.1\n  port: {}\n  username: capture\n  password: ${{env:DB_PASSWORD}}\n  \
         tables: postgres.public.t\nsink:\n  type: values\npipeline:\n  name: pg\n",
        server.port()
    );
    place.file("pg.yaml", &text);
    for command in [
        &["run", "pg.yaml", "--until", "caught-up"][..],
        &["plan", "pg.yaml"],
        &["config", "show", "pg.yaml", "--origin"],
        &["run", "pg.yaml", "--log-format", "text", "--until", "caught-up"],
    ] {
        silent(&place, command).code(0);
    }
    silent(&place, &["doctor", "pg.yaml"]);
    server.sql(&format!("ALTER ROLE capture PASSWORD 'other-{CANARY}'")).expect("another password");
    let refused = silent(&place, &["run", "pg.yaml", "--until", "caught-up"]);
    assert!(refused.err.contains("E0201"), "{}", refused.err);
    silent(&place, &["plan", "pg.yaml"]);
    nothing_written(&place.path(""));
}
