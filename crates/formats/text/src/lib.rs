//! Arrow batches to lines of text: JSON, one object a line, and CSV (RFC 4180). Values have the text form of
//! [`dujiang_core::text`]. [`messages`] has the formats of queues. No file is touched here.

#![warn(missing_docs)]

pub mod csv;
pub mod json;
pub mod messages;

use arrow_array::RecordBatch;
use dujiang_core::Result;
use dujiang_core::cells::Cells;

/// The columns of a batch, looked up once.
fn columns(batch: &RecordBatch) -> Result<Vec<Cells<'_>>> {
    let fields = batch.schema_ref().fields().iter();
    fields.zip(batch.columns()).map(|(field, column)| Cells::new(field, column.as_ref())).collect()
}

#[cfg(test)]
mod tests;
