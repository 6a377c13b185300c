//! What a transform promises.

use crate::Result;
use crate::batch::ChangeBatch;
use crate::error::Error;
use crate::schema::TableSchema;
use std::sync::Arc;

/// A pure function from batches to batches: same input and state, same output. No I/O, no clock, no randomness.
pub trait Transform: Send + Sync {
    /// The shape of the output for a table, or `None` when its rows are dropped.
    ///
    /// # Errors
    /// When the table cannot pass this transform.
    fn output_schema(&self, input: &Arc<TableSchema>) -> Result<Option<Arc<TableSchema>>>;

    /// Transforms one batch. Rows that fail come back as errors, never as NULLs.
    ///
    /// # Errors
    /// Only for faults of the program itself.
    fn apply(&self, batch: ChangeBatch) -> Result<Transformed>;

    /// Whether rows may get another key than they have at the source. Then one row of the sink may be several of the source, one
    /// after the other, and their order among each other counts.
    fn changes_keys(&self) -> bool {
        false
    }
}

/// A part of a rule that holds SQL or names of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    /// `projection`.
    Projection,
    /// `filter`.
    Filter,
    /// One entry of `primary-keys`, counted from 0.
    PrimaryKey(usize),
    /// One entry of `partition-keys`, counted from 0.
    PartitionKey(usize),
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Transformed {
    /// Zero or more output batches, in order.
    pub batches: Vec<ChangeBatch>,
    /// Rows of the input that failed.
    pub failed: Vec<RowError>,
    /// Images of the input that were dropped on purpose.
    pub filtered: u64,
}

/// One record that cannot be processed.
#[derive(Debug)]
pub struct RowError {
    /// Row of the batch (for an update, its before image).
    pub row: usize,
    /// Why.
    pub error: Error,
}
