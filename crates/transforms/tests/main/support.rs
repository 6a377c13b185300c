//! Tables and batches for the tests.

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use dujiang_core::batch::TimePrecision;
use dujiang_core::clock::Standing;
use dujiang_core::schema::KeyEquality;
use dujiang_core::{ChangeBatch, Kind, Origin, Origins, TableId, TableSchema};
use dujiang_transforms::{Compiled, Context, Mistake, Rule, Tz};
use std::sync::Arc;

pub fn context() -> Context {
    Context { time_zone: Tz::UTC, clock: Arc::new(Standing(1_700_000_000_123_456)), metadata: Vec::new() }
}

pub fn table(arrow: Arc<Schema>) -> Arc<TableSchema> {
    Arc::new(TableSchema {
        id: TableId::new("d", "t"),
        version: 1,
        arrow,
        key: vec![],
        key_equality: KeyEquality::NoKey,
    })
}

/// Inserted rows.
pub fn batch(schema: &Arc<TableSchema>, rows: RecordBatch) -> ChangeBatch {
    let mut origins = Origins::default();
    let origin = Origin {
        transaction: "t",
        position: "p",
        commit_micros: 0,
        precision: TimePrecision::Micros,
        first_ordinal: 0,
    };
    if rows.num_rows() > 0 {
        origins.push(rows.num_rows(), origin);
    }
    let kinds = vec![Kind::Insert; rows.num_rows()];
    ChangeBatch::new(schema.clone(), rows, kinds, origins).unwrap()
}

/// A projection compiled for a table.
pub fn projection(text: &str, schema: &Arc<TableSchema>) -> Result<Compiled, Vec<Mistake>> {
    projection_in(Tz::UTC, text, schema)
}

/// A projection compiled for a table and a time zone.
pub fn projection_in(zone: Tz, text: &str, schema: &Arc<TableSchema>) -> Result<Compiled, Vec<Mistake>> {
    let context = Context { time_zone: zone, ..context() };
    Compiled::new(&Rule { projection: Some(text.to_owned()), ..Rule::default() }, schema, &context)
}
