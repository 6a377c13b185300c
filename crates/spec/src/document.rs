//! YAML text -> a small tree that knows where everything stands.
//!
//! Scalars stay the text that was written: `0123`, `1e5`, `yes`, `null` and `~` are not interpreted. The tree is built
//! from the parser's event stream with a stack of our own, so that no input can exhaust the call stack, and within
//! limits, so that none takes unbounded work.

use crate::finding::{Finding, Findings};
use crate::scalar::Style;
use dujiang_core::Code;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use std::ops::Range;

/// Deepest nesting of maps and lists.
pub(crate) const MAX_DEPTH: usize = 64;
/// Most keys, values and list items.
pub(crate) const MAX_NODES: usize = 100_000;
/// Most documents of one file: pipelines that run in one process.
pub(crate) const MAX_DOCUMENTS: usize = 100;

/// A value and the bytes it was written in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub value: Value,
    pub span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Text as written; quotes, escapes and line folding undone.
    Scalar {
        text: String,
        style: Style,
    },
    Map(Vec<Entry>),
    List(Vec<Node>),
    /// Something refused that has been reported already.
    Refused,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub value: Node,
}

impl Node {
    /// Nothing was written, or a plain `null` or `~`: an empty block.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, style: Style::Plain } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What it is, for messages.
    pub fn shape(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } => "a single value",
            Value::Map(_) => "a map",
            Value::List(_) => "a list",
            Value::Refused => "something else",
        }
    }
}

/// What became of a text.
#[derive(Default)]
pub(crate) struct Parsed {
    /// The trees of the documents, unless the text is not YAML; of several, those that hold nothing are left out.
    pub roots: Vec<Node>,
    /// Anchored values: their text may reach a secret option through an alias, so it is never shown.
    pub anchored: Vec<Range<usize>>,
}

/// Reads the YAML documents of a file.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Parsed {
    let mut builder = Builder {
        text,
        index: CharIndex::new(text),
        stack: Vec::new(),
        nodes: 0,
        documents: 0,
        parsed: Parsed::default(),
        findings,
    };
    let mut parser = Parser::new(StrInput::new(text));
    while let Some(event) = parser.next_event() {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => builder.syntax_error(&error),
        };
        if step.is_err() {
            builder.parsed.roots.clear();
            return builder.parsed;
        }
    }
    if builder.documents > 1 {
        builder.parsed.roots.retain(|root| !root.is_nothing());
    }
    if builder.parsed.roots.is_empty() {
        let message = "the pipeline file is empty";
        builder.findings.push(
            Finding::error(Code::FileUnreadable, message, dujiang_core::options::Place::Block(None))
                .help("a pipeline file has at least the blocks `source` and `sink`"),
        );
    }
    builder.parsed
}

/// Reading cannot go on; why has been reported.
struct Stop;

/// A map or list whose end has not come yet.
enum Open {
    Map { start: usize, entries: Vec<Entry>, key: Option<Node> },
    List { start: usize, items: Vec<Node> },
}

