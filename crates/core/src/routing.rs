//! What lies between transforms and lanes: the sink's names, merged shapes, and which schema changes reach the sink.

use crate::batch::ChangeBatch;
use crate::error::{Error, Result};
use crate::evolution::SinkChange;
use crate::schema::{SchemaChange, TableSchema};
use crate::transform::Transformed;
use bytes::Bytes;
use std::sync::Arc;

/// Gives tables their names and shapes at the sink. Pure: no I/O, no clock, no randomness; its memory is the sink's shapes.
///
/// A change of shape runs between two epochs, while nothing is read: the engine asks for the [`plan`](Routing::plan), has
/// the sink take its events one by one ([`prepare`](Routing::prepare), the sink, [`accept`](Routing::accept)), then
/// [`settle`](Routing::settle)s. A crash on the way brings the same change to the same state again.
pub trait Routing: Send + Sync {
    /// The tables known at a start, after transforms, and what [`kept`](Routing::kept) returned at the position of the
    /// start. Returns the shape of every table of the sink.
    ///
    /// # Errors
    /// `SchemaChange` when tables cannot be merged; `StateVersion` when `kept` cannot be read.
    fn start(&self, tables: &[Arc<TableSchema>], kept: &[u8]) -> Result<Vec<Arc<TableSchema>>>;

    /// The events that a change, as it looks after transforms, makes for tables of the sink, in order, as if the sink took
    /// each of them.
    ///
    /// # Errors
    /// `SchemaChange` when the pipeline's behaviour forbids the change.
    fn plan(&self, change: &SchemaChange) -> Result<Vec<SinkChange>>;

    /// A planned event over the shape that the sink really has; `None` when that already is as the event would make it.
    fn prepare(&self, planned: &SinkChange) -> Option<SinkChange>;

    /// The sink has taken the change.
    fn accept(&self, change: &SinkChange);

    /// Whether the pipeline goes on when the sink refuses a change: later rows then take the shape the sink has kept.
    fn tolerates(&self, refusal: &Error) -> bool;

    /// From now on rows of the table come in the new shape.
    ///
    /// # Errors
    /// `SchemaChange` when such rows cannot take the sink's shape.
    fn settle(&self, change: &SchemaChange) -> Result<()>;

    /// Whether rows of several tables may become one table of the sink, so that their order among each other counts.
    fn merges(&self) -> bool {
        false
    }

    /// The batches of the sink's tables that a batch becomes. Rows that do not fit come back, never as NULLs.
    ///
    /// # Errors
    /// Only for faults of the program itself.
    fn apply(&self, batch: ChangeBatch) -> Result<Transformed>;

    /// What a start needs besides the source's shapes; part of every checkpoint. Empty when they say it all.
    fn kept(&self) -> Bytes;
}
