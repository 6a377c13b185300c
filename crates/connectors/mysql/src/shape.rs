//! The shape of a captured table as it is kept in positions, so that every row is decoded with the columns in force at
//! its place (INV-10).

use crate::client::{Connection, TextRow, quote};
use crate::decode::charset::Charset;
use crate::decode::{CatalogColumn, Column, ColumnType, ZeroDates, column, compares_by_value};
use dujiang_core::schema::{KeyEquality, META_SOURCE_TYPE};
use dujiang_core::{Code, Error, Result, TableId, TableSchema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One column, in the catalog's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeColumn {
    /// Name.
    #[serde(rename = "n")]
    pub name: String,
    /// `COLUMN_TYPE`.
    #[serde(rename = "t")]
    pub column_type: String,
    /// Character set of a character column.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Collation of a character column.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    /// Whether it may be NULL.
    #[serde(rename = "z", default)]
    pub nullable: bool,
}

impl ShapeColumn {
    /// The words of a column that was read from the catalog.
    pub fn of(column: &Column) -> Self {
        let charset = match &column.column_type {
            ColumnType::Text { charset: Charset::Utf8 } => Some(utf8_name(column.collation.as_deref()).to_owned()),
            ColumnType::Text { charset } => Some(charset.name().to_owned()),
            _ => None,
        };
        Self {
            name: column.name.to_string(),
            column_type: column.field.metadata().get(META_SOURCE_TYPE).cloned().unwrap_or_default(),
            charset,
            collation: column.collation.as_deref().map(str::to_owned),
            nullable: column.nullable,
        }
    }

    /// The column.
    ///
    /// # Errors
    /// `UnknownType`.
    pub fn decoded(&self) -> Result<Column> {
        column(CatalogColumn {
            name: &self.name,
            column_type: &self.column_type,
            charset: self.charset.as_deref(),
            collation: self.collation.as_deref(),
            nullable: self.nullable,
        })
    }
}

/// All UTF-8 character sets are read alike; the name only has to be one of them.
fn utf8_name(collation: Option<&str>) -> &str {
    match collation.and_then(|c| c.split('_').next()) {
        Some(name @ ("utf8mb3" | "utf8" | "ascii")) => name,
        _ => "utf8mb4",
    }
}

/// A table at one schema version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Database.
    #[serde(rename = "d")]
    pub database: String,
    /// Table.
    #[serde(rename = "t")]
    pub table: String,
    /// Version of the shape, from 1.
    #[serde(rename = "v")]
    pub version: u32,
    /// Columns in order.
    #[serde(rename = "c")]
    pub columns: Vec<ShapeColumn>,
    /// Key columns, as indices in key order.
    #[serde(rename = "k")]
    pub key: Vec<usize>,
    /// What becomes of dates that are none; the same for all tables of a pipeline.
    #[serde(rename = "zd", default, skip_serializing_if = "ZeroDates::is_error")]
    pub zero_dates: ZeroDates,
    /// Name of the key's index, if it is known.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// Collation of character columns for which a DDL names none.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
}

/// A table ready for decoding.
#[derive(Debug, Clone)]
pub struct Decodable {
    /// For batches.
    pub schema: Arc<TableSchema>,
    /// For the decoder.
    pub columns: Arc<[Column]>,
}

impl Shape {
    /// The shape of a table read from the catalog.
    pub fn of(schema: &TableSchema, columns: &[Column]) -> Self {
        Self {
            database: schema.id.database.to_string(),
            table: schema.id.table.to_string(),
            version: schema.version,
            columns: columns.iter().map(ShapeColumn::of).collect(),
            key: schema.key.clone(),
            zero_dates: ZeroDates::Error,
            key_name: None,
            collation: None,
        }
    }

    /// The table.
    pub fn id(&self) -> TableId {
        TableId::new(self.database.as_str(), self.table.as_str())
    }

    /// The table, ready for decoding.
    ///
    /// # Errors
    /// `UnknownType`, naming table and column.
    pub fn decodable(&self) -> Result<Decodable> {
        let columns: Vec<Column> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| Ok(column.decoded()?.with_zero_dates(self.zero_dates, self.key.contains(&at))))
            .collect::<Result<_>>()
            .map_err(|e| e.fact("table", self.id().to_string()))?;
        let key_equality = match self.key.as_slice() {
            [] => KeyEquality::NoKey,
            key if key.iter().all(|&i| compares_by_value(&columns[i])) => KeyEquality::ByValue,
            _ => KeyEquality::ServerOnly,
        };
        let fields: Vec<_> = columns.iter().map(|c| c.field.clone()).collect();
        let schema = TableSchema {
            id: self.id(),
            version: self.version,
            arrow: Arc::new(arrow_schema::Schema::new(fields)),
            key: self.key.clone(),
            key_equality,
        };
        Ok(Decodable { schema: Arc::new(schema), columns: columns.into() })
    }

    /// The same table and key with other columns.
    ///
    /// # Errors
    /// `SchemaChange` when a key column is gone.
    pub fn with_columns(&self, columns: Vec<ShapeColumn>) -> Result<Self> {
        let gone = |name: &str| {
            let message = format!("key column {name} of captured table {} is gone", self.id());
            Error::new(Code::SchemaChange, message).help("start a new pipeline with a new snapshot of the table")
        };
        let find = |&at: &usize| {
            let name = &self.columns[at].name;
            columns.iter().position(|c| c.name == *name).ok_or_else(|| gone(name))
        };
        let key = self.key.iter().map(find).collect::<Result<_>>()?;
        Ok(Self { columns, key, ..self.clone() })
    }

    /// Whether rows of both look the same and are known by the same key; versions and names aside.
    pub fn is_like(&self, other: &Shape) -> bool {
        self.columns == other.columns && self.key == other.key
    }
}

/// The columns of a table as the catalog has them now.
///
/// # Errors
/// `TableGone` when there is no such table; `ConnectionLost`, `SourceQuery`.
pub async fn read_columns(connection: &mut Connection, id: &TableId) -> Result<Vec<ShapeColumn>> {
    let sql = format!(
        "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE FROM \
         information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        quote::text(&id.database),
        quote::text(&id.table)
    );
    let rows = connection.query(&sql).await?;
    if rows.is_empty() {
        return Err(Error::new(Code::TableGone, format!("captured table {id} does not exist any more"))
            .help("leave it out of `tables`, or start a new pipeline"));
    }
    let column = |row: TextRow<'_>| {
        Ok(ShapeColumn {
            name: row.required(0)?.to_owned(),
            column_type: row.required(1)?.to_owned(),
            charset: row.text(2)?.map(str::to_owned),
            collation: row.text(3)?.map(str::to_owned),
            nullable: row.required(4)? == "YES",
        })
    };
    rows.iter().map(column).collect()
}
