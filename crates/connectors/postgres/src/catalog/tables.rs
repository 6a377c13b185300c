//! What the catalog says, read from the documents of [`super::sql`].

use dujiang_core::{Code, Result, ResultExt, TableId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads the documents that a query answered with.
///
/// # Errors
/// `Protocol` when one is not what the query asks for.
pub fn read_all<'a, T: DeserializeOwned>(documents: impl IntoIterator<Item = &'a str>) -> Result<Vec<T>> {
    let read = |text: &str| {
        serde_json::from_str(text).or_code(Code::Protocol, || "the server's catalog cannot be read".to_owned())
    };
    documents.into_iter().map(read).collect()
}

/// A table, as far as it has to be known to tell whether it is captured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TableEntry {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// `pg_class.relkind`: `r` table, `p` partitioned table, `f` foreign table, `m` materialized view.
    pub kind: char,
    /// Whether its changes are logged (it is not UNLOGGED).
    pub logged: bool,
    /// The topmost partitioned table it is a partition of.
    pub root: Option<u32>,
    /// Whether the role may read it, or a column of it.
    pub readable: bool,
}

impl TableEntry {
    /// Its name.
    pub fn id(&self) -> TableId {
        TableId::new(self.schema.as_str(), self.table.as_str())
    }

    /// Why its changes cannot be captured, if they cannot.
    pub fn unfit(&self) -> Option<&'static str> {
        match (self.kind, self.logged) {
            ('r' | 'p', true) => None,
            ('r' | 'p', false) => Some("an UNLOGGED table: its changes are not in the log"),
            ('f', _) => Some("a foreign table: its rows are elsewhere"),
            ('m', _) => Some("a materialized view: its rows are not logged as changes"),
            _ => Some("no table"),
        }
    }
}

/// Facts about the database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its encoding, e.g. `UTF8`.
    pub encoding: String,
    /// Digits that `money` has after the point.
    pub money_scale: i8,
    /// `server_version_num`, e.g. 150018.
    pub version: i32,
}

impl Database {
    /// Whether text may be anything: the server neither checks nor converts it.
    pub fn leaves_text_unchecked(&self) -> bool {
        self.encoding == "SQL_ASCII"
    }
}

/// What of a row's old image is logged: `pg_class.relreplident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum IdentityKind {
    /// The primary key, if there is one.
    #[serde(rename = "d")]
    Default,
    /// Nothing.
    #[serde(rename = "n")]
    Nothing,
    /// The whole row.
    #[serde(rename = "f")]
    Full,
    /// The columns of an index.
    #[serde(rename = "i")]
    Index,
}

/// A table with all that decides how it is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TableDetail {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// `pg_class.relkind`.
    pub kind: char,
    /// What of old rows is logged.
    pub identity: IdentityKind,
    /// The topmost partitioned table it is a partition of.
    pub root: Option<u32>,
    /// Rows as the server estimates them; negative when it never looked.
    pub rows: f64,
    /// Bytes, without indexes.
    pub bytes: i64,
    /// Whether policies decide which rows the role sees.
    pub row_security: bool,
    /// Its columns, without dropped ones, in order.
    pub columns: Vec<CatalogColumn>,
    /// Its unique indexes: the primary key first, then the one that identifies rows, then the others by name.
    pub indexes: Vec<CatalogIndex>,
    /// `attnum` of the columns that indexes begin with.
    pub leading: Vec<i16>,
    /// The partitions that hold the rows of a partitioned table.
    pub leaves: Vec<Leaf>,
}

impl TableDetail {
    /// Its name.
    pub fn id(&self) -> TableId {
        TableId::new(self.schema.as_str(), self.table.as_str())
    }

    /// Whether a column of it is computed when it is read.
    pub fn has_virtual(&self) -> bool {
        self.columns.iter().any(|column| column.is_virtual)
    }

    /// The column with this `attnum`.
    pub fn column(&self, number: i16) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.number == number)
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CatalogColumn {
    /// `attnum`: rises with every column added, and stays when one is renamed.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// `pg_type.oid`.
    #[serde(rename = "type")]
    pub type_oid: u32,
    /// `atttypmod`, -1 for none.
    pub modifier: i32,
    /// Whether it may not be NULL.
    pub not_null: bool,
    /// Whether its values are computed by the server, which does not log them before 18.
    pub generated: bool,
    /// Whether they are computed when they are read (from 18 on), and never logged.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// Dimensions an array is declared with.
    pub dimensions: i32,
    /// Whether its collation tells apart what has different bytes.
    pub deterministic: bool,
    /// Whether the role may read it.
    pub readable: bool,
}

/// How the collation of a column compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Collates {
    /// By bytes.
    Bytes,
    /// As a language has it, and only equal bytes are equal: the server can sort by bytes as well, without an index.
    Language,
    /// It has none, or takes different bytes for equal.
    #[default]
    Unknown,
}

/// How the texts of a column compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collation {
    /// In which order.
    pub collates: Collates,
    /// Blanks at the end do not count: `char(n)`, or a domain over it.
    pub padded: bool,
    /// The server counts characters of the database's texts as they are counted in UTF-8.
    pub in_characters: bool,
}

/// A unique index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CatalogIndex {
    /// Its name.
    pub name: String,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether `REPLICA IDENTITY USING INDEX` names it.
    pub identity: bool,
    /// Whether it holds for all rows at all times: neither partial, nor over expressions, nor deferrable, nor invalid.
    pub fit: bool,
    /// `attnum` of its columns, in the index's order; 0 for an expression.
    pub columns: Vec<i16>,
}

/// A partition that holds rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Leaf {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// What of old rows is logged.
    pub identity: IdentityKind,
    /// `pg_class.relkind`; a foreign table's rows are not logged here.
    pub kind: char,
}

/// A table of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The published columns in the table's order; `None` before 15, which publishes all that are not generated.
    pub columns: Option<Vec<String>>,
    /// The condition rows must meet.
    pub filter: Option<String>,
}

impl Published {
    /// Its name.
    pub fn id(&self) -> TableId {
        TableId::new(self.schema.as_str(), self.table.as_str())
    }
}
