//! What a run is given.

use dujiang_core::Epoch;
use dujiang_core::clock::Clock;
use dujiang_core::routing::Routing;
use dujiang_core::sink::Sink;
use dujiang_core::source::Source;
use dujiang_core::transform::Transform;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One pipeline, ready to run.
pub struct Job {
    /// `pipeline.name`.
    pub name: String,
    /// Where changes come from.
    pub source: Box<dyn Source>,
    /// Applied in order, between source and lanes.
    pub transforms: Vec<Box<dyn Transform>>,
    /// Names and shapes at the sink, applied after the transforms; without it tables keep theirs.
    pub routing: Option<Box<dyn Routing>>,
    /// Where changes go.
    pub sink: Box<dyn Sink>,
    /// How to run.
    pub settings: Settings,
    /// This pipeline's own folder: checkpoints, dead letters, lock. Created when missing.
    pub state_dir: PathBuf,
    /// Ends by itself at this point; `None` runs until stopped.
    pub until: Option<Until>,
    /// Goes back to this checkpoint first, withdrawing everything later from the sink.
    pub restore_from: Option<Epoch>,
    /// Wall clock, for file names, times and figures; the protocol never depends on it.
    pub clock: Arc<dyn Clock>,
}

/// A point at which a run ends by itself, after a last checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The snapshot of every table is in the sink.
    Snapshot,
    /// The stream has passed the source position that was current when the source was opened.
    CaughtUp,
}

/// What happens to a record that cannot be processed, or cannot be written after the last try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorPolicy {
    /// The pipeline stops and says so.
    #[default]
    Halt,
    /// The record goes to the dead letters, the others go on.
    DeadLetter,
}

/// What the user asks of the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Each change takes effect once.
    ExactlyOnce,
    /// Each change takes effect at least once; a sink that can do more still does.
    AtLeastOnce,
}

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

/// How a pipeline runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Number of lanes, at least 1.
    pub parallelism: usize,
    /// Time between two barriers.
    pub checkpoint_interval: Duration,
    /// Checkpoints kept besides savepoints, at least 1.
    pub checkpoint_keep: usize,
    /// Bytes that queues, builders, snapshot chunks and open writers may hold together.
    pub memory_limit: usize,
    /// `None`: what the sink does unasked.
    pub guarantee: Option<Guarantee>,
    /// What happens to a record that cannot be processed.
    pub error_policy: ErrorPolicy,
    /// Tries after the first one, for a write.
    pub retry_attempts: u32,
    /// Pause before each of them.
    pub retry_pause: Duration,
    /// Failed publishes in a row that stop the pipeline, at least 1.
    pub max_checkpoint_failures: u32,
    /// Images after which an epoch ends before its interval.
    pub epoch_images: u64,
    /// Bytes (in memory) after which an epoch ends before its interval.
    pub epoch_bytes: u64,
    /// Dead letters after which an epoch ends before its interval.
    pub epoch_letters: usize,
    /// The source is acked this many checkpoints late, so that as many older ones stay usable.
    pub ack_lag: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            parallelism: 1,
            checkpoint_interval: Duration::from_secs(300),
            checkpoint_keep: 3,
            memory_limit: 128 << 20,
            guarantee: None,
            error_policy: ErrorPolicy::Halt,
            retry_attempts: 3,
            retry_pause: Duration::from_secs(2),
            max_checkpoint_failures: 3,
            epoch_images: 50_000_000,
            epoch_bytes: 16 << 30,
            epoch_letters: 10_000,
            ack_lag: 0,
        }
    }
}
