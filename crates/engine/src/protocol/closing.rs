//! How far the epoch is that is being closed.

use super::{Cause, Mark, Participant};
use dujiang_core::Epoch;
use dujiang_core::checkpoint::{Checkpoint, Token};

/// The epoch that is being closed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Closing {
    pub(super) cause: Cause,
    pub(super) step: Step,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The reader has not passed the barrier yet.
    Barrier,
    /// Lanes make their parts durable; the tokens of those that have.
    Preparing(Epoch, Mark, Vec<Option<Vec<Token>>>),
    /// The dead letters are made durable.
    PreparingLetters(Epoch, Mark, Vec<Token>),
    /// The checkpoint is on its way.
    Publishing(Checkpoint),
    /// Its reply was lost.
    PublishUnknown(Checkpoint),
    /// The epoch is made visible; how often that failed.
    Committing(Participant, u32),
    /// The candidate is made final.
    Finalising,
    /// The reply to that was lost.
    FinaliseUnknown,
    /// The sink takes a new shape.
    ApplyingSchema,
}
