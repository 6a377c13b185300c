//! The tree -> the blocks `source`, `sink` and `pipeline`, each a flat list of options with references resolved, and the
//! lists `transform` and `route` of such blocks.

use crate::document::{Entry, Node, Value};
use crate::finding::{Finding, Findings};
use crate::references::{BadReference, Origin, Resolved, Resolver};
use crate::scalar::Style;
use crate::spanned::{SpannedText, Written};
use dujiang_core::Code;
use dujiang_core::options::{Place, RawOption, nearest};
use std::collections::BTreeMap;
use std::ops::Range;

/// Top-level keys of the dialect and of ours that this version reads.
pub(crate) const BLOCKS: &[&str] = &["source", "log", "sink", "pipeline"];

/// Top-level keys that hold a list of rules, or of sinks.
pub(crate) const LISTS: &[&str] = &["transform", "route", "sinks"];

/// Top-level keys that a later version reads, and what they hold.
pub(crate) const LATER_BLOCKS: &[(&str, &str)] =
    &[("alerts", "alerts"), ("dead-letter", "a dead-letter store of its own")];

/// Keys inside blocks that a later version reads.
const LATER_OPTIONS: &[(&str, &str, &str)] =
    &[("pipeline", "user-defined-function", "user functions"), ("pipeline", "model", "models in expressions")];

/// Options that may be written as a list of words.
pub(crate) const LIST_OPTIONS: &[(&str, &str)] = &[
    ("sink", "include.schema.changes"),
    ("sink", "exclude.schema.changes"),
    ("sinks", "include.schema.changes"),
    ("sinks", "exclude.schema.changes"),
];

/// One block as it stands in the file, later with overrides.
#[derive(Debug, Default)]
pub(crate) struct RawBlock {
    /// Where its key stands, if it is in the file.
    pub place: Option<Range<usize>>,
    /// Each key once.
    pub options: Vec<RawOption>,
    /// Keys whose value cannot be read, and why. They count as given, and an override mends them.
    pub unreadable: Vec<(String, Vec<Finding>)>,
    /// What values were made of: key, and variable or file.
    pub origins: Vec<(String, Origin)>,
    /// How the values of the file are written there.
    written: Vec<(String, Written)>,
}

impl RawBlock {
    /// The value of a key with the places of its parts.
    pub fn spanned(&self, key: &str) -> Option<SpannedText> {
        let option = self.get(key)?;
        let written = self.written.iter().find(|(of, _)| of == key).map(|(_, written)| written.clone());
        Some(SpannedText::new(option.value.clone(), option.value_place.clone(), written))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&RawOption> {
        self.options.iter().find(|option| option.key == key)
    }

    /// Removes a key that the block itself reads.
    pub fn take(&mut self, key: &str) -> Option<RawOption> {
        let at = self.options.iter().position(|option| option.key == key)?;
        Some(self.options.remove(at))
    }

    /// Sets a key from outside the file, over whatever it held.
    pub fn set(&mut self, key: &str, value: &str, place: &Place) {
        self.options.retain(|option| option.key != key);
        self.unreadable.retain(|(unreadable, _)| unreadable != key);
        self.origins.retain(|(of, _)| of != key);
        self.written.retain(|(of, _)| of != key);
        self.options.push(RawOption::new(key, value, place.clone()));
    }

    /// Reports the values that cannot be read, once nothing can replace them any more.
    pub fn report_unreadable(&mut self, findings: &mut Findings) {
        for (_, wrong) in &mut self.unreadable {
            wrong.drain(..).for_each(|finding| findings.push(finding));
        }
    }
}

/// The blocks of a file.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    pub source: RawBlock,
    pub log: RawBlock,
    pub sink: RawBlock,
    pub pipeline: RawBlock,
    /// The sinks of `sinks`, in order.
    pub sinks: Vec<RawBlock>,
    /// The rules of `transform`, in order.
    pub transform: Vec<RawBlock>,
    /// The rules of `route`, in order.
    pub route: Vec<RawBlock>,
    /// Blocks that an unknown key was probably meant to be.
    pub misspelt: Vec<&'static str>,
}

impl Blocks {
    pub fn get_mut(&mut self, name: &str) -> Option<&mut RawBlock> {
        match name {
            "source" => Some(&mut self.source),
            "log" => Some(&mut self.log),
            "sink" => Some(&mut self.sink),
            "pipeline" => Some(&mut self.pipeline),
            _ => None,
        }
    }

    pub fn list_mut(&mut self, name: &str) -> Option<&mut Vec<RawBlock>> {
        match name {
            "transform" => Some(&mut self.transform),
            "route" => Some(&mut self.route),
            "sinks" => Some(&mut self.sinks),
            _ => None,
        }
    }
}

/// The sentence for a part of the dialect that this version does not carry out.
pub(crate) fn later(subject: &str, what: &str, place: Place) -> Finding {
    let message = format!("`{subject}` is not supported yet: {what} come with a later version");
    let message = if what.ends_with('s') { message } else { message.replace(" come with", " comes with") };
    Finding::error(Code::NotSupported, message, place).help("remove it, and what uses it")
}

