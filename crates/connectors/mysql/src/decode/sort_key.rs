//! Keys as bytes whose order is the server's order, for types where that is proven.
//!
//! The proof is a property test that sorts generated rows on a real server. Character columns are ordered by collations,
//! which are the server's business (`WEIGHT_STRING`).

use super::decimal::DecimalPlan;
use super::image::RowImage;
use super::labels;
use super::op::Op;
use super::print;
use super::temporal;
use super::types::{Column, ColumnType};
use super::value::BadValue;
use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, RecordBatch};
use arrow_buffer::i256;
use arrow_schema::DataType;
use dujiang_core::schema::META_SOURCE_TYPE;
use dujiang_core::{Code, Error, Result, TableId};
use std::sync::Arc;

/// Whether this program can order values of the type as the server does; otherwise ask the server (`WEIGHT_STRING`).
///
/// ENUM and SET are ordered by index and bits, as ORDER BY does and comparisons with a text do not; one of them that has
/// an empty label is left to the server, because the empty text may also stand for an invalid value.
pub fn is_locally_ordered(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Text { .. }
        | ColumnType::Json
        | ColumnType::Geometry
        | ColumnType::Vector
        | ColumnType::Uuid
        | ColumnType::Inet4
        | ColumnType::Inet6 => false,
        ColumnType::Enum { labels } | ColumnType::Set { labels } => labels.iter().all(|label| !label.is_empty()),
        _ => true,
    }
}

/// Whether two values of the column are equal for the server iff their Arrow values are equal.
///
/// Of the character columns only those with a binary collation, and of these only where trailing spaces cannot make two
/// different texts equal: CHAR, which stores none, and the NO PAD collations.
pub fn compares_by_value(column: &Column) -> bool {
    match &column.column_type {
        ColumnType::Float | ColumnType::Double | ColumnType::Json | ColumnType::Geometry | ColumnType::Vector => false,
        ColumnType::Text { .. } => {
            let collation = column.collation.as_deref().unwrap_or_default();
            let declared = column.field.metadata().get(META_SOURCE_TYPE).map_or("", String::as_str);
            let is_char = declared.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("char("));
            collation.ends_with("_nopad_bin")
                || collation == "utf8mb4_0900_bin"
                || (collation.ends_with("_bin") && is_char)
        }
        _ => {
            is_locally_ordered(&column.column_type)
                || matches!(column.column_type, ColumnType::Uuid | ColumnType::Inet4 | ColumnType::Inet6)
        }
    }
}

/// Writes sort keys of one table's key columns. `memcmp` of two sort keys is the server's order of the rows, and equal
/// sort keys are equal keys.
#[derive(Debug, Clone)]
pub struct KeyPlan {
    columns: Arc<[Column]>,
    key: Arc<[usize]>,
}

impl KeyPlan {
    /// For the key made of the columns at `key`, in key order. `None` when one of them is not ordered here.
    pub fn new(columns: Arc<[Column]>, key: &[usize]) -> Option<Self> {
        let local = key.iter().all(|&i| is_locally_ordered(&columns[i].column_type));
        local.then(|| Self { columns, key: key.into() })
    }

    /// Appends the sort key of a row image.
    ///
    /// # Errors
    /// `BadRecord` for a value that cannot be represented.
    pub fn write_image(&self, image: &RowImage<'_>, out: &mut Vec<u8>) -> Result<()> {
        for &index in self.key.iter() {
            let column = &self.columns[index];
            let cell = image.cell(index)?;
            if null_mark(column, cell.is_none(), out) {
                continue;
            }
            let Some((op, cell)) = cell else { return Err(null_in_key(column)) };
            write_cell(op, cell, out)
                .map_err(|value| value.into_error(&TableId::new("", "a key"), &column.name, Code::LogDamaged))?;
        }
        Ok(())
    }

    /// Appends the sort key of a decoded row. `batch` has the columns given to [`KeyPlan::new`].
    ///
    /// # Errors
    /// `Bug` when the batch has other columns.
    pub fn write_row(&self, batch: &RecordBatch, row: usize, out: &mut Vec<u8>) -> Result<()> {
        for &index in self.key.iter() {
            let column = &self.columns[index];
            let array = batch.columns().get(index).filter(|array| array.data_type() == column.field.data_type());
            let array = array.ok_or_else(|| other_columns(column))?;
            if null_mark(column, array.is_null(row), out) {
                continue;
            }
            write_value(array.as_ref(), row, &column.column_type, out).ok_or_else(|| other_columns(column))?;
        }
        Ok(())
    }
}

/// NULL sorts first. A column that cannot be NULL has no mark. Whether the value is done with.
fn null_mark(column: &Column, is_null: bool, out: &mut Vec<u8>) -> bool {
    if column.nullable {
        out.push(u8::from(!is_null));
    }
    column.nullable && is_null
}

#[cold]
fn null_in_key(column: &Column) -> Error {
    Error::new(Code::SchemaMismatch, format!("the log holds a NULL in column {}, which is NOT NULL", column.name))
}

#[cold]
fn other_columns(column: &Column) -> Error {
    Error::new(Code::Bug, format!("a sort key was asked of a batch that does not have column {}", column.name))
}

fn put_signed(n: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(n.cast_unsigned() ^ 1 << 63).to_be_bytes());
}

fn put_unsigned(n: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&n.to_be_bytes());
}

fn put_wide(n: i256, out: &mut Vec<u8>) {
    let mut bytes = n.to_be_bytes();
    bytes[0] ^= 0x80;
    out.extend_from_slice(&bytes);
}

/// Of negative numbers all bits are inverted, of others the sign; the two zeros are one value.
fn put_float(n: f64, out: &mut Vec<u8>) {
    let bits = (n + 0.0).to_bits();
    let flip = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
    put_unsigned(bits ^ flip, out);
}

