//! One mistake in a pipeline file.

use crate::source_text::SourceText;
use dujiang_core::Code;
use dujiang_core::options::Place;
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

    /// The bytes of the file it points at.
    pub fn span(&self) -> Option<&Range<usize>> {
        match &self.place {
            Place::File(span) | Place::Block(Some(span)) => Some(span),
            Place::Environment(_) | Place::CommandLine | Place::Block(None) => None,
        }
    }
}
