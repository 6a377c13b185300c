//! `transform` and `route`: what reaches the program, and what users read when something is wrong.

use crate::sample::{CHECKED, GOOD, load_text, load_with, rendered};
use dujiang_core::TableId;
use dujiang_core::options::Place;
use dujiang_spec::{Clause, Converter, Diagnostic, RouteMode, SqlMistake};

const RULES: &str = "\
transform:
  - source-table: shop.web_\\.*
    projection: \\*, upper(name) AS name, ${env:PRICE} * 2 AS price
    filter: name <> 'it''s'
    primary-keys: id, name
    partition-keys: day
    table-options: a=1;b=x=y
    table-options.delimiter: ;
    converter-after-transform: SOFT_DELETE
    description: for people
  - source-table: crm.users
route:
  - source-table: shop.(\\.*)
    sink-table: ods.$1
  - source-table: crm.\\.*
    sink-table: ods.c_<>
    replace-symbol: <>
    description: for people
";

fn with_rules() -> String {
    format!("{GOOD}  route-mode: FIRST_MATCH\n{RULES}")
}

#[test]
fn every_key_of_a_rule_reaches_the_program() {
    let loaded = load_with(&with_rules(), &[("PRICE", "total")], &[]).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let pipeline = loaded.pipeline;
    assert_eq!((pipeline.transforms.len(), pipeline.routes.len()), (2, 2));
    let rule = &pipeline.transforms[0];
    assert_eq!(rule.source_table_text.text(), r"shop.web_\.*");
    assert!(rule.source_table.matches(&TableId::new("SHOP", "web_1")).unwrap());
    assert_eq!(rule.projection.as_ref().unwrap().text(), "*, upper(name) AS name, total * 2 AS price");
    assert_eq!(rule.filter.as_ref().unwrap().text(), "name <> 'it''s'");
    let names = |keys: &[dujiang_spec::KeyColumn]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&rule.primary_keys), names(&rule.partition_keys)),
        (vec!["id".into(), "name".into()], vec!["day".into()])
    );
    assert_eq!(rule.table_options, [("a".to_owned(), "1".to_owned()), ("b".into(), "x=y".into())]);
    assert_eq!((rule.converter, rule.description.as_deref()), (Some(Converter::SoftDelete), Some("for people")));
    assert!(pipeline.transforms[1].projection.is_none() && pipeline.transforms[1].primary_keys.is_empty());
    let targets = |rule: usize, database: &str| {
        let target = pipeline.routes[rule].route.target(&TableId::new(database, "t")).unwrap();
        target.map(|id| id.to_string())
    };
    assert_eq!(
        (targets(0, "shop"), targets(1, "crm"), targets(1, "shop")),
        (Some("ods.t".into()), Some("ods.c_t".into()), None)
    );
    assert_eq!(pipeline.settings.route_mode, RouteMode::FirstMatch);
}

#[test]
fn rules_are_set_from_outside() {
    let env = [
        ("PRICE", "total"),
        ("DUJIANG__TRANSFORM__0__FILTER", "a = 1"),
        ("DUJIANG__ROUTE__1__SINK_TABLE", "env.c_<>"),
        ("DUJIANG__ROUTE__2__SOURCE_TABLE", "new.t"),
        ("DUJIANG__ROUTE__2__SINK_TABLE", "new.u"),
    ];
    let set = [("route.1.sink-table", "set.c_<>")];
    let pipeline = load_with(&with_rules(), &env, &set).unwrap().pipeline;
    let filter = pipeline.transforms[0].filter.as_ref().unwrap();
    assert_eq!((filter.text(), filter.place()), ("a = 1", &Place::Environment(env[1].0.into())));
    assert_eq!(pipeline.routes[1].sink_table.text(), "set.c_<>");
    assert_eq!(pipeline.routes[2].sink_table.text(), "new.u");
    let said = rendered(&with_rules(), &[("PRICE", "x"), ("DUJIANG__TRANSFORM__0__FILTER", "a = nme")], &[]);
    let expected = "\
error[E0121]: there is no column `nme`
--> environment variable DUJIANG__TRANSFORM__0__FILTER
 = note: at `nme`
 = help: did you mean `name`?
";
    assert_eq!(said, expected);
    let said = rendered(&with_rules(), &[("PRICE", "x"), ("DUJIANG__TRANSFORM__0__FILTR", "x")], &[]);
    assert!(said.contains("did you mean `DUJIANG__TRANSFORM__0__FILTER`?"), "{said}");
    let said = rendered(&with_rules(), &[("PRICE", "x"), ("DUJIANG__ROUTE__7__SINK_TABLE", "x")], &[]);
    assert!(said.contains("names no rule of `route`, which has 2"), "{said}");
}

