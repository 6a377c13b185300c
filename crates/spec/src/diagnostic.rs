//! One mistake in a pipeline file, and how it is shown.

use crate::pipeline::{Block, Pipeline};
use crate::render;
use crate::secrets;
use crate::source_text::SourceText;
use dujiang_core::options::Place;
use dujiang_core::{Code, Error};
use serde_json::{Value, json};
use std::ops::Range;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// The pipeline runs, but perhaps not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A mistake or a warning, ready to be shown. No rendering ever contains a secret of the file.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// The code; a warning carries the code that fits its subject.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What is at the place, in a few words beside the caret.
    pub label: Option<String>,
    /// Other places of the file that belong to it.
    pub related: Vec<(Range<usize>, String)>,
    /// Facts.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
    /// The file it is about.
    pub file: SourceText,
}

/// The option that is most likely to blame for an error of the running pipeline that does not name one.
const LIKELY_OPTIONS: &[(Code, &str, &[&str])] = &[
    (Code::SourceUnreachable, "source", &["hostname"]),
    (Code::NotADatabase, "source", &["port", "hostname"]),
    (Code::LoginRefused, "source", &["password", "username"]),
    (Code::MissingPrivilege, "source", &["username"]),
    (Code::UnknownDatabase, "source", &["tables"]),
    (Code::NoTable, "source", &["tables"]),
    (Code::NoKey, "source", &["tables"]),
    (Code::CascadingKey, "source", &["tables"]),
    (Code::ServerIdTaken, "source", &["server-id"]),
    (Code::StartNotPossible, "source", &["scan.startup.mode"]),
    (Code::SinkNotWritable, "sink", &["path"]),
    (Code::SinkFull, "sink", &["path"]),
    (Code::SinkTaken, "sink", &["path"]),
];

impl Diagnostic {
    /// A mistake about a file as a whole, for instance one that cannot be opened.
    pub fn about_file(code: Code, message: impl Into<String>, name: &str) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            place: Place::Block(None),
            label: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: None,
            file: SourceText::new(name, ""),
        }
    }

    /// An error of the running pipeline, with the snippet of the option it is about.
    ///
    /// The option is the one named by the fact `("option", "source.password")`, or the likely one for the error's code.
    pub fn from_error(error: &Error, pipeline: &Pipeline) -> Self {
        let mut diagnostic = Self::about_file(error.code(), error.message(), pipeline.file.name());
        diagnostic.file = pipeline.file.clone();
        let facts = error.facts().iter().filter(|(name, _)| *name != "option");
        diagnostic.notes = facts.map(|(name, value)| format!("{name}: {value}")).collect();
        let mut cause = std::error::Error::source(error);
        while let Some(below) = cause {
            diagnostic.notes.push(format!("cause: {below}"));
            cause = below.source();
        }
        diagnostic.help = error.help_text().map(str::to_owned);
        diagnostic.point_at_option(error, pipeline);
        for text in diagnostic.notes.iter_mut().chain([&mut diagnostic.message]).chain(&mut diagnostic.help) {
            secrets::scrub(text, &pipeline.secrets);
        }
        diagnostic
    }

    fn point_at_option(&mut self, error: &Error, pipeline: &Pipeline) {
        let named = error.facts().iter().find(|(name, _)| *name == "option").map(|(_, path)| path.as_str());
        let (block_name, keys) = match named {
            Some(path) => match path.split_once('.') {
                Some((block, key)) => (block, vec![key]),
                None => ("source", vec![path]),
            },
            None => match LIKELY_OPTIONS.iter().find(|(code, ..)| *code == error.code()) {
                Some((_, block, keys)) => (*block, keys.to_vec()),
                None => return,
            },
        };
        let block = match block_name {
            "source" => &pipeline.source,
            "sink" => &pipeline.sink,
            "pipeline" => {
                self.place = pipeline.settings.place(keys.first().unwrap_or(&""));
                return;
            }
            _ => return,
        };
        match keys.iter().find_map(|key| block.option(key)) {
            Some(option) => {
                self.place = option.value_place.clone();
                self.notes.extend(provenance(block, &option.key, option.value.is_empty()));
            }
            None => self.place = block.place.clone(),
        }
    }

    /// The bytes of the file it points at.
    pub fn span(&self) -> Option<&Range<usize>> {
        match &self.place {
            Place::File(span) | Place::Block(Some(span)) => Some(span),
            Place::Environment(_) | Place::CommandLine | Place::Block(None) => None,
        }
    }

    /// In rustc's shape, ending with a line end; with colour only when asked.
    pub fn render(&self, colour: bool) -> String {
        render::render(self, colour)
    }

    /// On one line: `pipeline.yaml:3:3: error[E0103]: unknown option ...; did you mean ...`.
    pub fn render_line(&self) -> String {
        let place = match self.span() {
            Some(span) => {
                let (line, column) = self.file.line_column(span.start);
                format!("{}:{line}:{column}", self.file.name())
            }
            None => render::elsewhere(self),
        };
        let help = self.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
        let text = format!("{place}: {}[{}]: {}{help}", self.severity.word(), self.code.number(), self.message);
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// As a JSON object; lines and columns count from 1, columns in characters, `bytes` from 0.
    pub fn to_json(&self) -> Value {
        let span = |span: &Range<usize>| {
            let (start, end) = (self.file.line_column(span.start), self.file.line_column(span.end));
            json!({
                "start": { "line": start.0, "col": start.1 },
                "end": { "line": end.0, "col": end.1 },
                "bytes": [span.start, span.end],
            })
        };
        let related: Vec<_> =
            self.related.iter().map(|(at, label)| json!({ "message": label, "span": span(at) })).collect();
        json!({
            "code": self.code.number(),
            "severity": self.severity.word(),
            "message": self.message,
            "file": self.file.name(),
            "origin": match &self.place {
                Place::Environment(name) => json!({ "environment": name }),
                Place::CommandLine => json!("command line"),
                Place::File(_) | Place::Block(_) => json!("file"),
            },
            "span": self.span().map(span),
            "related": related,
            "notes": self.notes,
            "help": self.help,
        })
    }
}

/// Where a value came from that the snippet does not show.
fn provenance<'a>(block: &'a Block, key: &'a str, empty: bool) -> impl Iterator<Item = String> + 'a {
    let origins = block.origins.iter().filter(move |(of, _)| of == key);
    let state = if empty { ", which is empty" } else { "" };
    origins.map(move |(_, origin)| format!("the value comes from {origin}{state}"))
}
