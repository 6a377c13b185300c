//! Tables, their columns and their keys.

use super::selector::{TableFilter, is_system};
use crate::client::{Connection, TextRow, TextRows, quote};
use crate::decode::ZeroDates;
use crate::shape::{Shape, ShapeColumn};
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::{BTreeMap, HashMap};

/// Up to so many tables of a database are asked for one by one, in one query; for more, the whole database is read.
/// (MariaDB opens every table it is asked about, and finds a table by equality only.)
const NAMED_ONE_BY_ONE: usize = 50;

/// Kinds of what is listed among tables and has no rows of its own.
const NO_TABLES: [&str; 3] = ["VIEW", "SYSTEM VIEW", "SEQUENCE"];

/// Tables of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Tables the filter means, in order of database and name.
    pub captured: Vec<TableId>,
    /// Tables the filter means that cannot be captured, with the type the server gives them.
    pub unfit: Vec<(TableId, String)>,
    /// All tables the user can see, of databases that are not the server's own.
    pub visible: Vec<TableId>,
}

/// The databases the user can see, without the server's own.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn databases(connection: &mut Connection) -> Result<Vec<String>> {
    let rows = connection.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA").await?;
    let mut names: Vec<_> = rows.iter().map(|r| r.required(0).map(str::to_owned)).collect::<Result<_>>()?;
    names.retain(|n| !is_system(n));
    names.sort();
    Ok(names)
}

/// Finds the tables the filter means. Views and sequences are no tables.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn find_tables(connection: &mut Connection, filter: &TableFilter) -> Result<Found> {
    let rows = connection.query("SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES").await?;
    let mut found = Found::default();
    for row in rows.iter() {
        let (database, table, kind) = (row.required(0)?, row.required(1)?, row.text(2)?.unwrap_or_default());
        if is_system(database) || NO_TABLES.contains(&kind) {
            continue;
        }
        let id = TableId::new(database, table);
        if filter.captures(&id)? {
            match kind {
                "BASE TABLE" => found.captured.push(id.clone()),
                other => found.unfit.push((id.clone(), other.to_owned())),
            }
        }
        found.visible.push(id);
    }
    found.captured.sort();
    found.unfit.sort();
    found.visible.sort();
    Ok(found)
}

/// The statements that read a catalog table for certain tables; rows may come in any order, and rows of other tables may
/// be among them. `select` ends before its WHERE.
fn queries(tables: &[TableId], select: &str, and: &str) -> Vec<String> {
    let mut by_database: BTreeMap<&str, Vec<&TableId>> = BTreeMap::new();
    for id in tables {
        by_database.entry(&id.database).or_default().push(id);
    }
    let query = |(database, ids): (&str, Vec<&TableId>)| {
        let database = quote::text(database);
        if ids.len() > NAMED_ONE_BY_ONE {
            return format!("{select} WHERE TABLE_SCHEMA = {database}{and}");
        }
        let one = |id: &&TableId| {
            let table = quote::text(&id.table);
            format!("{select} WHERE TABLE_SCHEMA = {database} AND TABLE_NAME = {table}{and}")
        };
        ids.iter().map(one).collect::<Vec<_>>().join(" UNION ALL ")
    };
    by_database.into_iter().map(query).collect()
}

async fn run(connection: &mut Connection, queries: Vec<String>) -> Result<Vec<TextRows>> {
    let mut all = Vec::with_capacity(queries.len());
    for sql in queries {
        all.push(connection.query(&sql).await?);
    }
    Ok(all)
}

/// The shapes of tables, version 1, in the order given, under a policy. A table that is gone meanwhile is left out, and so is a view
/// that bears the name.
///
/// # Errors
/// `NotSupported` for a table of a kind that cannot be captured; `ConnectionLost`, `SourceQuery`.
pub async fn shapes(connection: &mut Connection, tables: &[TableId], zero_dates: ZeroDates) -> Result<Vec<Shape>> {
    let mut columns = read_columns(connection, tables).await?;
    let keys = read_keys(connection, tables).await?;
    let mut kinds = read_kinds(connection, tables).await?;
    kinds.retain(|_, (kind, _)| !NO_TABLES.contains(&&**kind));
    let kind = |id: &TableId| kinds.get(id).map(|(kind, _)| kind);
    let unfit = tables.iter().find_map(|id| Some((id, kind(id).filter(|kind| *kind != "BASE TABLE")?)));
    if let Some((id, kind)) = unfit {
        return Err(Error::new(Code::NotSupported, format!("table {id} is of a kind that cannot be captured: {kind}"))
            .help("leave it out with `tables.exclude`"));
    }
    let shape = |id: &TableId| {
        let (_, collation) = kinds.remove(id)?;
        let columns = columns.remove(id)?;
        let place = |name: &String| columns.iter().position(|c| c.name == *name);
        let usable = |(index, names): &(String, Vec<String>)| {
            Some((names.iter().map(place).collect::<Option<Vec<_>>>()?, Some(index.clone())))
        };
        let (key, key_name) = keys.get(id).into_iter().flatten().find_map(usable).unwrap_or_default();
        Some(Shape {
            database: id.database.to_string(),
            table: id.table.to_string(),
            version: 1,
            columns,
            key,
            zero_dates,
            key_name,
            collation,
        })
    };
    Ok(tables.iter().filter_map(shape).collect())
}

