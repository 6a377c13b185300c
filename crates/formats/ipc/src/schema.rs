//! Schemas.

use crate::metadata;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::{DateUnit, Endianness, Field, Int, IntervalUnit, Precision, TimeUnit, Type};
use arrow_schema::SchemaRef;
use std::sync::Arc;

/// The schema that a message tells; what follows it is not looked at. `None` when it cannot be read, or has columns of a kind
/// that tables do not have.
pub fn read_schema(bytes: &[u8]) -> Option<SchemaRef> {
    let (message, _) = metadata(bytes)?;
    let schema = message.header_as_schema()?;
    let known = schema.endianness() == Endianness::Little && schema.fields()?.iter().all(is_known);
    known.then(|| Arc::new(fb_to_schema(schema)))
}

/// Whether Arrow's reader knows the type, and those within it.
fn is_known(field: Field<'_>) -> bool {
    field.dictionary().is_none_or(|dictionary| dictionary.indexType().is_some_and(is_integer)) && has_known_type(field)
}

fn has_known_type(field: Field<'_>) -> bool {
    let unit = |unit: TimeUnit| (TimeUnit::SECOND.0..=TimeUnit::NANOSECOND.0).contains(&unit.0);
    let known = match field.type_type() {
        Type::Null | Type::Bool | Type::Binary | Type::LargeBinary | Type::Utf8 | Type::LargeUtf8 => Some(true),
        Type::Int => field.type_as_int().map(is_integer),
        Type::FixedSizeBinary => field.type_as_fixed_size_binary().map(|of| of.byteWidth() > 0),
        Type::FloatingPoint => field
            .type_as_floating_point()
            .map(|of| matches!(of.precision(), Precision::HALF | Precision::SINGLE | Precision::DOUBLE)),
        Type::Date => field.type_as_date().map(|of| matches!(of.unit(), DateUnit::DAY | DateUnit::MILLISECOND)),
        Type::Time => field.type_as_time().map(|of| match of.bitWidth() {
            32 => matches!(of.unit(), TimeUnit::SECOND | TimeUnit::MILLISECOND),
            64 => matches!(of.unit(), TimeUnit::MICROSECOND | TimeUnit::NANOSECOND),
            _ => false,
        }),
        Type::Timestamp => field.type_as_timestamp().map(|of| unit(of.unit())),
        Type::Duration => field.type_as_duration().map(|of| unit(of.unit())),
        Type::Interval => field.type_as_interval().map(|of| {
            matches!(of.unit(), IntervalUnit::YEAR_MONTH | IntervalUnit::DAY_TIME | IntervalUnit::MONTH_DAY_NANO)
        }),
        Type::Decimal => field.type_as_decimal().map(|of| {
            let most = match of.bitWidth() {
                32 => 9,
                64 => 18,
                128 => 38,
                256 => 76,
                _ => 0,
            };
            (1..=most).contains(&of.precision()) && i8::try_from(of.scale()).is_ok()
        }),
        Type::List | Type::LargeList => Some(has_children(field, 1)),
        Type::FixedSizeList => field.type_as_fixed_size_list().map(|of| of.listSize() >= 0 && has_children(field, 1)),
        Type::Struct_ => Some(field.children().is_none_or(|children| children.iter().all(is_known))),
        Type::Map => field.type_as_map().map(|_| is_map(field)),
        _ => None,
    };
    known.unwrap_or(false)
}

fn is_integer(int: Int<'_>) -> bool {
    matches!(int.bitWidth(), 8 | 16 | 32 | 64)
}

fn has_children(field: Field<'_>, count: usize) -> bool {
    field.children().is_some_and(|children| children.len() == count && children.iter().all(is_known))
}

/// Its one child has keys and values.
fn is_map(field: Field<'_>) -> bool {
    let of_two = |entry: Field<'_>| entry.type_type() == Type::Struct_ && has_children(entry, 2);
    has_children(field, 1) && field.children().is_some_and(|children| children.iter().all(of_two))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_ipc::writer::StreamWriter;
    use arrow_schema::{DataType, Field, Fields, Schema};

    fn message(schema: &Schema) -> Vec<u8> {
        let mut stream = StreamWriter::try_new(Vec::new(), schema).unwrap();
        stream.finish().unwrap();
        stream.into_inner().unwrap()
    }

    /// A column of every type that tables have, and of those that Arrow has beside them.
    fn schema() -> Schema {
        use DataType as T;
        use arrow_schema::IntervalUnit::{DayTime, MonthDayNano, YearMonth};
        use arrow_schema::TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        let item = |data_type: T| Arc::new(Field::new("item", data_type, true));
        let two = Fields::from(vec![Field::new("key", T::Utf8, false), Field::new("value", T::Int64, true)]);
        let label = T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8));
        let types = [
            T::Null,
            T::Boolean,
            T::Int8,
            T::UInt8,
            T::Int16,
            T::UInt16,
            T::Int32,
            T::UInt32,
            T::Int64,
            T::UInt64,
            T::Float16,
            T::Float32,
            T::Float64,
            T::Utf8,
            T::LargeUtf8,
            T::Binary,
            T::LargeBinary,
            T::FixedSizeBinary(16),
            T::Date32,
            T::Date64,
            T::Time32(Second),
            T::Time32(Millisecond),
            T::Time64(Microsecond),
            T::Time64(Nanosecond),
            T::Timestamp(Microsecond, None),
            T::Timestamp(Second, Some("UTC".into())),
            T::Duration(Microsecond),
            T::Interval(YearMonth),
            T::Interval(DayTime),
            T::Interval(MonthDayNano),
            T::Decimal128(38, 10),
            T::Decimal256(76, -3),
            T::List(item(T::Int64)),
            T::FixedSizeList(item(T::Float32), 3),
            T::Struct(two.clone()),
            T::Map(item(T::Struct(two)), false),
            label,
        ];
        let field = |(number, data_type): (usize, T)| Field::new(format!("c{number}"), data_type, true);
        Schema::new(types.into_iter().enumerate().map(field).collect::<Vec<_>>())
    }

    #[test]
    fn schemas_are_read_as_they_were_written() {
        assert_eq!(read_schema(&message(&schema())).as_deref(), Some(&schema()));
        let view = Schema::new(vec![Field::new("c", DataType::Utf8View, true)]);
        assert_eq!(read_schema(&message(&view)), None, "no table has one");
    }

    /// Whatever a byte becomes, the schema is read or not; nothing panics.
    #[test]
    fn damaged_schemas_are_borne() {
        let whole = message(&schema());
        let mut read = 0;
        for at in 0..whole.len() {
            for with in [0x01, 0x02, 0x08, 0x40, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= with;
                read += usize::from(read_schema(&bytes).is_some());
            }
        }
        assert!(read > 1000 && read < 6 * whole.len(), "{read} of {}", 6 * whole.len());
    }
}
