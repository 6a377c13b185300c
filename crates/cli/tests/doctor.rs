//! `dujiang doctor` as people and scripts meet it, against a real server.
//!
//! `UPDATE_SNAPSHOTS=1` writes the pages anew.

use crate::support::{Ended, Place, root};
use dujiang_scratch::{Options, Postgres, PostgresOptions, Server};

const PASSWORD: &str = "hunter2-hunter2";

/// A server with little in order, and the pipeline of a user without privileges.
fn clinic() -> (Place, Server) {
    let (place, server) = (Place::new(), Server::start(&Options::default()).expect("a server"));
    server
        .sql(&format!(
            "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); CREATE TABLE shop.log (t TEXT);
             CREATE USER 'app'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; GRANT SELECT ON shop.* TO 'app'@'127.0.0.1';
             SET GLOBAL binlog_format='MIXED', binlog_row_metadata='MINIMAL', expire_logs_days=2"
        ))
        .expect("the shop");
    let port = server.port();
    place.file(
        "shop.yaml",
        &format!(
            "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {port}\n  username: app\n  password: {PASSWORD}\n  \
             tables: shop.\\.*\nsink:\n  type: file\n  path: out\npipeline:\n  name: shop\n"
        ),
    );
    (place, server)
}

/// The words without what differs from machine to machine.
fn page(said: &str, place: &Place, server: &Server) -> String {
    let version = server.version().split('-').next().expect("a version");
    let folder = place.path("").display().to_string();
    let text = said.replace(folder.trim_end_matches('/'), "FOLDER").replace(version, "VERSION");
    let text = text.replace(&format!("127.0.0.1:{}", server.port()), "127.0.0.1:PORT");
    let line = |line: &str| match line.split_once(" free") {
        Some((before, after)) => {
            let kept: Vec<_> = before.split(' ').rev().skip(2).collect();
            let kept: Vec<_> = kept.into_iter().rev().collect();
            format!("{} SPACE free{after}\n", kept.join(" "))
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).map(|line| line.replace(&server_id(&line), "ID")).collect()
}

/// The number that is derived from names and the server's port.
fn server_id(line: &str) -> String {
    let found = line.split_once("server id").and_then(|(_, rest)| rest.split_whitespace().next());
    found.filter(|word| word.bytes().all(|b| b.is_ascii_digit())).unwrap_or("\0").to_owned()
}

fn must_read(name: &str, said: &str) {
    let path = root().join("crates/cli/tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, said).expect("write a snapshot");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == said, "other words than in {}:\n{said}", path.display());
}

fn without_password(ended: Ended) -> Ended {
    assert!(!ended.out.contains(PASSWORD) && !ended.err.contains(PASSWORD), "{}\n{}", ended.out, ended.err);
    ended
}

#[test]
fn what_is_found_is_told_and_the_printed_script_mends_it() {
    let (place, server) = clinic();
    let found = without_password(place.run(["doctor", "shop.yaml"]).code(1));
    must_read("doctor.txt", &page(&found.out, &place, &server));
    assert!(found.err.contains("next: dujiang doctor --sql shop.yaml"), "{}", found.err);

    let script = without_password(place.run(["doctor", "--sql", "shop.yaml"]).code(1));
    must_read("doctor.sql", &page(&script.out, &place, &server));
    // What asks for care stands as a comment: whoever wants it takes the dashes away.
    let wanted = script.out.replace("-- ALTER", "ALTER");
    server.sql(&wanted).expect("the script");

    let mended = without_password(place.run(["doctor", "shop.yaml"]).code(0));
    must_read("doctor-mended.txt", &page(&mended.out, &place, &server));
    assert_eq!(place.run(["doctor", "--sql", "shop.yaml"]).code(0).out, "");
    assert!(!place.path("out").exists() && !place.path("state").exists(), "nothing is left behind");
    place.run(["run", "shop.yaml", "--until", "caught-up"]).code(0);
    let again = place.run(["doctor", "shop.yaml"]).code(0);
    assert!(again.out.contains("the log after bin.") && again.out.contains("is this pipeline's"), "{}", again.out);
}

/// A role of its own and a server with little in order become fit by the script, run by an administrator, and a restart.
#[test]
fn a_postgres_server_is_mended_by_the_printed_script() {
    let place = Place::new();
    let options = PostgresOptions::default().set("wal_level=replica").set("max_slot_wal_keep_size=1MB");
    let mut server = Postgres::start_with(&options).expect("a server");
    server
        .sql(&format!(
            "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY); CREATE TABLE shop.log (t text);
             INSERT INTO shop.log VALUES ('x'); CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'"
        ))
        .expect("the shop");
    let port = server.port();
    place.file(
        "shop.yaml",
        &format!(
            "source:\n  type: postgres\n  hostname: 127.0.0.1\n  port: {port}\n  username: app\n  password: {PASSWORD}\n  \
             tables: postgres.shop.\\.*\nsink:\n  type: file\n  path: out\npipeline:\n  name: shop\n"
        ),
    );
    let found = without_password(place.run(["doctor", "shop.yaml"]).code(1));
    for said in [
        "run: ALTER SYSTEM SET wal_level = 'logical';",
        "then: restart the server",
        "run: ALTER ROLE \"app\" WITH REPLICATION;",
    ] {
        assert!(found.out.contains(said), "{said}\n{}", found.out);
    }
    let script = without_password(place.run(["doctor", "--sql", "shop.yaml"]).code(1));
    server.sql(&script.out.replace("-- ALTER", "ALTER")).unwrap_or_else(|e| panic!("{e}\n{}", script.out));
    server.restart().expect("a restart");
    let mended = without_password(place.run(["doctor", "shop.yaml"]).code(0));
    assert!(mended.out.contains("`dujiang_shop` publishes every captured table"), "{}", mended.out);
    let log = format!("{:?}", place.run(["run", "shop.yaml", "--until", "caught-up"]).code(0).log());
    assert!(log.contains("SELECT pg_drop_replication_slot('dujiang_shop'); DROP PUBLICATION"), "{log}");
    let again = place.run(["doctor", "shop.yaml"]).code(0);
    assert!(again.out.contains("is still there") && again.out.contains("`dujiang_shop` is there"), "{}", again.out);
}

#[test]
fn programs_read_the_same_as_json() {
    let (place, _server) = clinic();
    let found = without_password(place.run(["doctor", "shop.yaml", "--output-format", "json"]).code(1));
    let document: serde_json::Value = serde_json::from_str(&found.out).expect("JSON");
    assert_eq!((&document["command"], &document["ok"]), (&"doctor".into(), &false.into()));
    let source = &document["result"][0]["parts"][0];
    assert_eq!(source["role"], "source");
    let checks = source["checks"].as_array().expect("checks");
    let format = checks.iter().find(|check| check["name"] == "binlog format").expect("a check");
    assert_eq!((&format["outcome"], &format["finding"]["code"]), (&"finding".into(), &"E0212".into()));
    assert_eq!(format["statements"][0]["statement"], "SET GLOBAL binlog_format=ROW");
    let count = |word: &str| document["summary"][word].as_u64().expect("a number");
    assert_eq!(count("finding"), checks.iter().filter(|check| check["outcome"] == "finding").count() as u64);
}

#[test]
fn output_and_state_of_others_and_folders_without_room_are_findings() {
    let place = Place::new();
    let file = |name: &str, path: &str| {
        let text = format!(
            "source:\n  type: generator\n  rows: 10\nsink:\n  type: file\n  path: {path}\npipeline:\n  name: {name}\n"
        );
        place.file(&format!("{name}.yaml"), &text);
    };
    file("one", "out");
    file("two", "out");
    let fresh = place.run(["doctor", "one.yaml"]).code(0).out;
    assert!(fresh.contains("source: generator\n"), "{fresh}");
    place.run(["run", "one.yaml"]).code(0);
    place.run(["doctor", "one.yaml"]).code(0);
    let taken = place.run(["doctor", "two.yaml"]).code(1).out;
    assert!(taken.contains("belongs to pipeline `one`") && taken.contains("E0510"), "{taken}");
    std::fs::remove_dir_all(place.path("state")).expect("remove the state");
    let lost = place.run(["doctor", "one.yaml"]).code(1).out;
    assert!(lost.contains("E0511"), "{lost}");
    place.file("plain", "a file");
    file("three", "plain/out");
    let wrong = place.run(["doctor", "three.yaml"]).code(1).out;
    assert!(wrong.contains("is not a folder") && wrong.contains("three.yaml:6:9"), "{wrong}");
}

/// With a log every loop has a state of its own, and the output carries the lineage of the capture.
#[test]
fn behind_a_log_every_sink_is_looked_at_by_its_own_state() {
    let place = Place::new();
    let sink = |name: &str| format!("  - name: {name}\n    type: file\n    path: out-{name}\n");
    let text = format!(
        "source:\n  type: generator\n  rows: 10\n  rate: 0\nlog:\n  type: embedded\n  path: log\nsinks:\n{}{}pipeline:\n  name: shop\n",
        sink("a"),
        sink("b")
    );
    place.file("shop.yaml", &text);
    place.file("reader.yaml", "source:\n  type: log\n  path: log\nsink:\n  type: file\n  path: read\n");
    let before = place.run(["doctor", "shop.yaml"]).code(0).out;
    assert!(before.contains("a: none yet") && before.contains("b: none yet"), "{before}");
    place.run(["run", "shop.yaml"]).code(0);
    place.run(["run", "reader.yaml", "--until", "caught-up"]).code(0);
    let after = place.run(["doctor", "shop.yaml", "reader.yaml"]).code(0).out;
    for said in ["sink a: ", "sink b: ", "capture checkpoint", "delivery checkpoint  b: ", "captured by shop"] {
        assert!(after.contains(said), "{said}\n{after}");
    }
    assert_eq!(after.matches("the folder is this pipeline's").count(), 3, "{after}");
    let document = place.run(["doctor", "shop.yaml", "--output-format", "json"]).code(0).out;
    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    let parts = document["result"][0]["parts"].as_array().expect("parts");
    let names: Vec<_> = parts.iter().filter(|part| part["role"] == "sink").map(|part| &part["name"]).collect();
    assert_eq!(names, ["a", "b"]);

    std::fs::remove_dir_all(place.path("state/dujiang/shop/deliver-b")).expect("remove the state of one delivery");
    let lost = place.run(["doctor", "shop.yaml"]).code(1).out;
    assert!(lost.contains("E0511, shop.yaml:14:11") && lost.matches("E0511").count() == 2, "{lost}");
}
