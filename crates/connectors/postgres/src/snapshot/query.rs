//! The statements that read a table.

use super::order::KeyOrder;
use crate::client::quote;
use crate::shape::{Decodable, Shape, ShapeColumn};
use crate::values::PgKind;
use dujiang_core::TableId;

/// The statements for one table, made once.
#[derive(Debug, Clone)]
pub struct Queries {
    /// `"schema"."table"`.
    pub table: String,
    /// What is selected.
    items: String,
    /// The key's columns, each with its type for literals.
    key: Vec<(String, &'static str)>,
    /// The publication's condition.
    filter: Option<String>,
}

impl Queries {
    /// For a table at one shape, read in this order of its key.
    pub fn new(shape: &Shape, decodable: &Decodable, order: Option<&KeyOrder>, filter: Option<&str>) -> Self {
        let items: Vec<String> = decodable.columns.iter().map(|column| column.select_item()).collect();
        let key = |&at: &usize| {
            let column = &shape.columns[at];
            let by_bytes = order.is_some_and(KeyOrder::is_sorted) && column.kind == PgKind::Text;
            let collate = if by_bytes { " COLLATE pg_catalog.\"C\"" } else { "" };
            (format!("{}{collate}", quote::identifier(&column.name)), type_name(column))
        };
        let key = if order.is_some() { shape.key.iter().map(key).collect() } else { Vec::new() };
        // A table whose columns are all left out has rows nevertheless.
        let items = items.join(", ");
        Self { table: quote::table(&shape.id()), items, key, filter: filter.map(str::to_owned) }
    }

    /// The last key of the next `rows` rows, as texts; no row when there are fewer.
    pub fn upper(&self, after: Option<&[String]>, rows: u32) -> String {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
        let condition = self.condition(after, None);
        let (offset, names) = (rows - 1, names.join(", "));
        // Qualified, since the texts have the columns' names as well.
        format!(
            "SELECT {} FROM (SELECT {names} FROM {}{condition} ORDER BY {names} OFFSET {offset} LIMIT 1) k",
            texts.join(", "),
            self.table
        )
    }

    /// The rows after one key and up to another.
    pub fn copy(&self, after: Option<&[String]>, upper: Option<&[String]>) -> String {
        let condition = self.condition(after, upper);
        format!("COPY (SELECT {} FROM {}{condition}) TO STDOUT (FORMAT binary)", self.items, self.table)
    }

    /// All rows after a key, in order.
    pub fn sorted(&self, after: Option<&[String]>) -> String {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        let (condition, names) = (self.condition(after, None), names.join(", "));
        format!(
            "COPY (SELECT {} FROM {}{condition} ORDER BY {names}) TO STDOUT (FORMAT binary)",
            self.items, self.table
        )
    }

    fn condition(&self, after: Option<&[String]>, upper: Option<&[String]>) -> String {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        let row = |values: &[String]| {
            let literal =
                |(text, (_, of)): (&String, &(String, &str))| format!("{}::pg_catalog.{of}", quote::literal(text));
            values.iter().zip(&self.key).map(literal).collect::<Vec<_>>().join(", ")
        };
        let mut parts = Vec::new();
        if let Some(after) = after {
            parts.push(format!("({}) > ({})", names.join(", "), row(after)));
        }
        if let Some(upper) = upper {
            parts.push(format!("({}) <= ({})", names.join(", "), row(upper)));
        }
        parts.extend(self.filter.as_ref().map(|filter| format!("({filter})")));
        if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
    }
}

/// Opens a view: the table is locked against being rewritten or emptied, which no snapshot would show, before the snapshot is
/// taken; and the place is read after it.
pub fn open_view(table: &TableId) -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {} IN ACCESS SHARE MODE; \
         SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text",
        quote::table(table)
    )
}

/// The columns as the catalog has them, for a look whether they are still those that are known.
pub fn columns(relation: u32) -> String {
    format!(
        "SELECT a.attname, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a WHERE a.attrelid = {relation} \
         AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

/// The type of a literal that is compared with a key column.
fn type_name(column: &ShapeColumn) -> &'static str {
    match (&column.kind, column.type_oid) {
        (PgKind::Int2, _) => "int2",
        (PgKind::Int4, _) => "int4",
        (PgKind::Int8, _) => "int8",
        (PgKind::Oid, _) => "oid",
        (PgKind::Uuid, _) => "uuid",
        (PgKind::Bytea, _) => "bytea",
        (PgKind::Bool, _) => "bool",
        (_, 18) => "\"char\"",
        (_, 19) => "name",
        (_, 1042) => "bpchar",
        _ => "text",
    }
}
