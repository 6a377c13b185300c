//! Configuration from file, environment and flags; what other programs are told about it; several pipelines at once.

use crate::support::Place;
use serde_json::Value;

const CANARY: &str = "Canary7Bird";

const GOOD: &str = "\
source:
  type: mysql
  hostname: db1
  username: capture
  password: ${env:DB_PASSWORD}
  tables: shop.\\.*
  debezium.snapshot.mode: initial
sink:
  type: file
  path: ${env:OUT:-out}
route:
  - source-table: shop.orders
    sink-table: ods.orders
pipeline:
  parallelism: 2
";

fn generator(name: &str, rows: u32) -> String {
    format!(
        "source:\n  type: generator\n  rows: {rows}\nsink:\n  type: file\n  path: out/{name}\n  format: json\n\
         pipeline:\n  name: {name}\n"
    )
}

#[test]
fn config_show_tells_values_and_where_they_came_from() {
    let place = Place::new();
    place.file("p.yaml", GOOD);
    let mut command = place.dujiang();
    command.env("DB_PASSWORD", CANARY).env("DUJIANG__SOURCE__PORT", "3307").env("DUJIANG__ROUTE__0__SINK_TABLE", "a.b");
    command.args(["config", "show", "p.yaml", "--origin", "--set", "pipeline.parallelism=4"]);
    let output = command.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    for line in [
        "# pipeline p",
        "source.hostname = db1\t# p.yaml:3:13",
        "source.port = 3307\t# environment variable DUJIANG__SOURCE__PORT",
        "source.password = ***\t# p.yaml:5:13, from the environment variable `DB_PASSWORD`",
        "sink.path = out\t# p.yaml:10:9, from the environment variable `OUT`",
        "route.0.sink-table = a.b\t# environment variable DUJIANG__ROUTE__0__SINK_TABLE",
        "pipeline.parallelism = 4\t# command line",
        "pipeline.retry.attempts = 3\t# default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing:\n{shown}");
    }
    let json = place.dujiang().env("DB_PASSWORD", CANARY).args(["config", "show", "p.yaml", "-o", "json"]).output();
    let json = String::from_utf8(json.unwrap().stdout).unwrap();
    let all: Value = serde_json::from_str(&json).unwrap();
    let option = |path: &str| all[0]["options"].as_array().unwrap().iter().find(|o| o["path"] == path).unwrap().clone();
    assert_eq!(
        (option("source.password")["value"].clone(), option("source.password")["secret"].clone()),
        (Value::Null, true.into())
    );
    assert_eq!(option("source.tables")["value"], "shop.\\.*");
}

#[test]
fn check_speaks_to_github_and_sarif() {
    let place = Place::new();
    place.file("wrong.yaml", &generator("x", 1).replace("format", "formt"));
    let github = place.run(["check", "wrong.yaml", "--output-format", "github"]).code(1).out;
    assert_eq!(
        github,
        "::error file=wrong.yaml,line=7,col=3,endLine=7,endColumn=8,title=E0103::unknown option `formt` for sink type \
         `file`%0Ahelp: did you mean `format`?\n"
    );
    let sarif = place.run(["check", "wrong.yaml", "--output-format", "sarif"]).code(1).out;
    let log: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let result = &log["runs"][0]["results"][0];
    assert_eq!((result["ruleId"].clone(), result["level"].clone()), ("E0103".into(), "error".into()));
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startColumn"], 3);
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][0]["id"], "E0103");
}

