//! What a source promises.

use crate::batch::ChangeBatch;
use crate::budget::Budget;
use crate::checkpoint::{Lineage, PipelineIdentity};
use crate::clock::Clock;
use crate::examine::{Examination, Visit};
use crate::options::Problem;
use crate::position::Position;
use crate::schema::{SchemaChange, TableId, TableSchema};
use crate::sink::Milestone;
use crate::{Error, Result};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;

/// A system whose committed changes can be read.
#[async_trait]
pub trait Source: Send + Sync {
    /// Connects, checks everything that can be checked read-only, and returns the tables that will be captured.
    ///
    /// # Errors
    /// Everything the user has to mend, each under its own code (`E02xx`, `E03xx`); nothing has been touched.
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>>;

    /// Connects and tells, read-only, what a run would meet: tables with estimates, near misses, and everything that
    /// stands in the way, not the first thing only.
    async fn survey(&self) -> Survey {
        match self.discover().await {
            Ok(tables) => Survey { tables: tables.into_iter().map(SurveyedTable::new).collect(), ..Survey::default() },
            Err(error) => Survey { refusals: vec![error], ..Survey::default() },
        }
    }

    /// Looks, read-only, at everything a run depends on, for `doctor`. Connects at most as often as [`Source::survey`].
    async fn examine(&self, _visit: &Visit) -> Examination {
        let survey = self.survey().await;
        let mut examination = Examination::of("source");
        examination.expected_bytes = survey.tables.iter().map(|table| table.bytes).sum();
        for refusal in survey.refusals {
            examination.finding("source", refusal);
        }
        if examination.checks.is_empty() {
            examination.ok("tables", counted(survey.tables.len()));
        }
        examination
    }

    /// Starts reading after `from`, or at the configured start when `None`.
    ///
    /// # Errors
    /// As [`Source::discover`]; and `PositionLost` or `OtherServer` when `from` cannot be served (INV-5, INV-6). A
    /// source never jumps.
    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)>;

    /// The lineage under which the changes were captured, where they come from a log: part of their event ids. Told
    /// before the sink is touched; waits until it is known. `None`: the pipeline's own.
    ///
    /// # Errors
    /// As [`Source::discover`].
    async fn lineage(&self) -> Result<Option<Lineage>> {
        Ok(None)
    }

    /// Whether a start waits for as long as the source cannot be reached, as a reader does that has been opened; otherwise it
    /// ends with the error. Logs are waited for: a delivery may be started before them.
    fn is_awaited(&self) -> bool {
        false
    }

    /// What the block sets that has no effect here, or another one than elsewhere; shown by `check` and `run`.
    fn warnings(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Checkpoints that acks stay behind, so that as many older ones can still be gone back to: a server that drops its log
    /// once it is acked cannot serve them any more. Default: none.
    fn ack_lag(&self) -> usize {
        0
    }

    /// What the source keeps for the pipeline after a run that was to end, at the cost of whoever runs the source, and how it is given
    /// back: for people. Default: nothing.
    fn remains(&self) -> Option<String> {
        None
    }

    /// The position for people, e.g. `bin.000003:4711 (0-1-99)`.
    fn describe(&self, position: &Position) -> String;

    /// The tables and their shapes as the position carries them, if it does; so that a sink can be prepared before the
    /// first row. Default: none.
    ///
    /// # Errors
    /// As [`Source::open`], where it has to look elsewhere for them.
    async fn schemas_at(&self, _position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        Ok(Vec::new())
    }
}

fn counted(tables: usize) -> String {
    if tables == 1 { "1 table".to_owned() } else { format!("{tables} tables") }
}

/// What a source tells before anything is read.
#[derive(Debug, Default)]
pub struct Survey {
    /// The tables that would be captured.
    pub tables: Vec<SurveyedTable>,
    /// Tables that no pattern means although they stand beside those that are meant.
    pub near_misses: Vec<TableId>,
    /// What is no obstacle and should be known.
    pub warnings: Vec<String>,
    /// Everything that stands in the way of a run.
    pub refusals: Vec<Error>,
}

