//! What a sink promises.

use crate::batch::ChangeBatch;
use crate::budget::Budget;
use crate::checkpoint::{Generation, PipelineIdentity, Token};
use crate::clock::Clock;
use crate::evolution::{SchemaEvent, SinkChange};
use crate::examine::{Examination, Visit};
use crate::position::{Epoch, Position};
use crate::schema::{Ddl, SchemaChange, TableId, TableSchema};
use crate::transform::RowError;
use crate::{Code, Error, Result};
use async_trait::async_trait;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How a sink makes an epoch visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SinkClass {
    /// `prepare` makes durable and invisible, `commit` makes visible and is idempotent. The published checkpoint is the
    /// commit point (files, lakes).
    Staged,
    /// `commit` stores data and (pipeline, generation, epoch) in one transaction of the sink, which is the commit point
    /// (databases, Kafka, the embedded log).
    Transactional,
    /// `flush` makes visible at once; duplicates carry equal event ids.
    AtLeastOnce,
}

/// A system that takes changes: a factory of one [`Writer`] per lane and one [`Committer`].
#[async_trait]
pub trait Sink: Send + Sync {
    /// The strongest it can promise.
    fn class(&self) -> SinkClass;

    /// Whether it is a log: it keeps changes as they came, in one order, for others to read. It is written by one lane,
    /// an update of a key stays an update, and it is told the source's milestones.
    fn is_log(&self) -> bool {
        false
    }

    /// Where rows of a table go, for people: a folder, a topic, a table. `None` when there is no such place.
    fn place_of(&self, _table: &TableId) -> Option<String> {
        None
    }

    /// What [`SinkFigures::units`] counts: one of them, several of them.
    fn unit(&self) -> (&'static str, &'static str) {
        ("unit", "units")
    }

    /// Looks, without leaving anything behind, at everything a run depends on, for `doctor`. Default: nothing.
    async fn examine(&self, _visit: &Visit) -> Examination {
        Examination::of("sink")
    }

    /// The one committer of the pipeline.
    ///
    /// # Errors
    /// `SinkNotWritable` and the like: what the user has to mend.
    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>>;

    /// The writer of a lane. Called after [`Committer::open`].
    ///
    /// # Errors
    /// As [`Sink::committer`].
    async fn writer(&self, lane: usize, context: SinkContext) -> Result<Box<dyn Writer>>;
}

/// What a sink is handed.
#[derive(Clone)]
pub struct SinkContext {
    /// Whose output this is.
    pub identity: PipelineIdentity,
    /// The instance that writes; part of every durable write (INV-11).
    pub generation: Generation,
    /// Wall clock, for file names and ages.
    pub clock: Arc<dyn Clock>,
    /// Open writers count against it.
    pub budget: Budget,
    /// How often what failed is tried again while an epoch is made durable.
    pub retries: Retries,
}

/// How often something that may pass is tried again (`pipeline.retry.*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Tries after the first one.
    pub attempts: u32,
    /// Pause before each of them.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 3, pause: Duration::from_secs(2) }
    }
}

/// A future that borrows nothing.
pub type Detached<T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'static>>;

/// Takes the batches of one lane.
#[async_trait]
pub trait Writer: Send {
    /// Takes a batch into the open epoch. `Ok` means accepted, not durable. Rows that the sink cannot carry come back
    /// and are not part of the output; all others are.
    ///
    /// # Errors
    /// A failed call has taken nothing and may be tried again with the same batch. The code says whose failure it is:
    /// `SinkWrite` (and `BadRecord`, `SinkName`) is this batch's, whose records are the affected ones after the last
    /// try; `SinkUnwritten` is that of rows accepted earlier, and this batch has nothing to do with it.
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>>;

    /// Logs: whether the batch that is written next is followed by another one of its cut
    /// ([`is_mid_cut`](crate::source::Reader::is_mid_cut)). Others have no use for it.
    fn cut_goes_on(&mut self, _goes_on: bool) {}

    /// Takes a milestone of the source into the open epoch, in order with the batches. Only logs are told.
    ///
    /// # Errors
    /// As [`Writer::write`].
    async fn mark(&mut self, _milestone: Milestone) -> Result<()> {
        Ok(())
    }

    /// At-least-once sinks: makes visible what was written. Others do nothing.
    ///
    /// # Errors
    /// As [`Writer::write`].
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends the writer's part of `epoch`: the returned future makes everything written before this call durable and
    /// invisible, and yields its tokens (none if nothing was written). It borrows nothing, so that `write` of the next
    /// epoch goes on meanwhile. It waits out what passes by itself (a full disk); rows written after the call never
    /// belong to `epoch`, however long that takes. An error is final: the epoch is repeated by the next start.
    fn prepare(&mut self, epoch: Epoch) -> Detached<Vec<Token>>;

    /// Bytes in open buffers.
    fn buffered(&self) -> usize;

    /// Closes the largest open buffer, because the budget is exceeded. Still invisible.
    ///
    /// # Errors
    /// As [`Writer::write`].
    async fn spill(&mut self) -> Result<()>;