#[test]
fn foreign_options_are_warned_about_by_check() {
    let place = Place::new();
    place.file("p.yaml", GOOD);
    let output = place.dujiang().env("DB_PASSWORD", "x").args(["check", "p.yaml"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("`debezium.snapshot.mode` has no meaning here"), "{shown}");
    assert!(shown.contains("p.yaml:7:3"), "{shown}");
}

#[test]
fn several_pipelines_run_in_one_process() {
    let place = Place::new();
    place.file("two.yaml", &format!("{}---\n{}", generator("one", 100), generator("two", 200)));
    place.file("three.yaml", &generator("three", 300));
    let ended = place.run(["run", "two.yaml", "three.yaml", "--state-dir", "states"]).code(0);
    for name in ["one", "two", "three"] {
        assert!(place.path(&format!("states/{name}")).is_dir(), "{name}");
        let done = ended.log().into_iter().any(|line| {
            line["pipeline"] == name && line["message"].as_str().is_some_and(|m| m.starts_with("the source has ended"))
        });
        assert!(done, "{name}: {}", ended.err);
    }
}

#[test]
fn one_that_fails_stops_the_others() {
    let place = Place::new();
    place.file("not-a-folder", "");
    let broken = generator("broken", 1).replace("out/broken", "not-a-folder/x");
    let endless = generator("endless", 1).replace("rows: 1", "rows: 1000000000000");
    place.file("p.yaml", &format!("{broken}---\n{endless}"));
    let ended = place.run(["run", "p.yaml"]);
    assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.err);
    let stopped = ended.log().into_iter().any(|line| {
        line["pipeline"] == "endless" && line["message"].as_str().is_some_and(|m| m.starts_with("stopped as asked"))
    });
    assert!(stopped, "{}", ended.err);
}

#[test]
fn hostile_files_are_refused_in_bounded_time_and_memory() {
    let place = Place::new();
    place.file("empty.yaml", "");
    std::fs::write(place.path("binary.yaml"), [0xff; 1000]).unwrap();
    std::fs::File::create(place.path("huge.yaml")).unwrap().set_len(100 << 20).unwrap();
    place.file("deep.yaml", &"[".repeat(10_000));
    place.file("duplicate.yaml", &generator("x", 1).replace("  rows", "  rows: 1\n  rows"));
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (this, below) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        bomb.push_str(&format!("{this}: &{this} [*{below}, *{below}, *{below}, *{below}, *{below}, *{below}]\n"));
    }
    place.file("bomb.yaml", &bomb);
    for bomb in ["(x+x+)+y", "(((((a{500}){500}){500}){500}){500})", "(?=(a+)+b)(a+)+c"] {
        let name = format!("regex-{}.yaml", bomb.len());
        let rule = format!("{}route:\n  - source-table: 'a.{bomb}'\n    sink-table: c.d\n", generator("x", 1));
        place.file(&name, &rule);
        let ended = place.run(["check", &name]);
        assert!(matches!(ended.code, Some(0 | 1)), "{bomb}: {}", ended.err);
    }
    for name in ["empty", "binary", "huge", "deep", "duplicate", "bomb"] {
        let file = format!("{name}.yaml");
        let ended = place.run(["check", &file, "--output-format", "concise"]).code(1);
        assert!(ended.out.contains("error[E01") && ended.out.len() < 100_000, "{name}: {}", ended.out);
    }
    let device = place.run(["check", "/dev/zero", "--output-format", "concise"]).code(1);
    assert!(device.out.contains("larger than 16 MiB"), "{}", device.out);
    place.file("device.yaml", &generator("${file:/dev/zero}", 1));
    assert!(place.run(["check", "device.yaml"]).code(1).out.contains("too large"));
}

/// Reads pipeline files as an editor does and holds them against the exported schema; prints what does not fit.
const VALIDATE: &str = r#"
import json, sys, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
for path in sys.argv[2:]:
    for document in yaml.safe_load_all(open(path)):
        for error in validator.iter_errors(document):
            print(path.rsplit("/", 1)[-1], error.json_path, error.message[:200])
"#;

