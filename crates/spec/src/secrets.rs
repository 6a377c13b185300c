//! What of a pipeline file must never be shown, even in the snippet of an unrelated mistake.
//!
//! A snippet shows whole lines, and a mistake can stand beside a password, in the wrong block, under a misspelt key or
//! in a text that is not even YAML. So masking does not ask which option a value ended up in: it goes by names, and
//! rather hides too much.

use crate::document::{Entry, Node, Value};
use crate::registry::Registry;
use dujiang_core::Secret;
use dujiang_core::options::{OptionDef, OptionType, nearest};
use std::collections::BTreeSet;
use std::ops::Range;

/// Words that make a key's value a secret, wherever it stands.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "private-key",
    "private_key",
    "private.key",
    "access-key",
    "access_key",
    "access.key",
    "accesskey",
    "api-key",
    "api_key",
    "apikey",
    "sasl.jaas",
];

/// Knows which names hold secrets.
pub(crate) struct SecretNames {
    names: BTreeSet<&'static str>,
}

impl SecretNames {
    pub fn new(registry: &dyn Registry) -> Self {
        let sources = registry.sources().iter().flat_map(|spec| spec.options);
        let sinks = registry.sinks().iter().flat_map(|spec| spec.options);
        let names = sources.chain(sinks).filter(|def| def.kind == OptionType::Secret).map(|def| def.name).collect();
        Self { names }
    }

    /// Whether a key's value is a secret: by name, by word, or because the key is a misspelt secret.
    pub fn contains(&self, key: &str) -> bool {
        let lower = key.to_ascii_lowercase();
        SECRET_WORDS.iter().any(|word| lower.contains(word))
            || self.names.iter().any(|name| lower == *name || name.ends_with('.') && lower.starts_with(name))
            || nearest(&lower, self.names.iter().copied().chain(["password"])).is_some()
    }
}

/// Whether the option of that name takes a secret.
pub(crate) fn is_secret_option(defs: &[OptionDef], key: &str) -> bool {
    defs.iter().any(|def| {
        def.kind == OptionType::Secret && (def.name == key || def.name.ends_with('.') && key.starts_with(def.name))
    })
}

/// Takes secrets out of a text that somebody else wrote. Short ones stay: they are likely to be ordinary words, and
/// hiding those would say more than it hides.
pub(crate) fn scrub(text: &mut String, secrets: &[Secret]) {
    for secret in secrets.iter().map(Secret::reveal).filter(|secret| secret.len() >= 8) {
        if text.contains(secret) {
            *text = text.replace(secret, "***");
        }
    }
}

/// Bytes of the text to hide, ascending and without overlap.
///
/// `root` is the tree if the text is YAML; `anchored` are values of refused anchors.
pub(crate) fn secret_spans(
    text: &str,
    root: Option<&Node>,
    anchored: &[Range<usize>],
    names: &SecretNames,
) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = anchored.to_vec();
    let mut keys = BTreeSet::new();
    if let Some(root) = root {
        walk(root, names, text, &mut keys, &mut spans);
    }
    url_passwords(text, &mut spans);
    lines_that_look_secret(text, names, &keys, root.is_none(), &mut spans);
    merge(spans)
}

/// Collects the values under secret keys, and where all keys stand.
fn walk(node: &Node, names: &SecretNames, text: &str, keys: &mut BTreeSet<usize>, spans: &mut Vec<Range<usize>>) {
    let mut pending: Vec<(&Node, String)> = vec![(node, String::new())];
    while let Some((node, path)) = pending.pop() {
        match &node.value {
            Value::Map(entries) => {
                for Entry { key, key_span, value } in entries {
                    keys.insert(key_span.start);
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    if names.contains(key) || names.contains(within_block(&path)) {
                        if !is_reference(&text[value.span.clone()]) {
                            spans.push(value.span.clone());
                        }
                    } else {
                        pending.push((value, path));
                    }
                }
            }
            Value::List(items) => pending.extend(items.iter().map(|item| (item, path.clone()))),
            Value::Scalar { .. } | Value::Refused => {}
        }
    }
}

fn within_block(path: &str) -> &str {
    path.split_once('.').map_or(path, |(_, rest)| rest)
}

/// Exactly one reference that carries no value of its own: safe, and useful, to show.
fn is_reference(written: &str) -> bool {
    let bare = written.trim().trim_matches(['"', '\'']);
    let Some(body) = bare.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else { return false };
    let (Some(name), None) = (body.strip_prefix("env:").or_else(|| body.strip_prefix("file:")), body.find(['$', '}']))
    else {
        return false;
    };
    !name.contains(":-") && !name.contains(":?")
}

/// The password of every `scheme://user:password@host`.
fn url_passwords(text: &str, spans: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let rest = &text[start..];
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(rest.len());
        let line_end = rest.find('\n').unwrap_or(rest.len());
        // A password may hold a slash; then the last `@` of the line tells where it ends.
        let Some(host) = rest[..end].rfind('@').or_else(|| rest[..line_end].rfind('@')) else { continue };
        if let Some(colon) = rest[..host].find(':') {
            spans.push(start + colon + 1..start + host);
        }
    }
}

/// `password: x`, `password=x` and the like outside the tree: in comments, inside values, in text that is not YAML.
fn lines_that_look_secret(
    text: &str,
    names: &SecretNames,
    keys: &BTreeSet<usize>,
    broken: bool,
    spans: &mut Vec<Range<usize>>,
) {
    let mut line_start = 0;
    let mut hidden_deeper_than: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let indent = content.len() - content.trim_start().len();
        if hidden_deeper_than.is_some_and(|outer| indent > outer && !content.is_empty()) {
            spans.push(line_start + indent..line_start + content.len());
        } else if !content.is_empty() {
            hidden_deeper_than = None;
            if let Some(value) = secret_in_line(content, line_start, names, keys) {
                spans.push(line_start + value..line_start + content.len());
                hidden_deeper_than = broken.then_some(indent);
            }
        }
        line_start += line.len();
    }
}

/// Where in a line the first secret begins that is no value of the tree.
fn secret_in_line(line: &str, line_start: usize, names: &SecretNames, keys: &BTreeSet<usize>) -> Option<usize> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    for (at, _) in line.match_indices([':', '=']) {
        let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let name_start =
            before.rfind(|c| !is_name(c)).map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
        let name = &before[name_start..];
        let quoted_start = name_start.saturating_sub(1);
        let in_tree = keys.contains(&(line_start + name_start)) || keys.contains(&(line_start + quoted_start));
        if name.is_empty() || in_tree || name.len() > 128 || !names.contains(name) {
            continue;
        }
        let value = &line[at + 1..];
        if !is_reference(value) {
            return Some(at + 1 + (value.len() - value.trim_start().len()));
        }
    }
    None
}

fn merge(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.retain(|span| !span.is_empty());
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}
