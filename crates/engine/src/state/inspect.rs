//! Reads a pipeline's state without running it: for `dujiang dlq` and for listings.

use dujiang_core::dead_letter::Stage;
use dujiang_core::{Code, Epoch, Error, Generation, Result};
use std::path::Path;

/// A dead letter as it lies in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLetter {
    /// `<epoch>-<number within the epoch>`, for `dlq show`.
    pub id: String,
    /// The epoch it committed with.
    pub epoch: Epoch,
    /// The record's event id.
    pub event_id: String,
    /// `database.table` at the source.
    pub table: String,
    /// `c`, `u`, `d` or `r`.
    pub op: String,
    /// The row before the change, as JSON text.
    pub before: Option<String>,
    /// The row after the change, as JSON text.
    pub after: Option<String>,
    /// The transaction's place in the source's log.
    pub position: String,
    /// The transaction's id.
    pub transaction: String,
    /// Commit time at the source, microseconds since 1970-01-01 UTC.
    pub commit_micros: i64,
    /// Where it failed.
    pub stage: Stage,
    /// The number of the error's code, e.g. `E0700`.
    pub code: String,
    /// Why, in words.
    pub message: String,
}

/// A checkpoint as it lies in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCheckpoint {
    /// The epoch it ends.
    pub epoch: Epoch,
    /// The instance that wrote it.
    pub generation: Generation,
    /// The source position, for people.
    pub position: String,
    /// When it was written, microseconds since 1970-01-01 UTC.
    pub written_micros: i64,
    /// Size of its file in bytes.
    pub bytes: u64,
    /// Whether it is kept on request.
    pub savepoint: bool,
}

/// All committed dead letters of a pipeline, oldest first.
///
/// # Errors
/// `StateUnusable` when the folder cannot be read, `StateVersion` when a file is not of this version.
pub fn list_dead_letters(state_dir: &Path) -> Result<Vec<StoredLetter>> {
    let _ = state_dir;
    Err(Error::new(Code::NotSupported, "reading dead letters is not there yet"))
}

/// One dead letter by its id.
///
/// # Errors
/// As [`list_dead_letters`]; `Usage` when there is no such letter.
pub fn show_dead_letter(state_dir: &Path, id: &str) -> Result<StoredLetter> {
    let _ = (state_dir, id);
    Err(Error::new(Code::NotSupported, "reading dead letters is not there yet"))
}

/// All kept checkpoints of a pipeline, newest first.
///
/// # Errors
/// As [`list_dead_letters`]; `CheckpointDamaged` for one that cannot be read.
pub fn list_checkpoints(state_dir: &Path) -> Result<Vec<StoredCheckpoint>> {
    let _ = state_dir;
    Err(Error::new(Code::NotSupported, "reading checkpoints is not there yet"))
}
