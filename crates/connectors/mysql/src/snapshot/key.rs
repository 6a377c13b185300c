//! Values of keys: from a decoded row to the parameters of the query for the next chunk.

use crate::client::Param;
use crate::decode::{Column, ColumnType};
use crate::position::{KeyValue, from_hex, to_hex};
use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use dujiang_core::calendar::civil;
use dujiang_core::{Code, Error, Result};

/// The key of a row, in the form in which it is given to the server.
///
/// # Errors
/// `NoKey` for a type that cannot be part of a key here, or for NULL.
pub fn key_of(batch: &RecordBatch, row: usize, columns: &[Column], key: &[usize]) -> Result<Vec<KeyValue>> {
    key.iter().map(|&at| value(batch.column(at).as_ref(), row, &columns[at])).collect()
}

fn value(array: &dyn Array, row: usize, column: &Column) -> Result<KeyValue> {
    let refuse = |why: &str| {
        let message = format!("column {} cannot be part of the key of a snapshot: {why}", column.name);
        Err(Error::new(Code::NoKey, message))
    };
    if array.is_null(row) {
        return refuse("it is NULL");
    }
    if let ColumnType::Enum { labels } = &column.column_type {
        return Ok(KeyValue::UInt(label_number(array.as_string::<i32>().value(row), labels)));
    }
    if let ColumnType::Set { labels } = &column.column_type {
        return Ok(KeyValue::UInt(label_bits(array.as_string::<i32>().value(row), labels)));
    }
    Ok(match array.data_type() {
        DataType::Int8 => KeyValue::Int(array.as_primitive::<t::Int8Type>().value(row).into()),
        DataType::Int16 => KeyValue::Int(array.as_primitive::<t::Int16Type>().value(row).into()),
        DataType::Int32 => KeyValue::Int(array.as_primitive::<t::Int32Type>().value(row).into()),
        DataType::Int64 => KeyValue::Int(array.as_primitive::<t::Int64Type>().value(row)),
        DataType::UInt8 => KeyValue::UInt(array.as_primitive::<t::UInt8Type>().value(row).into()),
        DataType::UInt16 => KeyValue::UInt(array.as_primitive::<t::UInt16Type>().value(row).into()),
        DataType::UInt32 => KeyValue::UInt(array.as_primitive::<t::UInt32Type>().value(row).into()),
        DataType::UInt64 => KeyValue::UInt(array.as_primitive::<t::UInt64Type>().value(row)),
        DataType::Float32 => KeyValue::Double(f64::from(array.as_primitive::<t::Float32Type>().value(row)).to_bits()),
        DataType::Float64 => KeyValue::Double(array.as_primitive::<t::Float64Type>().value(row).to_bits()),
        DataType::Decimal128(..) => KeyValue::Text(array.as_primitive::<t::Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(..) => KeyValue::Text(array.as_primitive::<t::Decimal256Type>().value_as_string(row)),
        DataType::Utf8 => KeyValue::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => KeyValue::Bytes(to_hex(array.as_binary::<i32>().value(row))),
        DataType::Date32 => KeyValue::Text(date(array.as_primitive::<t::Date32Type>().value(row).into())),
        DataType::Timestamp(..) => {
            KeyValue::Text(datetime(array.as_primitive::<t::TimestampMicrosecondType>().value(row)))
        }
        DataType::Duration(_) => KeyValue::Text(time(array.as_primitive::<t::DurationMicrosecondType>().value(row))),
        other => return refuse(&format!("its values are {other}")),
    })
}

/// ENUMs are ordered by the number of their label, from 1; the empty label of an invalid value is number 0.
fn label_number(label: &str, labels: &[Box<str>]) -> u64 {
    labels.iter().position(|l| &**l == label).map_or(0, |at| at as u64 + 1)
}

/// SETs are ordered by their bits; as text they would be compared as text.
fn label_bits(text: &str, labels: &[Box<str>]) -> u64 {
    let bit = |at: usize| 1 << at;
    text.split(',').filter_map(|label| labels.iter().position(|l| &**l == label)).map(bit).sum()
}

const DAY: i64 = 86_400_000_000;

/// `2026-11-20` of a number of days since 1970-01-01.
fn date(days: i64) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

fn datetime(micros: i64) -> String {
    format!("{} {}", date(micros.div_euclid(DAY)), time(micros.rem_euclid(DAY)))
}

fn time(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{:06}", micros % 1_000_000)
}

/// A value that owns what its parameter borrows.
pub enum OwnedParam {
    /// A number.
    Plain(KeyValue),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl OwnedParam {
    /// Readies a value to be given to the server.
    ///
    /// # Errors
    /// `CheckpointDamaged`.
    pub fn new(value: &KeyValue) -> Result<Self> {
        Ok(match value {
            KeyValue::Bytes(hex) => OwnedParam::Bytes(from_hex(hex)?),
            other => OwnedParam::Plain(other.clone()),
        })
    }

    /// The parameter.
    pub fn param(&self) -> Param<'_> {
        match self {
            OwnedParam::Bytes(bytes) => Param::Bytes(bytes),
            OwnedParam::Plain(KeyValue::Int(n)) => Param::Int(*n),
            OwnedParam::Plain(KeyValue::UInt(n)) => Param::UInt(*n),
            OwnedParam::Plain(KeyValue::Double(bits)) => Param::Double(f64::from_bits(*bits)),
            OwnedParam::Plain(KeyValue::Text(text) | KeyValue::Bytes(text)) => Param::Text(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_written_as_the_server_reads_them() {
        let shown: Vec<_> = [0, -1, 59, 60, 11_016, 19_782, -719_528, 2_932_896].map(date).into();
        let expected = [
            "1970-01-01",
            "1969-12-31",
            "1970-03-01",
            "1970-03-02",
            "2000-02-29",
            "2024-02-29",
            "0000-01-01",
            "9999-12-31",
        ];
        assert_eq!(shown, expected);
        assert_eq!(datetime(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(time(-838 * 3_600_000_000 - 59_000_001), "-838:00:59.000001");
        assert_eq!(label_number("b", &["a".into(), "b".into()]), 2);
    }

    #[test]
    fn sets_are_given_as_their_bits() {
        let labels: Vec<Box<str>> = ["z", "b", "a"].map(Into::into).into();
        let bits: Vec<_> = ["", "z", "z,b", "a", "z,b,a"].map(|text| label_bits(text, &labels)).into();
        assert_eq!(bits, [0, 1, 3, 4, 7]);
    }
}
