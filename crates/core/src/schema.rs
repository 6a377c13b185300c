//! Tables and the shape of their rows.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use std::fmt;
use std::sync::Arc;

/// Field metadata: the type as the source declares it, e.g. `bigint(20) unsigned`. For people and for type mapping.
pub const META_SOURCE_TYPE: &str = "dujiang.source_type";
/// Field metadata: what an Arrow type alone cannot say; one of the `LOGICAL_*` values.
pub const META_LOGICAL: &str = "dujiang.logical";
/// Value of [`META_LOGICAL`]: the text is one JSON document.
pub const LOGICAL_JSON: &str = "json";
/// Value of [`META_LOGICAL`]: the text is one label of an enumeration.
pub const LOGICAL_ENUM: &str = "enum";
/// Value of [`META_LOGICAL`]: the text is a comma-separated list of labels of a SET.
pub const LOGICAL_SET: &str = "set";
/// Value of [`META_LOGICAL`]: the integer is a calendar year.
pub const LOGICAL_YEAR: &str = "year";
/// Value of [`META_LOGICAL`]: the unsigned integer is a bit string; the source type gives its width.
pub const LOGICAL_BIT: &str = "bit";
/// Value of [`META_LOGICAL`]: the text is a number too wide for any decimal type.
pub const LOGICAL_NUMBER: &str = "number";

/// Name of a table at its source, or at a sink after routing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// Database (MySQL family) or schema (PostgreSQL); may be empty for sources without one.
    pub database: Arc<str>,
    /// Table name as the source spells it.
    pub table: Arc<str>,
}

impl TableId {
    /// A table of a database.
    pub fn new(database: impl Into<Arc<str>>, table: impl Into<Arc<str>>) -> Self {
        Self { database: database.into(), table: table.into() }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.database.is_empty() {
            write!(f, "{}", self.table)
        } else {
            write!(f, "{}.{}", self.database, self.table)
        }
    }
}

/// Whether two keys of a table can be told apart by this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEquality {
    /// Equal keys have equal values column by column (integers, binary text, ...): keys may be hashed into lanes.
    ByValue,
    /// Only the server knows (a collation in which `a` equals `A`): such a table uses one lane.
    ServerOnly,
    /// The table has no key: it uses one lane.
    NoKey,
}

impl KeyEquality {
    /// The word in logs and files.
    pub fn name(self) -> &'static str {
        match self {
            KeyEquality::ByValue => "by-value",
            KeyEquality::ServerOnly => "server-only",
            KeyEquality::NoKey => "no-key",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::ByValue, Self::ServerOnly, Self::NoKey].into_iter().find(|equality| equality.name() == name)
    }
}

/// One version of the shape of one table.
///
/// Two schemas are the same version iff all parts are equal; `version` rises by one with every change of the table that
/// this pipeline has seen and is part of file names and positions.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSchema {
    /// The table.
    pub id: TableId,
    /// Rises by one with every change of shape; starts at 1.
    pub version: u32,
    /// Columns in the source's order. Field metadata: [`META_SOURCE_TYPE`], [`META_LOGICAL`].
    pub arrow: SchemaRef,
    /// Indices into the columns, in key order; empty when the table has no key.
    pub key: Vec<usize>,
    /// Whether keys may be compared here.
    pub key_equality: KeyEquality,
}

impl TableSchema {
    /// A table whose keys compare by value; for tests, generators and simple sources.
    pub fn by_value(id: TableId, fields: Vec<Field>, key: Vec<usize>) -> Arc<Self> {
        let key_equality = if key.is_empty() { KeyEquality::NoKey } else { KeyEquality::ByValue };
        Arc::new(Self { id, version: 1, arrow: Arc::new(Schema::new(fields)), key, key_equality })
    }

    /// The names of the key columns, in key order.
    pub fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|&i| self.arrow.field(i).name().as_str())
    }
}

/// A field with the metadata the project uses.
pub fn field(name: &str, data_type: DataType, nullable: bool, source_type: &str, logical: Option<&str>) -> Field {
    let mut metadata = std::collections::HashMap::from([(META_SOURCE_TYPE.to_owned(), source_type.to_owned())]);
    if let Some(logical) = logical {
        metadata.insert(META_LOGICAL.to_owned(), logical.to_owned());
    }
    Field::new(name, data_type, nullable).with_metadata(metadata)
}

/// What [`META_LOGICAL`] says of a field, if anything.
pub fn logical(field: &Field) -> Option<&str> {
    field.metadata().get(META_LOGICAL).map(String::as_str)
}

/// A change of a table's shape, seen in the source's log.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaChange {
    /// The shape before; `None` when the table is new to the pipeline.
    pub before: Option<Arc<TableSchema>>,
    /// The shape after.
    pub after: Arc<TableSchema>,
    /// The statement, for people.
    pub statement: String,
    /// What it did.
    pub ddl: Ddl,
}

impl SchemaChange {
    /// One of which two shapes say everything.
    pub fn of_shapes(before: Option<&Arc<TableSchema>>, after: &Arc<TableSchema>) -> Self {
        Self { before: before.cloned(), after: after.clone(), statement: String::new(), ddl: Ddl::default() }
    }
}

/// What a statement did to a table, as far as two shapes cannot tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ddl {
    /// Columns were added, dropped, moved, renamed or got another type; or the table was created.
    Columns {
        /// (old name, new name) of the renamed ones.
        renamed: Vec<(String, String)>,
    },
    /// All rows were removed, none of them as a change of its own; the shape stays.
    Truncate,
    /// The table was dropped, its rows with it; `after` is its last shape.
    Drop,
}

impl Default for Ddl {
    /// Columns changed, none was renamed.
    fn default() -> Self {
        Ddl::Columns { renamed: Vec::new() }
    }
}
