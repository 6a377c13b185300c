//! The snapshot as the reader sees it: chunks taken, chunks handed out, tables done.

use crate::lsn::Lsn;
use crate::position::{SnapshotState, SnapshotTable, to_hex};
use crate::snapshot::{Chunk, ChunkRead, Snapshot, lock};
use crate::stream::Tables;
use dujiang_core::source::TableProgress;
use dujiang_core::{ChangeBatch, Result, fault};
use std::collections::VecDeque;

/// A table whose snapshot is not complete, or not yet caught up with.
pub struct SideTable {
    /// Its number.
    pub at: usize,
    /// Rows handed out.
    pub rows: u64,
    /// Rows it is believed to have.
    pub estimated: u64,
    /// Last key handed out.
    pub frontier: Option<Vec<String>>,
    /// Its last chunk is handed out.
    pub read: bool,
    /// The stream has passed all that its views show.
    pub passed: bool,
}

/// The snapshot beside the stream.
pub struct SnapshotSide {
    id: String,
    tables: Vec<SideTable>,
    run: Option<Snapshot>,
}

impl SnapshotSide {
    /// No snapshot.
    pub fn none() -> Self {
        Self { id: String::new(), tables: Vec::new(), run: None }
    }

    /// A snapshot under way.
    pub fn new(id: String, tables: Vec<SideTable>, run: Option<Snapshot>) -> Self {
        Self { id, tables, run }
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

    /// The next chunk; waits for ever when there is nothing to read. **Cancel-safe.**
    pub async fn next_chunk(&mut self) -> Option<Result<ChunkRead>> {
        match &mut self.run {
            Some(run) => run.next().await,
            None => std::future::pending().await,
        }
    }

    /// The next chunk if there is one already.
    pub fn try_next_chunk(&mut self) -> Option<Result<ChunkRead>> {
        self.run.as_mut()?.try_next()
    }

    /// There are no more chunks.
    pub fn ended(&mut self) {
        self.run = None;
    }

    /// Hands out a chunk.
    pub fn hand_out(&mut self, chunk: ChunkRead, tables: &mut Tables, out: &mut VecDeque<ChangeBatch>) {
        fault::point("snapshot.hand-off");
        for table in tables.iter() {
            if let Some(handoff) = &table.handoff {
                lock(handoff).prune(&chunk.view);
            }
        }
        let table = tables.get(chunk.at);
        let side = self.tables.iter_mut().find(|t| t.at == chunk.at).expect("invariant: the table is in the snapshot");
        if !chunk.piece {
            lock(table.handoff.as_ref().expect("invariant: the table's snapshot is under way")).hand_out();
            side.read = chunk.frontier.is_none();
            side.frontier = chunk.frontier;
        }
        for batch in chunk.batches {
            side.rows += batch.images() as u64;
            out.push_back(batch);
        }
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
