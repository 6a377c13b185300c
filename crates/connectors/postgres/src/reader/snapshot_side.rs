//! The snapshot as the reader sees it: chunks taken, chunks handed out, tables done.

use crate::lsn::Lsn;
use crate::position::{SnapshotState, SnapshotTable, to_hex};
use crate::snapshot::{Chunk, ChunkRead, Frontier, Job, ReadWith, Snapshot, SnapshotContext, StreamAt, lock};
use crate::stream::{Table, Tables};
use arrow_array::RecordBatch;
use dujiang_core::source::TableProgress;
use dujiang_core::{ChangeBatch, Code, Result, ResultExt, fault};
use std::collections::VecDeque;
use std::sync::Arc;

/// A table whose snapshot is not complete, or not yet caught up with.
pub struct SideTable {
    /// Its number.
    pub at: usize,
    /// Rows handed out.
    pub rows: u64,
    /// Rows it is believed to have.
    pub estimated: u64,
    /// Last key handed out.
    pub frontier: Option<Frontier>,
    /// Rows beyond it were handed out, of a chunk that is not complete.
    pub torn: bool,
    /// Its last chunk is handed out.
    pub read: bool,
    /// The stream has passed all that its views show.
    pub passed: bool,
    /// It came while the pipeline ran, and may not be published yet.
    pub joining: bool,
}

/// Chunks of one connection that are held at most.
const HELD: usize = 1;
/// The same while the stream waits for a chunk, which may stand behind others: one that waits for columns of its table, the next
/// one, and then the first chunk of the table that the connection reads now.
const HELD_WHILE_WAITING: usize = 3;

/// The snapshot beside the stream.
pub struct SnapshotSide {
    id: String,
    context: Arc<SnapshotContext>,
    tables: Vec<SideTable>,
    run: Option<Snapshot>,
    /// Chunks whose columns, or whose place, the stream has not come to.
    held: Vec<ChunkRead>,
    /// Chunks wait until the stream has come to all that they show.
    in_order: bool,
}

/// What became of the chunks at hand.
pub enum HandedOut {
    /// There was none to hand out.
    Nothing,
    /// One was handed out.
    Chunk,
    /// The stream has passed the change of columns that this chunk's view shows, and was told nothing of it: no row was changed
    /// since. The table gets the columns of the chunk.
    Columns(usize, Arc<ReadWith>),
}

impl SnapshotSide {
    /// A snapshot of no table yet; `id` is for those to come.
    pub fn none(id: String, context: Arc<SnapshotContext>) -> Self {
        Self { id, context, tables: Vec::new(), run: None, held: Vec::new(), in_order: false }
    }

    /// Begins to read.
    pub fn begin(&mut self, tables: Vec<SideTable>, jobs: Vec<Job>, connections: usize) {
        self.tables = tables;
        self.run = Some(Snapshot::start(self.context.clone(), jobs, connections));
    }

    /// One more table, which is read once it is published.
    pub fn join(&mut self, table: SideTable) {
        self.tables.push(table);
    }

    /// A table that joins is published: it is read.
    pub fn joined(&mut self, job: Job) {
        if let Some(side) = self.tables.iter_mut().find(|side| side.at == job.at) {
            side.joining = false;
        }
        match &mut self.run {
            Some(run) => run.add(self.context.clone(), job),
            None => self.run = Some(Snapshot::start(self.context.clone(), vec![job], 1)),
        }
    }

    /// From now on chunks are handed out at their place in the stream.
    pub fn keep_order(&mut self) {
        self.in_order = true;
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.tables.is_empty()
    }

    /// Whether every chunk is handed out.
    pub fn is_read(&self) -> bool {
        self.tables.iter().all(|t| t.read)
    }

    /// Whether the stream has passed all that the views show.
    pub fn is_passed(&self) -> bool {
        self.tables.iter().all(|t| t.passed)
    }

    /// The next chunk; waits for ever when there is nothing to read. `waits` says that the stream waits for one. **Cancel-safe.**
    pub async fn next_chunk(&mut self, waits: bool) -> Option<Result<ChunkRead>> {
        match &mut self.run {
            Some(run) => run.next(&self.held, held_at_most(waits)).await,
            None => std::future::pending().await,
        }
    }

    /// The next chunk if there is one already.
    pub fn try_next_chunk(&mut self, waits: bool) -> Option<Result<ChunkRead>> {
        self.run.as_mut()?.try_next(&self.held, held_at_most(waits))
    }

    /// There are no more chunks.
    pub fn ended(&mut self) {
        self.run = None;
    }

    /// A chunk has been read.
    pub fn hold(&mut self, chunk: ChunkRead, tables: &Tables) {
        for table in tables.iter() {
            if let Some(handoff) = &table.handoff {
                lock(handoff).shown_elsewhere(&chunk.view);
            }
        }
        self.held.push(chunk);
    }

    /// Whether chunks wait for the stream.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether a chunk of this table waits for the stream to come to its columns.
    pub fn holds(&self, at: usize) -> bool {
        self.held.iter().any(|chunk| chunk.at == at)
    }

