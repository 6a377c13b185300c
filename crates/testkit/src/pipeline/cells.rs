//! Cells as text.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_schema::DataType;

/// A cell as text; numbers and text as servers print them.
///
/// # Panics
/// For types that sources of these tests do not have.
pub fn cell(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".into();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => array.as_primitive::<t::Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<t::Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<t::Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<t::Int64Type>().value(row).to_string(),
        DataType::UInt8 => array.as_primitive::<t::UInt8Type>().value(row).to_string(),
        DataType::UInt16 => array.as_primitive::<t::UInt16Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<t::UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<t::UInt64Type>().value(row).to_string(),
        DataType::Float32 => array.as_primitive::<t::Float32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<t::Float64Type>().value(row).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<t::Decimal128Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => format!("{:02x?}", array.as_binary::<i32>().value(row)),
        DataType::Date32 => array.as_primitive::<t::Date32Type>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<t::TimestampMicrosecondType>().value(row).to_string(),
        DataType::Time64(_) => array.as_primitive::<t::Time64MicrosecondType>().value(row).to_string(),
        DataType::Duration(_) => array.as_primitive::<t::DurationMicrosecondType>().value(row).to_string(),
        other => panic!("no text for {other}"),
    }
}
