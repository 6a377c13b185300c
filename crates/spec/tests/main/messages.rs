//! What users read, word by word.

use crate::sample::{GOOD, load_text, load_with, rendered};
use dujiang_core::{Code, Error};
use dujiang_spec::{Diagnostic, SourceText};

#[track_caller]
fn check(text: &str, expected: &str) {
    check_with(text, &[], &[], expected);
}

#[track_caller]
fn check_with(text: &str, env: &[(&str, &str)], set: &[(&str, &str)], expected: &str) {
    assert_eq!(rendered(text, env, set), expected.trim_start_matches('\n'));
}

fn edited(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    GOOD.replace(from, to)
}

#[test]
fn a_good_file_says_nothing() {
    check(GOOD, "");
}

#[test]
fn a_misspelt_option() {
    check(
        &edited("hostname", "hostnme"),
        "
error[E0103]: unknown option `hostnme` for source type `database`
 --> pipeline.yaml:3:3
  |
3 |   hostnme: db1
  |   ^^^^^^^
  |
  = help: did you mean `hostname`?
",
    );
}

#[test]
fn an_option_of_another_block() {
    check(
        &edited("  hostname: db1\n", "  hostname: db1\n  path: /x\n  parallelism: 4\n"),
        "
error[E0103]: unknown option `path` for source type `database`
 --> pipeline.yaml:4:3
  |
4 |   path: /x
  |   ^^^^
  |
  = help: it is an option of the `sink` block

error[E0103]: unknown option `parallelism` for source type `database`
 --> pipeline.yaml:5:3
  |
5 |   parallelism: 4
  |   ^^^^^^^^^^^
  |
  = help: it is an option of the `pipeline` block
",
    );
}

#[test]
fn several_mistakes_come_at_once_in_file_order() {
    let text = edited("  tables: shop.\\.*\n", "  port: 99999\n").replace("format: parquet", "format: orc");
    check_with(
        &text,
        &[("DUJIANG__SOURCE__PROT", "1")],
        &[("source.heartbeat.interval", "7 parsecs")],
        "
error[E0102]: required option `tables` is missing for source type `database`
 --> pipeline.yaml:1:1
  |
1 | source:
  | ^^^^^^
  |
  = help: add `tables`: Tables

error[E0105]: `port` must be a whole number from 0 to 65535
 --> pipeline.yaml:6:9
  |
6 |   port: 99999
  |         ^^^^^

error[E0105]: `format` must be one of `json`, `parquet`
  --> pipeline.yaml:10:11
   |
10 |   format: orc
   |           ^^^

error[E0108]: the environment variable `DUJIANG__SOURCE__PROT` names no option of `source`
--> environment variable DUJIANG__SOURCE__PROT
 = help: did you mean `DUJIANG__SOURCE__PORT`?

error[E0105]: `heartbeat.interval` must be a time span such as `500ms`, `30s`, `5 min` or `1h`
--> command line
",
    );
}

#[test]
fn an_empty_file_and_missing_blocks() {
    check(
        "# nothing yet\n",
        "
error[E0100]: the pipeline file is empty
--> pipeline.yaml
 = help: a pipeline file has at least the blocks `source` and `sink`
",
    );
    check(
        "source:\n  hostname: db1\npipelin:\n  name: x\n",
        "
error[E0102]: Missing required field \"sink\" in top-level configuration
--> pipeline.yaml
 = help: add a `sink:` block with `type:` and the options of that type

error[E0102]: Missing required field \"type\" in source configuration
 --> pipeline.yaml:1:1
  |
1 | source:
  | ^^^^^^
  |
  = help: one of `database`, `generator`

error[E0103]: Unexpected key `pipelin` in YAML top-level block.
 --> pipeline.yaml:3:1
  |
3 | pipelin:
  | ^^^^^^^
  |
  = note: allowed keys in this context are: [source, sink, route, transform, pipeline, log, sinks]
  = help: did you mean `pipeline`?
",
    );
}

#[test]
fn an_unknown_connector() {
    check(
        &edited("type: database", "type: databse").replace("type: file", "type: iceberg"),
        "
error[E0109]: unknown source type `databse`
 --> pipeline.yaml:2:9
  |
2 |   type: databse
  |         ^^^^^^^
  |
  = help: did you mean `database`?

error[E0109]: unknown sink type `iceberg`
 --> pipeline.yaml:8:9
  |
8 |   type: iceberg
  |         ^^^^^^^
  |
  = note: Flink CDC has this sink, Dujiang has not yet
  = help: this build has `file`, `queue`; let the other system load what one of them writes
",
    );
}

