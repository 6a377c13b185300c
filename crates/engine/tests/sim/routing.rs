//! A routing that makes one table of all whose keys are numbers.

use bytes::Bytes;
use dujiang_core::evolution::SinkChange;
use dujiang_core::routing::Routing;
use dujiang_core::schema::SchemaChange;
use dujiang_core::transform::Transformed;
use dujiang_core::{ChangeBatch, Error, Result, TableId, TableSchema};
use dujiang_testkit::memory::{TABLES, schema_at};
use std::sync::Arc;

/// See the module. Shapes never change.
pub struct Merging;

fn target(table: &TableId) -> Arc<TableSchema> {
    let last = schema_at(TABLES - 1, 0);
    if *table == last.id { last } else { schema_at(0, 0) }
}

impl Routing for Merging {
    fn start(&self, tables: &[Arc<TableSchema>], _: &[u8]) -> Result<Vec<Arc<TableSchema>>> {
        let mut shapes: Vec<_> = tables.iter().map(|table| target(&table.id)).collect();
        shapes.dedup_by(|a, b| a.id == b.id);
        Ok(shapes)
    }

    fn plan(&self, _: &SchemaChange) -> Result<Vec<SinkChange>> {
        Ok(Vec::new())
    }

    fn prepare(&self, _: &SinkChange) -> Option<SinkChange> {
        None
    }

    fn accept(&self, _: &SinkChange) {}

    fn tolerates(&self, _: &Error) -> bool {
        false
    }

    fn settle(&self, _: &SchemaChange) -> Result<()> {
        Ok(())
    }

    fn merges(&self) -> bool {
        true
    }

    fn apply(&self, batch: ChangeBatch) -> Result<Transformed> {
        let schema = target(&batch.schema.id);
        let mut origins = batch.origins.clone();
        Arc::make_mut(&mut origins).keep_table(&batch.schema.id);
        Ok(Transformed { batches: vec![ChangeBatch { schema, origins, ..batch }], ..Transformed::default() })
    }

    fn kept(&self) -> Bytes {
        Bytes::new()
    }
}
