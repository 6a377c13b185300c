//! Arrow values as the server would print them.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use dujiang_mysql::decode::{Column, ColumnType};

const DAY: i64 = 86_400_000_000;

/// One row, in the notation of [`super::capture::Table::printed`].
pub fn row(batch: &RecordBatch, columns: &[Column], row: usize) -> Vec<Option<String>> {
    let cell =
        |(array, column): (&arrow_array::ArrayRef, &Column)| (!array.is_null(row)).then(|| cell(array, column, row));
    batch.columns().iter().zip(columns).map(cell).collect()
}

fn cell(array: &dyn Array, column: &Column, row: usize) -> String {
    match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float32 => format!("{:e}", f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => format!("{:e}", array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Duration(TimeUnit::Microsecond) => {
            time(array.as_primitive::<DurationMicrosecondType>().value(row), fsp(column))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            format!("{} {}", date(micros.div_euclid(DAY)), clock(micros.rem_euclid(DAY), fsp(column)))
        }
        DataType::Utf8 if is_text(column) => hex(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let numbers = array.as_list::<i32>().value(row);
            hex(&numbers
                .as_primitive::<Float32Type>()
                .values()
                .iter()
                .flat_map(|n| n.to_le_bytes())
                .collect::<Vec<_>>())
        }
        other => panic!("the decoder makes no {other}"),
    }
}

fn is_text(column: &Column) -> bool {
    use ColumnType as T;
    !matches!(column.column_type, T::Uuid | T::Inet4 | T::Inet6 | T::Date | T::DateTime { .. } | T::Timestamp { .. })
}

fn fsp(column: &Column) -> usize {
    match column.column_type {
        ColumnType::Time { fsp } | ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp } => fsp.into(),
        _ => 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

fn clock(micros: i64, fsp: usize) -> String {
    let seconds = micros / 1_000_000;
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fsp > 0 {
        text.push('.');
        text.push_str(&format!("{:06}", micros % 1_000_000)[..fsp]);
    }
    text
}

fn time(micros: i64, fsp: usize) -> String {
    format!("{}{}", if micros < 0 { "-" } else { "" }, clock(micros.abs(), fsp))
}

/// Counts years and months off, so as not to share arithmetic with the decoder.
fn date(mut days: i64) -> String {
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += if leap(year) { 366 } else { 365 };
    }
    while days >= if leap(year) { 366 } else { 365 } {
        days -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!("{year:04}-{:02}-{:02}", month + 1, days + 1)
}