/// A table that would be captured.
#[derive(Debug)]
pub struct SurveyedTable {
    /// Its shape.
    pub schema: Arc<TableSchema>,
    /// Rows as the source estimates them.
    pub rows: Option<u64>,
    /// Bytes of its rows at the source, as the source estimates them.
    pub bytes: Option<u64>,
}

impl SurveyedTable {
    /// A table of which no estimate is known.
    pub fn new(schema: Arc<TableSchema>) -> Self {
        Self { schema, rows: None, bytes: None }
    }
}

/// What a source is handed when it is opened.
#[derive(Clone)]
pub struct SourceContext {
    /// Whose changes these are.
    pub identity: PipelineIdentity,
    /// Wall clock, for lag and snapshot times.
    pub clock: Arc<dyn Clock>,
    /// Open builders and snapshot chunks count against it.
    pub budget: Budget,
    /// A folder of this pipeline's own for what need not outlive the process; made by the source when it needs it.
    pub work_dir: PathBuf,
}

/// What a reader has to tell.
#[derive(Debug)]
pub enum SourceEvent {
    /// Changes of one table. In source order per key; tables are interleaved freely.
    Batch(ChangeBatch),
    /// A captured table changes its shape. All rows before it have been handed out, and until the next call of
    /// [`Reader::next`] the reader's position lies **before** the change, so that a crash meets it again.
    SchemaChange(SchemaChange),
    /// The snapshot of every table is complete and handed out.
    SnapshotDone,
    /// The stream has passed the source position that was current when the reader was opened.
    CaughtUp,
    /// Nothing to hand out for now, but the position may have moved (heartbeats, foreign tables): a good moment for a
    /// barrier if one is due.
    Idle,
    /// The source has ended by itself (bounded sources, `scan.startup.mode: snapshot`). No call of `next` follows.
    End,
}

impl SourceEvent {
    /// What a reader of a log tells of a milestone that it finds there. The end of the snapshot is a fact of the changes; where
    /// the source stood, and that it has ended, concerns the run that captured it only.
    pub fn of_milestone(milestone: Milestone, of_this_run: bool) -> Option<Self> {
        (of_this_run || milestone == Milestone::SnapshotDone).then(|| milestone.into())
    }

    /// The milestone that this event tells of, if it does.
    pub fn milestone(&self) -> Option<Milestone> {
        match self {
            SourceEvent::SnapshotDone => Some(Milestone::SnapshotDone),
            SourceEvent::CaughtUp => Some(Milestone::CaughtUp),
            SourceEvent::End => Some(Milestone::End),
            SourceEvent::Batch(_) | SourceEvent::SchemaChange(_) | SourceEvent::Idle => None,
        }
    }
}

impl From<Milestone> for SourceEvent {
    fn from(milestone: Milestone) -> Self {
        match milestone {
            Milestone::SnapshotDone => SourceEvent::SnapshotDone,
            Milestone::CaughtUp => SourceEvent::CaughtUp,
            Milestone::End => SourceEvent::End,
        }
    }
}

/// Of which tables a row may be told twice, by a chunk of a snapshot and by the change that made it, where a chunk has no place in
/// the stream: then no row is missing at a sink in whose tables rows of several keys of the source become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldTwice {
    /// Of none.
    None,
    /// Of those that have a key at the source.
    Keyed,
    /// Of all.
    All,
}

/// Reads changes in order.
///
/// The session is kept alive by a task of the source's own while nobody polls. Lost connections are re-established
/// inside, for ever, at the exact position; they surface as log events and in [`Reader::status`], not as errors.
#[async_trait]
pub trait Reader: Send {
    /// The next event. **Cancel-safe**: dropping the future loses nothing. Waits at most a few milliseconds for a batch
    /// to fill, and at most about a second when there is nothing at all (then `Idle`).
    ///
    /// # Errors
    /// Only what cannot be mended by reconnecting: `PositionLost`, `OtherServer`, `UnknownEvent`, `LogDamaged`,
    /// `SchemaChange`, ... The pipeline halts.
    async fn next(&mut self) -> Result<SourceEvent>;

