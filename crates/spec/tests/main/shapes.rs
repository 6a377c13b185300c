//! What a file may look like: shapes, limits, overrides, and inputs that must not hurt.

use crate::sample::{GOOD, Samples, load_text, load_with};
use dujiang_core::Code;
use dujiang_core::options::Place;
use dujiang_spec::{Guarantee, error_page, json_schema, reference_page};

fn codes(text: &str) -> Vec<&'static str> {
    load_text(text).map_or_else(|all| all.iter().map(|d| d.code.number()).collect(), |_| Vec::new())
}

fn source_option(text: &str, key: &str) -> Option<String> {
    load_text(text).expect("a valid file").pipeline.source.option(key).map(|option| option.value.clone())
}

#[test]
fn plain_scalars_stay_as_they_were_written() {
    for raw in ["0123", "1e5", "yes", "null", "~", "0x1F", "1_000", "2024-01-01", "true", ".inf", "-", "a#b", "a: b"] {
        let written = if raw.contains(": ") || raw == "-" { format!("'{raw}'") } else { raw.to_owned() };
        let text = GOOD.replace("012345", &written);
        assert_eq!(source_option(&text, "password").as_deref(), Some(raw));
    }
    assert_eq!(source_option(GOOD, "tables").as_deref(), Some("shop.\\.*"));
}

#[test]
fn quoted_and_block_scalars_are_unescaped() {
    let cases = [
        ("'it''s'", "it's"),
        ("\"a\\tb\\u00e9\"", "a\tbé"),
        ("|\n    two\n    lines", "two\nlines\n"),
        (">-\n    two\n    lines", "two lines"),
        ("\"\"", ""),
        ("several\n    lines", "several lines"),
    ];
    for (written, value) in cases {
        assert_eq!(source_option(&GOOD.replace("012345", written), "password").as_deref(), Some(value), "{written}");
    }
}

#[test]
fn nested_maps_are_keys_with_dots() {
    let nested = GOOD.replace("checkpoint.interval: 10s", "checkpoint:\n    interval: 10s\n    keep: 7");
    let settings = load_text(&nested).unwrap().pipeline.settings;
    assert_eq!((settings.checkpoint_interval.as_secs(), settings.checkpoint_keep.get()), (10, 7));
    let twice = GOOD.replace("checkpoint.interval: 10s", "checkpoint:\n    interval: 10s\n  checkpoint.interval: 1s");
    assert_eq!(codes(&twice), ["E0104"]);
    let flow = "{source: {type: generator}, sink: {type: file, path: /x}, pipeline: {parallelism: 2}}";
    assert_eq!(load_text(flow).unwrap().pipeline.options().parallelism, 2);
}

#[test]
fn defaults_are_those_of_the_reference() {
    let pipeline = load_text("source: {type: generator}\nsink: {type: file, path: /x}\n").unwrap().pipeline;
    assert_eq!((pipeline.name.as_str(), pipeline.guarantee), ("pipeline", None));
    let s = &pipeline.settings;
    assert_eq!((s.parallelism.get(), s.checkpoint_interval.as_secs(), s.checkpoint_keep.get()), (1, 300, 3));
    assert_eq!((s.memory_limit.0, s.retry_attempts, s.retry_pause.as_secs()), (128 << 20, 3, 2));
    assert_eq!((s.checkpoint_max_failures.get(), s.guarantee), (3, None));
}

#[test]
fn empty_later_blocks_do_no_harm() {
    assert!(load_text(&format!("{GOOD}transform:\nroute: []\n")).is_ok());
    for later in ["alerts", "dead-letter"] {
        assert_eq!(codes(&format!("{GOOD}{later}:\n  - a: b\n")), ["E0110"], "{later}");
    }
    assert_eq!(codes(&format!("{GOOD}  model:\n    name: x\n  user-defined-function: [a]\n")), ["E0110", "E0110"]);
}

