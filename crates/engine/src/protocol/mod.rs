//! The epoch protocol as a pure state machine: `step(event) -> actions`.
//!
//! No async, no I/O, no clock: the driver in [`crate::runtime`] turns actions into calls and their results into events,
//! and a model checker can drive the very same code through every crash and every lost reply.
//!
//! ```text
//! start   acquire -> sink opens -> [withdraw, rewind] -> compare -> commit latest -> abort the rest -> source opens
//! epoch   barrier -> lanes prepare -> letters prepare -> publish -> commit -> [publish final] -> [schema] -> ack
//! ```
//! While an epoch is between its barrier and its commit the next one is open; there are never more than these two.

mod closing;
mod epoch;
mod machine;
mod recover;
mod start;

pub use machine::Machine;

use bytes::Bytes;
use dujiang_core::checkpoint::{Checkpoint, Generation, Token};
use dujiang_core::sink::{CommitRequest, SinkClass, SinkState};
use dujiang_core::{Code, Epoch, Error, Position};

/// What the protocol has to know about the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Config {
    /// What the sink promises.
    pub class: SinkClass,
    /// Lanes that prepare.
    pub lanes: usize,
    /// Failed publishes in a row that halt.
    pub max_publish_failures: u32,
    /// Epochs the ack stays behind.
    pub ack_lag: usize,
    /// Go back to this epoch first.
    pub restore_from: Option<Epoch>,
}

/// Who takes part in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Participant {
    /// The sink.
    Sink,
    /// The dead-letter store.
    Letters,
}

impl Participant {
    /// The name in checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Participant::Sink => "sink",
            Participant::Letters => "dead-letters",
        }
    }
}

/// Why a barrier is wanted, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The checkpoint interval or the size limit of an epoch has passed.
    Due,
    /// A table changes its shape: nothing is read until the sink has taken it.
    Schema,
    /// The run ends: nothing is read any more.
    Final,
}

/// A source position, with its text for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The position.
    pub position: Position,
    /// The position for people.
    pub text: String,
    /// The sink's shapes at this position, as the routing keeps them; empty when the source's say it all.
    pub shapes: Bytes,
}

/// The name under which a checkpoint keeps the sink's shapes, beside the participants' tokens.
pub const SHAPES: &str = "shapes";

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The run begins.
    Start,
    /// The store is ours.
    Acquired {
        /// Our generation, already durable.
        generation: Generation,
        /// Newest first.
        checkpoints: Vec<Checkpoint>,
    },
    /// What the sink holds.
    SinkOpened(SinkState),
    /// Every participant has withdrawn what [`Action::Withdraw`] named.
    Withdrawn,
    /// The store stands where [`Action::Rewind`] asked.
    Rewound,
    /// The participant has committed.
    Committed(Participant),
    /// The commit failed or its outcome is unknown; it is idempotent, so both are the same.
    CommitFailed(Participant),
    /// Staged work that no checkpoint names is gone.
    Aborted,
    /// The reader hands out changes.
    SourceOpened,
    /// A barrier is wanted.
    Due(Cause),
    /// The reader has passed the barrier.
    BarrierPassed {
        /// The epoch it ends.
        epoch: Epoch,
        /// The position after it.
        mark: Mark,
        /// Whether anything was read in the epoch. If not, the lanes have not seen the barrier.
        any: bool,
    },
    /// A lane's part of the epoch is durable and invisible.
    Prepared {
        /// The epoch.
        epoch: Epoch,
        /// The lane.
        lane: usize,
        /// What it staged.
        tokens: Vec<Token>,
    },
    /// The epoch's dead letters are durable and invisible.
    LettersPrepared(Vec<Token>),
    /// The checkpoint handed over last is durable.
    Published,
    /// It is known not to be.
    PublishFailed(Code),
    /// It may be or not.
    PublishUnknown,
    /// What the store holds.
    ReadBack(Option<Checkpoint>),
    /// The sink has taken the new shape.
    SchemaApplied,
    /// Something that cannot be mended.
    Failed(Code),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Acquire the store.
    Acquire,
    /// Open the sink's committer.
    OpenSink,
    /// Make every participant take back the epochs after this one.
    Withdraw(Epoch),
    /// Make the store forget the checkpoints after this one.
    Rewind(Epoch),
    /// Make an epoch visible at a participant.
    Commit {
        /// At whom.
        participant: Participant,
        /// What.
        request: CommitRequest,
        /// How often it failed before; a pause comes first if it did.
        failures: u32,
    },
    /// Discard staged work except these tokens.
    AbortExcept {
        /// Kept at the sink.
        sink: Vec<Token>,
        /// Kept at the dead-letter store.
        letters: Vec<Token>,
    },
    /// Open the source.
    OpenSource(Option<Position>),
    /// Let the reader pass a barrier that ends this epoch. For causes other than [`Cause::Due`] it then waits.
    Barrier {
        /// The epoch that ends.
        epoch: Epoch,
        /// Why.
        cause: Cause,
        /// Whether a pause comes first, because the last publish failed.
        after_pause: bool,
    },
    /// Make the epoch's dead letters durable.
    PrepareLetters(Epoch),
    /// Publish a checkpoint. The driver fills in the time.
    Publish {
        /// What the store must stand at.
        expected: (Generation, Epoch),
        /// The record.
        checkpoint: Checkpoint,
        /// Whether a pause comes first, because the last try failed.
        after_pause: bool,
    },
    /// Ask the store what it holds, again and again until it answers.
    ReadBack,
    /// Tell the source.
    Ack(Position),
    /// Let the sink take the shape the reader waits with.
    ApplySchema,
    /// Let the reader go on.
    Resume,
    /// End the run.
    Finish,
    /// End the run with an error.
    Halt(Halt),
}

