//! The durable record that ends an epoch.

use crate::Result;
use crate::position::{Epoch, Position};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Number of the instance that may write. It rises with every start and every change of leader, and every durable write
/// carries it (INV-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Chosen once when a pipeline is created: 16 lower-case hexadecimal digits. Part of every event id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lineage(pub Arc<str>);

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who writes: name and lineage of a pipeline. A sink refuses a place that carries another identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineIdentity {
    /// `pipeline.name`.
    pub name: Arc<str>,
    /// Chosen when the state was created.
    pub lineage: Lineage,
}

/// What one participant of an epoch made durable in `prepare`, as opaque bytes that only the participant can read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(pub Bytes);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", String::from_utf8_lossy(&self.0))
    }
}

/// Whether the checkpoint alone makes the epoch real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Staged and at-least-once sinks: the checkpoint is the commit point.
    Final,
    /// Transactional sinks: the sink's transaction decides; the previous final checkpoint is still kept.
    Candidate,
}

/// Everything a start needs: where to read on, and what to make visible first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The epoch this record ends.
    pub epoch: Epoch,
    /// The instance that wrote it.
    pub generation: Generation,
    /// The source position after the epoch's last row.
    pub position: Position,
    /// The position for people.
    pub position_text: String,
    /// What each participant staged, in the order of `prepare`; tokens of epochs whose publish failed come first.
    pub tokens: Vec<ParticipantTokens>,
    /// The last epoch before this one that gave the sink something to commit: what the sink holds while this epoch's
    /// commit has not happened. [`Epoch::NONE`] when there is none.
    pub sink_before: Epoch,
    /// Final or candidate.
    pub standing: Standing,
    /// When it was written, microseconds since 1970-01-01 UTC.
    pub written_micros: i64,
}

/// The tokens of one participant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ParticipantTokens {
    /// `sink` or `dead-letters`.
    pub participant: String,
    /// One per lane and prepare, in order.
    pub tokens: Vec<Token>,
}

/// What [`CheckpointStore::acquire`] found.
#[derive(Debug, Clone)]
pub struct Acquired {
    /// Who we are: name and lineage; created on the first acquire.
    pub identity: PipelineIdentity,
    /// Our generation, already durable.
    pub generation: Generation,
    /// The kept checkpoints, newest first. Empty on the first start.
    pub checkpoints: Vec<Checkpoint>,
}

/// Durable home of the checkpoints of one pipeline.
///
/// `publish` compares (generation, epoch) and sets; a store that cannot compare is not a checkpoint store.
#[async_trait]
pub trait CheckpointStore: Send {
    /// Raises the generation durably, before anything else happens, and returns what is there. An earlier instance can
    /// publish nothing from now on.
    ///
    /// # Errors
    /// `StateLocked` when another live process holds it, `CheckpointDamaged` when a published checkpoint cannot be read
    /// (never skipped silently; a torn file that was never published is ignored), `StateUnusable`, `StateVersion`.
    async fn acquire(&mut self) -> Result<Acquired>;

    /// Makes `next` the latest checkpoint iff the store still stands at (`expected generation`, `expected epoch`).
    /// Returning `Ok` means durable. A candidate is made final by publishing it again with [`Standing::Final`] and
    /// `expected` = its own epoch.
    ///
    /// # Errors
    /// `Fenced` when another instance acquired the store; `CheckpointWrite` or `StateFull` when the outcome is known to
    /// be "not published"; `CheckpointUnknown` when it is not (a lost reply): the engine then asks
    /// [`CheckpointStore::latest`] before anything else (INV-12); `SyncFailed` ends the process.
    async fn publish(&mut self, expected: (Generation, Epoch), next: &Checkpoint) -> Result<()>;

    /// Reads back what is durable: the latest published checkpoint.
    ///
    /// # Errors
    /// `Fenced`, `CheckpointDamaged`, `StateUnusable`; whatever may pass is asked again.
    async fn latest(&mut self) -> Result<Option<Checkpoint>>;

    /// Forgets every checkpoint after `epoch`, durably; for going back on request. [`Epoch::NONE`] forgets all.
    ///
    /// # Errors
    /// `NoCheckpoint` when `epoch` is not kept; otherwise as `publish`.
    async fn rewind(&mut self, epoch: Epoch) -> Result<()>;
}