struct Builder<'a> {
    text: &'a str,
    index: CharIndex<'a>,
    stack: Vec<Open>,
    nodes: usize,
    documents: usize,
    parsed: Parsed,
    findings: &'a mut Findings,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let span = self.index.bytes(&span);
        match event {
            Event::DocumentStart(_) => self.document_start(&span),
            Event::Alias(_) => {
                let name = self.text[span.clone()].trim();
                let finding = Finding::at(Code::YamlSyntax, format!("the alias `{name}` is not supported"), &span);
                self.findings.push(finding.help("write the value out, or use a `${env:NAME}` reference"));
                self.value(Node { value: Value::Refused, span })
            }
            Event::Scalar(text, style, anchor, tag) => {
                let (span, refused) = self.properties(span, anchor, tag.is_some());
                let span = trim_scalar(self.text, span, style);
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::SingleQuoted,
                    ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let value = if refused { Value::Refused } else { Value::Scalar { text: text.into_owned(), style } };
                self.value(Node { value, span })
            }
            Event::MappingStart(anchor, tag) => {
                let (span, _) = self.properties(span, anchor, tag.is_some());
                self.open(Open::Map { start: span.start, entries: Vec::new(), key: None }, &span)
            }
            Event::SequenceStart(anchor, tag) => {
                let (span, _) = self.properties(span, anchor, tag.is_some());
                self.open(Open::List { start: span.start, items: Vec::new() }, &span)
            }
            Event::MappingEnd | Event::SequenceEnd => self.close(&span),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => Ok(()),
        }
    }

    fn document_start(&mut self, span: &Range<usize>) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents <= MAX_DOCUMENTS {
            return Ok(());
        }
        let message = format!("a pipeline file holds at most {MAX_DOCUMENTS} documents");
        self.stop(Finding::at(Code::YamlSyntax, message, span).help("keep further pipelines in files of their own"))
    }

    /// Refuses anchors and tags; yields the span without them and whether anything was refused.
    fn properties(&mut self, span: Range<usize>, anchor: usize, tagged: bool) -> (Range<usize>, bool) {
        if anchor == 0 && !tagged {
            return (span, false);
        }
        let written = &self.text[span.clone()];
        let word = written.split_whitespace().next().unwrap_or(written);
        let word_span = span.start..span.start + word.len();
        let what = if tagged { "tags are not supported" } else { "anchors and aliases are not supported" };
        let finding = Finding::at(Code::YamlSyntax, what, &word_span);
        self.findings.push(finding.help(if tagged {
            "leave the tag out: every value is read as text"
        } else {
            "write the value out where it is needed, or use a `${env:NAME}` reference"
        }));
        self.parsed.anchored.push(word_span.end..span.end);
        (span, true)
    }

    fn open(&mut self, open: Open, span: &Range<usize>) -> Result<(), Stop> {
        if self.stack.len() >= MAX_DEPTH {
            return self.stop(Finding::at(Code::YamlSyntax, format!("nests deeper than {MAX_DEPTH} levels"), span));
        }
        self.count(span)?;
        self.stack.push(open);
        Ok(())
    }

    fn close(&mut self, end: &Range<usize>) -> Result<(), Stop> {
        let node = match self.stack.pop() {
            Some(Open::Map { start, entries, .. }) => {
                let last = entries.last().map_or(start, |e| e.value.span.end.max(e.key_span.end));
                Node { span: start..block_end(end, last), value: Value::Map(entries) }
            }
            Some(Open::List { start, items }) => {
                let last = items.last().map_or(start, |i| i.span.end);
                Node { span: start..block_end(end, last), value: Value::List(items) }
            }
            None => return self.stop(Finding::at(Code::YamlSyntax, "a block ends that never began", end)),
        };
        self.attach(node)
    }

    fn value(&mut self, node: Node) -> Result<(), Stop> {
        self.count(&node.span)?;
        self.attach(node)
    }

    fn count(&mut self, span: &Range<usize>) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} keys and values");
            return self.stop(Finding::at(Code::YamlSyntax, message, span));
        }
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn attach(&mut self, node: Node) -> Result<(), Stop> {
        match self.stack.last_mut() {
            None => self.parsed.roots.push(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(Node { value: Value::Scalar { text, .. }, span }) if text != "<<" => {
                    entries.push(Entry { key: text, key_span: span, value: node });
                }
                Some(bad) => {
                    let merge = matches!(&bad.value, Value::Scalar { .. });
                    let message = if merge { "merge keys are not supported" } else { "a key must be a single word" };
                    if !matches!(bad.value, Value::Refused) {
                        self.findings.push(Finding::at(Code::YamlSyntax, message, &bad.span));
                    }
                }
            },
        }
        Ok(())
    }

    fn syntax_error(&mut self, error: &ScanError) -> Result<(), Stop> {
        let mut start = self.index.byte(error.marker().index());
        if error.info().contains("tabs") || error.info().contains("a tab") {
            // The parser points at the value before it.
            start += self.text[start..].find('\t').unwrap_or(0);
        }
        let end = self.text[start..].chars().next().map_or(start, |c| start + if c == '\n' { 0 } else { c.len_utf8() });
        let (message, help) = explain(error.info());
        let finding = Finding::at(Code::YamlSyntax, message, &(start..end));
        self.stop(match help {
            Some(help) => finding.help(help),
            None => finding,
        })
    }

    fn stop(&mut self, finding: Finding) -> Result<(), Stop> {
        self.findings.push(finding);
        Err(Stop)
    }
}

