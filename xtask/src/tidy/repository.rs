//! Rules about documents, examples and fragments, and about files nobody reads.

use super::Finding;
use super::files::{File, Tree};

const FRAGMENT_KINDS: &[&str] = &["added", "changed", "fixed", "removed", "security"];

/// Checks all of them.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = examples(tree);
    findings.extend(tree.files.iter().flat_map(fragment));
    findings.extend(tree.files.iter().filter(|f| f.path.ends_with(".md")).flat_map(|file| links(tree, file)));
    findings.extend(unreachable_modules(tree));
    findings.extend(invariants(tree));
    findings
}

/// Every example is named by the manual.
fn examples(tree: &Tree) -> Vec<Finding> {
    let is_manual =
        |f: &&File| f.path.ends_with(".md") && (f.path.starts_with("docs/") || f.path.starts_with("README"));
    let manual: Vec<&File> = tree.files.iter().filter(is_manual).collect();
    let shown = |path: &str| manual.iter().any(|page| page.text.contains(path));
    let examples = tree.files.iter().filter(|f| f.path.starts_with("examples/") && f.path.ends_with(".yaml"));
    examples
        .filter(|f| !shown(&f.path))
        .map(|f| Finding::new(&f.path, "no page of docs/ or README names this example; show it there"))
        .collect()
}

/// `changelog.d/<subject>.<kind>.md`: one or more sentences, no heading.
fn fragment(file: &File) -> Vec<Finding> {
    let Some(name) = file.path.strip_prefix("changelog.d/").filter(|name| *name != "README.md") else {
        return Vec::new();
    };
    let parts: Vec<&str> = name.split('.').collect();
    let named = matches!(parts[..], [_, kind, "md"] if FRAGMENT_KINDS.contains(&kind));
    let text = file.text.trim();
    let written = !text.is_empty() && !text.starts_with('#') && text.ends_with('.');
    let mut findings = Vec::new();
    if !named {
        let kinds = FRAGMENT_KINDS.join("|");
        findings.push(Finding::new(&file.path, format!("a fragment is called <subject>.<{kinds}>.md")));
    }
    if !written {
        findings.push(Finding::new(&file.path, "a fragment is whole sentences without a heading"));
    }
    findings
}

/// Relative links lead somewhere.
fn links(tree: &Tree, file: &File) -> Vec<Finding> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let link = rest.split([')', '#', ' ']).next().unwrap_or_default();
            if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let target = normal(&format!("{folder}/{link}"));
            let inside = format!("{}/", target.trim_end_matches('/'));
            let exists = tree.get(&target).is_some() || tree.files.iter().any(|f| f.path.starts_with(&inside));
            if !exists {
                findings.push(Finding::new(format!("{}:{}", file.path, index + 1), format!("dead link: {link}")));
            }
        }
    }
    findings
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// A Rust file under `src` that no `mod` line reaches is dead.
fn unreachable_modules(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, _) in tree.rust() {
        let Some((package, inner)) = file.path.split_once("/src/") else { continue };
        if matches!(inner, "lib.rs" | "main.rs") || inner.starts_with("bin/") {
            continue;
        }
        let plain = inner.trim_end_matches(".rs").trim_end_matches("/mod");
        let (parent, name) = plain.rsplit_once('/').unwrap_or(("", plain));
        let parents = match parent {
            "" => vec![format!("{package}/src/lib.rs"), format!("{package}/src/main.rs")],
            folder => vec![format!("{package}/src/{folder}.rs"), format!("{package}/src/{folder}/mod.rs")],
        };
        let line = format!("mod {name}");
        let declares = |path: &String| {
            tree.get(path).and_then(|f| f.rust.as_ref()).is_some_and(|s| s.find(&line).next().is_some())
        };
        if !parents.iter().any(declares) {
            findings.push(Finding::new(&file.path, format!("no `{line};` reaches this file; declare it or delete it")));
        }
    }
    findings
}

/// Every invariant of ARCHITECTURE.md is cited where it is kept, and no other is cited.
fn invariants(tree: &Tree) -> Vec<Finding> {
    let Some(map) = tree.get("ARCHITECTURE.md") else {
        return vec![Finding::new("ARCHITECTURE.md", "the map of the house is missing")];
    };
    let stated = |number: usize| map.text.contains(&format!("**INV-{number}**"));
    let code: Vec<&File> = tree.files.iter().filter(|f| f.path.starts_with("crates/") && f.rust.is_some()).collect();
    let mut findings = Vec::new();
    for number in (1..100).take_while(|n| stated(*n)) {
        if !code.iter().any(|f| cites(&f.text, number)) {
            let message = format!("INV-{number} is cited nowhere in crates/; cite it where it is kept");
            findings.push(Finding::new("ARCHITECTURE.md", message));
        }
    }
    for file in code {
        for number in (1..100).filter(|n| cites(&file.text, *n) && !stated(*n)) {
            findings
                .push(Finding::new(&file.path, format!("cites INV-{number}, which ARCHITECTURE.md does not state")));
        }
    }
    findings
}

fn cites(text: &str, number: usize) -> bool {
    let word = format!("INV-{number}");
    let whole = |at: usize| !text[at + word.len()..].starts_with(|c: char| c.is_ascii_digit());
    text.match_indices(&word).any(|(at, _)| whole(at))
}
