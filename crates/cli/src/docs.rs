//! The generated pages say what the code says, and the examples of the manual are accepted.
//!
//! `UPDATE_DOCS=1 cargo test --release -p dujiang docs` rewrites the pages.

use crate::registry::Connectors;
use dujiang_core::Code;
use dujiang_spec::{
    AllInputs, PipelineSettings, Registry, RouteOptions, SourceText, TransformOptions, error_page, json_schema,
    load_all, reference_page,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a folder's generated files with what they should be; rewrites them when asked.
fn compare(folder: &str, wanted: &BTreeMap<String, String>, generated: impl Fn(&str) -> bool) {
    let folder = root().join(folder);
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    fs::create_dir_all(&folder).unwrap();
    let mut wrong = Vec::new();
    for (name, text) in wanted {
        let path = folder.join(name);
        if fs::read_to_string(&path).unwrap_or_default() != *text {
            wrong.push(name.clone());
            if update {
                fs::write(&path, text).unwrap();
            }
        }
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if generated(&name) && !wanted.contains_key(&name) {
            if update {
                fs::remove_file(folder.join(&name)).unwrap();
            }
            wrong.push(name);
        }
    }
    let how = "run `UPDATE_DOCS=1 cargo test --release -p dujiang docs`";
    assert!(update || wrong.is_empty(), "{} is out of date: {wrong:?}; {how}", folder.display());
}

#[test]
fn every_error_has_its_page() {
    let mut pages = BTreeMap::new();
    let mut index =
        "# Error codes\n\nGenerated from `crates/core/src/codes.rs`. `dujiang explain CODE` prints a page.\n\n\
                     | code | title | exit |\n|---|---|---|\n"
            .to_owned();
    for code in Code::ALL {
        let number = code.number();
        index.push_str(&format!("| [{number}]({number}.md) | {} | {} |\n", code.title(), code.exit_code()));
        pages.insert(format!("{number}.md"), error_page(*code));
    }
    pages.insert("README.md".into(), index);
    compare("docs/errors", &pages, |name| name.starts_with('E'));
}

#[test]
fn every_connector_has_its_page() {
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |kind: &str, role: &str, summary: &str, options: &[_]| {
        let head = format!("# `{kind}` {role}\n\n{summary}\n\nGenerated from the option definitions of its crate.\n\n");
        pages.insert(format!("{kind}-{role}.md"), head + &reference_page(kind, options));
    };
    Connectors.sources().iter().for_each(|spec| add(spec.kind, "source", spec.summary, spec.options));
    Connectors.sinks().iter().for_each(|spec| add(spec.kind, "sink", spec.summary, spec.options));
    Connectors.logs().iter().for_each(|spec| add(spec.kind, "log", spec.summary, spec.options));
    add("transform", "block", "Rules that choose columns and rows; a list.", TransformOptions::DEFS);
    add("route", "block", "Rules that give tables other names in the sink; a list.", RouteOptions::DEFS);
    add("pipeline", "block", "How the pipeline runs.", PipelineSettings::DEFS);
    let schema = serde_json::to_string_pretty(&json_schema(&Connectors)).unwrap();
    pages.insert("pipeline.schema.json".into(), schema + "\n");
    compare("docs/reference", &pages, |name| {
        ["-source.md", "-sink.md", "-log.md"].iter().any(|end| name.ends_with(end))
    });
}

/// Whether a text is accepted as pipelines; references in it may name anything.
fn assert_accepted(name: &str, text: &str) {
    // Examples name their secrets as users should; here any value will do.
    let text = text.replace("${env:", "${env:CARGO_MANIFEST_DIR:-").replace("${file:/run/secrets/db}", "x");
    let read_file = |_: &str, _: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let texts = vec![SourceText::new(name, text)];
    let loaded = load_all(AllInputs { texts, env: Vec::new(), set: Vec::new(), read_file: &read_file }, &Connectors);
    let shown = loaded.map_err(|all| all.iter().map(|d| d.render(false)).collect::<String>());
    assert!(shown.is_ok(), "{}", shown.unwrap_err());
}

#[test]
fn every_example_is_accepted() {
    let mut checked = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        // Folders hold fixtures of other commands.
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert_accepted(&name, &fs::read_to_string(&path).unwrap());
            checked += 1;
        }
    }
    assert!(checked >= 4, "the manual shows at least four examples");
}

/// Every pipeline that the guide and the README show; where a page shows some blocks only, the others are put around them.
#[test]
fn every_pipeline_of_the_guide_is_accepted() {
    let mut pages: Vec<PathBuf> = fs::read_dir(root().join("docs/guide")).unwrap().map(|e| e.unwrap().path()).collect();
    pages.extend(["README.md", "README.zh-CN.md"].map(|page| root().join(page)));
    let mut checked = 0;
    for path in pages {
        let text = fs::read_to_string(&path).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            // Fixtures of `dujiang test` have keys of their own.
            if !block.starts_with("name:") {
                assert_accepted(&path.file_name().unwrap().to_string_lossy(), &whole(block));
                checked += 1;
            }
        }
    }
    assert!(checked >= 15, "the guide shows pipelines");
}

fn whole(block: &str) -> String {
    let has = |key: &str| block.lines().any(|line| line.starts_with(key));
    let login = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"p\";";
    let mut text = block.replace("${file:/run/secrets/kafka-login}", login);
    text = text.replace("${file:/run/secrets/datahub}", "x");
    if !has("source:") {
        text = format!("source:\n  type: generator\n{text}");
    }
    if !has("sink:") && !has("sinks:") {
        text.push_str("sink:\n  type: values\n");
    }
    text
}
