//! Tables with a number and a text, and rows of them.

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::batch::TimePrecision;
use dujiang_core::{ChangeBatch, Kind, Origin, Origins, TableId, TableSchema};
use std::ops::Range;
use std::sync::Arc;

/// `shop.<name>`: `id` BIGINT (the key), `text` TEXT.
pub fn table(name: &str) -> Arc<TableSchema> {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, true)];
    TableSchema::by_value(TableId::new("shop", name), fields, vec![0])
}

/// The same table after `ADD more BIGINT UNSIGNED`.
pub fn wider(table: &Arc<TableSchema>) -> Arc<TableSchema> {
    let mut fields: Vec<_> = table.arrow.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("more", DataType::UInt64, true)));
    let arrow = Arc::new(Schema::new(fields));
    Arc::new(TableSchema { version: table.version + 1, arrow, ..(**table).clone() })
}

/// Images of one transaction.
///
/// # Panics
/// For rows that are no batch.
pub fn rows(schema: &Arc<TableSchema>, rows: &[(Kind, i64, &str)]) -> ChangeBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.2)));
    let batch = RecordBatch::try_new(schema.arrow.clone(), vec![ids, texts]).expect("columns fit");
    let (mut origins, transaction) = (Origins::default(), format!("tx{}", rows[0].1));
    let (precision, commit_micros) = (TimePrecision::Micros, 1_700_000_000_000_000);
    let origin = Origin { transaction: &transaction, position: "bin.1:4", commit_micros, precision, first_ordinal: 0 };
    origins.push(rows.len(), origin);
    ChangeBatch::new(schema.clone(), batch, rows.iter().map(|row| row.0).collect(), origins).expect("a batch")
}

/// Inserts of these ids.
pub fn inserts(schema: &Arc<TableSchema>, ids: Range<i64>) -> ChangeBatch {
    let all: Vec<_> = ids.map(|id| (Kind::Insert, id, "text")).collect();
    rows(schema, &all)
}

/// The ids of a batch.
///
/// # Panics
/// When its first column holds none.
pub fn ids(batch: &ChangeBatch) -> &[i64] {
    batch.rows.column(0).as_any().downcast_ref::<Int64Array>().expect("ids").values()
}