#[test]
fn anchors_aliases_tags_and_merge_keys_are_refused_by_name() {
    let all = load_text(&GOOD.replace("db1", "&h db1").replace("capture", "*h").replace("012345", "!!str 012345"));
    let messages: Vec<_> = all.unwrap_err().into_iter().map(|d| d.message).collect();
    let expected =
        ["anchors and aliases are not supported", "the alias `*h` is not supported", "tags are not supported"];
    assert_eq!(messages, expected);
    let merge = load_text(&format!("{GOOD}  <<: {{parallelism: 2}}\n")).unwrap_err();
    assert_eq!(merge[0].message, "merge keys are not supported");
    assert_eq!(codes(&format!("{GOOD}? [a, b]\n: c\n")), ["E0101"]);
}

#[test]
fn documents_that_are_no_pipeline() {
    let cases = [
        ("", "E0100"),
        ("\n# only a comment\n", "E0100"),
        ("just text", "E0106"),
        ("- a\n- b\n", "E0106"),
        ("source: 1\nsink: {type: file, path: /x}\n", "E0106"),
        ("source: {type: generator}\nsink: [a]\n", "E0106"),
        ("{", "E0101"),
        ("a: \"", "E0101"),
        ("\u{0}", "E0101"),
        ("%YAML 9.9\n", "E0101"),
        ("a: @b", "E0101"),
    ];
    for (text, code) in cases {
        assert!(codes(text).contains(&code), "{text:?} gives {:?}", codes(text));
    }
    let second = GOOD.replace("orders-lake", "other");
    assert_eq!(codes(&format!("{GOOD}---\n{second}")), ["E0106"], "one pipeline was asked for");
    assert_eq!(codes(&format!("{GOOD}---\n{GOOD}")), ["E0111"]);
    assert_eq!(codes(&"---\n".repeat(1_000)), ["E0101"]);
    assert!(load_text(&format!("%YAML 1.2\n---\n{GOOD}...\n")).is_ok());
    assert!(load_text(&GOOD.replace('\n', "\r\n")).is_ok());
}

#[test]
fn nesting_and_size_are_bounded() {
    let deep_blocks: String = (0..10_000).map(|i| format!("{}a:\n", " ".repeat(i.min(300)))).collect();
    let staircase: String = (0..1_500).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    let texts = [
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        "- ".repeat(10_000),
        "? ".repeat(10_000),
        format!("source: {}{}", "[".repeat(10_000), "]".repeat(10_000)),
        "a: b\n".repeat(200_000),
        format!("[{}]", "a, ".repeat(200_000)),
        deep_blocks,
        staircase,
    ];
    for text in texts {
        let found = codes(&text);
        assert!(found.contains(&"E0101") && found.len() <= 200, "{}: {found:?}", &text[..20]);
    }
    assert_eq!(codes(&"#".repeat((16 << 20) + 1)), ["E0100"]);
}

#[test]
fn no_more_findings_than_anyone_can_read() {
    let text = format!("{GOOD}{}", (0..5_000).map(|i| format!("  key{i}: x\n")).collect::<String>());
    let found = load_text(&text).unwrap_err();
    assert_eq!(found.len(), 200);
    assert_eq!(found[199].notes, ["4800 more problems are not shown"]);
    assert!(found.iter().all(|d| d.render(false).len() < 1_000));
}

#[test]
fn a_file_of_300_lines_is_checked() {
    let extra: String = (0..290).map(|i| format!("  debezium.option.number{i}: ${{env:N{i}:-value {i}}}\n")).collect();
    let text = GOOD.replace("sink:\n", &format!("{extra}sink:\n"));
    assert!(text.lines().count() > 300);
    let pipeline = load_text(&text).unwrap().pipeline;
    assert_eq!(pipeline.source.option("debezium.option.number289").unwrap().value, "value 289");
}

#[test]
fn an_override_mends_what_the_file_cannot_resolve() {
    let text = GOOD.replace("012345", "${env:NOT_SET}");
    assert_eq!(codes(&text), ["E0107"]);
    assert!(load_with(&text, &[("DUJIANG__SOURCE__PASSWORD", "x")], &[]).is_ok());
    assert!(load_with(&text, &[], &[("source.password", "x")]).is_ok());
}