#[track_caller]
fn check(rules: &str, expected: &str) {
    let said = rendered(&format!("source: {{type: generator}}\nsink: {{type: queue}}\n{rules}"), &[("X", "nme")], &[]);
    assert_eq!(said, expected.trim_start_matches('\n'));
}

#[test]
fn the_caret_stands_inside_the_sql_in_every_style() {
    let help = "  = help: did you mean `name`?\n";
    let at = |line: usize, shown: &str, caret: &str| {
        format!(
            "error[E0121]: there is no column `nme`\n --> pipeline.yaml:{line}:{}\n  |\n{line} | {shown}\n  | {caret}\n  |\n{help}",
            caret.len() - caret.trim_start().len() + 1
        )
    };
    let rule = |filter: &str| format!("transform:\n  - source-table: t\n    filter: {filter}\n");
    check(&rule("upper(nme) = 'a'"), &at(5, "    filter: upper(nme) = 'a'", "                  ^^^"));
    check(&rule("'upper(''a'') = nme'"), &at(5, "    filter: 'upper(''a'') = nme'", "                            ^^^"));
    check(
        &rule("\"a\\x20= \\\"都\\\" nme\""),
        &at(5, "    filter: \"a\\x20= \\\"都\\\" nme\"", "                           ^^^").replace(":28\n", ":27\n"),
    );
    check(&rule("|\n      a = 1\n\n      AND nme = 2"), &at(8, "      AND nme = 2", "          ^^^"));
    check(&rule(">-  # folded\n      a = 1\n      AND nme = 2"), &at(7, "      AND nme = 2", "          ^^^"));
    check(&rule("a = 1\n      AND nme = 2"), &at(6, "      AND nme = 2", "          ^^^"));
    check(
        &rule("a = 1 AND ${env:X} = 2"),
        &at(5, "    filter: a = 1 AND ${env:X} = 2", "                      ^^^^^^^^"),
    );
}

