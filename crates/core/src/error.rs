//! One shape for every error.

use crate::codes::{Code, Fault, Retry};
use std::fmt;

/// The result of anything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong: a stable code, a sentence with the names involved, facts, and what to do.
///
/// Secrets never go into any part. A message never consists of a driver's text alone: that goes into
/// [`Error::with_source`].
pub struct Error(Box<Inner>);

struct Inner {
    code: Code,
    message: String,
    facts: Vec<(&'static str, String)>,
    help: Option<String>,
    remedies: Vec<Remedy>,
    source: Option<Cause>,
}

/// A statement that mends what an error is about, exact for the system, its version and the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// Without the `;` at its end.
    pub statement: String,
    /// What it changes beyond what the pipeline needs. With a caution nobody runs it without having thought about it:
    /// scripts carry it as a comment.
    pub caution: Option<&'static str>,
}

impl Error {
    /// An error with the sentence a user reads first, without a full stop.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            facts: Vec::new(),
            help: None,
            remedies: Vec::new(),
            source: None,
        }))
    }

    /// Adds one fact: `("found", "log_bin=OFF")`, `("position", "bin.000003:4711")`.
    #[must_use]
    pub fn fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.facts.push((name, value.into()));
        self
    }

    /// Says what to do, as an imperative sentence; the last one wins.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds a statement that mends it; several are to be run in the order they were added.
    #[must_use]
    pub fn remedy(mut self, statement: impl Into<String>) -> Self {
        self.0.remedies.push(Remedy { statement: statement.into(), caution: None });
        self
    }

    /// Adds a statement that mends it and changes more than that.
    #[must_use]
    pub fn remedy_with_care(mut self, statement: impl Into<String>, caution: &'static str) -> Self {
        self.0.remedies.push(Remedy { statement: statement.into(), caution: Some(caution) });
        self
    }

    /// Keeps the error below this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error under another code.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        self.0.code.fault()
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        self.0.code.retry()
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The facts in the order they were added.
    pub fn facts(&self) -> &[(&'static str, String)] {
        &self.0.facts
    }

    /// What to do, if anything can be said: of this error, or of all errors of its code.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref().or_else(|| self.0.code.usual_help())
    }

    /// The errors below this one, from the nearest to the first that happened.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        std::iter::successors(std::error::Error::source(self), |cause| cause.source())
    }

    /// Statements that mend it, in order.
    pub fn remedies(&self) -> &[Remedy] {
        &self.0.remedies
    }
}

/// `E0201: the sentence: cause: cause`, on one line, for logs and dead letters.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code().number(), self.message())?;
        self.causes().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        for (name, value) in self.facts() {
            write!(f, "; {name}: {value}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// Turns a foreign error into ours.
pub trait ResultExt<T> {
    /// Gives the error a code and a sentence; the foreign error becomes its source.
    ///
    /// # Errors
    /// The error of `self`, in our shape.
    fn or_code(self, code: Code, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Cause>> ResultExt<T> for std::result::Result<T, E> {
    fn or_code(self, code: Code, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(code, message()).with_source(e))
    }
}
