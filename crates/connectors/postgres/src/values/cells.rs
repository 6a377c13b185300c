//! One cell into its column, from text or from binary.

use super::bad::BadValue;
use super::kind::PgKind;
use super::open::{ByteRun, OpenColumn, OpenList, Values};
use super::{array, number, time};

type CellResult = Result<(), BadValue>;

/// How a cell's bytes are to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Whether they are the type's binary form.
    pub binary: bool,
    /// Whether text has to be looked at one by one, because the database does not.
    pub check_text: bool,
}

/// Appends a value. After an error the column holds some of it: the caller shortens it to the rows before.
#[inline]
pub(super) fn append(kind: &PgKind, column: &mut OpenColumn, bytes: &[u8], reading: Reading) -> CellResult {
    column.nulls.append_non_null();
    match &mut column.values {
        Values::Run(run) => append_string(kind, run, bytes, reading),
        Values::List(list) => append_list(kind, list, bytes, reading),
        values if reading.binary => append_binary(kind, values, bytes),
        values => append_text(kind, values, bytes),
    }
}

#[cold]
fn wrong_column() -> BadValue {
    BadValue::corrupt("a column whose kind does not fit its type")
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BadValue> {
    bytes.try_into().map_err(|_| BadValue::corrupt("a value of another length than its type has"))
}

#[inline]
fn append_text(kind: &PgKind, values: &mut Values, text: &[u8]) -> CellResult {
    match (kind, values) {
        (PgKind::Bool, Values::Bool(out)) => out.append(match text {
            b"t" => true,
            b"f" => false,
            _ => return Err(BadValue::corrupt("a boolean")),
        }),
        (PgKind::Int2, Values::I16(out)) => out.push(number::integer(text)?),
        (PgKind::Int4, Values::I32(out)) => out.push(number::integer(text)?),
        (PgKind::Int8, Values::I64(out)) => out.push(number::integer(text)?),
        (PgKind::Oid, Values::U32(out)) => out.push(number::integer(text)?),
        (PgKind::Xid8, Values::U64(out)) => out.push(number::integer(text)?),
        (PgKind::Float4, Values::F32(out)) => out.push(canonical32(number::float(text)?)),
        (PgKind::Float8, Values::F64(out)) => out.push(canonical64(number::float(text)?)),
        (PgKind::Decimal { scale, .. }, Values::I128(out)) => out.push(number::decimal128(text, *scale)?),
        (PgKind::Decimal { scale, .. }, Values::I256(out)) => out.push(number::decimal256(text, *scale)?),
        (PgKind::Money { .. }, Values::I128(out)) => out.push(number::money(text)?),
        (PgKind::Date, Values::I32(out)) => out.push(time::date(text)?),
        (PgKind::Time, Values::I64(out)) => out.push(time::time(text)?),
        (PgKind::Timestamp, Values::I64(out)) => out.push(time::timestamp(text, false)?),
        (PgKind::Timestamptz, Values::I64(out)) => out.push(time::timestamp(text, true)?),
        _ => return Err(wrong_column()),
    }
    Ok(())
}

#[inline]
fn append_binary(kind: &PgKind, values: &mut Values, bytes: &[u8]) -> CellResult {
    match (kind, values) {
        (PgKind::Bool, Values::Bool(out)) => out.append(match bytes {
            [1] => true,
            [0] => false,
            _ => return Err(BadValue::corrupt("a boolean")),
        }),
        (PgKind::Int2, Values::I16(out)) => out.push(i16::from_be_bytes(exactly(bytes)?)),
        (PgKind::Int4, Values::I32(out)) => out.push(i32::from_be_bytes(exactly(bytes)?)),
        (PgKind::Int8, Values::I64(out)) => out.push(i64::from_be_bytes(exactly(bytes)?)),
        (PgKind::Oid, Values::U32(out)) => out.push(u32::from_be_bytes(exactly(bytes)?)),
        (PgKind::Xid8, Values::U64(out)) => out.push(u64::from_be_bytes(exactly(bytes)?)),
        (PgKind::Float4, Values::F32(out)) => out.push(canonical32(f32::from_be_bytes(exactly(bytes)?))),
        (PgKind::Float8, Values::F64(out)) => out.push(canonical64(f64::from_be_bytes(exactly(bytes)?))),
        (PgKind::Decimal { scale, .. }, Values::I128(out)) => out.push(number::binary_decimal128(bytes, *scale)?),
        (PgKind::Decimal { scale, .. }, Values::I256(out)) => out.push(number::binary_decimal256(bytes, *scale)?),
        (PgKind::Money { .. }, Values::I128(out)) => out.push(i64::from_be_bytes(exactly(bytes)?).into()),
        (PgKind::Date, Values::I32(out)) => out.push(time::binary_date(exactly(bytes)?)?),
        (PgKind::Time, Values::I64(out)) => out.push(time::binary_time(exactly(bytes)?)?),
        (PgKind::Timestamp | PgKind::Timestamptz, Values::I64(out)) => {
            out.push(time::binary_timestamp(exactly(bytes)?)?)
        }
        _ => return Err(wrong_column()),
    }
    Ok(())
}

/// The text of a NaN does not tell its bits: all are one.
fn canonical32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value }
}