/// 0x00 becomes 0x00 0xff, and 0x00 0x00 ends the string, so that a prefix sorts first.
fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Up to 8 bytes, little-endian.
fn unsigned(cell: &[u8]) -> u64 {
    cell.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn signed(cell: &[u8]) -> i64 {
    let unused = 64 - 8 * cell.len().clamp(1, 8) as u32;
    (unsigned(cell).cast_signed() << unused) >> unused
}

/// A cell of a row image, as the log has it.
fn write_cell(op: &Op, cell: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), BadValue> {
    match op {
        Op::I8 | Op::I16 | Op::I24 | Op::I32 | Op::I64 => put_signed(signed(cell), out),
        Op::U8 | Op::U16 | Op::U24 | Op::U32 | Op::U64 | Op::Enum(_) | Op::Set(_) => put_unsigned(unsigned(cell), out),
        Op::Year => put_unsigned(if cell == [0] { 0 } else { 1900 + unsigned(cell) }, out),
        Op::Bit => put_unsigned(cell.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)), out),
        Op::F32 => put_float(f64::from(f32::from_bits(unsigned(cell) as u32)), out),
        Op::F64 => put_float(f64::from_bits(unsigned(cell)), out),
        Op::Decimal(plan) => put_decimal(plan, cell, out)?,
        Op::Bytes => put_bytes(cell, out),
        Op::FixedBytes(n) => {
            let mut padded = cell.to_vec();
            padded.resize(*n, 0);
            put_bytes(&padded, out);
        }
        Op::TimeText(op, fsp) => {
            let mut text = Vec::new();
            print::append(op, cell, *fsp, &mut text)?;
            put_bytes(&text, out);
        }
        _ => put_signed(write_time(op, cell)?, out),
    }
    Ok(())
}

fn put_decimal(plan: &DecimalPlan, cell: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), BadValue> {
    put_wide(plan.decode256(cell).ok_or_else(|| BadValue::corrupt("a DECIMAL"))?, out);
    Ok(())
}

fn write_time(op: &Op, cell: &[u8]) -> std::result::Result<i64, BadValue> {
    let wrong = || BadValue::corrupt("a key");
    let head = |n: usize| cell.get(n..).ok_or_else(wrong);
    Ok(match op {
        Op::Date => temporal::date(cell.try_into().map_err(|_| wrong())?)?.into(),
        Op::DateTime(_) => temporal::datetime(*cell.first_chunk().ok_or_else(wrong)?, temporal::fraction(head(5)?)?)?,
        Op::Timestamp => {
            let seconds = u32::from_be_bytes(*cell.first_chunk().ok_or_else(wrong)?);
            temporal::timestamp(seconds, temporal::fraction(head(4)?)?)?
        }
        Op::Time => temporal::time(cell)?,
        Op::OldTime => temporal::old_time(cell.try_into().map_err(|_| wrong())?)?,
        Op::OldDateTime => temporal::old_datetime(cell.try_into().map_err(|_| wrong())?)?,
        Op::OldTimestamp => temporal::timestamp(unsigned(cell) as u32, 0)?,
        _ => return Err(wrong()),
    })
}

/// A decoded value; `None` for an Arrow type the decoder does not make of a locally ordered column.
fn write_value(array: &dyn Array, row: usize, column_type: &ColumnType, out: &mut Vec<u8>) -> Option<()> {
    match array.data_type() {
        DataType::Int8 => put_signed(array.as_primitive::<t::Int8Type>().value(row).into(), out),
        DataType::Int16 => put_signed(array.as_primitive::<t::Int16Type>().value(row).into(), out),
        DataType::Int32 => put_signed(array.as_primitive::<t::Int32Type>().value(row).into(), out),
        DataType::Int64 => put_signed(array.as_primitive::<t::Int64Type>().value(row), out),
        DataType::UInt8 => put_unsigned(array.as_primitive::<t::UInt8Type>().value(row).into(), out),
        DataType::UInt16 => put_unsigned(array.as_primitive::<t::UInt16Type>().value(row).into(), out),
        DataType::UInt32 => put_unsigned(array.as_primitive::<t::UInt32Type>().value(row).into(), out),
        DataType::UInt64 => put_unsigned(array.as_primitive::<t::UInt64Type>().value(row), out),
        DataType::Float32 => put_float(array.as_primitive::<t::Float32Type>().value(row).into(), out),
        DataType::Float64 => put_float(array.as_primitive::<t::Float64Type>().value(row), out),
        DataType::Decimal128(..) => {
            put_wide(i256::from_i128(array.as_primitive::<t::Decimal128Type>().value(row)), out);
        }
        DataType::Decimal256(..) => put_wide(array.as_primitive::<t::Decimal256Type>().value(row), out),
        DataType::Date32 => put_signed(array.as_primitive::<t::Date32Type>().value(row).into(), out),
        DataType::Timestamp(..) => put_signed(array.as_primitive::<t::TimestampMicrosecondType>().value(row), out),
        DataType::Duration(_) => put_signed(array.as_primitive::<t::DurationMicrosecondType>().value(row), out),
        DataType::Binary => put_bytes(array.as_binary::<i32>().value(row), out),
        DataType::Utf8 => {
            let text = array.as_string::<i32>().value(row);
            put_unsigned(
                match column_type {
                    ColumnType::Enum { labels } => labels::enum_index(text, labels)?,
                    ColumnType::Set { labels } => labels::set_bits(text, labels)?,
                    // Of one width, year first: as text they have the order of time.
                    ColumnType::Date | ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => {
                        put_bytes(text.as_bytes(), out);
                        return Some(());
                    }
                    _ => return None,
                },
                out,
            );
        }
        _ => return None,
    }
    Some(())
}
