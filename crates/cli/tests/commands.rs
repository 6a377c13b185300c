//! Commands that need no database.

use crate::support::{Place, root};

const WRONG: &str = "\
source:
  type: generator
sink:
  type: file
  path: out
  formt: parquet
pipeline:
  nmae: x
  parallelism: many
";

#[test]
fn check_reports_every_mistake_at_once_with_its_place() {
    let place = Place::new();
    place.file("wrong.yaml", WRONG);
    let ended = place.run(["check", "wrong.yaml"]).code(1);
    for part in
        ["wrong.yaml:6:3", "did you mean `format`?", "wrong.yaml:8:3", "did you mean `name`?", "wrong.yaml:9:16"]
    {
        assert!(ended.out.contains(part), "{part} is missing:\n{}", ended.out);
    }
}

#[test]
fn check_speaks_to_people_to_lines_and_to_programs() {
    let place = Place::new();
    place.file("wrong.yaml", WRONG);
    let concise = place.run(["check", "wrong.yaml", "--output-format", "concise"]).code(1);
    assert_eq!(concise.out.lines().count(), 3, "{}", concise.out);
    assert!(concise.out.lines().all(|line| line.starts_with("wrong.yaml:")), "{}", concise.out);
    let json = place.run(["check", "wrong.yaml", "--output-format", "json"]).code(1);
    let envelope: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(envelope["ok"], false);
    assert_eq!(envelope["summary"]["errors"], 3);
    assert_eq!(envelope["result"][0]["code"], "E0103");
}

#[test]
fn a_value_says_which_word_was_meant() {
    let place = Place::new();
    place.file("word.yaml", &WRONG.replace("formt: parquet", "format: parqet").replace("nmae", "name"));
    let said = place.run(["check", "word.yaml"]).code(1).out;
    assert!(said.contains("did you mean `parquet`?"), "{said}");
    // What is listed in part says where all of it is.
    place.file("many.yaml", "source:\n  type: mysql\n  xyz: 1\nsink:\n  type: file\n  path: out\n");
    let said = place.run(["check", "many.yaml"]).code(1).out;
    assert!(said.contains("more: `dujiang explain mysql`"), "{said}");
}

/// The flags of one command are those of the others.
#[test]
fn every_command_prints_json_by_the_same_flag() {
    let place = Place::new();
    place.file("ok.yaml", "source:\n  type: generator\nsink:\n  type: file\n  path: out\n");
    for command in [&["check"][..], &["doctor"], &["plan"], &["config", "show"]] {
        for flag in [&["-o", "json"][..], &["--output", "json"], &["--output-format", "json"]] {
            let ended = place.dujiang().args(command).arg("ok.yaml").args(flag).output().expect("run dujiang");
            let said = String::from_utf8(ended.stdout).expect("UTF-8");
            assert!(serde_json::from_str::<serde_json::Value>(&said).is_ok(), "{command:?} {flag:?}: {said}");
        }
        assert!(place.dujiang().args(command).args(["ok.yaml", "-o", "text"]).status().expect("run dujiang").success());
    }
}

