//! The snapshot as the reader sees it: chunks taken, chunks held, tables done.

use crate::place::Place;
use crate::position::{KeyValue, SnapshotState, SnapshotTable, to_hex};
use crate::snapshot::{ChunkRead, Job, Snapshot, SnapshotContext, lock};
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
    /// The id of its rows' snapshot, if it is not the one of the beginning.
    pub id: Option<String>,
}

/// The snapshot beside the stream.
pub struct SnapshotSide {
    id: String,
    tables: Vec<SideTable>,
    run: Option<Snapshot>,
    /// For tables that join later.
    context: Option<Arc<SnapshotContext>>,
    connections: usize,
    /// Chunks whose columns the stream has not come to, at most one per connection.
    held: Vec<ChunkRead>,
    /// Chunks wait until the stream has come to their place.
    in_order: bool,
}

impl SnapshotSide {
    /// Nothing to read; with what tables that join later are read over so many connections.
    pub fn new(id: String, context: Option<Arc<SnapshotContext>>, connections: usize) -> Self {
        Self { id, tables: Vec::new(), run: None, context, connections, held: Vec::new(), in_order: false }
    }

    /// From now on chunks are handed out at their place in the stream.
    pub fn keep_order(&mut self) {
        self.in_order = true;
    }

    /// One more table, and what is to be read of it, if anything is.
    ///
    /// # Errors
    /// `Bug` when there is nothing to read it with.
    pub fn add(&mut self, side: SideTable, job: Option<Job>) -> Result<()> {
        self.tables.push(side);
        let Some(job) = job else { return Ok(()) };
        if let Some(run) = &mut self.run {
            run.add(job);
            return Ok(());
        }
        let context = self.context.clone().ok_or_else(|| Error::new(Code::Bug, "no snapshot can be begun"))?;
        self.run = Some(Snapshot::start(context, vec![job], self.connections));
        Ok(())
    }

    /// With what tables that join from now on are read.
    pub fn read_with(&mut self, context: Arc<SnapshotContext>) {
        self.context.get_or_insert(context);
    }

    /// The table of this number is gone, or empty, or begins anew: nothing more of it is read.
    pub fn cancel(&mut self, at: usize, tables: &mut Tables) {
        let table = tables.get_mut(at);
        if let Some(handoff) = table.handoff.take() {
            lock(&handoff).cancel();
        }
        table.from = None;
        self.tables.retain(|side| side.at != at);
        self.held.retain(|chunk| chunk.at != at);
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

    /// A chunk has been read; one of a table that is gone or has begun anew meanwhile is thrown away.
    pub fn hold(&mut self, chunk: ChunkRead) {
        if !lock(&chunk.handoff).is_cancelled() {
            self.held.push(chunk);
        }
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
        let waits = self.in_order && !fault::removed("chunk-at-its-place");
        let ripe = |chunk: &ChunkRead| fits(chunk) && (!waits || *stream.place() >= chunk.point);
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
    ///
    /// # Errors
    /// `TableGone` when a table cannot be read any more, and no statement up to there says why.
    pub fn passed(&mut self, boundary: &Place, tables: &mut Tables) -> Result<()> {
        for side in self.tables.iter_mut().filter(|t| !t.passed) {
            let table = tables.get_mut(side.at);
            if let Some(handoff) = &table.handoff {
                let mut handoff = lock(handoff);
                if handoff.missing().is_some_and(|missing| missing <= boundary) {
                    return Err(vanished(&table.id.to_string(), boundary));
                }
                side.passed = handoff.passed(boundary);
            } else {
                side.passed = true;
            }
            if side.passed {
                (table.handoff, table.from) = (None, None);
            }
        }
        Ok(())
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
                id: side.id.clone(),
                from: tables.get(side.at).from.as_ref().map(ToString::to_string),
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
fn vanished(table: &str, boundary: &Place) -> Error {
    let message = format!("captured table {table} is gone or has lost its key, and the log does not say how");
    Error::new(Code::TableGone, message).fact("position", boundary.to_string()).help(
        "a DDL was run without being logged (sql_log_bin=0); leave the table out of `tables`, or start a new pipeline",
    )
}

#[cold]
fn unexplained(table: &str, point: &Place) -> Error {
    let message = format!("captured table {table} has other columns in the catalog than its log explains");
    Error::new(Code::SchemaChange, message)
        .fact("position", point.to_string())
        .help("a DDL was run without being logged (sql_log_bin=0); start a new pipeline with a new snapshot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_gone_without_a_trace_reads_as_written() {
        let place = Place::new("bin.000007", 4711).expect("a place");
        let error = vanished("shop.orders", &place);
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }
}