#[test]
fn a_reference_without_a_value() {
    let text = edited("password: 012345", "password: ${env:DB_PASSWORD}").replace("db1", "${env:HOST:?which host?}");
    check(
        &text,
        "
error[E0107]: the environment variable `HOST` is not set
 --> pipeline.yaml:3:13
  |
3 |   hostname: ${env:HOST:?which host?}
  |             ^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: which host?

error[E0107]: the environment variable `DB_PASSWORD` is not set
 --> pipeline.yaml:5:13
  |
5 |   password: ${env:DB_PASSWORD}
  |             ^^^^^^^^^^^^^^^^^^
  |
  = help: set `DB_PASSWORD`, or give a default: `${env:DB_PASSWORD:-default}`
",
    );
    check_with(
        &edited("password: 012345", "password: ${env:DB_PASSWORD}"),
        &[("DB_PASSWORD", "")],
        &[],
        "
warning[E0107]: `source.password` is empty: the environment variable `DB_PASSWORD` is empty
 --> pipeline.yaml:5:13
  |
5 |   password: ${env:DB_PASSWORD}
  |             ^^^^^^^^^^^^^^^^^^
",
    );
}

#[test]
fn a_key_given_twice_shows_both_places() {
    let far = format!("  hostname: db1\n{}  password: other\n", "\n".repeat(9));
    check(
        &edited("  hostname: db1\n", &far),
        "
error[E0104]: `password` is given twice
  --> pipeline.yaml:15:3
   |
13 |   password: ***
   |   -------- first given here
14 |   username: capture
15 |   password: ***
   |   ^^^^^^^^ given again here
   |
   = help: remove one of the two
",
    );
}

#[test]
fn not_yaml() {
    check(
        &edited("  username: capture", "\tusername: capture"),
        "
error[E0101]: a tab stands in the indentation
 --> pipeline.yaml:4:1
  |
4 |     username: capture
  | ^^^^
  |
  = help: indent with spaces
",
    );
    check(
        &edited("hostname: db1", "hostname: \"db1"),
        "
error[E0101]: a quoted value is not closed on its line
 --> pipeline.yaml:3:13
  |
3 |   hostname: \"db1
  |             ^
  |
  = help: add the closing quote; further lines of a quoted value must be indented
",
    );
    check(
        &edited("hostname: db1", "hostname: db1: 5"),
        "
error[E0101]: a second `key:` stands where a value was expected
 --> pipeline.yaml:3:16
  |
3 |   hostname: db1: 5
  |                ^
  |
  = help: check the indentation of this line and the one above; put a value that contains `: ` in quotes
",
    );
}

#[test]
fn parts_of_the_dialect_that_come_later() {
    check(
        &format!("{GOOD}  sink.partitioning.strategy: TABLE_ID\nalerts:\n  type: mail\n"),
        "
warning[E0110]: `sink.partitioning.strategy` has no effect: rows are always distributed by the sink's key
  --> pipeline.yaml:14:3
   |
14 |   sink.partitioning.strategy: TABLE_ID
   |   ^^^^^^^^^^^^^^^^^^^^^^^^^^

error[E0110]: `alerts` is not supported yet: alerts come with a later version
  --> pipeline.yaml:15:1
   |
15 | alerts:
   | ^^^^^^
   |
   = help: remove it, and what uses it
",
    );
}

#[test]
fn a_promise_the_sink_cannot_keep() {
    check(
        &edited("type: file\n  path: /data/ods\n  format: parquet", "type: queue")
            .replace("  name:", "  guarantee: exactly-once\n  name:"),
        "
error[E0111]: sink type `queue` cannot keep `exactly-once`
  --> pipeline.yaml:10:14
   |
10 |   guarantee: exactly-once
   |              ^^^^^^^^^^^^
   |
   = note: after a crash it may repeat changes; they carry equal event ids
   = help: write `guarantee: at-least-once`, or leave it out
",
    );
}

#[test]
fn columns_count_characters_and_values_keep_their_quotes() {
    check(
        &edited("type: database", "name: \"都江 \\\"堰\\\"\" # 都江\n  type: 'databaze' # 都"),
        "
error[E0109]: unknown source type `databaze`
 --> pipeline.yaml:3:9
  |
3 |   type: 'databaze' # 都
  |         ^^^^^^^^^^
  |
  = help: did you mean `database`?
",
    );
}

