//! What expressions read: columns of the table, and facts about the row.

use crate::types::Type;

/// One column of the batch that expressions are evaluated on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Input {
    pub kind: InputKind,
    pub ty: Type,
    pub nullable: bool,
}

/// Where its values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputKind {
    /// Index of a column of the table.
    Column(usize),
    Meta(Meta),
}

/// A fact about the row that is no column of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meta {
    Namespace,
    Schema,
    Table,
    /// `+I`, `-U`, `+U`, `-D`.
    EventType,
    /// Commit time in milliseconds, 0 for snapshot rows.
    CommitMillis,
    /// The time at which the batch is transformed: one value per batch.
    Now,
    /// A text that no other change has and that a re-read repeats.
    Identity,
}

impl Meta {
    pub const NAMES: &[&str] = &["__namespace_name__", "__schema_name__", "__table_name__", "__data_event_type__"];

    /// Those that a source's `metadata.list` may name.
    pub const LISTED: &[&str] = &["op_ts", "table_name", "database_name", "schema_name", "row_kind"];

    /// The metadata column of a name; those of connectors only if the pipeline asks for them (`metadata.list`).
    pub fn named(name: &str, metadata: &[String]) -> Option<Self> {
        match name {
            "__namespace_name__" => return Some(Meta::Namespace),
            "__schema_name__" => return Some(Meta::Schema),
            "__table_name__" => return Some(Meta::Table),
            "__data_event_type__" => return Some(Meta::EventType),
            _ => {}
        }
        if !metadata.iter().any(|listed| listed == name) {
            return None;
        }
        match name {
            "op_ts" => Some(Meta::CommitMillis),
            "table_name" => Some(Meta::Table),
            "database_name" | "schema_name" => Some(Meta::Schema),
            "row_kind" => Some(Meta::EventType),
            _ => None,
        }
    }

    pub fn ty(self) -> Type {
        match self {
            Meta::CommitMillis => Type::BigInt,
            Meta::Now => Type::Instant,
            _ => Type::Text,
        }
    }

    /// Sources of this project name a table by two parts at most, so there never is a namespace.
    pub fn nullable(self) -> bool {
        self == Meta::Namespace
    }
}
