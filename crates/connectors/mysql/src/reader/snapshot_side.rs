//! The snapshot as the reader sees it: chunks taken, chunks held, tables done.

use crate::place::Place;
use crate::position::{KeyValue, SnapshotState, SnapshotTable, to_hex};
use crate::snapshot::{ChunkRead, Snapshot, lock};
use crate::stream::{Machine, Tables};
use dujiang_core::source::TableProgress;
use dujiang_core::{ChangeBatch, Code, Error, Result, fault};
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
    pub frontier: Option<Vec<KeyValue>>,
    /// Its last chunk is handed out.
    pub read: bool,
    /// The stream has passed all its hand-off points.
    pub passed: bool,
}

/// The snapshot beside the stream.
pub struct SnapshotSide {
    id: String,
    tables: Vec<SideTable>,
    run: Option<Snapshot>,
    /// Chunks whose columns the stream has not come to, at most one per connection.
    held: Vec<ChunkRead>,
    /// Chunks wait until the stream has come to their place.
    in_order: bool,
}

impl SnapshotSide {
    /// No snapshot.
    pub fn none() -> Self {
        Self { id: String::new(), tables: Vec::new(), run: None, held: Vec::new(), in_order: false }
    }

    /// A snapshot under way.
    pub fn new(id: String, tables: Vec<SideTable>, run: Option<Snapshot>) -> Self {
        Self { id, tables, run, held: Vec::new(), in_order: false }
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

    /// Whether the stream has passed every hand-off point.
    pub fn is_passed(&self) -> bool {
        self.tables.iter().all(|t| t.passed)
    }

    /// The next chunk; waits for ever when there is nothing to read. **Cancel-safe.**
    pub async fn next_chunk(&mut self) -> Option<Result<ChunkRead>> {
        match &mut self.run {
            Some(run) => run.next(&self.held).await,
            None => std::future::pending().await,
        }
    }

    /// The next chunk if there is one already.
    pub fn try_next_chunk(&mut self) -> Option<Result<ChunkRead>> {
        self.run.as_mut()?.try_next(&self.held)
    }

    /// There are no more chunks.
    pub fn ended(&mut self) {
        self.run = None;
    }

    /// A chunk has been read.
    pub fn hold(&mut self, chunk: ChunkRead) {
        self.held.push(chunk);
    }

    /// Hands out one of the chunks that are held. Not before the stream has the columns it was read with: a view may be younger
    /// than a DDL that the stream has not come to.
    ///
    /// # Errors
    /// `SchemaChange` when the stream passes the chunk's place and still has other columns.
    pub fn hand_out(&mut self, stream: &Machine, tables: &mut Tables, out: &mut VecDeque<ChangeBatch>) -> Result<bool> {
        let fits = |chunk: &ChunkRead| tables.get(chunk.at).shape.columns == chunk.shape.columns;
        if let Some(late) = self.held.iter().find(|chunk| !fits(chunk) && *stream.boundary() >= chunk.point) {
            return Err(unexplained(&tables.get(late.at).id.to_string(), &late.point));
        }
        let ripe = |chunk: &ChunkRead| fits(chunk) && (!self.in_order || *stream.place() >= chunk.point);
        let Some(ripe) = self.held.iter().position(ripe) else { return Ok(false) };
        let chunk = self.held.remove(ripe);
        if self.in_order {
            // Rows of other tables that are still open come before it.
            tables.flush_all(out)?;
        }
        let turn = tables.next_turn();
        let table = tables.get(chunk.at);
        fault::point("snapshot.hand-off");
        let handoff = table.handoff.as_ref().expect("invariant: the table's snapshot is under way");
        lock(handoff).hand_out();
        let side = self.tables.iter_mut().find(|t| t.at == chunk.at).expect("invariant: the table is in the snapshot");
        side.read = chunk.frontier.is_none();
        side.frontier = chunk.frontier;
        if let Some(mut batch) = chunk.batch {
            batch.schema = table.decodable.schema.clone();
            Arc::make_mut(&mut batch.origins).set_turn(turn);
            side.rows += batch.images() as u64;
            out.push_back(batch);
        }
        Ok(true)
    }

    /// The stream has come to `boundary`: tables that are read and caught up with need no judging any more.
    pub fn passed(&mut self, boundary: &Place, tables: &mut Tables) {
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
        let open = self.tables.iter().filter(|t| !t.passed);
        let table = |side: &SideTable| {
            let chunks = tables.get(side.at).handoff.as_ref().map(|h| {
                let handoff = lock(h);
                let chunk = |c: &crate::snapshot::Chunk| (c.upper.as_deref().map(to_hex), c.point.to_string());
                handoff.done().iter().map(chunk).collect()
            });
            SnapshotTable {
                table: side.at as u32,
                rows: side.rows,
                chunks: chunks.unwrap_or_default(),
                frontier: side.frontier.clone(),
            }
        };
        let all: Vec<_> = open.map(table).collect();
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

#[cold]
fn unexplained(table: &str, point: &Place) -> Error {
    let message = format!("captured table {table} has other columns in the catalog than its log explains");
    Error::new(Code::SchemaChange, message)
        .fact("position", point.to_string())
        .help("a DDL was run without being logged (sql_log_bin=0); start a new pipeline with a new snapshot")
}