/// Reads the top level.
pub(crate) fn read(root: &Node, text: &str, resolver: &Resolver<'_>, findings: &mut Findings) -> Blocks {
    let mut blocks = Blocks::default();
    let Value::Map(entries) = &root.value else {
        if root.value != Value::Refused {
            let message = format!("a pipeline file is a map of blocks, but this is {}", root.shape());
            let help = "begin with `source:`, then its options indented below";
            findings.push(Finding::at(Code::WrongShape, message, &first_line(text, &root.span)).help(help));
        }
        return blocks;
    };
    let mut seen: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries {
        if let Some(first) = seen.insert(&entry.key, entry) {
            findings.push(duplicate(&entry.key, &entry.key_span, &first.key_span));
            seen.insert(&first.key, first);
        } else if let Some(block) = blocks.get_mut(&entry.key) {
            let mut reader = BlockReader { name: &entry.key, text, resolver, findings, seen: BTreeMap::new(), block };
            reader.read(entry);
        } else if let Some(list) = blocks.list_mut(&entry.key) {
            *list = read_list(entry, text, resolver, findings);
        } else {
            blocks.misspelt.extend(top_level_key(entry, findings));
        }
    }
    blocks
}

/// Reads a list of maps.
fn read_list(entry: &Entry, text: &str, resolver: &Resolver<'_>, findings: &mut Findings) -> Vec<RawBlock> {
    let name = &entry.key;
    let items = match &entry.value.value {
        Value::List(items) => items,
        Value::Refused => return Vec::new(),
        _ if entry.value.is_nothing() => return Vec::new(),
        other => {
            let shape = if matches!(other, Value::Map(_)) { "OBJECT" } else { "STRING" };
            // The wording is the dialect's: scripts look for it.
            let message = format!(
                "YAML {name} block is expecting an array children, but got an {shape}. Perhaps you missed a dash prefix `-`?"
            );
            let finding = Finding::at(Code::WrongShape, message, &first_line(text, &entry.value.span));
            findings.push(finding.help(format!("begin every {} below `{name}:` with `- `", item_of(name))));
            return Vec::new();
        }
    };
    let mut rules = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let span = first_line(text, &item.span);
        let mut block = RawBlock { place: Some(span.clone()), ..RawBlock::default() };
        match &item.value {
            Value::Map(entries) => {
                let (seen, block) = (BTreeMap::new(), &mut block);
                BlockReader { name, text, resolver, findings, seen, block }.entries(entries, "");
            }
            Value::Refused => {}
            _ => {
                let message = format!("`{name}[{index}]` must be a map of options, but it is {}", item.shape());
                findings.push(
                    Finding::at(Code::WrongShape, message, &span).help(format!("write `- {}: ...`", first_key(name))),
                );
                continue;
            }
        }
        rules.push(block);
    }
    rules
}

fn item_of(list: &str) -> &'static str {
    if list == "sinks" { "sink" } else { "rule" }
}

fn first_key(list: &str) -> &'static str {
    if list == "sinks" { "name" } else { "source-table" }
}

/// Reports a key that is no block; yields the block it was probably meant to be.
fn top_level_key(entry: &Entry, findings: &mut Findings) -> Option<&'static str> {
    if let Some((name, what)) = LATER_BLOCKS.iter().find(|(name, _)| *name == entry.key) {
        let empty = entry.value.is_nothing() || matches!(&entry.value.value, Value::List(items) if items.is_empty());
        if !empty {
            findings.push(later(name, what, Place::File(entry.key_span.clone())));
        }
        return None;
    }
    let known = ["source", "sink", "route", "transform", "pipeline", "log", "sinks"];
    // The wording is the dialect's: scripts look for it.
    let message = format!("Unexpected key `{}` in YAML top-level block.", entry.key);
    let finding = Finding::at(Code::UnknownKey, message, &entry.key_span)
        .note(format!("allowed keys in this context are: [{}]", known.join(", ")));
    let near = nearest(&entry.key, known.into_iter().chain(LATER_BLOCKS.iter().map(|(name, _)| *name)));
    findings.push(match near {
        Some(name) => finding.help(format!("did you mean `{name}`?")),
        None => finding.help("options belong inside a block, indented below its key"),
    });
    near
}

fn duplicate(key: &str, second: &Range<usize>, first: &Range<usize>) -> Finding {
    Finding::at(Code::DuplicateKey, format!("`{key}` is given twice"), second)
        .label("given again here")
        .related(first, "first given here")
        .help("remove one of the two")
}

/// The part of a span that lies on its first line.
fn first_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let length = text[span.clone()].lines().next().map_or(0, str::len);
    span.start..span.start + length
}

struct BlockReader<'a> {
    name: &'a str,
    text: &'a str,
    resolver: &'a Resolver<'a>,
    findings: &'a mut Findings,
    /// Flattened key -> where it was first given.
    seen: BTreeMap<String, Range<usize>>,
    block: &'a mut RawBlock,
}