    /// A barrier: appends everything that has been read but not handed out to `out` (all open builders, the rest of a
    /// snapshot chunk), and returns the position after it. Never waits. The position is complete: a reader opened there
    /// hands out exactly the rows that were not handed out here (INV-3, INV-4).
    ///
    /// # Errors
    /// `Bug` when a builder cannot be finished.
    fn barrier(&mut self, out: &mut Vec<ChangeBatch>) -> Result<Position>;

    /// Called, perhaps again, when several rows of the source may become one of the sink, because tables become one or have other
    /// keys there: from then on chunks of a snapshot have to be handed out at their place in the stream, not before it. A source
    /// without such chunks, or without order across tables, has nothing to do.
    fn keep_order_across_tables(&mut self, told_twice: ToldTwice) {
        let _ = told_twice;
    }

    /// Whether the next event is a batch of the same cut as the one handed out last. A cut is all that was open at one
    /// moment, of every table: no row of a later cut comes before it at the source. Within a cut, batches stand in any
    /// order, and [`push_in_turn`](crate::batch::Origins::push_in_turn) tells the order of their rows. What
    /// [`Reader::barrier`] appends is one cut. A source that keeps the order of tables anyway hands out cuts of one batch.
    fn is_mid_cut(&self) -> bool {
        false
    }

    /// Figures for people and metrics; cheap.
    fn status(&self) -> SourceStatus;
}

/// Told about durable progress.
#[async_trait]
pub trait Acker: Send {
    /// Everything up to `position` is durable, data and checkpoint (INV-1). Comes in order, once per published epoch;
    /// may come late or, after a crash, not at all.
    ///
    /// # Errors
    /// As [`Reader::next`]; a lost connection is not an error.
    async fn ack(&mut self, position: &Position) -> Result<()>;
}

/// Figures of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceStatus {
    /// Tables whose snapshot is planned, running or done; empty when there is no snapshot.
    pub snapshot: Vec<TableProgress>,
    /// Whether the connection is up; if not, why not.
    pub disconnected: Option<String>,
    /// Commit time of the last change read, microseconds since 1970-01-01 UTC.
    pub last_commit_micros: Option<i64>,
    /// How far the stream is behind the source's log; 0 when the source has nothing newer.
    pub lag_micros: Option<i64>,
    /// The place in the source's log, for people.
    pub position: String,
    /// What of its log the source keeps for this pipeline, where it keeps it for each reader.
    pub kept: Option<KeptLog>,
    /// Statements in the source's log that could not be understood, if there were any: the catalog was asked instead.
    pub not_understood: Option<NotUnderstood>,
}

/// Statements in the source's log that change a captured table in a way that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUnderstood {
    /// How many since the process started.
    pub count: u64,
    /// The last one's table.
    pub table: TableId,
    /// What the last one is, without anything that it holds: `ALTER TABLE`.
    pub kind: &'static str,
    /// When the last one was met, microseconds since 1970-01-01 UTC.
    pub met_micros: i64,
}

/// The log that a source keeps for one pipeline, until its acks let go of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptLog {
    /// Bytes from the oldest that is kept to the end of the log.
    pub bytes: u64,
    /// Bytes of them that have not been read yet.
    pub unread: u64,
    /// Bytes that may still be written before the source gives the pipeline's place up; `None`: there is no limit.
    pub left: Option<u64>,
    /// How long ago the oldest of it was written, microseconds, as far as this process has seen.
    pub age_micros: Option<i64>,
    /// Why the place is in danger of being given up, if it is.
    pub danger: Option<String>,
}

/// Snapshot of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableProgress {
    /// The table.
    pub table: TableId,
    /// Rows handed out.
    pub rows: u64,
    /// Rows the source believes the table has; an estimate.
    pub estimated: u64,
    /// Whether its last chunk has been handed out.
    pub done: bool,
}