#[test]
fn the_end_of_the_sql_is_a_place_too() {
    check(
        "transform:\n  - source-table: t\n    projection: upper(a AS b\n    primary-keys: b, nme\n",
        "
error[E0120]: a `)` is missing
 --> pipeline.yaml:5:29
  |
5 |     projection: upper(a AS b
  |                             ^

error[E0121]: there is no column `nme`
 --> pipeline.yaml:6:22
  |
6 |     primary-keys: b, nme
  |                      ^^^
  |
  = help: did you mean `name`?
",
    );
}

#[test]
fn mistakes_of_shape_have_the_dialects_wording() {
    check(
        "transform:\n  source-table: t\nroute: x\n",
        "
error[E0106]: YAML transform block is expecting an array children, but got an OBJECT. Perhaps you missed a dash prefix `-`?
 --> pipeline.yaml:4:3
  |
4 |   source-table: t
  |   ^^^^^^^^^^^^^^^
  |
  = help: begin every rule below `transform:` with `- `

error[E0106]: YAML route block is expecting an array children, but got an STRING. Perhaps you missed a dash prefix `-`?
 --> pipeline.yaml:5:8
  |
5 | route: x
  |        ^
  |
  = help: begin every rule below `route:` with `- `
",
    );
    check(
        "transform:\n  - projection: a\n    flter: b\n  - x\nroute:\n  - source-tabel: a\n    sink-table: b\n",
        "
error[E0102]: Missing required field \"source-table\" in transform configuration
 --> pipeline.yaml:4:5
  |
4 |   - projection: a
  |     ^^^^^^^^^^^^^
  |
  = help: add `source-table`: Tables the rule is about: patterns `database.table`, separated by commas; each part is a \
regular expression, case is ignored, a dot of the expression is written `\\.`

error[E0103]: Unexpected key `flter` in YAML transform block.
 --> pipeline.yaml:5:5
  |
5 |     flter: b
  |     ^^^^^
  |
  = note: allowed keys in this context are: [source-table, projection, filter, primary-keys, partition-keys, table-options, table-options.delimiter, converter-after-transform, description]
  = help: did you mean `filter`?

error[E0106]: `transform[1]` must be a map of options, but it is a single value
 --> pipeline.yaml:6:5
  |
6 |   - x
  |     ^
  |
  = help: write `- source-table: ...`

error[E0103]: Unexpected key `source-tabel` in YAML route block.
 --> pipeline.yaml:8:5
  |
8 |   - source-tabel: a
  |     ^^^^^^^^^^^^
  |
  = note: allowed keys in this context are: [source-table, sink-table, replace-symbol, description]
  = help: did you mean `source-table`?
",
    );
}

#[test]
fn mistakes_of_values_say_what_is_wrong() {
    let found = |rule: &str| {
        let text = format!("source: {{type: generator}}\nsink: {{type: queue}}\n{rule}");
        let all = load_text(&text).map(|l| l.pipeline).unwrap_err();
        all.iter().map(|d| format!("{} {}", d.code.number(), d.message)).collect::<Vec<_>>().join("; ")
    };
    let transform = |options: &str| found(&format!("transform:\n  - source-table: a.b\n    {options}\n"));
    let route =
        |source: &str, sink: &str| found(&format!("route:\n  - source-table: {source}\n    sink-table: {sink}\n"));
    let cases = [
        (
            found("transform:\n  - source-table: a.(b\n"),
            "E0105 `source-table` has `a.(b`, in which `(b` is not a regular expression: a group is not closed",
        ),
        (transform("projection: ' '"), "E0105 `projection` is empty"),
        (transform("primary-keys: a,,b"), "E0105 `primary-keys` has an empty entry"),
        (transform("primary-keys: a, a"), "E0105 `primary-keys` names the column `a` twice"),
        (transform("table-options: a"), "E0105 an entry of `table-options` must be `key=value`"),
        (
            transform("table-options: a=b\n    table-options.delimiter: ''"),
            "E0105 `table-options.delimiter` must not be empty",
        ),
        (transform("converter-after-transform: HARD"), "E0105 `converter-after-transform` must be `soft_delete`"),
        (
            route("a.(b", "c.d"),
            "E0105 `source-table` is not a regular expression: a group is not closed. Notice that `.` is used to separate Table ID components. To use it as a regex token, put a `\\` before to escape it",
        ),
        (route("a.b", "c.$1"), "E0105 `sink-table` asks for group `$1`, but `source-table` captures 0"),
        (route("a.b", "c..d"), "E0105 `sink-table` has an empty part: `c..d`"),
        (found("pipeline: {route-mode: SOME}\n"), "E0105 `route-mode` must be one of `all_match`, `first_match`"),
        (found("pipeline: {local-time-zone: Mars/Base}\n"), "E0105 `local-time-zone` names no time zone"),
    ];
    for (said, expected) in cases {
        assert_eq!(said, expected);
    }
}

#[test]
fn schema_changes_are_lists_or_words() {
    let with = |option: &str| load_text(&GOOD.replace("format: parquet", option)).map(|l| l.pipeline.schema_changes);
    assert_eq!(
        with("include.schema.changes: [add.column, drop]").unwrap(),
        ["add.column", "create.table", "drop.column", "drop.table"]
    );
    assert_eq!(
        with("include.schema.changes: add.column, drop.table").unwrap(),
        ["add.column", "create.table", "drop.table"]
    );
    assert_eq!(with("exclude.schema.changes:\n    - table\n    - column").unwrap(), [] as [&str; 0]);
    let found = with("include.schema.changes: [add.colum]").unwrap_err();
    assert_eq!(found[0].help.as_deref(), Some("did you mean `add.column`?"));
    assert_eq!(with("include.schema.changes: [{a: b}]").unwrap_err()[0].code.number(), "E0106");
}

#[test]
fn mistakes_found_against_real_tables_point_into_the_file() {
    let pipeline = load_with(&with_rules(), &[("PRICE", "total")], &[]).unwrap().pipeline;
    let mistake = SqlMistake {
        clause: Clause::Projection,
        span: 9..13,
        code: dujiang_core::Code::SqlUnknownColumn,
        message: "no column `name` in shop.web_1".into(),
        label: Some("similar: `nome`".into()),
        notes: vec!["this rule also matches shop.web_2, where the column exists".into()],
        help: None,
    };
    let said = Diagnostic::from_sql(mistake, 0, &pipeline).render(false);
    assert!(said.contains("                         ^^^^ similar: `nome`"), "{said}");
}

#[test]
fn errors_of_a_running_transform_point_into_the_file() {
    let pipeline = load_with(&with_rules(), &[("PRICE", "total")], &[]).unwrap().pipeline;
    let error = dujiang_core::Error::new(dujiang_core::Code::SqlUnknownColumn, "table shop.web_1 has no column `name`")
        .fact("sql", "*, upper(name) AS name")
        .fact("at", "line 1, column 10")
        .fact("in", "projection")
        .fact("table", "shop.web_1")
        .fact("rule", "1");
    let said = Diagnostic::from_error(&error, &pipeline).render(false);
    let expected = "\
error[E0121]: table shop.web_1 has no column `name`
  --> pipeline.yaml:17:27
   |
17 |     projection: \\*, upper(name) AS name, ${env:PRICE} * 2 AS price
   |                           ^^^^
   |
   = note: table: shop.web_1
";
    assert_eq!(said, expected);
}

#[test]
fn oversized_sql_is_refused_without_being_parsed() {
    let load = |filter: &str| {
        CHECKED.with_borrow_mut(|checked| *checked = 0);
        let text = format!("{GOOD}transform:\n  - source-table: a.b\n    filter: \"{filter}\"\n");
        let found = load_text(&text).map(|l| l.pipeline).unwrap_err();
        (found[0].code.number(), found[0].render(false).len() < 20_000, CHECKED.with_borrow(|checked| *checked))
    };
    assert_eq!(load(&"(".repeat(10_000)), ("E0125", true, 0));
    assert_eq!(load(&format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000))), ("E0125", true, 0));
    assert_eq!(load(&"a = 1 OR ".repeat(1_200_000)), ("E0125", true, 0));
}

#[test]
fn two_hundred_rules_are_each_checked_once() {
    let mut text = GOOD.to_owned();
    text.push_str("transform:\n");
    for index in 0..100 {
        text.push_str(&format!("  - source-table: shop.t{index}_\\.*\n    filter: a > {index}\n"));
    }
    text.push_str("route:\n");
    for index in 0..100 {
        text.push_str(&format!("  - source-table: shop.t{index}_(\\.*)\n    sink-table: ods.t{index}_$1\n"));
    }
    CHECKED.with_borrow_mut(|checked| *checked = 0);
    let loaded = load_text(&text).unwrap();
    assert_eq!((loaded.pipeline.transforms.len(), loaded.pipeline.routes.len()), (100, 100));
    assert_eq!(CHECKED.with_borrow(|checked| *checked), 100);
}
