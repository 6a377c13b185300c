//! Records that cannot be processed, and where they go.

use crate::Result;
use crate::checkpoint::Token;
use crate::codes::Code;
use crate::position::Epoch;
use crate::sink::CommitRequest;
use async_trait::async_trait;

/// Where in the pipeline a record failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// While it was decoded.
    Source,
    /// In a transform.
    Transform,
    /// In the sink's writer.
    Sink,
}

impl Stage {
    /// The word in messages and files.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Source => "source",
            Stage::Transform => "transform",
            Stage::Sink => "sink",
        }
    }
}

/// One record that could not be processed, with all that is needed to understand and replay it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The record's event id.
    pub event_id: String,
    /// `database.table` at the source.
    pub table: String,
    /// `c`, `u`, `d` or `r`.
    pub op: &'static str,
    /// The row before the change as a JSON object, if the change has one.
    pub before: Option<String>,
    /// The row after the change as a JSON object, if the change has one.
    pub after: Option<String>,
    /// The transaction's place in the source's log.
    pub position: String,
    /// The transaction's id.
    pub transaction: String,
    /// Commit time at the source, microseconds since 1970-01-01 UTC.
    pub commit_micros: i64,
    /// Where it failed.
    pub stage: Stage,
    /// Why, by code.
    pub code: Code,
    /// Why, in words.
    pub message: String,
}

/// A participant of the epoch: dead letters become visible together with the epoch's data.
#[async_trait]
pub trait DeadLetterStore: Send {
    /// Takes a letter into the open epoch.
    fn add(&mut self, letter: DeadLetter);

    /// Makes the letters of `epoch` durable and invisible; none, no token.
    ///
    /// # Errors
    /// `DeadLetterWrite`: the pipeline halts, letters are never dropped.
    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Token>>;

    /// Makes them visible; idempotent.
    ///
    /// # Errors
    /// As `prepare`; tried for ever.
    async fn commit(&mut self, request: &CommitRequest) -> Result<()>;

    /// Discards what no published checkpoint names.
    ///
    /// # Errors
    /// As `prepare`.
    async fn abort_except(&mut self, keep: &[Token]) -> Result<()>;

    /// Takes back every epoch after `epoch`.
    ///
    /// # Errors
    /// As `prepare`.
    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()>;
}