#[test]
fn check_accepts_the_examples() {
    let place = Place::new();
    let examples = root().join("examples");
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        // Folders hold fixtures of other commands.
        if path.is_dir() {
            continue;
        }
        let mut command = place.dujiang();
        for name in ["DB_PASSWORD", "DATAHUB_ACCESS_ID", "DATAHUB_ACCESS_KEY"] {
            command.env(name, "x");
        }
        let output = command.arg("check").arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{path:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// A file with what Flink CDC has and Dujiang has not: everything is told at once, with what to write instead.
#[test]
fn check_tells_users_of_flink_cdc_what_to_write() {
    let place = Place::new();
    let source = "source:\n  type: mysql\n  hostname: db\n  username: u\n  password: p\n  tables: a.\\.*\n  \
                  debezium.event.deserialization.failure.handling.mode: warn\n";
    let flink = "pipeline:\n  flink-conf:\n    execution.checkpointing.interval: 3min\n";
    let shown = |sink: &str, code: i32| {
        place.file("p.yaml", &format!("{source}sink:\n  {sink}\n{flink}"));
        place.run(["check", "p.yaml"]).code(code).out
    };
    let told = shown("type: doris\n  fenodes: 127.0.0.1:8030", 1);
    assert!(told.contains("note: Flink CDC has this sink, Dujiang has not yet"), "{told}");
    let kafka = "type: kafka\n  properties.bootstrap.servers: PLAINTEXT://localhost:62510";
    let told = shown(kafka, 0);
    assert!(told.contains("help: write `checkpoint.interval` instead"), "{told}");
    assert!(told.contains("help: what becomes of such records is said by `pipeline.error.policy`"), "{told}");
    let told = shown(&format!("{kafka}\n  sink.delivery-guarantee: none"), 1);
    assert_eq!(told.matches("error[E0105]: `sink.delivery-guarantee` must be one of").count(), 1, "{told}");
}

#[test]
fn run_refuses_a_wrong_file_before_anything_is_touched() {
    let place = Place::new();
    place.file("wrong.yaml", WRONG);
    let ended = place.run(["run", "wrong.yaml"]).code(78);
    let codes: Vec<_> = ended.log().iter().map(|line| line["code"].clone()).collect();
    assert_eq!(codes, ["E0103", "E0103", "E0105"]);
    assert!(!place.path("out").exists() && !place.path("state").exists());
    place.run(["run", "nothing.yaml"]).code(78);
}

#[test]
fn no_colour_unless_asked_for() {
    let place = Place::new();
    place.file("wrong.yaml", WRONG);
    assert!(!place.run(["check", "wrong.yaml"]).out.contains('\x1b'));
    assert!(place.run(["check", "wrong.yaml", "--color", "always"]).out.contains('\x1b'));
    let no =
        place.dujiang().args(["check", "wrong.yaml"]).env("NO_COLOR", "1").env("FORCE_COLOR", "1").output().unwrap();
    assert!(!String::from_utf8(no.stdout).unwrap().contains('\x1b'));
}

#[test]
fn explain_knows_every_code_and_guesses() {
    let place = Place::new();
    let list = place.run(["explain"]).code(0).out;
    for line in list.lines() {
        let number = line.split('\t').next().unwrap();
        assert!(place.run(["explain", number]).code(0).out.contains(number));
    }
    let guess = place.run(["explain", "e0910"]).code(2);
    assert!(guess.err.contains("did you mean `E0"), "{}", guess.err);
}

#[test]
fn explain_knows_every_option_and_connector() {
    let place = Place::new();
    let said = |about: &str| place.run(["explain", about]).code(0).out;
    let interval = said("checkpoint.interval");
    for part in ["# checkpoint.interval\n", "Option of `pipeline`", "| type | time span |", "| default | `5 min` |"] {
        assert!(interval.contains(part), "{part}: {interval}");
    }
    assert!(interval.contains("DUJIANG__PIPELINE__CHECKPOINT_INTERVAL"), "{interval}");
    assert_eq!(said("pipeline.checkpoint.interval"), interval);
    let tables = said("source.tables");
    assert!(tables.contains("the `mysql` source, the `mariadb` source"), "{tables}");
    assert!(tables.contains("the `postgres` source") && tables.contains("the `generator` source"), "{tables}");
    assert!(!said("postgres.tables").contains("generator"));
    assert!(said("route.sink-table").contains("DUJIANG__ROUTE__0__SINK_TABLE"));
    assert!(said("jdbc.properties.useSSL").contains("# jdbc.properties.*"));
    assert!(said("mysql").contains("| `server-id` |") && said("pipeline").contains("| `parallelism` |"));
    let guess = place.run(["explain", "source.tabels"]).code(2);
    assert!(guess.err.contains("no option and no connector") && guess.err.contains("`tables`?"), "{}", guess.err);
    place.run(["explain", "nonsense-of-no-kind"]).code(2);
}

#[test]
fn dead_letters_of_a_pipeline_that_never_ran_are_none_of_ours() {
    let place = Place::new();
    place.file("letters.yaml", "source:\n  type: generator\n  rows: 1\n  rate: 0\nsink:\n  type: blackhole\n");
    place.run(["run", "letters.yaml"]).code(0);
    place.run(["dlq", "list", "letters.yaml", "--code", "e0700"]).code(0);
    let wrong = place.run(["dlq", "list", "letters.yaml", "--code", "E700"]).code(2).err;
    assert!(wrong.contains("did you mean `E0700`?"), "{wrong}");
    let ended = place.run(["dlq", "list", "nobody"]).code(73);
    assert!(ended.err.contains("E0605") && ended.err.contains("nobody"), "{}", ended.err);
}

#[test]
fn usage_errors_exit_with_2() {
    let place = Place::new();
    place.run(["frobnicate"]).code(2);
    place.run(["run", "x.yaml", "--until", "tomorrow"]).code(2);
    let faults = place.file("ok.yaml", "source:\n  type: generator\nsink:\n  type: blackhole\n");
    let output = place.dujiang().arg("run").arg(faults).env("DUJIANG_FAULTS", "nowhere@1").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let output = place.dujiang().args(["run", "ok.yaml"]).env("DUJIANG_LOG", "debgu").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("`debgu` in DUJIANG_LOG") && told.contains("did you mean `debug`?"), "{told}");
}
