//! What of a pipeline file must never be shown, even in the snippet of an unrelated mistake.
//!
//! A snippet shows whole lines, and a mistake can stand beside a password, in the wrong block, under a misspelt key or
//! in a text that is not even YAML. So masking does not ask which option a value ended up in: it goes by names, and
//! rather hides too much.

use crate::blocks::BLOCKS;
use crate::document::{Entry, Node, Value};
use crate::pipeline::PipelineSettings;
use crate::registry::Registry;
use dujiang_core::Secret;
use dujiang_core::options::{OptionDef, OptionType, nearest};
use std::cell::Cell;
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

/// Names compared with those of secrets before the rest of the file is hidden unseen: comparing costs microseconds, and
/// a file of 16 MiB can hold millions of names.
const MAX_COMPARISONS: usize = 200_000;

/// Shorter and longer words are no names of secrets.
const MIN_NAME_BYTES: usize = 3;
const MAX_NAME_BYTES: usize = 128;

/// Knows which names hold secrets.
pub(crate) struct SecretNames {
    names: BTreeSet<&'static str>,
    /// Names that certainly hold none.
    harmless: BTreeSet<&'static str>,
    /// Names that may still be compared letter by letter; afterwards every name counts as a secret's.
    comparisons: Cell<usize>,
}

impl SecretNames {
    pub fn new(registry: &dyn Registry) -> Self {
        let sources = registry.sources().iter().flat_map(|spec| spec.options);
        let sinks = registry.sinks().iter().flat_map(|spec| spec.options);
        let logs = registry.logs().iter().flat_map(|spec| spec.options);
        let (secret, harmless): (Vec<&OptionDef>, Vec<&OptionDef>) = sources
            .chain(sinks)
            .chain(logs)
            .chain(PipelineSettings::DEFS)
            .partition(|def| def.kind == OptionType::Secret);
        let harmless = harmless.into_iter().map(|def| def.name);
        Self {
            names: secret.into_iter().map(|def| def.name).collect(),
            harmless: harmless.chain(BLOCKS.iter().copied()).chain(["type"]).collect(),
            comparisons: Cell::new(MAX_COMPARISONS),
        }
    }

    /// Whether a key's value is a secret: by name, by word, or because the key is a misspelt secret.
    pub fn contains(&self, key: &str) -> bool {
        if key.is_empty() {
            // A value that lost its key may be anything.
            return true;
        }
        let lower = key.to_ascii_lowercase();
        SECRET_WORDS.iter().any(|word| lower.contains(word))
            || self.names.iter().any(|name| lower == *name || name.ends_with('.') && lower.starts_with(name))
            || self.resembles(&lower)
    }

    fn resembles(&self, key: &str) -> bool {
        if self.harmless.contains(key) {
            return false;
        }
        let near_length = |name: &&str| name.len().abs_diff(key.len()) <= (name.len() / 3).max(1);
        let mut near = self.names.iter().copied().chain(["password"]).filter(near_length).peekable();
        if near.peek().is_none() {
            return false;
        }
        let left = self.comparisons.get();
        self.comparisons.set(left.saturating_sub(1));
        left == 0 || nearest(key, near).is_some()
    }
}

/// Whether the option of that name takes a secret. A definition of its own counts more than the prefix it falls under.
pub(crate) fn is_secret_option(defs: &[OptionDef], key: &str) -> bool {
    let own = defs.iter().find(|def| def.name == key);
    let under = || defs.iter().find(|def| def.name.ends_with('.') && key.starts_with(def.name));
    own.or_else(under).is_some_and(|def| def.kind == OptionType::Secret)
}

/// Whether a text holds the password of a `scheme://user:password@host`.
pub(crate) fn holds_url_password(text: &str) -> bool {
    let mut spans = Vec::new();
    url_passwords(text, &mut spans);
    !spans.is_empty()
}

/// The passwords in the URLs of a value.
pub(crate) fn in_urls(text: &str) -> Vec<Secret> {
    let mut spans = Vec::new();
    url_passwords(text, &mut spans);
    spans.into_iter().map(|span| Secret::new(text[span].to_owned())).collect()
}

/// Shortest text that [`scrub`] looks for. Shorter secrets are likely to be ordinary words, and hiding those wherever
/// they occur would say more than it hides.
const SCRUBBED_BYTES: usize = 8;