impl BlockReader<'_> {
    fn read(&mut self, entry: &Entry) {
        self.block.place = Some(entry.key_span.clone());
        match &entry.value.value {
            Value::Map(entries) => self.entries(entries, ""),
            Value::Refused => {}
            _ if entry.value.is_nothing() => {}
            _ => {
                let message = format!("`{}` must be a map of options, but it is {}", self.name, entry.value.shape());
                let help = format!("write the options below `{}:`, indented: `key: value`", self.name);
                let span = first_line(self.text, &entry.value.span);
                self.findings.push(Finding::at(Code::WrongShape, message, &span).help(help));
            }
        }
    }

    /// Nested maps become keys with dots. The depth is that of the document, hence bounded.
    fn entries(&mut self, entries: &[Entry], prefix: &str) {
        for entry in entries {
            let key = format!("{prefix}{}", entry.key);
            if let Some((block, _, what)) = LATER_OPTIONS.iter().find(|(b, k, _)| *b == self.name && *k == key) {
                self.findings.push(later(&format!("{block}.{key}"), what, Place::File(entry.key_span.clone())));
                continue;
            }
            if let Value::Map(nested) = &entry.value.value {
                self.entries(nested, &format!("{key}."));
            } else if let Some(first) = self.seen.get(&key) {
                self.findings.push(duplicate(&key, &entry.key_span, first));
            } else {
                self.seen.insert(key.clone(), entry.key_span.clone());
                self.option(key, entry);
            }
        }
    }

    fn option(&mut self, key: String, entry: &Entry) {
        let span = first_line(self.text, &entry.value.span);
        let wrong = match &entry.value.value {
            Value::Scalar { text, style: Style::Plain } if text.is_empty() => {
                let finding = Finding::at(Code::BadValue, format!("`{key}` has no value"), &entry.key_span);
                vec![finding.help("write the value after the colon, or `\"\"` for an empty text")]
            }
            Value::Scalar { text, style } => match self.resolver.resolve(text) {
                Ok(Resolved { text: resolved, origins, pieces }) => {
                    let written =
                        Written { span: entry.value.span.clone(), style: *style, value: text.clone(), pieces };
                    self.block.written.push((key.clone(), written));
                    self.push(key, resolved, origins, entry);
                    return;
                }
                Err(bad) => {
                    bad.into_iter().map(|reference| self.bad_reference(reference, text, &entry.value)).collect()
                }
            },
            Value::List(items) if LIST_OPTIONS.contains(&(self.name, key.as_str())) => match self.joined(&key, items) {
                Ok((text, origins)) => {
                    self.push(key, text, origins, entry);
                    return;
                }
                Err(wrong) => wrong,
            },
            Value::List(_) => {
                let message = format!("`{key}` must be a single value, but it is a list");
                vec![Finding::at(Code::WrongShape, message, &span).help("join the items with commas")]
            }
            Value::Map(_) | Value::Refused => Vec::new(),
        };
        self.block.unreadable.push((key, wrong));
    }

    fn push(&mut self, key: String, value: String, origins: Vec<Origin>, entry: &Entry) {
        self.block.origins.extend(origins.into_iter().map(|origin| (key.clone(), origin)));
        let value_place = Place::File(first_line(self.text, &entry.value.span));
        self.block.options.push(RawOption { key, value, key_place: Place::File(entry.key_span.clone()), value_place });
    }

    /// A list of words as the text that the option takes: separated by commas.
    fn joined(&self, key: &str, items: &[Node]) -> Result<(String, Vec<Origin>), Vec<Finding>> {
        let (mut words, mut origins, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match &item.value {
                Value::Scalar { text, .. } => match self.resolver.resolve(text) {
                    Ok(resolved) => {
                        words.push(resolved.text);
                        origins.extend(resolved.origins);
                    }
                    Err(bad) => {
                        wrong.extend(bad.into_iter().map(|reference| self.bad_reference(reference, text, item)))
                    }
                },
                Value::Refused => {}
                _ => {
                    let message = format!("an item of `{key}` must be a single word, but it is {}", item.shape());
                    wrong.push(Finding::at(Code::WrongShape, message, &first_line(self.text, &item.span)));
                }
            }
        }
        if wrong.is_empty() { Ok((words.join(","), origins)) } else { Err(wrong) }
    }

    fn bad_reference(&self, reference: BadReference, text: &str, value: &Node) -> Finding {
        let span = self.place_of(&text[reference.span], &value.span);
        Finding::at(Code::BadReference, reference.message, &span).help(reference.help)
    }

    /// Where a reference stands in the file: quotes and folding move it, so it is looked up as written.
    fn place_of(&self, reference: &str, value: &Range<usize>) -> Range<usize> {
        match self.text[value.clone()].find(reference) {
            Some(at) => value.start + at..value.start + at + reference.len(),
            None => first_line(self.text, value),
        }
    }
}
