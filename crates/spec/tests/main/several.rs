//! Several pipelines in one process: documents of one file, and several files.

use crate::sample::{GOOD, load_files};

fn named(name: &str) -> String {
    GOOD.replace("orders-lake", name)
}

fn messages(files: &[(&str, &str)], env: &[(&str, &str)], set: &[(&str, &str)]) -> Vec<String> {
    load_files(files, env, set)
        .expect_err("a mistake")
        .iter()
        .map(|d| format!("{} {}", d.code.number(), d.message))
        .collect()
}

#[test]
fn every_document_and_every_file_is_a_pipeline() {
    let two = format!("---\n{}---\n{}---\n", named("a"), named("b"));
    let third = named("c");
    let all = load_files(&[("two.yaml", &two), ("three.yaml", &third)], &[], &[]).unwrap();
    let names: Vec<_> = all.iter().map(|loaded| loaded.pipeline.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let unnamed = GOOD.replace("  name: orders-lake\n", "");
    let all = load_files(&[("two.yaml", &format!("{unnamed}---\n{unnamed}"))], &[], &[]).unwrap();
    let names: Vec<_> = all.iter().map(|loaded| loaded.pipeline.name.as_str()).collect();
    assert_eq!(names, ["two", "two-2"]);
}

#[test]
fn values_from_outside_name_their_pipeline() {
    let files = format!("{}---\n{}", named("orders-lake"), named("crm"));
    let env = [("DUJIANG__ORDERS_LAKE__SOURCE__PORT", "1"), ("DUJIANG__crm__SINK__FORMAT", "json")];
    let all = load_files(&[("f.yaml", &files)], &env, &[("crm.source.port", "2")]).unwrap();
    let value = |at: usize, key: &str| all[at].pipeline.source.option(key).map(|option| option.value.clone());
    assert_eq!((value(0, "port"), value(1, "port")), (Some("1".into()), Some("2".into())));
    assert_eq!(all[1].pipeline.sink.option("format").map(|option| option.value.as_str()), Some("json"));
    let wrong = messages(&[("f.yaml", &files)], &[("DUJIANG__SOURCE__PORT", "1")], &[("source.port", "1")]);
    assert_eq!(
        wrong,
        [
            "E0108 the environment variable `DUJIANG__SOURCE__PORT` names no pipeline",
            "E0103 `--set source.port=...` names no pipeline",
        ]
    );
    let help = |env: &[(&str, &str)], set: &[(&str, &str)]| {
        load_files(&[("f.yaml", &files)], env, set).unwrap_err()[0].help.clone().unwrap_or_default()
    };
    assert_eq!(
        [
            help(&[("DUJIANG__CMR__SOURCE__PORT", "1")], &[]),
            help(&[("DUJIANG__OTHER__SOURCE__PORT", "1")], &[]),
            help(&[], &[("order-lake.source.port", "1")]),
            help(&[], &[("other.source.port", "1")]),
            help(&[], &[("source.port", "1")]),
        ],
        [
            "did you mean `DUJIANG__CRM__SOURCE__PORT`?",
            "with several pipelines the name of one comes first: `DUJIANG__ORDERS_LAKE__...`, `DUJIANG__CRM__...`",
            "did you mean `--set orders-lake.source.port=...`?",
            "the pipelines are `orders-lake`, `crm`",
            "with several pipelines the name of one comes first: `--set orders-lake.source.port=...`",
        ]
    );
    let all = load_files(&[("f.yaml", &files)], &[("DUJIANG__CRM__SOURCE__PRT", "1")], &[]).unwrap_err();
    assert_eq!(all[0].help.as_deref(), Some("did you mean `DUJIANG__CRM__SOURCE__PORT`?"));
}

#[test]
fn mistakes_of_all_come_at_once_and_names_differ() {
    let (one, other) = (named("a").replace("hostname", "hostnme"), named("a").replace("format: parquet", "format: x"));
    let found = messages(&[("1.yaml", &one), ("2.yaml", &other)], &[], &[]);
    assert_eq!(
        found,
        [
            "E0111 two pipelines are called `a`",
            "E0103 unknown option `hostnme` for source type `database`",
            "E0105 `format` must be one of `json`, `parquet`",
        ]
    );
    let found = messages(&[("1.yaml", &named("a.b")), ("2.yaml", &named("a-b"))], &[], &[]);
    assert_eq!(found, ["E0111 the pipelines `a.b` and `a-b` cannot be told apart"]);
    let found = messages(&[("1.yaml", "---\n---\n"), ("2.yaml", &named("x"))], &[], &[]);
    assert_eq!(found, ["E0100 the pipeline file is empty"]);
}