fn held_against_schema(place: &Place, files: &[std::path::PathBuf]) -> String {
    let schema = place.run(["export", "jsonschema"]).code(0).out;
    let schema = place.file("dujiang.schema.json", &schema);
    let python = std::env::var_os("DUJIANG_PYTHON").unwrap_or_else(|| "python3".into());
    let output = std::process::Command::new(python)
        .args(["-c", VALIDATE])
        .arg(schema)
        .args(files)
        .output()
        .expect("start Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_exported_schema_is_valid_and_accepts_the_examples() {
    let examples = std::fs::read_dir(crate::support::root().join("examples")).unwrap();
    let examples: Vec<_> = examples
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    assert!(examples.len() >= 5);
    assert_eq!(held_against_schema(&Place::new(), &examples), "");
}

#[test]
fn the_exported_schema_finds_what_check_finds() {
    let place = Place::new();
    let good = generator("x", 1);
    let rule = "transform:\n  - source-table: a.b\n    projection: \"*\"\n";
    let wrong = [
        ("kind", good.replace("type: generator", "type: generatr")),
        ("value", good.replace("rows: 1", "rows: many")),
        ("block", format!("{good}transfrm: []\n")),
        ("missing", good.replace("  path: out/x\n", "")),
        ("rule", format!("{good}{}", rule.replace("projection", "projecton"))),
        ("shape", format!("{good}{}", rule.replace("- source", "  source"))),
        ("no-table", format!("{good}{}", rule.replace("source-table: a.b\n    ", ""))),
    ];
    for (name, text) in &wrong {
        let file = place.file(&format!("{name}.yaml"), text);
        let found = held_against_schema(&place, &[file]);
        assert!(!found.is_empty(), "{name}");
        place.run(["check", &format!("{name}.yaml")]).code(1);
    }
    let file = place.file("good.yaml", &format!("{good}{rule}"));
    assert_eq!(held_against_schema(&place, &[file]), "");
}

#[test]
fn plan_tells_tables_targets_and_types_and_writes_nothing() {
    let place = Place::new();
    let rules = "transform:\n  - source-table: shop.orders\n    projection: \"*, 'x' AS note\"\n\
                 route:\n  - source-table: shop.(\\.*)\n    sink-table: ods.$1\n";
    place.file("p.yaml", &format!("{}{rules}", generator("x", 1)));
    let ended = place.run(["plan", "p.yaml"]).code(0);
    for part in ["shop.orders\n", "to ods.orders in out/x/ods.orders", "key: id", "note"] {
        assert!(ended.out.contains(part), "{part} is missing:\n{}", ended.out);
    }
    let json: Value = serde_json::from_str(&place.run(["plan", "p.yaml", "-o", "json"]).code(0).out).unwrap();
    assert!(json[0]["tables"].as_array().is_some_and(|tables| tables.len() == 5), "{json}");
    assert!(!place.path("out").exists() && !place.path("state").exists());
    place.file("wrong.yaml", &format!("{}{}", generator("x", 1), rules.replace("'x'", "nonsense")));
    let refused = place.run(["plan", "wrong.yaml"]).code(1);
    assert!(refused.err.contains("wrong.yaml:12:21"), "{}", refused.err);
    // Every mistake of a rule at once, and rules that are for no table.
    let rules = "transform:\n  - source-table: shop.orders\n    projection: id, custmer_id\n    filter: totl > 1\n\
                 \x20 - source-table: shop.custmers\n    projection: '*'\nroute:\n  - source-table: shop.paymnts\n    sink-table: a.b\n";
    place.file("wrong.yaml", &format!("{}{rules}", generator("x", 1)));
    let refused = place.run(["plan", "wrong.yaml"]).code(1);
    for part in ["no column `custmer_id`", "no column `totl`", "2 things stand in the way"] {
        assert!(refused.err.contains(part), "`{part}` is missing:\n{}", refused.err);
    }
    for part in [
        "rule 2 of `transform` is for no table: `shop.custmers`; did you mean `shop.customers`?",
        "rule 1 of `route`",
        "`shop.payments`?",
    ] {
        assert!(refused.out.contains(part), "`{part}` is missing:\n{}", refused.out);
    }
    assert!(refused.out.ends_with("4 tables\n\n"), "no estimate is no estimate of none:\n{}", refused.out);
}
