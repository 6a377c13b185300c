//! How the values of a column are carried.

use arrow_schema::{DataType, Field, TimeUnit};
use dujiang_core::schema::{self, LOGICAL_ENUM, LOGICAL_JSON, LOGICAL_NUMBER};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What becomes of a cell's bytes; docs/reference/types.md says it for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PgKind {
    /// `boolean`.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `oid`, `xid`, `cid`: unsigned, 4 bytes.
    Oid,
    /// `xid8`: unsigned, 8 bytes.
    Xid8,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric(p, s)`, as Arrow has it: up to 76 digits, a scale from 0 to the precision.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// `money`: a whole number of the currency's smallest unit, and how many digits that unit has after the point.
    Money {
        /// Digits after the point.
        scale: i8,
    },
    /// Any other `numeric`, as text.
    Number,
    /// `date`.
    Date,
    /// `time`.
    Time,
    /// `timestamp`.
    Timestamp,
    /// `timestamp with time zone`.
    Timestamptz,
    /// `interval`, as ISO 8601 text.
    Interval,
    /// Types whose binary form is their text: `text`, `varchar`, `char(n)`, `name`, ...
    Text,
    /// `json`.
    Json,
    /// `jsonb`.
    Jsonb,
    /// An enumeration: its label.
    Enum,
    /// `uuid`, as text.
    Uuid,
    /// `bit(n)` and `bit varying`, as text of zeros and ones.
    Bits,
    /// `bytea`.
    Bytea,
    /// PostGIS' `geometry` and `geography`: EWKB.
    Wkb,
    /// Everything else, as the text of the type's own output function.
    Output,
    /// An array of one dimension that begins at 1.
    List {
        /// How its elements are carried.
        item: Box<PgKind>,
        /// The elements' type, for people.
        item_type: String,
        /// What stands between elements in the array's text.
        delimiter: u8,
    },
}

impl PgKind {
    /// The Arrow type.
    pub fn arrow(&self) -> DataType {
        match self {
            PgKind::Bool => DataType::Boolean,
            PgKind::Int2 => DataType::Int16,
            PgKind::Int4 => DataType::Int32,
            PgKind::Int8 => DataType::Int64,
            PgKind::Oid => DataType::UInt32,
            PgKind::Xid8 => DataType::UInt64,
            PgKind::Float4 => DataType::Float32,
            PgKind::Float8 => DataType::Float64,
            PgKind::Decimal { precision, scale } if *precision <= 38 => DataType::Decimal128(*precision, *scale),
            PgKind::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
            PgKind::Money { scale } => DataType::Decimal128(19, *scale),
            PgKind::Date => DataType::Date32,
            PgKind::Time => DataType::Time64(TimeUnit::Microsecond),
            PgKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            PgKind::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            PgKind::Bytea | PgKind::Wkb => DataType::Binary,
            PgKind::List { item, item_type, .. } => DataType::List(Arc::new(item.field("item", true, item_type))),
            PgKind::Number
            | PgKind::Interval
            | PgKind::Text
            | PgKind::Json
            | PgKind::Jsonb
            | PgKind::Enum
            | PgKind::Uuid
            | PgKind::Bits
            | PgKind::Output => DataType::Utf8,
        }
    }

    /// What the Arrow type does not say.
    pub fn logical(&self) -> Option<&'static str> {
        match self {
            PgKind::Json | PgKind::Jsonb => Some(LOGICAL_JSON),
            PgKind::Enum => Some(LOGICAL_ENUM),
            PgKind::Number => Some(LOGICAL_NUMBER),
            _ => None,
        }
    }

    /// A field of this kind.
    pub fn field(&self, name: &str, nullable: bool, source_type: &str) -> Field {
        schema::field(name, self.arrow(), nullable, source_type, self.logical())
    }

    /// Whether the binary form is read here. What is not is asked of the server as text: in the stream by reading the whole
    /// stream as text, in a snapshot by [`select_item`](super::Column::select_item).
    pub fn reads_binary(&self) -> bool {
        match self {
            PgKind::Output => false,
            PgKind::List { item, .. } => item.reads_binary(),
            _ => true,
        }
    }
}