#[test]
fn shapes_that_do_not_fit() {
    check(
        &edited("  tables: shop.\\.*\n", "  tables:\n    - shop.a\n    - shop.b\n  port:\n")
            .replace("type: file", "- file"),
        "
error[E0101]: this line fits no block above it
  --> pipeline.yaml:12:3
   |
12 |   path: /data/ods
   |   ^
   |
   = help: keys of one block begin in the same column; a list item begins with `- `
",
    );
    check(
        &edited("  tables: shop.\\.*\n", "  tables:\n    - shop.a\n    - shop.b\n  port:\n"),
        "
error[E0106]: `tables` must be a single value, but it is a list
 --> pipeline.yaml:7:5
  |
7 |     - shop.a
  |     ^^^^^^^^
  |
  = help: join the items with commas

error[E0105]: `port` has no value
 --> pipeline.yaml:9:3
  |
9 |   port:
  |   ^^^^
  |
  = help: write the value after the colon, or `\"\"` for an empty text
",
    );
}

#[test]
fn an_error_of_the_running_pipeline_points_at_its_option() {
    let text = edited("password: 012345", "password: ${env:DB_PASSWORD}");
    let pipeline = load_with(&text, &[("DB_PASSWORD", "")], &[]).unwrap().pipeline;
    let error = Error::new(Code::LoginRefused, "db1:3306 refused the login of `capture`")
        .fact("server", "error 1045")
        .help("check the password");
    assert_eq!(
        Diagnostic::from_error(&error, &pipeline).render(false),
        "\
error[E0201]: db1:3306 refused the login of `capture`
 --> pipeline.yaml:5:13
  |
5 |   password: ${env:DB_PASSWORD}
  |             ^^^^^^^^^^^^^^^^^^
  |
  = note: server: error 1045
  = note: the value comes from the environment variable `DB_PASSWORD`, which is empty
  = help: check the password
"
    );
    let named = Error::new(Code::Bug, "odd").fact("option", "sink.format");
    assert!(Diagnostic::from_error(&named, &pipeline).render_line().starts_with("pipeline.yaml:10:11: error[E0900]"));
}

#[test]
fn a_value_from_outside_says_so() {
    let pipeline = load_with(GOOD, &[("DUJIANG__SOURCE__HOSTNAME", "db9")], &[]).unwrap().pipeline;
    let error = Error::new(Code::SourceUnreachable, "db9:3306 cannot be reached");
    assert_eq!(
        Diagnostic::from_error(&error, &pipeline).render(false),
        "error[E0200]: db9:3306 cannot be reached\n--> environment variable DUJIANG__SOURCE__HOSTNAME\n"
    );
}

#[test]
fn the_other_renderings() {
    let wrong = load_text(&edited("hostname", "hostnme")).unwrap_err();
    let line = "pipeline.yaml:3:3: error[E0103]: unknown option `hostnme` for source type `database`; \
                did you mean `hostname`?";
    assert_eq!(wrong[0].render_line(), line);
    let expected = serde_json::json!({
        "code": "E0103",
        "severity": "error",
        "message": "unknown option `hostnme` for source type `database`",
        "file": "pipeline.yaml",
        "origin": "file",
        "span": { "start": { "line": 3, "col": 3 }, "end": { "line": 3, "col": 10 }, "bytes": [27, 34] },
        "related": [],
        "notes": [],
        "help": "did you mean `hostname`?",
    });
    assert_eq!(wrong[0].to_json(), expected);
    assert!(wrong[0].render(true).contains("\u{1b}["));
    assert!(!wrong[0].render(false).contains('\u{1b}'));
}

#[test]
fn bytes_that_are_no_text() {
    let error = SourceText::from_bytes("p.yaml", b"source:\n  type: \xff".to_vec()).unwrap_err();
    assert_eq!(
        error.render_line(),
        "p.yaml: error[E0100]: the pipeline file is not UTF-8: line 2 holds other bytes; save the file as UTF-8"
    );
    let bom = SourceText::from_bytes("p.yaml", [b"\xef\xbb\xbf", GOOD.as_bytes()].concat()).unwrap();
    assert_eq!(bom.text(), GOOD);
    assert!(SourceText::from_bytes("p.yaml", vec![b'#'; (16 << 20) + 1]).is_err());
}
