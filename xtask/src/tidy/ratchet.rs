//! The list of what is still too large. It may only shrink.

use super::Finding;
use crate::shell::Outcome;
use std::path::Path;

const LIST: &str = "xtask/ratchet.txt";
const HEAD: &str = "# What is still over the limits of `cargo xtask tidy`: rule, name, size. This list may only shrink;\n\
                    # `cargo xtask tidy --shrink` writes today's smaller figures.\n";

/// Something over its limit.
#[derive(Clone)]
pub struct Measured {
    /// `fn`, `file` or `ring`.
    pub rule: &'static str,
    /// Which one; stays the same when lines move.
    pub name: String,
    /// Its size.
    pub size: usize,
    /// For the message.
    pub place: String,
    /// For the message.
    pub advice: String,
}

struct Listed {
    rule: String,
    name: String,
    size: usize,
    line: usize,
}

/// What is larger than allowed, and what the list allows without need.
pub fn check(root: &Path, measured: &[Measured]) -> Outcome<Vec<Finding>> {
    let listed = read(root)?;
    let mut findings = Vec::new();
    for item in measured {
        let allowed = listed.iter().find(|l| l.rule == item.rule && l.name == item.name).map_or(0, |l| l.size);
        if item.size > allowed {
            findings.push(Finding::new(&item.place, &item.advice));
        }
    }
    for entry in &listed {
        let now = measured.iter().find(|m| m.rule == entry.rule && m.name == entry.name).map_or(0, |m| m.size);
        if now < entry.size {
            let message = format!("`{}` is smaller now ({now}); run `cargo xtask tidy --shrink`", entry.name);
            findings.push(Finding::new(format!("{LIST}:{}", entry.line), message));
        }
    }
    Ok(findings)
}

/// Writes the list again with what is listed and still too large, at its present size.
pub fn shrink(root: &Path, measured: &[Measured]) -> Outcome {
    let mut text = HEAD.to_owned();
    for entry in read(root)? {
        if let Some(item) = measured.iter().find(|m| m.rule == entry.rule && m.name == entry.name) {
            text.push_str(&format!("{} {} {}\n", entry.rule, entry.name, item.size.min(entry.size)));
        }
    }
    std::fs::write(root.join(LIST), text).map_err(|e| format!("{LIST}: {e}"))
}

fn read(root: &Path) -> Outcome<Vec<Listed>> {
    let text = std::fs::read_to_string(root.join(LIST)).map_err(|e| format!("{LIST}: {e}"))?;
    let mut listed = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty()) {
        let mut words = line.split(' ');
        let (rule, name, size) = (words.next(), words.next(), words.next().and_then(|s| s.parse().ok()));
        let (Some(rule), Some(name), Some(size)) = (rule, name, size) else {
            return Err(format!("{LIST}:{}: expected `<rule> <name> <size>`", index + 1));
        };
        listed.push(Listed { rule: rule.to_owned(), name: name.to_owned(), size, line: index + 1 });
    }
    Ok(listed)
}
