//! Rows that are not encoded yet.

use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use dujiang_core::{Code, Result, ResultExt};

/// Batches of fewer rows than this are put together.
const SMALL_ROWS: usize = 512;
/// When there are so many in a row.
const SMALL_BATCHES: usize = 16;
/// What an array takes besides its values: the allocations around it.
const ARRAY_BYTES: usize = 192;

/// Batches in the order they came.
#[derive(Default)]
pub(crate) struct Waiting {
    batches: Vec<RecordBatch>,
    /// Small ones at the end.
    small: usize,
    /// Of the values.
    bytes: usize,
    memory: usize,
}

/// Bytes of a batch's own values: its buffers may hold those of others too.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    let of =
        |array: &dyn Array| array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
    batch.columns().iter().map(|array| of(array)).sum()
}

fn memory_of(batch: &RecordBatch) -> usize {
    batch.get_array_memory_size() + batch.num_columns() * ARRAY_BYTES
}

impl Waiting {
    /// Keeps a batch that has so many bytes of its own.
    ///
    /// # Errors
    /// `Bug`.
    pub(crate) fn push(&mut self, batch: RecordBatch, bytes: usize) -> Result<()> {
        let batch = if batch.get_array_memory_size() > 2 * bytes + (4 << 10) { copied(&batch)? } else { batch };
        self.bytes += bytes;
        self.memory += memory_of(&batch);
        self.small = if batch.num_rows() < SMALL_ROWS { self.small + 1 } else { 0 };
        self.batches.push(batch);
        if self.small >= SMALL_BATCHES {
            self.put_together()?;
        }
        Ok(())
    }

    fn put_together(&mut self) -> Result<()> {
        let small = self.batches.split_off(self.batches.len() - self.small);
        let one = concat_batches(&small[0].schema(), &small).or_code(Code::Bug, || "put rows together".to_owned())?;
        self.memory = self.memory - small.iter().map(memory_of).sum::<usize>() + memory_of(&one);
        self.small = usize::from(one.num_rows() < SMALL_ROWS);
        self.batches.push(one);
        Ok(())
    }

    /// Hands all of them out.
    pub(crate) fn take(&mut self) -> Vec<RecordBatch> {
        std::mem::take(self).batches
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Bytes of the values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }
}

/// The rows in buffers of their own: a slice keeps all of what it was cut from.
fn copied(batch: &RecordBatch) -> Result<RecordBatch> {
    let all = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    take_record_batch(batch, &all).or_code(Code::Bug, || "copy rows".to_owned())
}
