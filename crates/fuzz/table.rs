//! A table with columns of many types.

use dujiang_core::{TableId, TableSchema};
use dujiang_format_text::messages::read_shape;
use std::sync::Arc;

const COLUMNS: &str = "id BIGINT NOT NULL, flag BOOLEAN, small SMALLINT, ratio DOUBLE, price DECIMAL(12, 2), name STRING, \
    raw BYTES, day DATE, seen TIMESTAMP(3), at TIMESTAMP_LTZ(6), doc VARIANT, PRIMARY KEY (id)";

pub fn table() -> Arc<TableSchema> {
    let (fields, key) = read_shape(COLUMNS).expect("columns");
    TableSchema::by_value(TableId::new("shop", "orders"), fields, key)
}
