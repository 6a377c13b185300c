//! Debezium's own values and the Kafka Connect schemas that explain them
//! (<https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-data-types>).
//!
//! Where Debezium has a choice it is the exact one: `decimal.handling.mode=precise`, `bigint.unsigned.handling.mode=precise`,
//! `time.precision.mode=adaptive_time_microseconds`.

use super::quoted::write_quoted_json;
use arrow_schema::{DataType, Field, TimeUnit};
use dujiang_core::cells::{Cells, Values};
use dujiang_core::dialect::type_name;
use dujiang_core::schema::{
    self, LOGICAL_BIT, LOGICAL_ENUM, LOGICAL_JSON, LOGICAL_SET, LOGICAL_YEAR, META_SOURCE_TYPE,
};
use dujiang_core::text::{write_base64, write_json_string};
use std::ops::Range;

/// What becomes of a column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Native {
    /// As in files.
    Same,
    /// Text.
    Text,
    /// The JSON of a cell with parts, as text.
    Parts,
    /// An array.
    List(Box<Native>),
    /// The bytes of a decimal's whole number, base64; this many digits follow its point.
    Decimal(i8),
    /// One bit, as a truth value.
    Bit,
    /// So many bits, lowest byte first, base64.
    Bits(u32),
    /// Days since 1970.
    Days,
    /// Milliseconds since 1970.
    Millis,
    /// Microseconds since 1970, or of a length of time.
    Micros,
    /// Nanoseconds since 1970, or of a time of day.
    Nanos,
}

impl Native {
    pub(super) fn of(field: &Field) -> Self {
        match field.data_type() {
            DataType::UInt64 if schema::logical(field) == Some(LOGICAL_BIT) => match bits(field) {
                1 => Self::Bit,
                bits => Self::Bits(bits),
            },
            DataType::UInt64 => Self::Decimal(0),
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Self::Decimal(*scale),
            DataType::Date32 => Self::Days,
            DataType::Time32(_) => Self::Micros,
            DataType::Time64(unit) | DataType::Duration(unit) => match unit {
                TimeUnit::Nanosecond => Self::Nanos,
                _ => Self::Micros,
            },
            DataType::Timestamp(TimeUnit::Nanosecond, None) => Self::Nanos,
            DataType::Timestamp(_, None) if precision(field) <= 3 => Self::Millis,
            DataType::Timestamp(_, None) => Self::Micros,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Map(..) | DataType::Struct(_) => Self::Parts,
            DataType::List(item) => Self::List(Box::new(Self::of(item))),
            DataType::Dictionary(_, values) => Self::of(&field.clone().with_data_type(values.as_ref().clone())),
            _ => Self::Same,
        }
    }

    /// Appends a cell that is not NULL.
    pub(super) fn write(&self, cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
        match (self, cells.values()) {
            (Self::Text, Values::Text(texts)) => write_json_string(texts.get(row), out),
            (Self::Decimal(_), Values::Decimal128(values, _)) => write_whole(&values[row].to_be_bytes(), out),
            (Self::Decimal(_), Values::Decimal256(values, _)) => write_whole(&values[row].to_be_bytes(), out),
            (Self::Decimal(_), Values::U64(values)) => write_whole(&i128::from(values[row]).to_be_bytes(), out),
            (Self::Bit, Values::U64(values)) => {
                out.extend_from_slice(if values[row] & 1 == 1 { b"true" } else { b"false" });
            }
            (Self::Bits(bits), Values::U64(values)) => {
                write_quoted_base64(&values[row].to_le_bytes()[..bits.div_ceil(8).clamp(1, 8) as usize], out);
            }
            (Self::Days, Values::Date(days)) => write_number(days[row].into(), out),
            (_, Values::LocalTime(ticks) | Values::TimeOfDay(ticks) | Values::Duration(ticks)) => {
                write_number(self.count(ticks.get(row).into(), ticks.unit), out);
            }
            (Self::Parts, _) => write_quoted_json(cells, row, out),
            (Self::List(native), Values::List(places, items)) => native.write_list(items, places.get(row), out),
            _ => cells.write_json(row, out),
        }
    }

    fn write_list(&self, items: &Cells<'_>, places: Range<usize>, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, item) in places.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if items.is_null(item) {
                out.extend_from_slice(b"null");
            } else {
                self.write(items, item, out);
            }
        }
        out.push(b']');
    }

    /// A count of `unit` in the unit of this type. `images` has made sure that a coarser one loses nothing.
    fn count(&self, count: i128, unit: TimeUnit) -> i128 {
        count * per_second(self.unit()) / per_second(unit)
    }

    /// The unit of the number, of times.
    pub(super) fn unit(&self) -> TimeUnit {
        match self {
            Self::Millis => TimeUnit::Millisecond,
            Self::Nanos => TimeUnit::Nanosecond,
            _ => TimeUnit::Microsecond,
        }
    }
}

