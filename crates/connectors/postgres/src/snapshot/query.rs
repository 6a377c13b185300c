//! The statements that read a table.

use super::order::{KeyOrder, OrderedBy};
use crate::client::quote;
use crate::shape::{Decodable, Shape, ShapeColumn};
use crate::values::PgKind;
use dujiang_core::TableId;

/// The statements for one table, made once.
#[derive(Debug, Clone)]
pub struct Queries {
    /// Where the rows are: [`rows_of`].
    from: String,
    /// What is selected.
    items: String,
    /// What the table is ordered by, each with its type for literals.
    key: Vec<(String, &'static str)>,
    /// Values of the key may be NULL.
    nulls: bool,
    /// The publication's condition.
    filter: Option<String>,
}

impl Queries {
    /// For a table at one shape, read in this order. `from` is where its rows are: [`rows_of`].
    pub fn new(
        shape: &Shape,
        decodable: &Decodable,
        order: Option<&KeyOrder>,
        filter: Option<&str>,
        from: String,
    ) -> Self {
        let items: Vec<String> = decodable.columns.iter().map(|column| column.select_item()).collect();
        let key = order.into_iter().flat_map(KeyOrder::ordered_by).map(|by| {
            let column = &shape.columns[by.at];
            (expression(column, by), type_name(column, by))
        });
        let (key, nulls) = (key.collect(), order.is_some_and(KeyOrder::is_content));
        // A table whose columns are all left out has rows nevertheless.
        let items = items.join(", ");
        Self { from, items, key, nulls, filter: filter.map(str::to_owned) }
    }

    fn names(&self) -> String {
        self.key.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// All rows, as they lie.
    pub fn all(&self) -> String {
        self.copied(&self.condition(None))
    }

    /// The rows after a key in order, at most so many.
    pub fn in_order(&self, after: Option<&[Option<String>]>, most: Option<u64>) -> String {
        let limit = most.map_or_else(String::new, |most| format!(" LIMIT {most}"));
        self.copied(&format!("{} ORDER BY {}{limit}", self.condition(after), self.names()))
    }

    fn copied(&self, rest: &str) -> String {
        format!("COPY (SELECT {} FROM {}{rest}) TO STDOUT (FORMAT binary)", self.items, self.from)
    }

    fn condition(&self, after: Option<&[Option<String>]>) -> String {
        let mut parts = Vec::new();
        if let Some(after) = after {
            parts.push(if self.nulls { self.after_with_nulls(after) } else { self.after(after) });
        }
        parts.extend(self.filter.as_ref().map(|filter| format!("({filter})")));
        if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
    }

    fn after(&self, key: &[Option<String>]) -> String {
        let values: Vec<String> = key.iter().zip(&self.key).map(|(value, (_, of))| value_of(value, of)).collect();
        format!("({}) > ({})", self.names(), values.join(", "))
    }

    /// Rows after a key of which any part may be NULL, which comes last.
    fn after_with_nulls(&self, key: &[Option<String>]) -> String {
        let mut condition = "false".to_owned();
        for (value, (name, of)) in key.iter().zip(&self.key).rev() {
            condition = match value {
                None => format!("({name} IS NULL AND {condition})"),
                Some(_) => {
                    let value = value_of(value, of);
                    format!("({name} > {value} OR {name} IS NULL OR ({name} = {value} AND {condition}))")
                }
            };
        }
        condition
    }
}

fn value_of(value: &Option<String>, of: &str) -> String {
    value.as_ref().map_or_else(|| "NULL".to_owned(), |text| format!("{}::pg_catalog.{of}", quote::literal(text)))
}

fn expression(column: &ShapeColumn, by: OrderedBy) -> String {
    let name = quote::identifier(&column.name);
    let name =
        by.head.map_or(name.clone(), |characters| format!("pg_catalog.left({name}::pg_catalog.text, {characters})"));
    if by.by_bytes { format!("{name} COLLATE pg_catalog.\"C\"") } else { name }
}

/// The rows of a table and of its partitions. Tables that inherit from it are tables of their own: the log tells their rows under
/// their own names.
pub fn rows_of(table: &TableId, partitioned: bool) -> String {
    let only = if partitioned { "" } else { "ONLY " };
    format!("{only}{}", quote::table(table))
}

/// Whether a table is partitioned, for as long as it is there.
pub fn is_partitioned(relation: u32) -> String {
    format!("SELECT c.relkind = 'p' FROM pg_catalog.pg_class c WHERE c.oid = {relation}")
}

/// Opens a view: the table is locked against being rewritten or emptied, which no snapshot would show, before the snapshot is
/// taken; and the place, whose file's name begins with the timeline, is read after it.
pub fn open_view(rows: &str) -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {rows} IN ACCESS SHARE MODE; \
         SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text, \
           pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())"
    )
}

/// What a standby has replayed; NULL on a primary server.
pub const REPLAYED: &str =
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()::text END";

/// Opens a view of a standby, as [`open_view`], and tells what is replayed and what is received after it was taken.
pub fn open_replayed_view(rows: &str) -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {rows} IN ACCESS SHARE MODE; \
         SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_last_wal_replay_lsn()::text, \
           pg_catalog.pg_last_wal_receive_lsn()::text, \
           EXISTS (SELECT FROM pg_catalog.pg_stat_get_wal_receiver() r WHERE r.pid IS NOT NULL)"
    )
}

/// The columns as the catalog has them, for a look whether they are still those that are known.
pub fn columns(relation: u32) -> String {
    format!(
        "SELECT a.attname, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a WHERE a.attrelid = {relation} \
         AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

/// The type of a literal that is compared with a column.
fn type_name(column: &ShapeColumn, by: OrderedBy) -> &'static str {
    match (&column.kind, column.type_oid) {
        (PgKind::Int2, _) => "int2",
        (PgKind::Int4, _) => "int4",
        (PgKind::Int8, _) => "int8",
        (PgKind::Oid, _) => "oid",
        (PgKind::Xid8, _) => "xid8",
        (PgKind::Float4, _) => "float4",
        (PgKind::Float8, _) => "float8",
        (PgKind::Decimal { .. } | PgKind::Number, _) => "numeric",
        (PgKind::Money { .. }, _) => "money",
        (PgKind::Date, _) => "date",
        (PgKind::Time, _) => "time",
        (PgKind::Timestamp, _) => "timestamp",
        (PgKind::Timestamptz, _) => "timestamptz",
        (PgKind::Uuid, _) => "uuid",
        (PgKind::Bytea, _) => "bytea",
        (PgKind::Bool, _) => "bool",
        _ if by.padded => "bpchar",
        (_, 19) if by.head.is_none() => "name",
        _ => "text",
    }
}