/// Why the protocol cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Halt {
    /// An action failed for good; the driver has the error.
    Failed(Code),
    /// The sink holds output, but there is no checkpoint.
    StateLost(Epoch),
    /// The sink holds an epoch that the checkpoint does not explain.
    Mismatch {
        /// What the sink holds.
        sink: Epoch,
        /// The latest checkpoint.
        checkpoint: Epoch,
    },
    /// The sink cannot say what it holds, and a candidate needs to know.
    Untold(Epoch),
    /// The checkpoint to go back to is not there; those that are, newest first.
    NoCheckpoint(Epoch, Vec<Epoch>),
    /// Too many publishes failed in a row.
    PublishFailures(u32, Code),
    /// The store holds a checkpoint that is not ours.
    Fenced(Epoch),
    /// An event that cannot come here.
    Unexpected(String),
}

impl Halt {
    /// The error a user reads.
    pub fn error(&self) -> Error {
        match self {
            Halt::Failed(code) => Error::new(*code, "the pipeline cannot go on"),
            Halt::StateLost(epoch) => {
                Error::new(Code::StateLost, "the sink holds output of this pipeline, but the state has no checkpoint")
                    .fact("sink holds epoch", epoch.to_string())
                    .help("bring the state directory back, or give the pipeline an empty place to write to")
            }
            Halt::Mismatch { sink, checkpoint } => {
                Error::new(Code::SinkMismatch, "the sink does not hold what the latest checkpoint says")
                    .fact("sink holds epoch", sink.to_string())
                    .fact("checkpoint", checkpoint.to_string())
                    .help("bring state directory and sink back to the same moment, or go back with --restore-from")
            }
            Halt::Untold(epoch) => {
                Error::new(Code::SinkMismatch, "the sink cannot tell whether the last epoch has been committed")
                    .fact("checkpoint", epoch.to_string())
            }
            Halt::NoCheckpoint(epoch, kept) => {
                let error = Error::new(Code::NoCheckpoint, format!("there is no checkpoint {epoch} to go back to"));
                let kept: Vec<String> = kept.iter().map(Epoch::to_string).collect();
                match kept.is_empty() {
                    true => error.help("the pipeline has no checkpoints yet: start it without `--restore-from`"),
                    false => error.fact("kept", kept.join(", ")).help("name one of those that are kept"),
                }
            }
            Halt::PublishFailures(count, code) => {
                Error::new(*code, format!("{count} checkpoints in a row could not be written"))
            }
            Halt::Fenced(epoch) => Error::new(Code::Fenced, "another instance has published a checkpoint")
                .fact("its epoch", epoch.to_string())
                .help("let only one instance run this pipeline"),
            Halt::Unexpected(what) => Error::new(Code::Bug, format!("the epoch protocol met {what}")),
        }
    }
}
