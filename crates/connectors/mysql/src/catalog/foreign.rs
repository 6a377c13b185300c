//! Foreign keys that change rows without the log showing it.

use crate::client::{Connection, quote};
use dujiang_core::{Result, TableId};
use std::collections::{BTreeSet, HashSet};

/// A foreign key of a captured table by which the server changes or deletes the table's rows on its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cascade {
    /// The table whose rows are changed.
    pub child: TableId,
    /// Name of the constraint.
    pub constraint: String,
    /// The table whose changes cause it.
    pub parent: TableId,
    /// The key's columns, each with the column it refers to.
    pub columns: Vec<(String, String)>,
    /// `ON DELETE` rule.
    pub on_delete: String,
    /// `ON UPDATE` rule.
    pub on_update: String,
}

/// The cascading foreign keys of these tables, in order.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn cascades(connection: &mut Connection, tables: &[TableId]) -> Result<Vec<Cascade>> {
    let wanted: HashSet<&TableId> = tables.iter().collect();
    let databases: BTreeSet<&str> = tables.iter().map(|t| &*t.database).collect();
    let mut out = Vec::new();
    for database in databases {
        let sql = format!(
            "SELECT TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, DELETE_RULE, UPDATE_RULE \
             FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {} AND \
             (DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION'))",
            quote::text(database)
        );
        for row in connection.query(&sql).await?.iter() {
            let child = TableId::new(database, row.required(0)?);
            if !wanted.contains(&child) {
                continue;
            }
            out.push(Cascade {
                child,
                constraint: row.required(1)?.to_owned(),
                parent: TableId::new(row.text(2)?.unwrap_or(database), row.required(3)?),
                columns: Vec::new(),
                on_delete: row.required(4)?.to_owned(),
                on_update: row.required(5)?.to_owned(),
            });
        }
    }
    for cascade in &mut out {
        cascade.columns = columns(connection, cascade).await?;
    }
    out.sort();
    Ok(out)
}

async fn columns(connection: &mut Connection, cascade: &Cascade) -> Result<Vec<(String, String)>> {
    let sql = format!(
        "SELECT COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE CONSTRAINT_SCHEMA = {} \
         AND TABLE_SCHEMA = {0} AND TABLE_NAME = {} AND CONSTRAINT_NAME = {} AND REFERENCED_COLUMN_NAME IS NOT NULL \
         ORDER BY ORDINAL_POSITION",
        quote::text(&cascade.child.database),
        quote::text(&cascade.child.table),
        quote::text(&cascade.constraint)
    );
    let rows = connection.query(&sql).await?;
    rows.iter().map(|row| Ok((row.required(0)?.to_owned(), row.required(1)?.to_owned()))).collect()
}