    /// What keeps accepted rows from being written at the moment, for people; `None` while all goes well. The engine
    /// shows it: whoever waits for a checkpoint has to see why (R4.6).
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Output figures so far; cheap.
    fn figures(&self) -> SinkFigures;
}

/// What a source has come to, told in order with its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Milestone {
    /// The snapshot of every table is complete.
    SnapshotDone,
    /// The stream has passed the source position that was current when the reader was opened.
    CaughtUp,
    /// The source has ended by itself.
    End,
}

impl Milestone {
    /// Every milestone.
    pub const ALL: [Milestone; 3] = [Milestone::SnapshotDone, Milestone::CaughtUp, Milestone::End];

    /// The word in files.
    pub fn name(self) -> &'static str {
        match self {
            Milestone::SnapshotDone => "snapshot-done",
            Milestone::CaughtUp => "caught-up",
            Milestone::End => "end",
        }
    }
}

/// Output figures of a writer since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkFigures {
    /// Files, messages or statements finished.
    pub units: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Makes epochs visible; there is one per pipeline.
#[async_trait]
pub trait Committer: Send {
    /// First call after a start. Fences older generations where the sink can, and returns what the sink holds of this
    /// pipeline.
    ///
    /// # Errors
    /// `SinkTaken` when the place carries another identity.
    async fn open(&mut self) -> Result<SinkState>;

    /// Makes the epoch visible. Idempotent: called again after a crash or a lost reply it changes nothing. For ever
    /// retried by the engine once the checkpoint is published.
    ///
    /// # Errors
    /// Whatever may pass: the engine tries again.
    async fn commit(&mut self, epoch: &CommitRequest) -> Result<()>;

    /// The checkpoint of what was prepared last could not be published: its tokens will be committed together with those of
    /// the next epoch. For sinks that hold rows back until it is decided what becomes of the epoch before.
    fn carried(&mut self) {}

    /// Discards staged work that no published checkpoint names: everything staged except `keep`. Called once at start,
    /// after the last published epoch has been committed.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    async fn abort_except(&mut self, keep: &[Token]) -> Result<()>;

    /// Takes a table's next shape (`None` -> first shape for a new table). Idempotent. Runs between two epochs.
    ///
    /// # Errors
    /// `SchemaChange` when the sink cannot take it.
    async fn apply_schema(&mut self, expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()>;

    /// Takes the shapes that tables have at a start, each as by [`Committer::apply_schema`] without a shape before.
    ///
    /// # Errors
    /// As [`Committer::apply_schema`].
    async fn apply_shapes(&mut self, shapes: &[Arc<TableSchema>]) -> Result<()> {
        for shape in shapes {
            self.apply_schema(None, shape).await?;
        }
        Ok(())
    }

    /// Takes a change of a table as the source told it, where nothing stands between source and sink. Idempotent as
    /// [`Committer::apply_event`], in whose events it comes to unless the sink keeps it whole.
    ///
    /// # Errors
    /// As [`Committer::apply_event`].
    async fn apply_change(&mut self, change: &SchemaChange) -> Result<()> {
        if let Ddl::Columns { .. } = change.ddl {
            return self.apply_schema(change.before.as_ref(), &change.after).await;
        }
        for event in SchemaEvent::of_change(change.before.as_deref(), &change.after, &change.ddl) {
            let step = SinkChange { before: change.before.clone(), after: change.after.clone(), event };
            self.apply_event(&step).await?;
        }
        Ok(())
    }

    /// Takes a schema change event. Idempotent: a crash between two epochs brings the same event again. Runs between two
    /// epochs. Without an implementation of its own a sink takes shapes and refuses to empty or drop a table.
    ///
    /// # Errors
    /// `SchemaChange` when the sink cannot take it, and nothing has changed: with `try_evolve` the pipeline goes on.
    async fn apply_event(&mut self, change: &SinkChange) -> Result<()> {
        match &change.event {
            SchemaEvent::TruncateTable | SchemaEvent::DropTable => {
                Err(Error::new(Code::SchemaChange, format!("the sink cannot carry out {}", change.event.tag()))
                    .fact("table", change.table().to_string())
                    .help("leave the event out with `sink.exclude.schema.changes`"))
            }
            _ => self.apply_schema(change.before.as_ref(), &change.after).await,
        }
    }

    /// Takes back every epoch after `epoch`, because the pipeline goes back to an older checkpoint.
    ///
    /// # Errors
    /// `NotSupported` when the sink cannot: then nothing has changed.
    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()>;
}

/// One epoch to be made visible.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommitRequest {
    /// The epoch.
    pub epoch: Epoch,
    /// The instance that commits.
    pub generation: Generation,
    /// All tokens of this participant, in order.
    pub tokens: Vec<Token>,
    /// The source position after the epoch, for sinks that keep it beside the data.
    pub position: Position,
    /// The same for the commit record and for people.
    pub position_text: String,
}

/// What a sink holds of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SinkState {
    /// Nothing of any pipeline.
    Empty,
    /// This pipeline's output up to an epoch.
    Holds {
        /// The instance that wrote it.
        generation: Generation,
        /// The last epoch visible.
        epoch: Epoch,
    },
    /// The sink keeps no record (blackhole): it cannot tell.
    Unknown,
}