    /// Hands out one of the chunks that are held. Not before the stream has the columns it was read with: a view may be younger
    /// than a change of columns that the stream has not come to.
    ///
    /// # Errors
    /// `Bug` when rows do not fit the table's columns.
    pub fn hand_out(
        &mut self,
        stream: &StreamAt,
        tables: &mut Tables,
        out: &mut VecDeque<ChangeBatch>,
    ) -> Result<HandedOut> {
        let first = |at: &usize| self.held[..*at].iter().all(|chunk| chunk.at != self.held[*at].at);
        let fits = |chunk: &ChunkRead| tables.get(chunk.at).shape.fits(&chunk.shape.shape.as_relation());
        // Of a part of a chunk nothing is told again: before its place it comes only while the stream waits for all of the chunk.
        let admits = |chunk: &ChunkRead| match chunk.piece {
            true => stream.is_past_columns(&chunk.view, chunk.at),
            false => stream.admits(&chunk.view),
        };
        let ripe = |at: &usize| fits(&self.held[*at]) && (!self.in_order || admits(&self.held[*at]));
        let Some(ripe) = (0..self.held.len()).filter(first).find(ripe) else {
            let late = |chunk: &&ChunkRead| !fits(chunk) && stream.is_past_columns(&chunk.view, chunk.at);
            let late = (0..self.held.len()).filter(first).map(|at| &self.held[at]).find(late);
            return Ok(late.map_or(HandedOut::Nothing, |chunk| HandedOut::Columns(chunk.at, chunk.shape.clone())));
        };
        let chunk = self.held.remove(ripe);
        if self.in_order {
            // Rows of other tables that are still open come before it.
            tables.flush_all(out)?;
        }
        let turn = tables.next_turn();
        fault::point("snapshot.hand-off");
        let table = tables.get(chunk.at);
        let side = self.tables.iter_mut().find(|t| t.at == chunk.at).expect("invariant: the table is in the snapshot");
        side.torn = chunk.piece;
        if !chunk.piece {
            lock(table.handoff.as_ref().expect("invariant: the table's snapshot is under way")).hand_out();
            side.read = chunk.frontier.is_none();
            side.frontier = chunk.frontier;
        }
        for mut batch in chunk.batches {
            side.rows += batch.images() as u64;
            let schema = table.decodable.schema.clone();
            if batch.schema != schema {
                // The same columns, but for what only the catalog knows: whether they may be NULL.
                let columns = batch.rows.columns().to_vec();
                batch.rows = RecordBatch::try_new(schema.arrow.clone(), columns)
                    .or_code(Code::Bug, || format!("a chunk does not fit the columns of {}", schema.id))?;
                batch.schema = schema;
            }
            Arc::make_mut(&mut batch.origins).set_turn(turn);
            out.push_back(batch);
        }
        Ok(HandedOut::Chunk)
    }

    /// The stream has come to `boundary`: tables that are read and caught up with need no judging any more.
    pub fn passed(&mut self, boundary: Lsn, tables: &mut Tables) {
        for side in self.tables.iter_mut().filter(|t| !t.passed) {
            let table = tables.get_mut(side.at);
            side.passed = table.handoff.as_ref().is_none_or(|h| lock(h).passed(boundary));
            if side.passed {
                table.handoff = None;
            }
        }
    }

    /// For the position.
    pub fn state(&self, tables: &Tables) -> Option<SnapshotState> {
        let table = |side: &SideTable| {
            let mut saved = SnapshotTable {
                rows: side.rows,
                frontier: side.frontier.clone(),
                torn: side.torn,
                joining: side.joining,
                by: columns_of(tables.get(side.at)),
                ..SnapshotTable::new(side.at as u32)
            };
            if let Some(handoff) = &tables.get(side.at).handoff {
                let handoff = lock(handoff);
                let chunk = |c: &Chunk| (c.upper.as_deref().map(to_hex), c.view.to_string());
                saved.chunks = handoff.done().iter().map(chunk).collect();
                saved.dropped = handoff.dropped().collect();
            }
            saved
        };
        let all: Vec<_> = self.tables.iter().filter(|t| !t.passed).map(table).collect();
        (!all.is_empty()).then(|| SnapshotState { id: self.id.clone(), tables: all, done: self.is_read() })
    }

    /// For people.
    pub fn progress(&self, tables: &Tables) -> Vec<TableProgress> {
        let table = |side: &SideTable| TableProgress {
            table: tables.get(side.at).id.clone(),
            rows: side.rows,
            estimated: side.estimated.max(side.rows),
            done: side.read,
        };
        self.tables.iter().map(table).collect()
    }
}

fn held_at_most(waits: bool) -> usize {
    if waits { HELD_WHILE_WAITING } else { HELD }
}

/// The columns that a table is ordered by, where that is not its key.
fn columns_of(table: &Table) -> Vec<i16> {
    table.order.as_ref().map(|order| order.columns(&table.shape)).unwrap_or_default()
}
