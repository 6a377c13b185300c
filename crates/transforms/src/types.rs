//! The types of the dialect, as expressions see them.

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use dujiang_core::schema::{self, LOGICAL_JSON};
use std::fmt;
use std::sync::Arc;

/// The zone in which instants are stored.
pub(crate) const UTC: &str = "UTC";

/// The type of an expression.
///
/// Narrower than Arrow's on purpose: columns of other layouts (unsigned integers, dictionaries, views) are converted
/// when an expression reads them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// NULL without a type.
    Null,
    /// Three-valued truth.
    Boolean,
    /// 1 byte.
    TinyInt,
    /// 2 bytes.
    SmallInt,
    /// 4 bytes.
    Int,
    /// 8 bytes.
    BigInt,
    /// Digits in all (up to 38) and after the point.
    Decimal(u8, i8),
    /// As [`Type::Decimal`], up to 76 digits: can be compared, cast and carried.
    WideDecimal(u8, i8),
    /// Binary floating point, 4 bytes.
    Float,
    /// Binary floating point, 8 bytes.
    Double,
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// A day.
    Date,
    /// Time of day, microseconds.
    Time,
    /// A length of time, microseconds (MySQL's TIME).
    Duration,
    /// Wall clock, microseconds.
    Timestamp,
    /// A point in time, microseconds (TIMESTAMP_LTZ).
    Instant,
    /// One JSON document.
    Variant,
    /// Values of one type, counted from 1.
    Array(Box<Type>),
    /// Keys and values.
    Map(Box<Type>, Box<Type>),
    /// Named fields.
    Row(Vec<(String, Type)>),
    /// An INTERVAL literal: only usable beside `+` and `-`.
    Interval,
}

impl Type {
    /// The type under which an expression sees a column; `None` for what no expression can read. A database's JSON is
    /// text in the dialect; only its own VARIANT is a document.
    pub fn of(field: &Field) -> Option<Self> {
        let declared = field.metadata().get(schema::META_SOURCE_TYPE).map_or("", String::as_str);
        if schema::logical(field) == Some(LOGICAL_JSON) && declared.to_ascii_uppercase().starts_with("VARIANT") {
            return Some(Type::Variant);
        }
        Self::of_arrow(field.data_type())
    }

    fn of_arrow(data: &DataType) -> Option<Self> {
        Some(match data {
            DataType::Null => Type::Null,
            DataType::Boolean => Type::Boolean,
            DataType::Int8 => Type::TinyInt,
            DataType::Int16 | DataType::UInt8 => Type::SmallInt,
            DataType::Int32 | DataType::UInt16 => Type::Int,
            DataType::Int64 | DataType::UInt32 => Type::BigInt,
            DataType::UInt64 => Type::Decimal(20, 0),
            DataType::Decimal128(p, s) if *s >= 0 => Type::Decimal(*p, *s),
            DataType::Decimal256(p, s) if *s >= 0 => Type::WideDecimal(*p, *s),
            DataType::Float32 => Type::Float,
            DataType::Float64 => Type::Double,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Type::Bytes
            }
            DataType::Date32 => Type::Date,
            DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => Type::Time,
            DataType::Duration(unit) if *unit != TimeUnit::Nanosecond => Type::Duration,
            DataType::Timestamp(unit, zone) if *unit != TimeUnit::Nanosecond => {
                if zone.is_some() {
                    Type::Instant
                } else {
                    Type::Timestamp
                }
            }
            DataType::Dictionary(_, value) => Self::of_arrow(value)?,
            DataType::List(item) => Type::Array(Box::new(Self::of(item)?)),
            DataType::Map(entries, _) => {
                let DataType::Struct(pair) = entries.data_type() else { return None };
                Type::Map(Box::new(Self::of(&pair[0])?), Box::new(Self::of(&pair[1])?))
            }
            DataType::Struct(fields) => {
                let fields: Option<Vec<_>> = fields.iter().map(|f| Some((f.name().clone(), Self::of(f)?))).collect();
                Type::Row(fields?)
            }
            _ => return None,
        })
    }

    /// The Arrow type in which values of this type are computed.
    pub fn arrow(&self) -> DataType {
        match self {
            Type::Null | Type::Interval => DataType::Null,
            Type::Boolean => DataType::Boolean,
            Type::TinyInt => DataType::Int8,
            Type::SmallInt => DataType::Int16,
            Type::Int => DataType::Int32,
            Type::BigInt => DataType::Int64,
            Type::Decimal(p, s) => DataType::Decimal128(*p, *s),
            Type::WideDecimal(p, s) => DataType::Decimal256(*p, *s),
            Type::Float => DataType::Float32,
            Type::Double => DataType::Float64,
            Type::Text | Type::Variant => DataType::Utf8,
            Type::Bytes => DataType::Binary,
            Type::Date => DataType::Date32,
            Type::Time => DataType::Time64(TimeUnit::Microsecond),
            Type::Duration => DataType::Duration(TimeUnit::Microsecond),
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Type::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Type::Array(item) => DataType::List(Arc::new(item.field("item", true))),
            Type::Map(key, value) => {
                let entries = Fields::from(vec![key.field("key", false), value.field("value", true)]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
            }
            Type::Row(fields) => DataType::Struct(fields.iter().map(|(name, ty)| ty.field(name, true)).collect()),
        }
    }

    /// A column of this type.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let logical = (*self == Type::Variant).then_some(LOGICAL_JSON);
        let field = schema::field(name, self.arrow(), nullable, &self.to_string(), logical);
        if matches!(self, Type::Variant) { field } else { field.with_metadata(source_type(self)) }
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Type::TinyInt | Type::SmallInt | Type::Int | Type::BigInt)
    }

    pub(crate) fn is_float(&self) -> bool {
        matches!(self, Type::Float | Type::Double)
    }

    pub(crate) fn is_decimal(&self) -> bool {
        matches!(self, Type::Decimal(..) | Type::WideDecimal(..))
    }

    pub(crate) fn is_number(&self) -> bool {
        self.is_integer() || self.is_float() || self.is_decimal()
    }

    /// Digits before and after the point that hold every value of an exact number.
    pub(crate) fn digits(&self) -> Option<(u8, i8)> {
        Some(match self {
            Type::TinyInt => (3, 0),
            Type::SmallInt => (5, 0),
            Type::Int => (10, 0),
            Type::BigInt => (19, 0),
            Type::Decimal(p, s) | Type::WideDecimal(p, s) => (p - *s as u8, *s),
            _ => return None,
        })
    }
}

