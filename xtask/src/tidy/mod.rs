//! `cargo xtask tidy`: the rules of the house as checks.
//!
//! Every finding is one line, `file:line: what is wrong; what to do instead`. A line may be excused by a comment on it or
//! on the line above: `// tidy: allow(<rule>): <why>`.

mod banned;
mod files;
mod imports;
mod lengths;
mod messages;
mod ratchet;
mod repository;
mod rings;

use crate::shell::{Outcome, root};
use files::Tree;

/// One broken rule.
pub struct Finding {
    /// `path:line` or `path`.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// Runs every check and prints every finding.
pub fn run(arguments: &[&str]) -> Outcome {
    let tree = Tree::read(&root())?;
    let measured = [lengths::measure(&tree), rings::measure(&tree)].concat();
    if arguments.contains(&"--shrink") {
        return ratchet::shrink(&root(), &measured);
    }
    let mut findings = imports::check(&tree);
    findings.extend(ratchet::check(&root(), &measured)?);
    findings.extend(banned::check(&tree));
    findings.extend(repository::check(&tree));
    findings.extend(messages::check(&tree));
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    for finding in &findings {
        eprintln!("{}: {}", finding.place, finding.message);
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("tidy: 1 finding".into()),
        n => Err(format!("tidy: {n} findings")),
    }
}
