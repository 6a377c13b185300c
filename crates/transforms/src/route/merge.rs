//! Shapes of tables that flow into one: the smallest shape that holds the rows of both, by the dialect's tree of types.
//!
//! ```text
//! TINYINT -> SMALLINT -> INT -> BIGINT -> DECIMAL -> STRING      DATE -> TIMESTAMP -> TIMESTAMP_LTZ -> STRING
//!            FLOAT -> DOUBLE -> STRING                           everything else -> STRING
//! ```
//! Where the dialect would bend a value, ours is wider: unsigned integers keep their values, decimals go to 76 digits (38
//! there), and only then become text.

use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use dujiang_core::schema::{KeyEquality, META_LOGICAL, META_SOURCE_TYPE, TableSchema};
use dujiang_core::{Code, Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Digits that Arrow's decimals hold.
const MAX_DIGITS: u8 = 76;

/// The shape that holds the rows of both tables, under the name of the first. Columns that only the second has come last;
/// one that either lacks may be NULL.
///
/// # Errors
/// `SchemaChange` when the keys differ, or two columns of one name have no common type.
pub(super) fn merged(into: &TableSchema, other: &TableSchema) -> Result<TableSchema> {
    let keys = |table: &TableSchema| table.key_names().map(str::to_owned).collect::<Vec<_>>();
    if keys(into) != keys(other) {
        return Err(different_keys(into, other));
    }
    let mut columns: Vec<FieldRef> = Vec::with_capacity(into.arrow.fields().len());
    for field in into.arrow.fields() {
        columns.push(match other.arrow.fields().find(field.name()) {
            Some((_, same)) => common(field, same).ok_or_else(|| no_common_type(into, field, same))?,
            None => nullable(field),
        });
    }
    let new = other.arrow.fields().iter().filter(|f| into.arrow.field_with_name(f.name()).is_err());
    columns.extend(new.map(nullable));
    let arrow = Arc::new(Schema::new_with_metadata(columns, into.arrow.metadata().clone()));
    let key_equality = match (into.key_equality, other.key_equality) {
        (KeyEquality::ByValue, KeyEquality::ByValue) => KeyEquality::ByValue,
        (KeyEquality::NoKey, _) | (_, KeyEquality::NoKey) => KeyEquality::NoKey,
        _ => KeyEquality::ServerOnly,
    };
    Ok(TableSchema { arrow, key_equality, ..into.clone() })
}

/// A shape after the rules were edited: what a table brings now and did not bring when `before` was kept is added or
/// widened, what it no longer brings may be NULL. What was the same then is left alone: the sink's shape may differ there on
/// purpose.
///
/// # Errors
/// `SchemaChange` when two columns of one name have no common type.
pub(super) fn edited(into: &TableSchema, before: &TableSchema, now: &TableSchema) -> Result<TableSchema> {
    let same = |a: &Field, b: &Field| a.data_type() == b.data_type() && a.is_nullable() == b.is_nullable();
    let unchanged =
        |field: &FieldRef| before.arrow.fields().find(field.name()).is_some_and(|(_, old)| same(old, field));
    let gone = |field: &FieldRef| {
        now.arrow.field_with_name(field.name()).is_err() && before.arrow.field_with_name(field.name()).is_ok()
    };
    let mut columns: Vec<FieldRef> =
        into.arrow.fields().iter().map(|f| if gone(f) { nullable(f) } else { f.clone() }).collect();
    for field in now.arrow.fields().iter().filter(|field| !unchanged(field)) {
        match columns.iter_mut().find(|column| column.name() == field.name()) {
            Some(column) => *column = common(column, field).ok_or_else(|| no_common_type(into, column, field))?,
            None => columns.push(nullable(field)),
        }
    }
    let arrow = Arc::new(Schema::new_with_metadata(columns, into.arrow.metadata().clone()));
    Ok(TableSchema { arrow, ..into.clone() })
}

/// The column a sink needs when a column is added that it already has; `None` when it need not change.
///
/// # Errors
/// `SchemaChange` when the two have no common type.
pub(super) fn with_added(sink: &TableSchema, has: &FieldRef, added: &FieldRef) -> Result<Option<FieldRef>> {
    let both = common(has, added).ok_or_else(|| no_common_type(sink, has, added))?;
    let same = both.data_type() == has.data_type() && both.is_nullable() == has.is_nullable();
    Ok((!same).then_some(both))
}

fn different_keys(into: &TableSchema, other: &TableSchema) -> Error {
    let keys = |table: &TableSchema| format!("({})", table.key_names().collect::<Vec<_>>().join(", "));
    Error::new(Code::SchemaChange, format!("tables that flow into {} have different keys", into.id))
        .fact("table", other.id.to_string())
        .fact("its key", keys(other))
        .fact("key so far", keys(into))
        .help("give them one key with `primary-keys` in a transform rule, or other names with another route")
}

fn no_common_type(into: &TableSchema, a: &Field, b: &Field) -> Error {
    Error::new(Code::SchemaChange, format!("column `{}` of {} would have two types", a.name(), into.id))
        .fact("one", dujiang_core::dialect::type_name(a))
        .fact("the other", dujiang_core::dialect::type_name(b))
        .help("cast it with a projection in a transform rule, or route the tables apart")
}

fn nullable(field: &FieldRef) -> FieldRef {
    if field.is_nullable() { field.clone() } else { Arc::new(field.as_ref().clone().with_nullable(true)) }
}

/// The column that holds the values of both; `None` when there is none (arrays, maps and rows of different types).
fn common(a: &FieldRef, b: &FieldRef) -> Option<FieldRef> {
    let nullable = a.is_nullable() || b.is_nullable();
    if a.data_type() == b.data_type() {
        let same = |key: &str| a.metadata().get(key).filter(|value| b.metadata().get(key) == Some(value));
        let kept =
            [META_SOURCE_TYPE, META_LOGICAL].into_iter().filter_map(|key| Some((key.to_owned(), same(key)?.clone())));
        let metadata: HashMap<String, String> = kept.collect();
        if a.metadata() == &metadata && a.is_nullable() == nullable {
            return Some(a.clone());
        }
        return Some(Arc::new(a.as_ref().clone().with_metadata(metadata).with_nullable(nullable)));
    }
    if a.data_type().is_nested() || b.data_type().is_nested() {
        return None;
    }
    Some(Arc::new(Field::new(a.name(), common_type(a.data_type(), b.data_type()), nullable)))
}

fn common_type(a: &DataType, b: &DataType) -> DataType {
    use DataType::{Date32, Duration, Float32, Float64, Time32, Time64, Timestamp};
    if let (Some(a), Some(b)) = (Digits::of(a), Digits::of(b)) {
        return a.with(&b);
    }
    match (a, b) {
        (Float32, Float64) | (Float64, Float32) => Float64,
        (Float32, integer) | (integer, Float32) => match Digits::of(integer) {
            // A FLOAT holds every whole number of up to 24 bits.
            Some(digits) if digits.integer && digits.whole <= 5 => Float32,
            Some(digits) if digits.integer => Float64,
            _ => DataType::Utf8,
        },
        (Float64, integer) | (integer, Float64) if Digits::of(integer).is_some_and(|digits| digits.integer) => Float64,
        (Date32, Timestamp(unit, zone)) | (Timestamp(unit, zone), Date32) => Timestamp(*unit, zone.clone()),
        (Timestamp(a, zone_a), Timestamp(b, zone_b)) => {
            Timestamp(finer(*a, *b), zone_a.clone().or_else(|| zone_b.clone()))
        }
        (Time32(a) | Time64(a), Time32(b) | Time64(b)) => match finer(*a, *b) {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Time32(unit),
            unit => Time64(unit),
        },
        (Duration(a), Duration(b)) => Duration(finer(*a, *b)),
        _ => DataType::Utf8,
    }
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// What an exact number needs.
#[derive(Debug, Clone, Copy)]
struct Digits {
    integer: bool,
    signed: bool,
    /// Bits of an integer.
    bits: u8,
    /// Decimal digits before the point.
    whole: u8,
    /// Decimal digits after it.
    scale: i8,
}

impl Digits {
    fn of(data_type: &DataType) -> Option<Self> {
        let integer = |signed, bits, whole| Some(Self { integer: true, signed, bits, whole, scale: 0 });
        match data_type {
            DataType::Int8 => integer(true, 8, 3),
            DataType::Int16 => integer(true, 16, 5),
            DataType::Int32 => integer(true, 32, 10),
            DataType::Int64 => integer(true, 64, 19),
            DataType::UInt8 => integer(false, 8, 3),
            DataType::UInt16 => integer(false, 16, 5),
            DataType::UInt32 => integer(false, 32, 10),
            DataType::UInt64 => integer(false, 64, 20),
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) if *scale >= 0 => {
                Some(Self {
                    integer: false,
                    signed: true,
                    bits: 0,
                    whole: precision.saturating_sub(*scale as u8),
                    scale: *scale,
                })
            }
            _ => None,
        }
    }

    fn with(&self, other: &Self) -> DataType {
        if self.integer
            && other.integer
            && let Some(integer) = self.integer_with(other)
        {
            return integer;
        }
        let scale = self.scale.max(other.scale);
        let precision = self.whole.max(other.whole) + scale as u8;
        match precision {
            0..=38 => DataType::Decimal128(precision, scale),
            39..=MAX_DIGITS => DataType::Decimal256(precision, scale),
            _ => DataType::Utf8,
        }
    }

    fn integer_with(&self, other: &Self) -> Option<DataType> {
        let bits = match (self.signed, other.signed) {
            (true, true) | (false, false) => self.bits.max(other.bits),
            // A signed integer holds an unsigned one of half its width.
            (true, false) => self.bits.max(other.bits.saturating_mul(2)),
            (false, true) => other.bits.max(self.bits.saturating_mul(2)),
        };
        Some(match (self.signed || other.signed, bits) {
            (true, 8) => DataType::Int8,
            (true, 16) => DataType::Int16,
            (true, 32) => DataType::Int32,
            (true, 64) => DataType::Int64,
            (false, 8) => DataType::UInt8,
            (false, 16) => DataType::UInt16,
            (false, 32) => DataType::UInt32,
            (false, 64) => DataType::UInt64,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_core::TableId;
    use dujiang_core::dialect::{parse_field, type_name};

    fn merge(a: &str, b: &str) -> String {
        let field = |declared| Arc::new(parse_field("c", declared).unwrap());
        common(&field(a), &field(b)).map_or_else(|| "none".into(), |c| type_name(&c))
    }

    #[test]
    fn types_widen_as_in_the_dialects_tree() {
        let cases = [
            ("TINYINT", "SMALLINT", "SMALLINT"),
            ("SMALLINT", "INT", "INT"),
            ("TINYINT", "BIGINT", "BIGINT"),
            ("INT", "DECIMAL(5, 2)", "DECIMAL(12, 2)"),
            ("BIGINT", "DECIMAL(10, 0)", "DECIMAL(19, 0)"),
            ("DECIMAL(10, 2)", "DECIMAL(8, 4)", "DECIMAL(12, 4)"),
            ("SMALLINT", "FLOAT", "FLOAT"),
            ("INT", "FLOAT", "DOUBLE"),
            ("FLOAT", "DOUBLE", "DOUBLE"),
            ("BIGINT", "DOUBLE", "DOUBLE"),
            ("DECIMAL(10, 2)", "DOUBLE", "STRING"),
            ("DECIMAL(10, 2)", "FLOAT", "STRING"),
            ("DATE", "TIMESTAMP(3)", "TIMESTAMP(6)"),
            ("DATE", "TIMESTAMP_LTZ(6)", "TIMESTAMP_LTZ(6)"),
            ("TIMESTAMP(6)", "TIMESTAMP_LTZ(6)", "TIMESTAMP_LTZ(6)"),
            ("TIMESTAMP(6)", "TIMESTAMP(9)", "TIMESTAMP(9)"),
            ("CHAR(3)", "VARCHAR(9)", "STRING"),
            ("VARCHAR(3)", "VARCHAR(9)", "STRING"),
            ("VARCHAR(9)", "VARCHAR(9)", "VARCHAR(9)"),
            ("BOOLEAN", "INT", "STRING"),
            ("DATE", "INT", "STRING"),
            ("TIME(3)", "DATE", "STRING"),
            ("BYTES", "STRING", "STRING"),
            ("VARBINARY(3)", "VARBINARY(4)", "BYTES"),
            ("INT NOT NULL", "INT", "INT"),
            ("INT NOT NULL", "BIGINT NOT NULL", "BIGINT NOT NULL"),
            ("ARRAY<INT>", "ARRAY<INT>", "ARRAY<INT>"),
            ("ARRAY<INT>", "STRING", "none"),
        ];
        for (a, b, expected) in cases {
            assert_eq!(merge(a, b), expected, "{a} with {b}");
            assert_eq!(merge(b, a), expected, "{b} with {a}");
        }
    }

    #[test]
    fn unsigned_integers_keep_their_values() {
        use DataType::{Decimal128, Decimal256, Int8, Int16, Int32, Int64, UInt8, UInt32, UInt64};
        let cases = [
            (UInt8, Int8, Int16),
            (UInt8, UInt32, UInt32),
            (UInt32, Int8, Int64),
            (UInt32, Int32, Int64),
            (UInt64, Int8, Decimal128(20, 0)),
            (UInt64, UInt8, UInt64),
            (Int64, Decimal128(38, 10), Decimal128(38, 10)),
            (Int64, Decimal128(38, 30), Decimal256(49, 30)),
            (Decimal128(38, 0), Decimal128(38, 38), Decimal256(76, 38)),
        ];
        for (a, b, expected) in cases {
            assert_eq!(common_type(&a, &b), expected, "{a} with {b}");
            assert_eq!(common_type(&b, &a), expected, "{b} with {a}");
        }
    }

    fn table(name: &str, columns: &[(&str, &str)], key: &[usize]) -> TableSchema {
        let fields = columns.iter().map(|(name, declared)| parse_field(name, declared).unwrap()).collect();
        TableSchema::clone(&TableSchema::by_value(TableId::new("d", name), fields, key.to_vec()))
    }

    #[test]
    fn tables_merge_by_name() {
        let a = table("a", &[("id", "INT NOT NULL"), ("x", "INT NOT NULL"), ("only_a", "DATE NOT NULL")], &[0]);
        let b = table("b", &[("only_b", "STRING NOT NULL"), ("x", "BIGINT"), ("id", "INT NOT NULL")], &[2]);
        let both = merged(&a, &b).unwrap();
        let columns: Vec<String> =
            both.arrow.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f))).collect();
        assert_eq!(columns, ["id INT NOT NULL", "x BIGINT", "only_a DATE", "only_b STRING"]);
        assert_eq!((both.key, both.id), (vec![0], TableId::new("d", "a")));
        let other_key = table("c", &[("id", "INT NOT NULL"), ("x", "INT NOT NULL")], &[1]);
        let error = merged(&a, &other_key).unwrap_err();
        assert!(error.help_text().unwrap().contains("primary-keys"), "{error:?}");
    }
}
