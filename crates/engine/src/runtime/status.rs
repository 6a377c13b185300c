//! What a run tells about itself.

use dujiang_core::clock::Clock;
use dujiang_core::source::SourceStatus;
use dujiang_core::{Epoch, Kind};
use std::sync::{Arc, Mutex, MutexGuard};

/// Where a pipeline stands; the same words everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PipelineState {
    /// Known, not started.
    #[default]
    Created,
    /// Acquires its state, recovers, opens sink and source.
    Starting,
    /// The snapshot runs (the stream runs beside it).
    Snapshotting,
    /// Follows the source.
    Streaming,
    /// Held on request.
    Paused,
    /// Works against a fault that it tries to get over; `why` names it.
    Degraded,
    /// Ended by an error.
    Failed,
    /// Ended as asked.
    Stopped,
}

impl PipelineState {
    /// The word in messages, metrics and JSON.
    pub fn name(self) -> &'static str {
        match self {
            PipelineState::Created => "created",
            PipelineState::Starting => "starting",
            PipelineState::Snapshotting => "snapshotting",
            PipelineState::Streaming => "streaming",
            PipelineState::Paused => "paused",
            PipelineState::Degraded => "degraded",
            PipelineState::Failed => "failed",
            PipelineState::Stopped => "stopped",
        }
    }
}

/// Changes by kind; an update counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Rows a snapshot read.
    pub reads: u64,
    /// Inserts.
    pub inserts: u64,
    /// Updates.
    pub updates: u64,
    /// Deletes.
    pub deletes: u64,
}

impl KindCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.reads + self.inserts + self.updates + self.deletes
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: KindCounts) {
        self.reads += other.reads;
        self.inserts += other.inserts;
        self.updates += other.updates;
        self.deletes += other.deletes;
    }

    /// Counts the changes of a batch.
    pub fn add(&mut self, kinds: &[Kind]) {
        for kind in kinds {
            match kind {
                Kind::Read => self.reads += 1,
                Kind::Insert => self.inserts += 1,
                Kind::UpdateAfter => self.updates += 1,
                Kind::Delete => self.deletes += 1,
                Kind::UpdateBefore => {}
            }
        }
    }
}

impl KindCounts {
    /// Adds the changes of a batch except those that were refused.
    pub(crate) fn add_difference(&mut self, all: KindCounts, refused: &[Kind]) {
        let mut out = KindCounts::default();
        out.add(refused);
        self.reads += all.reads - out.reads;
        self.inserts += all.inserts - out.inserts;
        self.updates += all.updates - out.updates;
        self.deletes += all.deletes - out.deletes;
    }
}

/// A picture of a pipeline, taken at one moment.
#[derive(Debug, Clone, Default)]
pub struct PipelineStatus {
    /// Where it stands.
    pub state: PipelineState,
    /// Since when, microseconds since 1970-01-01 UTC.
    pub since_micros: i64,
    /// Why, in a sentence; empty when there is nothing to explain.
    pub why: String,
    /// What to do, or what the pipeline will do next; empty when nothing.
    pub next_step: String,
    /// What the source says of itself.
    pub source: SourceStatus,
    /// Changes read from the source.
    pub rows_in: KindCounts,
    /// Changes accepted by the sink (visible once their epoch commits). A key update counts as delete and insert.
    pub rows_out: KindCounts,
    /// Images dropped by transforms on purpose.
    pub filtered: u64,
    /// Records sent to the dead letters.
    pub dead_letters: u64,
    /// Files, messages or whatever else the sink counts, finished by it.
    pub files: u64,
    /// What they are called, one and several; see [`Sink::unit`](dujiang_core::sink::Sink::unit).
    pub unit: (&'static str, &'static str),
    /// Bytes of them.
    pub bytes: u64,
    /// The last epoch whose checkpoint is published.
    pub last_epoch: Epoch,
    /// When its data became visible, microseconds since 1970-01-01 UTC; `None` before the first commit.
    pub last_commit_micros: Option<i64>,
    /// How far the source is behind its own log, microseconds, if it knows.
    pub lag_micros: Option<i64>,
    /// Checkpoints published by this run.
    pub checkpoints: u64,
    /// Publishes that failed in this run.
    pub checkpoint_failures: u64,
    /// How long the last epoch took from its barrier to its commit, milliseconds.
    pub last_checkpoint_millis: Option<u64>,
    /// Writes and commits that were tried again.
    pub retries: u64,
    /// Bytes held now.
    pub budget_used: usize,
    /// Most bytes ever held.
    pub budget_peak: usize,
    /// From the start of the run until the source was open, milliseconds (R4.3).
    pub recovery_millis: Option<u64>,
    /// Whether the snapshot of every table is handed out.
    pub snapshot_done: bool,
    /// Whether the stream has passed the position that was current at the start.
    pub caught_up: bool,
}

/// Holds the current [`PipelineStatus`]; shared between a run and whoever watches it.
#[derive(Default)]
pub struct StatusBoard {
    status: Mutex<PipelineStatus>,
}

impl StatusBoard {
    /// A board of a pipeline that has not started.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The picture of this moment.
    pub fn status(&self) -> PipelineStatus {
        self.lock().clone()
    }

    /// Changes the picture.
    pub(crate) fn update(&self, change: impl FnOnce(&mut PipelineStatus)) {
        change(&mut self.lock());
    }

    /// Enters a state, if it is not there already.
    pub(crate) fn enter(&self, clock: &dyn Clock, state: PipelineState, why: &str, next_step: &str) {
        let mut status = self.lock();
        if status.state != state {
            status.since_micros = clock.now_micros();
        }
        status.state = state;
        why.clone_into(&mut status.why);
        next_step.clone_into(&mut status.next_step);
    }

    fn lock(&self) -> MutexGuard<'_, PipelineStatus> {
        // A picture is plain figures: one left by a panicking thread is still a picture.
        self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
