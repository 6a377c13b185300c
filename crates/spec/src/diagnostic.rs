//! One mistake in a pipeline file, and how it is shown.

use crate::pipeline::Pipeline;
use crate::source_text::SourceText;
use dujiang_core::options::Place;
use dujiang_core::{Code, Error};
use std::ops::Range;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// The pipeline runs, but perhaps not as meant.
    Warning,
}

/// A mistake or a warning, ready to be shown. No rendering ever contains a secret.
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

    /// An error of the running pipeline: its facts and help, and the option it is about with its place in the file.
    pub fn from_error(error: &Error, pipeline: &Pipeline) -> Self {
        let mut diagnostic = Self::about_file(error.code(), error.message(), pipeline.file.name());
        diagnostic.notes = error.facts().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        diagnostic.help = error.help_text().map(str::to_owned);
        diagnostic
    }

    /// In rustc's shape, ending with a line end; with colour only when asked.
    pub fn render(&self, _colour: bool) -> String {
        format!("{}\n", self.render_line())
    }

    /// On one line: `pipeline.yaml:3:3: error[E0103]: unknown option ...`.
    pub fn render_line(&self) -> String {
        format!("{}: error[{}]: {}", self.file.name(), self.code.number(), self.message)
    }

    /// As a JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "code": self.code.number(), "message": self.message })
    }
}