#[test]
fn the_type_can_come_from_outside() {
    let text = "source: {type: '${env:KIND}'}\nsink: {type: file, path: /x}\n";
    let loaded = load_with(text, &[("KIND", "generator"), ("DUJIANG__SOURCE__ROWS", "7")], &[]).unwrap();
    assert_eq!(loaded.pipeline.source.kind, "generator");
    let env = [("DUJIANG__SINK__TYPE", "file"), ("DUJIANG__SINK__PATH", "/y"), ("DUJIANG_LOG", "x"), ("OTHER__A", "1")];
    let loaded = load_with("source: {type: database}\n", &env, &[("source.type", "generator")]).unwrap();
    assert_eq!(loaded.pipeline.sink.option("path").unwrap().value, "/y");
    assert_eq!(loaded.pipeline.source.kind_place, Place::CommandLine);
}

#[test]
fn overrides_that_name_nothing_are_refused() {
    let wrong = |env: &[(&str, &str)], set: &[(&str, &str)]| {
        let found = load_with(GOOD, env, set).unwrap_err();
        found.into_iter().map(|d| (d.code.number(), d.help.unwrap_or_default())).collect::<Vec<_>>()
    };
    let found = wrong(&[("DUJIANG__SORCE__HOSTNAME", "x")], &[]);
    assert_eq!(found, [("E0108", "did you mean `DUJIANG__SOURCE__HOSTNAME`?".to_owned())]);
    assert_eq!(wrong(&[("DUJIANG__PIPELINE__PARALELISM", "x")], &[])[0].0, "E0108");
    assert_eq!(wrong(&[("DUJIANG__", "x")], &[])[0].0, "E0108");
    assert_eq!(wrong(&[("DUJIANG__SOURCE", "x")], &[])[0].0, "E0108");
    assert_eq!(wrong(&[("DUJIANG__ROUTE__0__SINK_TABLE", "x")], &[])[0].0, "E0102");
    assert_eq!(wrong(&[("DUJIANG__ROUTE__1__SINK_TABLE", "x")], &[])[0].0, "E0108");
    assert_eq!(wrong(&[("DUJIANG__ROUTE__SINK_TABLE", "x")], &[])[0].0, "E0108");
    assert_eq!(wrong(&[("DUJIANG__ALERTS__TYPE", "x")], &[])[0].0, "E0110");
    assert_eq!(wrong(&[("DUJIANG__SOURCE__PORT", "1"), ("DUJIANG__source__port", "2")], &[])[0].0, "E0111");
    assert_eq!(wrong(&[], &[("sorce.port", "1")]), [("E0103", "did you mean `source.port`?".to_owned())]);
    assert_eq!(wrong(&[], &[("source", "1")])[0].0, "E0103");
    assert_eq!(wrong(&[], &[("source.prt", "1")]), [("E0103", "did you mean `port`?".to_owned())]);
    assert_eq!(wrong(&[], &[("transform.0.filter", "1")])[0].0, "E0102");
    assert_eq!(wrong(&[], &[("transform.x.filter", "1")])[0].0, "E0103");
    assert_eq!(wrong(&[], &[("alerts.type", "1")])[0].0, "E0110");
}

#[test]
fn a_batch_needs_an_end() {
    let batch = GOOD.replace("name: orders-lake", "execution.runtime-mode: BATCH");
    assert_eq!(codes(&batch), ["E0111"]);
}

#[test]
fn guarantees_of_both_places_must_agree() {
    let with = |sink: &str, pipeline: &str| {
        let sink =
            format!("source: {{type: generator}}\nsink: {{type: file, path: /x{sink}}}\npipeline: {{{pipeline}}}\n");
        load_text(&sink).map(|loaded| loaded.pipeline.guarantee).map_err(|all| all[0].code)
    };
    let exactly = ", sink.delivery-guarantee: exactly-once";
    assert_eq!(with(exactly, ""), Ok(Some(Guarantee::ExactlyOnce)));
    assert_eq!(with(exactly, "guarantee: exactly-once"), Ok(Some(Guarantee::ExactlyOnce)));
    assert_eq!(with(exactly, "guarantee: at-least-once"), Err(Code::Conflict));
    assert_eq!(with("", "guarantee: AT-LEAST-ONCE"), Ok(Some(Guarantee::AtLeastOnce)));
    assert_eq!(with(", sink.delivery-guarantee: none", ""), Err(Code::BadValue));
}