fn canonical64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

fn append_string(kind: &PgKind, run: &mut ByteRun, bytes: &[u8], reading: Reading) -> CellResult {
    // No value is more than eight times as long as its bytes (bits are; numbers and intervals have their own bound).
    if !run.has_room(bytes.len().saturating_mul(8).saturating_add(1 << 18)) {
        return Err(BadValue::corrupt("the text of one batch, longer than 2 GiB,"));
    }
    let start = run.data.len();
    if reading.binary {
        binary_string(kind, &mut run.data, bytes)?;
    } else {
        match kind {
            PgKind::Bytea => append_hex(bytes.strip_prefix(b"\\x").ok_or_else(hex)?, &mut run.data)?,
            PgKind::Wkb => append_hex(bytes, &mut run.data)?,
            _ => run.data.extend_from_slice(bytes),
        }
    }
    if reading.check_text
        && !matches!(kind, PgKind::Bytea | PgKind::Wkb)
        && std::str::from_utf8(&run.data[start..]).is_err()
    {
        return Err(BadValue::not_utf8(&run.data[start..]));
    }
    run.end_cell();
    Ok(())
}

fn binary_string(kind: &PgKind, out: &mut Vec<u8>, bytes: &[u8]) -> CellResult {
    match kind {
        PgKind::Text | PgKind::Json | PgKind::Enum | PgKind::Bytea | PgKind::Wkb => out.extend_from_slice(bytes),
        PgKind::Jsonb => match bytes {
            // `jsonb_send`: a version, then the text.
            [1, text @ ..] => out.extend_from_slice(text),
            _ => return Err(BadValue::corrupt("a jsonb of another version than 1")),
        },
        PgKind::Number => number::append_numeric(bytes, out)?,
        PgKind::Interval => time::append_interval(exactly(bytes)?, out),
        PgKind::Uuid => append_uuid(exactly(bytes)?, out),
        PgKind::Bits => append_bits(bytes, out)?,
        _ => return Err(wrong_column()),
    }
    Ok(())
}

fn append_list(kind: &PgKind, list: &mut OpenList, bytes: &[u8], reading: Reading) -> CellResult {
    let PgKind::List { item, delimiter, .. } = kind else { return Err(wrong_column()) };
    let OpenList { items, scratch, .. } = list;
    let push = |element: Option<&[u8]>| match element {
        Some(bytes) => append(item, items, bytes, reading),
        None => {
            items.push_null();
            Ok(())
        }
    };
    if reading.binary {
        array::each_binary(bytes, push)?;
    } else {
        array::each_text(bytes, *delimiter, scratch, push)?;
    }
    list.end()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn append_uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// `varbit_send`: the number of bits (32 bits), then the bits, the first one highest.
fn append_bits(bytes: &[u8], out: &mut Vec<u8>) -> CellResult {
    let corrupt = || BadValue::corrupt("a bit string");
    let (head, bits) = bytes.split_first_chunk::<4>().ok_or_else(corrupt)?;
    let count = usize::try_from(i32::from_be_bytes(*head)).map_err(|_| corrupt())?;
    if bits.len() != count.div_ceil(8) {
        return Err(corrupt());
    }
    out.extend((0..count).map(|at| b'0' + (bits[at / 8] >> (7 - at % 8) & 1)));
    Ok(())
}

#[cold]
fn hex() -> BadValue {
    BadValue::corrupt("hexadecimal bytes")
}

fn append_hex(text: &[u8], out: &mut Vec<u8>) -> CellResult {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => 255,
    };
    let pairs = text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(hex());
    }
    let mut bad = 0;
    out.extend(pairs.map(|pair| {
        let (high, low) = (digit(pair[0]), digit(pair[1]));
        bad |= (high | low) & 0xF0;
        high << 4 | low & 15
    }));
    if bad == 0 { Ok(()) } else { Err(hex()) }
}