/// The parser's messages in a user's words.
fn explain(info: &str) -> (String, Option<&'static str>) {
    let known: &[(&str, &str, &str)] = &[
        ("tabs disallowed", "a tab stands in the indentation", "indent with spaces"),
        ("found a tab", "a tab stands in the indentation", "indent with spaces"),
        (
            "mapping values are not allowed",
            "a second `key:` stands where a value was expected",
            "check the indentation of this line and the one above; put a value that contains `: ` in quotes",
        ),
        (
            "did not find expected key",
            "this line fits no block above it",
            "keys of one block begin in the same column; a list item begins with `- `",
        ),
        (
            "did not find expected '-' indicator",
            "this line fits no block above it",
            "keys of one block begin in the same column; a list item begins with `- `",
        ),
        ("unexpected end of stream", "a quoted value is not closed", "add the closing quote"),
        (
            "invalid indentation in quoted scalar",
            "a quoted value is not closed on its line",
            "add the closing quote; further lines of a quoted value must be indented",
        ),
        ("did not find expected ',' or '}'", "a `{` is not closed", "add the missing `}` or `,`"),
        ("did not find expected ',' or ']'", "a `[` is not closed", "add the missing `]` or `,`"),
        (
            "did not find expected node content",
            "a value is missing here, or a bracket above is not closed",
            "close every `[` and `{`; put a value that begins with a bracket in quotes",
        ),
        ("unexpected character", "a value begins with a character that YAML reserves", "put the value in quotes"),
        ("anchor", "a value that begins with `*` or `&` must stand in quotes", "put the value in quotes"),
        ("recursion limit", "nests too deeply", "a pipeline file needs at most five levels"),
    ];
    match known.iter().find(|(part, ..)| info.contains(part)) {
        Some((_, message, help)) => ((*message).to_owned(), Some(help)),
        None => (format!("not valid YAML: {info}"), None),
    }
}

/// End of a map or list: its closing bracket, or its last value when it has none.
fn block_end(end: &Range<usize>, last: usize) -> usize {
    if end.is_empty() { last } else { end.end }
}

/// The scalar alone: the parser's span of a quoted scalar runs on over blanks and a comment.
fn trim_scalar(text: &str, span: Range<usize>, style: ScalarStyle) -> Range<usize> {
    let written = &text[span.clone()];
    let length = match style {
        ScalarStyle::SingleQuoted => quoted_length(written, '\''),
        ScalarStyle::DoubleQuoted => quoted_length(written, '"'),
        _ => None,
    };
    span.start..span.start + length.unwrap_or_else(|| written.trim_end().len())
}

/// Length of a quoted scalar with both quotes.
fn quoted_length(written: &str, quote: char) -> Option<usize> {
    let mut chars = written.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return Some(at + 1);
            }
        }
    }
    None
}

/// The parser counts characters; everything of ours counts bytes.
struct CharIndex<'a> {
    text: &'a str,
    /// Byte of every 128th character; empty when the text is ASCII.
    marks: Vec<usize>,
}

impl<'a> CharIndex<'a> {
    const STEP: usize = 128;

    fn new(text: &'a str) -> Self {
        let marks = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().step_by(Self::STEP).map(|(byte, _)| byte).collect()
        };
        Self { text, marks }
    }

    fn byte(&self, character: usize) -> usize {
        if self.marks.is_empty() {
            return character.min(self.text.len());
        }
        let Some(mark) = self.marks.get(character / Self::STEP) else { return self.text.len() };
        let rest = &self.text[*mark..];
        rest.char_indices().nth(character % Self::STEP).map_or(self.text.len(), |(byte, _)| mark + byte)
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }
}
