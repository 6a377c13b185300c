//! From wire bytes straight into Arrow columns.
//!
//! The way of an event: [`event::Event::parse`] checks its frame and checksum, [`event::Event::data`] reads it into a
//! borrowed structure; a [`event::TableMap`] is shown to the table's [`TableBuilder`], which compares it with the columns
//! known from the catalog and keeps a decode plan; a [`event::RowsEvent`] is appended: first all row images are walked,
//! which checks every length and tells where each cell lies, then each column is decoded in one tight loop. Nothing is
//! allocated per row or cell. Result rows of a snapshot take the same way ([`TableBuilder::append_binary_row`]).
//!
//! All parsers are pure, never panic whatever the bytes, and allocate only what the bytes at hand can justify.

pub mod builder;
mod cells;
pub mod charset;
mod charset_codes;
mod charset_tables;
mod columns;
pub mod compressed;
pub mod cursor;
mod decimal;
mod described;
pub mod event;
pub mod file;
mod fixed_text;
pub mod header;
pub mod image;
mod json_diff;
mod jsonb;
mod labels;
mod op;
mod partial;
mod plan;
mod print;
pub mod rows;
pub mod sort_key;
mod staged;
pub mod statement;
pub mod table_map;
mod temporal;
pub mod transaction;
pub mod types;
mod value;
mod walk;
mod wire;

pub use builder::{Appended, TableBuilder, Verdict};
pub use described::{Described, described};
pub use event::{Event, EventData, EventFormat};
pub use image::{Change, RowImage};
pub use rows::{RowsEvent, RowsKind};
pub use sort_key::{KeyPlan, compares_by_value, is_locally_ordered};
pub use table_map::{OwnedTableMap, TableMap};
pub use types::{CatalogColumn, Column, ColumnType, ZeroDates, column};

/// Whether rows that a table map announces can be decoded with these columns.
///
/// # Errors
/// `SchemaMismatch` and `LogDamaged`, as when the rows come.
pub fn fits(table: &dujiang_core::TableId, columns: &[Column], map: &TableMap<'_>) -> dujiang_core::Result<()> {
    plan::RowPlan::for_table_map(table, columns, map).map(drop)
}
