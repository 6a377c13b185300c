//! Keys of captured tables: the log says nothing of indexes, and rows are told apart by a key for as long as it is one.

use crate::client::Connection;
use crate::shape::Shape;
use dujiang_core::{Code, Error, Result, TableId};
use std::fmt::Write;

/// The key by which rows of a table are told apart.
#[derive(Debug, Clone)]
pub struct Key {
    relation: u32,
    table: TableId,
    /// `attnum` of its columns: they stay when columns are renamed.
    columns: Vec<(i16, String)>,
}

impl Key {
    /// That of a table which has one.
    pub fn of(shape: &Shape) -> Option<Self> {
        let column = |at: &usize| shape.columns.get(*at).map(|column| (column.number, column.name.clone()));
        let columns = shape.key.iter().map(column).collect::<Option<Vec<_>>>()?;
        let known = !columns.is_empty() && columns.iter().all(|(number, _)| *number != 0);
        known.then(|| Self { relation: shape.relation, table: shape.id(), columns })
    }

    fn numbers(&self) -> String {
        let numbers: Vec<String> = self.columns.iter().map(|(number, _)| number.to_string()).collect();
        numbers.join(",")
    }
}

/// Whether the server still sees to it that every key is held by one row: an index over some or all of its columns is unique, and they
/// are NOT NULL. The place of the stream does not matter: rows that a key no longer tells apart may have been written from then on.
///
/// # Errors
/// `SchemaChange`; what keeps from looking.
pub async fn check(connection: &mut Connection, keys: &[Key]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let rows = connection.simple(&without(keys)).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let at: usize = row.parse(0)?;
    let key = keys.get(at).ok_or_else(|| Error::new(Code::Bug, "a table that was not asked for"))?;
    Err(gone(key))
}

/// The first of the tables that are still there and have lost their key.
fn without(keys: &[Key]) -> String {
    let mut values = String::new();
    for (at, key) in keys.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let _ = write!(
            values,
            "{comma}({at}, {}::pg_catalog.oid, '{{{}}}'::pg_catalog.int2[])",
            key.relation,
            key.numbers()
        );
    }
    format!(
        "SELECT k.at FROM (VALUES {values}) k (at, relation, columns) JOIN pg_catalog.pg_class c ON c.oid = k.relation
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_index i
           WHERE i.indrelid = k.relation AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
             AND i.indexprs IS NULL AND NOT EXISTS (
               SELECT FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY n (number, place)
                 LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = k.relation AND a.attnum = n.number
               WHERE n.place <= i.indnkeyatts AND (n.number = ANY (k.columns) AND a.attnotnull) IS NOT TRUE))
         ORDER BY k.at LIMIT 1"
    )
}

#[cold]
fn gone(key: &Key) -> Error {
    let names: Vec<&str> = key.columns.iter().map(|(_, name)| name.as_str()).collect();
    let message = format!("the key of captured table {} is gone or another: rows are told apart by it", key.table);
    Error::new(Code::SchemaChange, message)
        .fact("table", key.table.to_string())
        .fact("key", names.join(", "))
        .help(
            "start a new pipeline with a new snapshot of the table; or, if no row was written that it would have refused, make it the \
             table's key again: the pipeline then goes on",
        )
}