async fn read_columns(connection: &mut Connection, tables: &[TableId]) -> Result<HashMap<TableId, Vec<ShapeColumn>>> {
    let select = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, \
                  ORDINAL_POSITION FROM information_schema.COLUMNS";
    let mut out: HashMap<TableId, Vec<(u32, ShapeColumn)>> = HashMap::with_capacity(tables.len());
    for rows in run(connection, queries(tables, select, "")).await? {
        for row in rows.iter() {
            let column = ShapeColumn {
                name: row.required(2)?.to_owned(),
                column_type: row.required(3)?.to_owned(),
                charset: row.text(4)?.map(str::to_owned),
                collation: row.text(5)?.map(str::to_owned),
                nullable: row.required(6)? == "YES",
            };
            out.entry(table_of(&row)?).or_default().push((row.parse(7)?.unwrap_or(0), column));
        }
    }
    let in_order = |(id, mut columns): (TableId, Vec<(u32, ShapeColumn)>)| {
        columns.sort_by_key(|(place, _)| *place);
        (id, columns.into_iter().map(|(_, column)| column).collect())
    };
    Ok(out.into_iter().map(in_order).collect())
}

/// The kind of a table, and the collation of columns for which a DDL names none.
type Kind = (String, Option<String>);

async fn read_kinds(connection: &mut Connection, tables: &[TableId]) -> Result<HashMap<TableId, Kind>> {
    let select = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_COLLATION FROM information_schema.TABLES";
    let mut out = HashMap::with_capacity(tables.len());
    for rows in run(connection, queries(tables, select, "")).await? {
        for row in rows.iter() {
            let kind = row.text(2)?.unwrap_or_default().to_owned();
            out.insert(table_of(&row)?, (kind, row.text(3)?.map(str::to_owned)));
        }
    }
    Ok(out)
}

/// The generated columns of tables, in order of table and name.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn generated_columns(connection: &mut Connection, tables: &[TableId]) -> Result<Vec<(TableId, String)>> {
    let select = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS";
    let and = " AND GENERATION_EXPRESSION IS NOT NULL AND EXTRA LIKE '%GENERATED%'";
    let mut found = Vec::new();
    for rows in run(connection, queries(tables, select, and)).await? {
        for row in rows.iter() {
            found.push((table_of(&row)?, row.required(2)?.to_owned()));
        }
    }
    // Of many tables of a database all are read.
    found.retain(|(table, _)| tables.contains(table));
    found.sort();
    Ok(found)
}

fn table_of(row: &TextRow<'_>) -> Result<TableId> {
    Ok(TableId::new(row.required(0)?, row.required(1)?))
}

/// A unique index while it is read.
#[derive(Default)]
struct Index {
    columns: BTreeMap<u32, String>,
    unfit: bool,
}

/// Index and column names of a table's keys.
type Keys = HashMap<TableId, Vec<(String, Vec<String>)>>;

/// The keys a table may be identified by, the best first: the primary key, then unique keys without NULLs, prefixes,
/// expressions or hashing, by name.
async fn read_keys(connection: &mut Connection, tables: &[TableId]) -> Result<Keys> {
    let select = "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART, NULLABLE, INDEX_TYPE, SEQ_IN_INDEX \
                  FROM information_schema.STATISTICS";
    let mut indexes: BTreeMap<(TableId, bool, String), Index> = BTreeMap::new();
    for rows in run(connection, queries(tables, select, " AND NON_UNIQUE = 0")).await? {
        for row in rows.iter() {
            let name = row.required(2)?.to_owned();
            let primary = name == "PRIMARY";
            let hashed = !primary && row.text(6)? == Some("HASH");
            let unfit = hashed || row.text(3)?.is_none() || row.text(4)?.is_some() || row.text(5)? == Some("YES");
            let index = indexes.entry((table_of(&row)?, !primary, name)).or_default();
            index.unfit |= unfit;
            index.columns.insert(row.parse(7)?.unwrap_or(0), row.text(3)?.unwrap_or_default().to_owned());
        }
    }
    let mut out = Keys::new();
    for ((id, _, name), index) in indexes {
        if !index.unfit {
            out.entry(id).or_default().push((name, index.columns.into_values().collect()));
        }
    }
    Ok(out)
}

/// Rows of tables as the server estimates them.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn estimated_rows(connection: &mut Connection, tables: &[TableId]) -> Result<HashMap<TableId, u64>> {
    let select = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS FROM information_schema.TABLES";
    let mut out = HashMap::with_capacity(tables.len());
    for rows in run(connection, queries(tables, select, "")).await? {
        for row in rows.iter() {
            out.insert(table_of(&row)?, row.parse(2)?.unwrap_or(0));
        }
    }
    Ok(out)
}

/// Rows of tables and bytes of those rows, as the server estimates them.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn estimated_sizes(
    connection: &mut Connection,
    tables: &[TableId],
) -> Result<HashMap<TableId, (Option<u64>, Option<u64>)>> {
    let select = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES";
    let mut out = HashMap::with_capacity(tables.len());
    for rows in run(connection, queries(tables, select, "")).await? {
        for row in rows.iter() {
            out.insert(table_of(&row)?, (row.parse(2)?, row.parse(3)?));
        }
    }
    Ok(out)
}