fn source_type(ty: &Type) -> std::collections::HashMap<String, String> {
    std::collections::HashMap::from([(schema::META_SOURCE_TYPE.to_owned(), ty.to_string())])
}

/// The type in which values of two types can be compared without loss; `None` when they cannot be.
pub(crate) fn comparable(a: &Type, b: &Type) -> Option<Type> {
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Type::Null, other) | (other, Type::Null) => Some(other.clone()),
        (Type::Date, Type::Timestamp) | (Type::Timestamp, Type::Date) => Some(Type::Timestamp),
        (Type::Instant, Type::Timestamp | Type::Date) | (Type::Timestamp | Type::Date, Type::Instant) => {
            Some(Type::Instant)
        }
        (Type::Time, Type::Duration) | (Type::Duration, Type::Time) => Some(Type::Duration),
        (Type::Array(a), Type::Array(b)) => Some(Type::Array(Box::new(comparable(a, b)?))),
        _ => common_number(a, b, 76),
    }
}

/// The type of a value that is one of several (CASE, COALESCE): as [`comparable`], decimals within 38 digits.
pub(crate) fn unified(a: &Type, b: &Type) -> Option<Type> {
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Type::Array(a), Type::Array(b)) => Some(Type::Array(Box::new(unified(a, b)?))),
        _ => common_number(a, b, 38).or_else(|| comparable(a, b).filter(|t| !t.is_number())).or_else(|| match (a, b) {
            (Type::Null, other) | (other, Type::Null) => Some(other.clone()),
            _ => None,
        }),
    }
}

/// PostgreSQL's ladder: integers, then exact decimals, then floats.
fn common_number(a: &Type, b: &Type, most: u8) -> Option<Type> {
    if !a.is_number() || !b.is_number() {
        return None;
    }
    if a.is_float() || b.is_float() {
        return Some(if a == b { a.clone() } else { Type::Double });
    }
    if a.is_integer() && b.is_integer() {
        return Some(if a.digits() > b.digits() { a.clone() } else { b.clone() });
    }
    let ((before_a, after_a), (before_b, after_b)) = (a.digits()?, b.digits()?);
    let scale = after_a.max(after_b);
    let wide = matches!(a, Type::WideDecimal(..)) || matches!(b, Type::WideDecimal(..));
    Some(decimal(before_a.max(before_b) as u32 + scale as u32, scale, if wide { 76 } else { most }))
}

/// A decimal type of so many digits, as narrow as it can be.
pub(crate) fn decimal(precision: u32, scale: i8, most: u8) -> Type {
    let precision = precision.min(u32::from(most)).max(1) as u8;
    if precision <= 38 { Type::Decimal(precision, scale) } else { Type::WideDecimal(precision, scale) }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self {
            Type::Null => "NULL",
            Type::Boolean => "BOOLEAN",
            Type::TinyInt => "TINYINT",
            Type::SmallInt => "SMALLINT",
            Type::Int => "INT",
            Type::BigInt => "BIGINT",
            Type::Decimal(p, s) | Type::WideDecimal(p, s) => return write!(f, "DECIMAL({p}, {s})"),
            Type::Float => "FLOAT",
            Type::Double => "DOUBLE",
            Type::Text => "STRING",
            Type::Bytes => "BYTES",
            Type::Date => "DATE",
            Type::Time => "TIME(6)",
            Type::Duration => "TIME(6) beyond a day",
            Type::Timestamp => "TIMESTAMP(6)",
            Type::Instant => "TIMESTAMP_LTZ(6)",
            Type::Variant => "VARIANT",
            Type::Interval => "INTERVAL",
            Type::Array(item) => return write!(f, "ARRAY<{item}>"),
            Type::Map(key, value) => return write!(f, "MAP<{key}, {value}>"),
            Type::Row(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
                return write!(f, "ROW<{}>", fields.join(", "));
            }
        };
        f.write_str(plain)
    }
}
