//! What is wrong with a projection or a filter, and where in its text.

use dujiang_core::{Code, Error};
use std::ops::Range;

/// One mistake in the SQL of a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// `E012x`.
    pub code: Code,
    /// The sentence a user reads first, without a full stop.
    pub message: String,
    /// The bytes of the SQL text the mistake is in; never past the end, may be empty.
    pub span: Range<usize>,
    /// What to do.
    pub help: Option<String>,
}

impl SqlError {
    pub(crate) fn new(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span, help: None }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Line and column (in characters) of the first offending character, both counted from 1.
    pub fn line_column(&self, text: &str) -> (usize, usize) {
        line_column(text, self.span.start)
    }

    /// The mistake as a general error, for places that have no pipeline file to point into.
    pub fn into_error(self, text: &str) -> Error {
        let error = with_place(Error::new(self.code, self.message), text, self.span.start);
        match self.help {
            Some(help) => error.help(help),
            None => error,
        }
    }
}

/// An error with the text of SQL it is about, and the byte in it.
pub(crate) fn with_place(error: Error, text: &str, start: usize) -> Error {
    let (line, column) = line_column(text, start);
    error.fact("sql", shortened(text)).fact("at", format!("line {line}, column {column}"))
}

fn line_column(text: &str, start: usize) -> (usize, usize) {
    let before = &text[..floor_char(text, start)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 400;
    if text.len() <= LONGEST { text.to_owned() } else { format!("{}…", &text[..floor_char(text, LONGEST)]) }
}

/// The known name nearest to `wrong`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    let limit = (wrong.chars().count() / 3).max(1);
    known
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}
