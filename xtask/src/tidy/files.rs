//! The files of the repository that the checks look at.

use crate::lexer::Source;
use crate::shell::Outcome;
use std::path::{Path, PathBuf};

/// Every text file of the repository.
pub struct Tree {
    /// In order of their paths.
    pub files: Vec<File>,
}

/// One text file.
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// What it holds.
    pub text: String,
    /// Set for Rust files.
    pub rust: Option<Source>,
    /// Whether the whole file is test code: in a folder for tests, benches or examples, in a crate made for tests, or declared under `cfg(test)`.
    pub test: bool,
}

impl Tree {
    /// Reads what git would: everything except ignored folders.
    pub fn read(root: &Path) -> Outcome<Self> {
        let mut paths = Vec::new();
        walk(root, &mut paths)?;
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let bytes = std::fs::read(&path).map_err(|e| format!("{relative}: {e}"))?;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let rust = relative.ends_with(".rs").then(|| Source::new(&text));
            let test = in_test_folder(&relative);
            files.push(File { path: relative, text, rust, test });
        }
        let declared: Vec<String> = files.iter().flat_map(test_modules).collect();
        for file in files.iter_mut().filter(|file| declared.contains(&file.path)) {
            file.test = true;
        }
        Ok(Self { files })
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }

    /// The file at a path.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        self.test
    }

    /// The folder of the crate it belongs to, e.g. `crates/core`.
    pub fn package(&self) -> Option<&str> {
        let end = ["/src/", "/tests/", "/examples/", "/benches/"].iter().find_map(|part| self.path.find(part))?;
        Some(&self.path[..end])
    }

    /// Whether a line, or the one above, excuses itself from a rule.
    pub fn excuses(&self, line: usize, rule: &str) -> bool {
        let mark = format!("tidy: allow({rule}): ");
        let from = line.saturating_sub(2);
        self.text.lines().skip(from).take(line - from).any(|text| text.contains(&mark))
    }
}

fn in_test_folder(path: &str) -> bool {
    let in_folder = path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples" | "fuzz" | "testkit"));
    in_folder || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// The files of `#[cfg(test)] mod name;`.
fn test_modules(file: &File) -> Vec<String> {
    let Some(source) = &file.rust else { return Vec::new() };
    let plain = file.path.trim_end_matches(".rs");
    let folder = match plain.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => folder,
        _ => plain,
    };
    let name = |item: &str| item.rsplit_once("mod ").map(|(_, name)| name.trim().to_owned());
    let items = source.tests.iter().map(|range| &source.code[range.clone()]).filter(|item| !item.ends_with('}'));
    items.filter_map(name).map(|name| format!("{folder}/{name}.rs")).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Outcome {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
        let name = entry.file_name();
        let kind = entry.file_type().map_err(|e| format!("{}: {e}", entry.path().display()))?;
        if kind.is_dir() {
            if !matches!(name.to_str(), Some("target" | ".git" | "__pycache__" | ".venv")) {
                walk(&entry.path(), paths)?;
            }
        // In a second worktree `.git` is a file that names the first one.
        } else if kind.is_file() && name != ".git" {
            paths.push(entry.path());
        }
    }
    Ok(())
}
