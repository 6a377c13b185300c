//! A transform that drops and fails as the script's flags say.

use arrow_array::Int64Array;
use dujiang_core::transform::{RowError, Transform, Transformed};
use dujiang_core::{ChangeBatch, Code, Error, Kind, Result, TableSchema};
use dujiang_testkit::memory::Flag;
use std::sync::Arc;

/// See the module.
pub struct Picky;

impl Transform for Picky {
    fn output_schema(&self, input: &Arc<TableSchema>) -> Result<Option<Arc<TableSchema>>> {
        Ok(Some(input.clone()))
    }

    fn apply(&self, batch: ChangeBatch) -> Result<Transformed> {
        let column = batch.rows.column(2).clone();
        let flags = column.as_any().downcast_ref::<Int64Array>().unwrap();
        let mut done = Transformed::default();
        let mut kept = Vec::new();
        for row in 0..batch.images() {
            match flags.value(row) {
                f if f == Flag::Filtered as i64 => done.filtered += 1,
                f if f == Flag::BadInTransform as i64 => {
                    if batch.kinds[row] != Kind::UpdateAfter {
                        done.failed.push(RowError { row, error: Error::new(Code::BadRecord, "bad on purpose") });
                    }
                }
                _ => kept.push(row as u32),
            }
        }
        if kept.len() == batch.images() {
            done.batches.push(batch);
        } else if !kept.is_empty() {
            done.batches.push(batch.take(&kept)?);
        }
        Ok(done)
    }
}
