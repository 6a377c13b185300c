//! One run of a pipeline, from acquiring its state to the last commit.

use super::driver::{Driver, Parts};
use crate::runtime::health::Health;
use crate::runtime::job::{End, Guarantee, Job, Outcome};
use crate::runtime::status::{PipelineState, StatusBoard};
use crate::runtime::stop::StopSignal;
use crate::state::{DiskStore, FileLetters};
use dujiang_core::sink::SinkClass;
use dujiang_core::{Code, Error, Result};
use std::sync::Arc;

/// Runs a pipeline with its state on the local disk, until it ends, is stopped or fails.
///
/// The first stop drains: the open epoch is finished, published and committed. Dropping the future is as safe as a
/// crash.
///
/// # Errors
/// The error that halted the pipeline; everything up to the last published checkpoint is or will be visible, and a new
/// run goes on from there.
pub async fn run(job: Job, stop: StopSignal, board: Arc<StatusBoard>) -> Result<Outcome> {
    let store =
        DiskStore::new(&job.state_dir, &job.name, job.settings.checkpoint_keep).restoring_from(job.restore_from);
    let dead_letters = FileLetters::new(&job.state_dir);
    let parts = Parts { store: Box::new(store), dead_letters: Box::new(dead_letters) };
    run_with(job, parts, stop, board).await
}

/// As [`run`], with other homes for the state.
///
/// # Errors
/// As [`run`].
pub async fn run_with(job: Job, parts: Parts, stop: StopSignal, board: Arc<StatusBoard>) -> Result<Outcome> {
    let health = Health::new(board, job.clock.clone());
    health.enter(PipelineState::Starting, "acquiring the state");
    let ended = match check(&job) {
        Ok(()) => Driver::start(job, parts, health.clone()).drive(stop).await,
        Err(error) => Err(error),
    };
    match &ended {
        Ok(outcome) => health.enter(PipelineState::Stopped, why(outcome.end)),
        Err(error) => health.failed(error),
    }
    ended
}

fn why(end: End) -> &'static str {
    match end {
        End::Stopped => "stopped as asked, after a last checkpoint",
        End::Reached => "reached the end that was asked for",
        End::SourceEnded => "the source has nothing more to give",
    }
}

fn check(job: &Job) -> Result<()> {
    let settings = &job.settings;
    if settings.guarantee == Some(Guarantee::ExactlyOnce) && job.sink.class() == SinkClass::AtLeastOnce {
        return Err(Error::new(Code::Conflict, "the sink cannot give exactly-once")
            .help("set pipeline.guarantee to at-least-once, or choose another sink"));
    }
    let positive = settings.parallelism > 0 && settings.checkpoint_keep > 0 && settings.max_checkpoint_failures > 0;
    if positive && !settings.checkpoint_interval.is_zero() {
        return Ok(());
    }
    Err(Error::new(
        Code::BadValue,
        "parallelism, checkpoint interval, kept checkpoints and tolerated checkpoint failures are at least 1",
    ))
}