pub(super) fn per_second(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn write_number(value: i128, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The fewest bytes, highest first, that tell the number and its sign.
fn write_whole(bytes: &[u8], out: &mut Vec<u8>) {
    let fill = if bytes[0] & 0x80 == 0 { 0x00 } else { 0xFF };
    let redundant = bytes.windows(2).take_while(|pair| pair[0] == fill && (pair[1] ^ fill) & 0x80 == 0).count();
    write_quoted_base64(&bytes[redundant..], out);
}

fn write_quoted_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write_base64(bytes, out);
    out.push(b'"');
}

/// Digits of a second that the column can hold.
fn precision(field: &Field) -> u32 {
    argument(&type_name(field)).unwrap_or(6)
}

fn bits(field: &Field) -> u32 {
    field.metadata().get(META_SOURCE_TYPE).and_then(|name| argument(name)).unwrap_or(64)
}

/// The first number in brackets.
fn argument(name: &str) -> Option<u32> {
    name.split_once('(')?.1.split([',', ')']).next()?.trim().parse().ok()
}

/// Appends the Kafka Connect schema of a column, with `"field":name` if it has one.
pub(super) fn write_schema(field: &Field, name: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    write_type(field, out);
    out.extend_from_slice(b",\"optional\":");
    out.extend_from_slice(if field.is_nullable() { b"true" } else { b"false" });
    write_semantic_type(field, out);
    if let Some(name) = name {
        out.extend_from_slice(b",\"field\":");
        write_json_string(name, out);
    }
    out.push(b'}');
}

/// The literal type behind its first quote, with its parts.
fn write_type(field: &Field, out: &mut Vec<u8>) {
    let name: &str = match (Native::of(field), field.data_type()) {
        (Native::Text | Native::Parts, _) => "string",
        (Native::Decimal(_) | Native::Bits(_), _) => "bytes",
        (Native::Bit, _) => "boolean",
        (Native::Days, _) => "int32",
        (Native::Millis | Native::Micros | Native::Nanos, _) => "int64",
        (Native::Same, DataType::Boolean) => "boolean",
        (Native::Same, DataType::Int8 | DataType::Int16 | DataType::UInt8) => "int16",
        (Native::Same, DataType::Int32 | DataType::UInt16) => "int32",
        (Native::Same, DataType::Int64 | DataType::UInt32) => "int64",
        (Native::Same, DataType::Float32) => "float",
        (Native::Same, DataType::Float64) => "double",
        (
            Native::Same,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_),
        ) => "bytes",
        (Native::List(_), DataType::List(item)) => {
            out.extend_from_slice(b"array\",\"items\":");
            write_schema(item, None, out);
            return;
        }
        (Native::Same | Native::List(_), _) => "string",
    };
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

/// Appends the schemas of fields as an array.
pub(super) fn write_fields<'a>(fields: impl Iterator<Item = &'a Field>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, field) in fields.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_schema(field, Some(field.name()), out);
    }
    out.push(b']');
}

fn write_semantic_type(field: &Field, out: &mut Vec<u8>) {
    let data_type = field.data_type();
    let (name, parameters) = match (Native::of(field), schema::logical(field)) {
        (Native::Decimal(scale), _) => {
            let precision = match data_type {
                DataType::Decimal128(precision, _) | DataType::Decimal256(precision, _) => *precision,
                _ => 20,
            };
            let parameters = format!("\"scale\":\"{scale}\",\"connect.decimal.precision\":\"{precision}\"");
            ("org.apache.kafka.connect.data.Decimal", parameters)
        }
        (Native::Bits(bits), _) => ("io.debezium.data.Bits", format!("\"length\":\"{bits}\"")),
        (Native::Days, _) => ("io.debezium.time.Date", String::new()),
        (Native::Millis, _) => ("io.debezium.time.Timestamp", String::new()),
        (Native::Micros, _) => match data_type {
            DataType::Timestamp(..) => ("io.debezium.time.MicroTimestamp", String::new()),
            _ => ("io.debezium.time.MicroTime", String::new()),
        },
        (Native::Nanos, _) => match data_type {
            DataType::Timestamp(..) => ("io.debezium.time.NanoTimestamp", String::new()),
            _ => ("io.debezium.time.NanoTime", String::new()),
        },
        (Native::Parts, _) | (Native::Text, Some(LOGICAL_JSON)) => ("io.debezium.data.Json", String::new()),
        (Native::Text, Some(LOGICAL_ENUM)) => ("io.debezium.data.Enum", allowed(field)),
        (Native::Text, Some(LOGICAL_SET)) => ("io.debezium.data.EnumSet", allowed(field)),
        (Native::Same, Some(LOGICAL_YEAR)) => ("io.debezium.time.Year", String::new()),
        (Native::Same, _) if matches!(data_type, DataType::Timestamp(_, Some(_))) => {
            ("io.debezium.time.ZonedTimestamp", String::new())
        }
        _ => return,
    };
    out.extend_from_slice(format!(",\"name\":\"{name}\",\"version\":1").as_bytes());
    if !parameters.is_empty() {
        out.extend_from_slice(format!(",\"parameters\":{{{parameters}}}").as_bytes());
    }
}

/// The labels, as far as the source's type names them: `enum('a','b')` -> `a,b`.
fn allowed(field: &Field) -> String {
    let declared = field.metadata().get(META_SOURCE_TYPE).map_or("", String::as_str);
    let Some(list) = declared.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')) else {
        return String::new();
    };
    let labels = list.strip_prefix('\'').and_then(|list| list.strip_suffix('\'')).unwrap_or(list);
    let mut out = b"\"allowed\":".to_vec();
    write_json_string(&labels.replace("','", ",").replace("''", "'"), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