/// Takes secrets out of a text that somebody else wrote: a driver, a server.
pub(crate) fn scrub(text: &mut String, secrets: &[Secret]) {
    for secret in secrets.iter().map(|secret| secret.reveal().trim()) {
        for part in std::iter::once(secret).chain(secret.lines().map(str::trim)) {
            if part.len() >= SCRUBBED_BYTES && text.contains(part) {
                *text = text.replace(part, "***");
            }
        }
    }
}

/// Bytes of the text to hide, ascending and without overlap.
///
/// `roots` are the trees of its documents if the text is YAML; `anchored` are values of refused anchors.
pub(crate) fn secret_spans(
    text: &str,
    roots: &[Node],
    anchored: &[Range<usize>],
    names: &SecretNames,
) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = anchored.to_vec();
    let mut keys = BTreeSet::new();
    for root in roots {
        walk(root, names, text, &mut keys, &mut spans);
    }
    url_passwords(text, &mut spans);
    lines_that_look_secret(text, names, &keys, roots.is_empty(), &mut spans);
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
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        // A password may hold a slash; then the last `@` of the line tells where it ends.
        let last_at = line.rfind('@');
        for (scheme, _) in line.match_indices("://").filter(|(at, _)| last_at.is_some_and(|last| *at < last)) {
            let start = scheme + 3;
            let authority = &line[start..];
            let end =
                authority.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(authority.len());
            let host = authority[..end].rfind('@').map(|at| start + at).or(last_at).unwrap_or(start);
            if let Some(colon) = line.get(start..host).and_then(|user| user.find(':')) {
                spans.push(line_start + start + colon + 1..line_start + host);
            }
        }
        line_start += line.len();
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
    // Without a tree nobody knows where a secret ends: it lasts until a key that certainly holds none.
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let anchored = if broken { after_anchor(content) } else { None };
        let from = match anchored.or_else(|| secret_in_line(content, line_start, names, keys)) {
            Some(value) => {
                inside = broken;
                Some(value)
            }
            None if broken && names_a_secret(content, names) => {
                inside = true;
                None
            }
            None => {
                inside &= !begins_harmless(content, names);
                inside.then_some(content.len() - content.trim_start().len())
            }
        };
        spans.extend(from.map(|from| line_start + from..line_start + content.len()));
        line_start += line.len();
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The name that ends at a `:` or `=`, and where it begins.
fn name_before(line: &str, at: usize) -> (usize, &str) {
    let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
    let start = before.trim_end_matches(is_name).len();
    (start, &before[start..])
}

/// Where in a line the first secret begins that is no value of the tree.
fn secret_in_line(line: &str, line_start: usize, names: &SecretNames, keys: &BTreeSet<usize>) -> Option<usize> {
    for (at, _) in line.match_indices([':', '=']) {
        let (start, name) = name_before(line, at);
        let in_tree = [start, start.saturating_sub(1)].iter().any(|start| keys.contains(&(line_start + start)));
        if in_tree || name.len() < MIN_NAME_BYTES || name.len() > MAX_NAME_BYTES || !names.contains(name) {
            continue;
        }
        let value = &line[at + 1..];
        if !is_reference(value) {
            return Some(at + 1 + (value.len() - value.trim_start().len()));
        }
    }
    None
}

/// Where the value of an anchor begins: an alias may make it a secret elsewhere.
fn after_anchor(line: &str) -> Option<usize> {
    let begins_word = |at: usize| !line[..at].ends_with(|c: char| !c.is_whitespace() && !"{[,:-".contains(c));
    let at = line.match_indices('&').map(|(at, _)| at).find(|at| begins_word(*at))?;
    let word = line[at..].find(char::is_whitespace).unwrap_or(line.len() - at);
    Some(at + word)
}

/// Whether a line without a value to hide mentions a secret's name: alone, or behind a `?`, which gives a key a line of its
/// own.
fn names_a_secret(line: &str, names: &SecretNames) -> bool {
    line.split('?').map(|part| part.trim_matches(|c| !is_name(c))).any(|word| {
        !word.is_empty() && word.len() <= MAX_NAME_BYTES && word.chars().all(is_name) && names.contains(word)
    })
}

/// Whether a line begins with a key that certainly holds no secret.
fn begins_harmless(line: &str, names: &SecretNames) -> bool {
    let Some(at) = line.find(':') else { return false };
    let (start, name) = name_before(line, at);
    names.harmless.contains(name) && !line[..start].contains(is_name)
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
