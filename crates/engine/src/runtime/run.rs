//! One run of a pipeline, from acquiring its state to the last commit.

use super::job::Job;
use super::status::StatusBoard;
use super::stop::StopSignal;
use dujiang_core::checkpoint::CheckpointStore;
use dujiang_core::dead_letter::DeadLetterStore;
use dujiang_core::{Code, Epoch, Error, Result};
use std::sync::Arc;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// The last epoch published; [`Epoch::NONE`] if there is none.
    pub epoch: Epoch,
}

/// Why a run ended without an error. In every case the last epoch is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Stopped,
    /// It reached `until`.
    Reached,
    /// The source has nothing more to give.
    SourceEnded,
}

/// The parts of a run that keep its state.
pub struct Parts {
    /// Checkpoints.
    pub store: Box<dyn CheckpointStore>,
    /// Dead letters.
    pub dead_letters: Box<dyn DeadLetterStore>,
}

/// Runs a pipeline with its state on the local disk, until it ends, is stopped or fails.
///
/// The first stop drains: the open epoch is finished, published and committed. Dropping the future is as safe as a
/// crash.
///
/// # Errors
/// The error that halted the pipeline; everything up to the last published checkpoint is or will be visible, and a new
/// run goes on from there.
pub async fn run(job: Job, stop: StopSignal, board: Arc<StatusBoard>) -> Result<Outcome> {
    let _ = (job, stop, board);
    Err(Error::new(Code::NotSupported, "the engine cannot run yet"))
}

/// As [`run`], with other homes for the state.
///
/// # Errors
/// As [`run`].
pub async fn run_with(job: Job, parts: Parts, stop: StopSignal, board: Arc<StatusBoard>) -> Result<Outcome> {
    let _ = (job, parts, stop, board);
    Err(Error::new(Code::NotSupported, "the engine cannot run yet"))
}
