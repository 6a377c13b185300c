//! What is to be read, and what was.

use super::handoff::SharedHandoff;
use super::order::{Frontier, KeyOrder};
use super::view::View;
use crate::client::Connection;
use crate::followed::Followed;
use crate::lsn::Lsn;
use crate::shape::Shape;
use crate::values::ValueSettings;
use dujiang_core::budget::{Budget, Held};
use dujiang_core::clock::Clock;
use dujiang_core::{ChangeBatch, Code, Error, Result};
use std::sync::Arc;

/// A table to be read.
#[derive(Clone)]
pub struct Job {
    /// The table's number.
    pub at: usize,
    /// Its columns as the stream knows them.
    pub shape: Shape,
    /// How its keys are ordered; none for a table that is read as a whole.
    pub order: Option<KeyOrder>,
    /// The publication's condition.
    pub filter: Option<String>,
    /// Bytes as the server tells.
    pub bytes: u64,
    /// Where stream and snapshot meet.
    pub handoff: SharedHandoff,
    /// The last key read, if the table was begun.
    pub frontier: Option<Frontier>,
    /// Rows read up to there: ordinals go on from chunk to chunk, since a sink may have thrown the key away and have nothing
    /// else to tell rows of the snapshot apart.
    pub rows: u64,
}

/// A chunk, or a piece of the only chunk of a table that is read as a whole.
pub struct ChunkRead {
    /// Which of the connections read it.
    pub worker: usize,
    /// The table's number.
    pub at: usize,
    /// Its rows.
    pub batches: Vec<ChangeBatch>,
    /// The columns it was read with.
    pub shape: Arc<ReadWith>,
    /// Its last key; none when the table has ended, and for pieces.
    pub frontier: Option<Frontier>,
    /// More pieces of the same chunk follow: the hand-off is not done.
    pub piece: bool,
    /// The snapshot it was read under.
    pub view: View,
    /// Its bytes, until it is handed out.
    pub held: Held,
}

/// What chunks that are read under one view have in common.
pub struct ReadUnder {
    /// Which of the connections reads.
    pub worker: usize,
    /// The table's number.
    pub at: usize,
    /// The columns.
    pub shape: Arc<ReadWith>,
    /// The view.
    pub view: View,
    /// What the rows count against.
    pub budget: Budget,
}

impl ReadUnder {
    /// A chunk up to `frontier`, or up to the table's end.
    pub fn chunk(&self, batches: Vec<ChangeBatch>, frontier: Option<Frontier>) -> ChunkRead {
        let held = self.budget.hold(batches.iter().map(ChangeBatch::memory).sum());
        let (shape, view) = (self.shape.clone(), self.view.clone());
        ChunkRead { worker: self.worker, at: self.at, batches, shape, frontier, piece: false, view, held }
    }

    /// A part of a chunk.
    pub fn piece(&self, batches: Vec<ChangeBatch>) -> ChunkRead {
        ChunkRead { piece: true, ..self.chunk(batches, None) }
    }
}

/// The columns a chunk was read with: those of the catalog as its view shows it, which the stream may not have come to.
pub struct ReadWith {
    /// The shape.
    pub shape: Shape,
    /// How its keys are ordered.
    pub order: Option<KeyOrder>,
}

/// What all connections share.
pub struct SnapshotContext {
    /// The server.
    pub followed: Followed,
    /// Rows of a chunk at most.
    pub chunk_rows: u32,
    /// `snapshot:<id>`, the transaction of its rows.
    pub transaction: String,
    /// For the time of views.
    pub clock: Arc<dyn Clock>,
    /// Chunks count against it.
    pub budget: Budget,
    /// How values are carried.
    pub settings: ValueSettings,
    /// Bytes of a page of the log.
    pub wal_page: u64,
    /// The publication.
    pub publication: String,
    /// `server_version_num`.
    pub version: i32,
}

impl SnapshotContext {
    /// A session with the server that the stream follows: a view of another means nothing in its log.
    ///
    /// # Errors
    /// As [`Followed::connect`].
    pub async fn connect(&self) -> Result<Connection> {
        let mut connection = self.followed.connect().await?;
        // Chunks are ranges of the key: without statistics the server may think that reading the whole table is cheaper.
        connection.execute("SET enable_seqscan = off").await?;
        Ok(connection)
    }
}

/// The transactions under way, and the end of the log.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn current_view(side: &mut Connection) -> Result<View> {
    // Not the flushed end: a commit with `synchronous_commit = off` is visible before it is flushed. An end that stays unflushed on
    // an idle server comes within sight once it is given something to log.
    // A standby names no transactions.
    let rows = side
        .simple(
            "SELECT pg_catalog.pg_current_snapshot()::text, (CASE WHEN pg_catalog.pg_is_in_recovery()
               THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END)::text",
        )
        .await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell its snapshot"))?;
    View::parse(row.text(0)?, Lsn::parse(row.text(1)?)?)
}
