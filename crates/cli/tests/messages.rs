//! What users read for each mistake, word by word: one file per code in `tests/snapshots`. Those that need a server are
//! in `bad_input` and `damage`, those that need a failing part in the tests of their crates.
//!
//! `UPDATE_SNAPSHOTS=1` writes the files anew.

use crate::support::{Place, reads_as_written};

const HEAD: &str = "source:\n  type: generator\nsink:\n  type: file\n  path: out\n";

/// A file for each code that `check` can report.
fn wrong_files() -> Vec<(&'static str, String)> {
    let with = |rest: &str| format!("{HEAD}{rest}");
    let projection = |sql: &str| with(&format!("transform:\n  - source-table: shop.orders\n    projection: {sql}\n"));
    vec![
        ("E0100", String::new()),
        ("E0101", with("pipeline: [\n")),
        ("E0102", HEAD.replace("  path: out\n", "")),
        ("E0103", HEAD.replace("path", "pth")),
        ("E0104", with("sink:\n  type: blackhole\n")),
        ("E0105", with("pipeline:\n  parallelism: many\n")),
        ("E0106", with("route:\n  source-table: a.b\n")),
        ("E0107", HEAD.replace("out", "${env:DUJIANG_TESTS_NOT_SET}")),
        ("E0109", HEAD.replace("type: file", "type: fil")),
        ("E0110", with("pipeline:\n  user-defined-function:\n    - name: f\n      classpath: a.B\n")),
        ("E0111", with("pipeline:\n  execution.runtime-mode: BATCH\n")),
        ("E0120", projection("id, UPPER(status AS status")),
        ("E0122", projection("id, UPER(status) AS status")),
        ("E0124", projection("SUM(total) AS total")),
        ("E0125", projection(&format!("{}a{} AS a", "(".repeat(300), ")".repeat(300)))),
        ("E0126", projection("id, a + 1")),
    ]
}

#[test]
fn mistakes_of_a_file() {
    for (code, text) in wrong_files() {
        let place = Place::new();
        place.file("pipeline.yaml", &text);
        reads_as_written(code, &place.run(["check", "pipeline.yaml"]).code(1).out, &place);
    }
    let place = Place::new();
    place.file("pipeline.yaml", HEAD);
    let said = place.dujiang().args(["check", "pipeline.yaml"]).env("DUJIANG__SINK__PTH", "x").output();
    reads_as_written("E0108", &String::from_utf8(said.expect("run dujiang").stdout).expect("UTF-8"), &place);
}

/// Rules and settings that come to grief on the tables of the generator or on their rows.
fn wrong_runs() -> Vec<(&'static str, &'static str, String)> {
    let projection = |sql: &str| format!("transform:\n  - source-table: shop.orders\n    projection: {sql}\n");
    let costly = "route:\n  - source-table: (?=((\\S+)+)+\\2x)\\S+\n    sink-table: a.b\n".to_owned();
    vec![
        ("E0112", "", costly),
        ("E0121", "", projection("id, custmer_id")),
        ("E0123", "", projection("id, placed_at + 1 AS a")),
        ("E0300", "  tables: shop.nothing\n", String::new()),
        ("E0304", "  alter-after: 1\n", "pipeline:\n  schema.change.behavior: exception\n".to_owned()),
        ("E0513", "", projection("'*, id AS __op'")),
        ("E0700", "", projection("NULLIF(id, 7) AS id") + "    primary-keys: id\n"),
        ("E0710", "", projection("id, 1 / (id - 7) AS a")),
        ("E0711", "", projection("id, CAST(9223372036854775807 AS BIGINT) + CAST(id AS BIGINT) AS a")),
        ("E0712", "", projection("id, CAST(status AS INT) AS a")),
        ("E0713", "", projection("\"id, MAP[NULLIF(status, 'new'), 1] AS a\"")),
    ]
}

#[test]
fn mistakes_that_tables_and_rows_show() {
    for (code, source, rules) in wrong_runs() {
        let place = Place::new();
        let rows = "  rate: 0\n  rows: 400\n  initial-rows: 20\n";
        place
            .file("p.yaml", &(HEAD.replace("type: generator\n", &format!("type: generator\n{rows}{source}")) + &rules));
        let ended = place.run(["run", "p.yaml"]);
        reads_as_written(code, &ended.rendered(), &place);
    }
}

#[test]
fn mistakes_about_state_and_output() {
    let place = Place::new();
    let file = HEAD.replace("type: generator\n", "type: generator\n  rate: 0\n  rows: 100\n  initial-rows: 20\n");
    place.file("p.yaml", &file);
    let told = |code: &str, arguments: &[&str]| {
        let output = place.dujiang().args(["run", "p.yaml"]).args(arguments).output().expect("run dujiang");
        let ended = crate::support::Ended::of(output);
        reads_as_written(code, &ended.rendered(), &place);
    };
    told("E0606", &["--restore-from", "99"]);
    place.file("a-file", "");
    told("E0605", &["--state-dir", "a-file/state"]);
    place.run(["run", "p.yaml"]).code(0);
    let state = place.path("state/dujiang/p");
    let identity = state.join("identity.json");
    let text = std::fs::read_to_string(&identity).expect("the identity");
    let other = text.replace("\"version\":1", "\"version\":2").replace("\"version\": 1", "\"version\": 2");
    assert_ne!(other, text);
    std::fs::write(&identity, other).expect("another version");
    told("E0612", &[]);
    std::fs::write(&identity, text).expect("the identity");
    std::fs::remove_file(place.path("out/.dujiang/owner.record")).expect("the owner record");
    told("E0512", &[]);
}

#[test]
fn a_state_that_is_in_use() {
    let place = Place::new();
    place.file("p.yaml", &HEAD.replace("type: generator\n", "type: generator\n  initial-rows: 20\n"));
    let mut first = place.dujiang().args(["run", "p.yaml"]).stderr(std::process::Stdio::piped()).spawn().expect("run");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(first.stderr.take().expect("its log")));
    assert!(lines.by_ref().any(|line| line.expect("a line").contains("recovery is complete")));
    let said = place.run(["run", "p.yaml"]).rendered();
    first.kill().expect("end it");
    first.wait().expect("it ends");
    reads_as_written("E0600", &said, &place);
}

#[test]
fn a_command_that_is_used_wrongly() {
    let place = Place::new();
    reads_as_written("E0901", &place.run(["explain", "E9999"]).code(2).err, &place);
}
