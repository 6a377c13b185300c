//! What users read for every mistake that a file alone can hold, word by word: one page per code.
//!
//! `UPDATE_SNAPSHOTS=1` writes the pages anew.

use crate::support::{Place, root};

const HEAD: &str = "source:\n  type: generator\nsink:\n  type: file\n  path: out\n";

/// A file for each code of the ranges E010x to E012x that `check` can report.
fn cases() -> Vec<(&'static str, String)> {
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
        ("E0110", with("log:\n  type: embedded\n")),
        ("E0111", with("pipeline:\n  execution.runtime-mode: BATCH\n")),
        ("E0120", projection("id, UPPER(status AS status")),
        ("E0122", projection("id, UPER(status) AS status")),
        ("E0124", projection("SUM(total) AS total")),
        ("E0125", projection(&format!("{}a{} AS a", "(".repeat(300), ")".repeat(300)))),
        ("E0126", projection("id, a + 1")),
    ]
}

#[test]
fn every_mistake_of_a_file_reads_as_written_down() {
    let folder = root().join("crates/cli/tests/snapshots");
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut wrong = Vec::new();
    for (code, text) in cases() {
        let place = Place::new();
        place.file("pipeline.yaml", &text);
        let said = place.run(["check", "pipeline.yaml"]).code(1).out;
        assert!(said.contains(&format!("error[{code}]")), "{code} is not what is said:\n{said}");
        let path = folder.join(format!("{code}.txt"));
        if std::fs::read_to_string(&path).unwrap_or_default() != said {
            if update {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &said).unwrap();
            } else {
                wrong.push(said);
            }
        }
    }
    assert!(wrong.is_empty(), "other words than in {}:\n{}", folder.display(), wrong.join("\n"));
}