#[test]
fn settings_are_checked_beyond_their_type() {
    let cases = [
        ("name: a/b", "E0105"),
        ("name: .hidden", "E0105"),
        ("name: ''", "E0105"),
        ("checkpoint.interval: 0s", "E0105"),
        ("memory.limit: 10kb", "E0105"),
        ("parallelism: 257", "E0105"),
        ("parallelism: 0", "E0105"),
        ("schema.operator.uid: a\n  operator.uid.prefix: b", "E0111"),
    ];
    for (setting, code) in cases {
        let text = format!("source: {{type: generator}}\nsink: {{type: file, path: /x}}\npipeline:\n  {setting}\n");
        assert!(codes(&text).contains(&code), "{setting}: {:?}", codes(&text));
    }
}

/// One setting that is wrong hides no other.
#[test]
fn every_wrong_setting_is_reported_at_once() {
    let text = GOOD.replace("name: orders-lake", "name: a/b\n  local-time-zone: Mars/Base\n  parallelism: many");
    assert_eq!(codes(&text).len(), 3, "{:?}", codes(&text));
}

#[test]
fn a_misspelt_type_is_recognised() {
    let found = load_text(&GOOD.replacen("  type:", "  typ:", 1)).unwrap_err();
    assert_eq!(
        found[0].help.as_deref(),
        Some("did you mean `type` instead of `typ`? It is one of `database`, `generator`")
    );
}

#[test]
fn settings_of_the_dialect_without_effect_are_named() {
    let all = "local-time-zone: UTC\n  schema.change.behavior: LENIENT\n  \
               schema.operator.uid: x\n  schema-operator.rpc-timeout: 3 min\n  route-mode: ALL_MATCH\n  \
               sink.partitioning.strategy: TABLE_ID\n  transform.decimal.precision.mode: UP_TO_19\n  \
               flink-conf: {execution.checkpointing.interval: 3min, parallelism.default: 2}";
    let loaded = load_text(&GOOD.replace("name: orders-lake", all)).unwrap();
    assert_eq!(loaded.warnings.len(), 6);
    let helps: Vec<_> = loaded.warnings.iter().filter_map(|warning| warning.help.as_deref()).collect();
    assert_eq!(helps, ["write `checkpoint.interval` instead"]);
    let silent = "schema.change.behavior: EVOLVE\n  execution.runtime-mode: STREAMING";
    assert_eq!(load_text(&GOOD.replace("name: orders-lake", silent)).unwrap().warnings.len(), 0);
}

#[test]
fn pages_are_made_of_the_definitions() {
    let page = reference_page("database", crate::sample::DatabaseOptions::DEFS);
    assert!(page.contains("| `port` | integer, 0 to 65535 | `3306` | Port. |"), "{page}");
    assert!(page.contains("| `debezium.*` |"));
    let page = error_page(Code::UnknownKey);
    assert!(page.starts_with("# E0103: unknown key\n"), "{page}");
}

#[test]
fn the_schema_knows_every_connector_and_option() {
    let schema = json_schema(&Samples);
    assert_eq!(schema["properties"]["source"]["properties"]["type"]["enum"][1], "generator");
    let database = &schema["properties"]["source"]["allOf"][0]["then"];
    assert_eq!(database["required"], serde_json::json!(["type", "hostname", "username", "tables"]));
    assert_eq!(database["properties"]["port"]["default"], "3306");
    assert!(database["patternProperties"]["^debezium\\..+"].is_object());
    assert!(schema["properties"]["pipeline"]["properties"]["checkpoint.interval"].is_object());
}

#[test]
fn large_and_hostile_texts_cost_bounded_work() {
    let mb = 1 << 18;
    let texts = [
        "x://".repeat(4 * mb),
        format!("{}@", "x:y://".repeat(2 * mb)),
        "passwort:".repeat(mb),
        format!("{GOOD}  x: {}\n", "a".repeat(8 * mb)),
        format!("{GOOD}  x: {}\n", "passw0rd=b&".repeat(mb)),
        format!("{}  y: 1\n", GOOD.replace("db1", &"a".repeat(8 * mb))),
        format!("{GOOD}  name: {}\n", "\n".repeat(8 * mb)),
        format!("{GOOD}  x: \"{}\"\n", "a\n    ".repeat(mb)),
    ];
    for text in texts {
        let Err(found) = load_text(&text) else { continue };
        assert!(found.iter().all(|d| d.render(false).len() < 4_000 && d.render_line().len() < 1_000));
    }
}
