//! Foreign keys that change rows without the log showing it.

use crate::client::{Connection, quote};
use crate::ddl::{self, ForeignKey};
use dujiang_core::{Result, TableId};
use std::collections::{BTreeMap, BTreeSet, HashSet};

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

/// Columns of one foreign key, and the table they refer to.
#[derive(Debug, Default)]
struct Key {
    parent: Option<TableId>,
    columns: Vec<(String, String)>,
}

/// The cascading foreign keys of these tables, in order.
///
/// `REFERENTIAL_CONSTRAINTS` has the rules, too, but MariaDB and MySQL 5.7 hide its rows from users who may only read a table.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`, `Protocol`.
pub async fn cascades(connection: &mut Connection, tables: &[TableId]) -> Result<Vec<Cascade>> {
    let mut out = Vec::new();
    for (child, keys) in foreign_keys(connection, tables).await? {
        let rules = rules(connection, &child).await?;
        for (constraint, key) in keys {
            let rule = rules.iter().find(|rule| rule.constraint == constraint);
            // Better refused by mistake than taken for harmless.
            let (on_delete, on_update) = rule.map_or(("unknown", "unknown"), |r| (r.on_delete, r.on_update));
            if [on_delete, on_update].iter().all(|rule| ["RESTRICT", "NO ACTION"].contains(rule)) {
                continue;
            }
            let parent = key.parent.unwrap_or_else(|| child.clone());
            let (on_delete, on_update) = (on_delete.to_owned(), on_update.to_owned());
            out.push(Cascade { child: child.clone(), constraint, parent, columns: key.columns, on_delete, on_update });
        }
    }
    out.sort();
    Ok(out)
}

type Keys = BTreeMap<TableId, BTreeMap<String, Key>>;

async fn foreign_keys(connection: &mut Connection, tables: &[TableId]) -> Result<Keys> {
    let wanted: HashSet<&TableId> = tables.iter().collect();
    let databases: BTreeSet<&str> = tables.iter().map(|t| &*t.database).collect();
    let mut out = Keys::new();
    for database in databases {
        let sql = format!(
            "SELECT TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, COLUMN_NAME, \
             REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = {} AND \
             REFERENCED_TABLE_NAME IS NOT NULL ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
            quote::text(database)
        );
        for row in connection.query(&sql).await?.iter() {
            let child = TableId::new(database, row.required(0)?);
            if !wanted.contains(&child) {
                continue;
            }
            let key = out.entry(child).or_default().entry(row.required(1)?.to_owned()).or_default();
            key.parent = Some(TableId::new(row.text(2)?.unwrap_or(database), row.required(3)?));
            key.columns.push((row.required(4)?.to_owned(), row.text(5)?.unwrap_or_default().to_owned()));
        }
    }
    Ok(out)
}

async fn rules(connection: &mut Connection, table: &TableId) -> Result<Vec<ForeignKey>> {
    let rows = connection.query(&format!("SHOW CREATE TABLE {}", quote::table(table)?)).await?;
    let create = rows.iter().next().map(|row| row.required(1)).transpose()?.unwrap_or_default();
    Ok(ddl::foreign_keys(create).unwrap_or_default())
}
