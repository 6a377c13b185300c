//! The generated pages say what the code says, and the examples of the manual are accepted.
//!
//! `UPDATE_DOCS=1 cargo test --release -p dujiang docs` rewrites the pages.

use crate::pipeline_file;
use crate::registry::Connectors;
use dujiang_core::Code;
use dujiang_spec::{PipelineSettings, Registry, SourceText, error_page, json_schema, reference_page};
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
    add("pipeline", "block", "How the pipeline runs.", PipelineSettings::DEFS);
    let schema = serde_json::to_string_pretty(&json_schema(&Connectors)).unwrap();
    pages.insert("pipeline.schema.json".into(), schema + "\n");
    compare("docs/reference", &pages, |name| name.ends_with("-source.md") || name.ends_with("-sink.md"));
}

#[test]
fn every_example_is_accepted() {
    let mut checked = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Examples name their secrets as users should; here any value will do.
        let text = text.replace("${env:", "${env:CARGO_MANIFEST_DIR:-");
        let loaded = pipeline_file::from_text(SourceText::new(name.clone(), text), &root(), &[]);
        let shown = loaded.map_err(|all| all.iter().map(|d| d.render(false)).collect::<String>());
        assert!(shown.is_ok(), "{}", shown.unwrap_err());
        checked += 1;
    }
    assert!(checked >= 4, "the manual shows at least four examples");
}
