//! Every error code has a snapshot of its message: `tests/snapshots/<code>.txt` of some crate.

use super::Finding;
use super::files::{File, Tree};

const CODES: &str = "crates/core/src/codes.rs";

/// Checks that no code is without a snapshot, and no snapshot without a code.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(registry) = tree.get(CODES) else {
        return vec![Finding::new(CODES, "the registry of error codes is gone")];
    };
    let codes: Vec<&str> = registry.text.lines().filter_map(code).collect();
    let snapshots: Vec<(&str, &str)> = tree.files.iter().filter_map(snapshot).collect();
    let written = |code: &str| snapshots.iter().any(|(of, _)| *of == code);
    let mut findings = Vec::new();
    for code in codes.iter().filter(|code| !written(code)) {
        findings.push(Finding::new(
            CODES,
            format!(
                "{code} has no snapshot of its message; provoke it in a test and hand the error to \
                 `dujiang_testkit::messages::check(env!(\"CARGO_MANIFEST_DIR\"), &error, &[])`, then run that test with UPDATE_SNAPSHOTS=1"
            ),
        ));
    }
    for (code, path) in snapshots.iter().filter(|(code, _)| !codes.contains(code)) {
        findings.push(Finding::new(*path, format!("there is no code {code}; delete the file")));
    }
    findings
}

/// `Name = "E0100", ...` -> `E0100`.
fn code(line: &str) -> Option<&str> {
    let (name, rest) = line.trim().split_once(" = \"E")?;
    let number = rest.split('"').next()?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric());
    let start = line.find("\"E")? + 1;
    (is_name && number.len() == 4).then(|| &line[start..start + 5])
}

/// The code and path of a snapshot.
fn snapshot(file: &File) -> Option<(&str, &str)> {
    let (_, name) = file.path.split_once("/tests/snapshots/")?;
    let code = name.strip_suffix(".txt")?;
    // Other texts stand there, too.
    let is_code = code.strip_prefix('E').is_some_and(|digits| digits.chars().all(|c| c.is_ascii_digit()));
    is_code.then_some((code, file.path.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into(), rust: None, test: false }
    }

    #[test]
    fn a_code_without_snapshot_is_found() {
        let codes = "    /// Doc `X = \"E9\"`.\n    One = \"E0100\", User;\n    Two = \"E0101\", User;\n    Three = \"E0102\", User;\n";
        let files = vec![
            file(CODES, codes),
            file("crates/cli/tests/snapshots/E0100.txt", "said"),
            file("crates/cli/tests/snapshots/E0999.txt", "said"),
            file("crates/cli/tests/snapshots/doctor.txt", "said"),
            file("crates/connectors/file/tests/snapshots/E0102.txt", "said"),
        ];
        let places: Vec<String> =
            check(&Tree { files }).into_iter().map(|f| format!("{} {}", f.place, f.message)).collect();
        assert_eq!(places.len(), 2, "{places:?}");
        assert!(places[0].contains("E0101 has no snapshot") && places[1].contains("no code E0999"));
    }
}
