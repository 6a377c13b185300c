//! Mistakes as they are collected, before they know which file they are about.

use crate::diagnostic::{Diagnostic, Severity};
use crate::source_text::SourceText;
use dujiang_core::Code;
use dujiang_core::options::{Place, Problem};
use std::ops::Range;

/// Findings reported for one file; more would help nobody and cost unbounded work to render.
const MAX_FINDINGS: usize = 200;

/// A [`Diagnostic`] without its file.
#[derive(Debug)]
pub(crate) struct Finding {
    pub code: Code,
    pub severity: Severity,
    pub message: String,
    pub place: Place,
    pub label: Option<String>,
    pub related: Vec<(Range<usize>, String)>,
    pub notes: Vec<String>,
    pub help: Option<String>,
}

impl Finding {
    pub fn error(code: Code, message: impl Into<String>, place: Place) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            place,
            label: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: None,
        }
    }

    pub fn warning(code: Code, message: impl Into<String>, place: Place) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, place) }
    }

    pub fn into_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    pub fn at(code: Code, message: impl Into<String>, span: &Range<usize>) -> Self {
        Self::error(code, message, Place::File(span.clone()))
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub fn related(mut self, span: &Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span.clone(), label.into()));
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Bytes of the file the finding points at.
    fn span(&self) -> Option<&Range<usize>> {
        match &self.place {
            Place::File(span) | Place::Block(Some(span)) => Some(span),
            Place::Environment(_) | Place::CommandLine | Place::Block(None) => None,
        }
    }

    fn into_diagnostic(self, file: &SourceText) -> Diagnostic {
        Diagnostic {
            code: self.code,
            severity: self.severity,
            message: self.message,
            place: self.place,
            label: self.label,
            related: self.related,
            notes: self.notes,
            help: self.help,
            file: file.clone(),
        }
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Self { help: problem.help, ..Self::error(problem.code, problem.message, problem.place) }
    }
}

/// All findings of one run.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Takes over what another collection holds.
    pub fn append(&mut self, other: Findings) {
        self.0.extend(other.0);
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|f| f.severity == Severity::Error)
    }

    /// Changes the text of every finding, for masking.
    pub fn for_each_text(&mut self, mut change: impl FnMut(&mut String)) {
        for finding in &mut self.0 {
            change(&mut finding.message);
            finding.label.iter_mut().for_each(&mut change);
            finding.help.iter_mut().for_each(&mut change);
            finding.notes.iter_mut().for_each(&mut change);
            finding.related.iter_mut().for_each(|(_, label)| change(label));
        }
    }

    /// In file order, then what stands in environment and command line; never more than [`MAX_FINDINGS`].
    pub fn into_diagnostics(mut self, file: &SourceText) -> Vec<Diagnostic> {
        self.0.sort_by_key(|f| match &f.place {
            Place::Block(None) => (0, 0),
            Place::Environment(_) => (2, 0),
            Place::CommandLine => (3, 0),
            _ => (1, f.span().map_or(0, |s| s.start)),
        });
        if self.0.len() > MAX_FINDINGS {
            let hidden = self.0.len() - MAX_FINDINGS;
            self.0.truncate(MAX_FINDINGS);
            if let Some(last) = self.0.last_mut() {
                last.notes.push(format!("{hidden} more problems are not shown"));
            }
        }
        self.0.into_iter().map(|f| f.into_diagnostic(file)).collect()
    }
}
