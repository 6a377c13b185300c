//! What is wrong with a message, and where.

use dujiang_core::{Code, Error};
use std::borrow::Cow;

/// A fault at a byte of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    code: Code,
    at: usize,
    what: Cow<'static, str>,
}

impl Fault {
    /// The text breaks the rules of its format.
    pub(super) fn syntax(at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::MessageSyntax, at, what: what.into() }
    }

    /// The message is none of a row, or of an unknown kind.
    pub(super) fn kind(at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::MessageKind, at, what: what.into() }
    }

    /// A field is unknown, missing or of another type than its column.
    pub(super) fn field(at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::MessageField, at, what: what.into() }
    }

    /// The same fault, of a value that begins at `place`.
    pub(super) fn at(mut self, place: usize) -> Self {
        self.at = place;
        self
    }

    /// The fault of a column's value.
    pub(super) fn of_column(mut self, name: &str) -> Self {
        if self.code == Code::MessageField {
            self.what = format!("column `{name}`: {}", self.what).into();
        }
        self
    }

    /// The error that users see.
    pub(super) fn into_error(self, format: &'static str) -> Error {
        let (what, help) = match self.code {
            Code::MessageSyntax => ("cannot be read", "see what wrote it, and whether it is of this format"),
            Code::MessageKind => ("is of a kind that cannot be read", "keep such messages out of the topic"),
            _ => ("does not fit its table", "let the table's columns be those of the messages"),
        };
        Error::new(self.code, format!("a message {what}: {}", self.what))
            .fact("format", format)
            .fact("at byte", self.at.to_string())
            .help(help)
    }
}
