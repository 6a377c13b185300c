//! One value of a column, and values read from text.

use super::super::float::Real;
use super::super::number::power;
use crate::types::Type;
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_buffer::i256;

/// One value that is not NULL.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Boolean(bool),
    Integer(i64),
    Decimal(i256, i8),
    Float(f32),
    Double(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Date(i32),
    /// Time of day or a length of time.
    Time(i64),
    Timestamp(i64),
    Instant(i64),
}

/// The value of a row.
#[inline]
pub(super) fn cell<'a>(column: &'a dyn Array, ty: &Type, row: usize) -> Cell<'a> {
    match ty {
        Type::Boolean => Cell::Boolean(column.as_boolean().value(row)),
        Type::TinyInt => Cell::Integer(column.as_primitive::<Int8Type>().value(row).into()),
        Type::SmallInt => Cell::Integer(column.as_primitive::<Int16Type>().value(row).into()),
        Type::Int => Cell::Integer(column.as_primitive::<Int32Type>().value(row).into()),
        Type::BigInt => Cell::Integer(column.as_primitive::<Int64Type>().value(row)),
        Type::Decimal(_, s) => Cell::Decimal(i256::from_i128(column.as_primitive::<Decimal128Type>().value(row)), *s),
        Type::WideDecimal(_, s) => Cell::Decimal(column.as_primitive::<Decimal256Type>().value(row), *s),
        Type::Float => Cell::Float(column.as_primitive::<Float32Type>().value(row)),
        Type::Double => Cell::Double(column.as_primitive::<Float64Type>().value(row)),
        Type::Bytes => Cell::Bytes(column.as_binary::<i32>().value(row)),
        Type::Date => Cell::Date(column.as_primitive::<Date32Type>().value(row)),
        Type::Time => Cell::Time(column.as_primitive::<Time64MicrosecondType>().value(row)),
        Type::Duration => Cell::Time(column.as_primitive::<DurationMicrosecondType>().value(row)),
        Type::Timestamp => Cell::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        Type::Instant => Cell::Instant(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        _ => Cell::Text(column.as_string::<i32>().value(row)),
    }
}

/// What PostgreSQL takes for a blank around a number.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Any unambiguous beginning of true, false, yes, no, on, off; 1 and 0.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let word = text.trim_matches(is_space).to_ascii_lowercase();
    if word.is_empty() {
        return None;
    }
    match word.as_str() {
        "1" | "on" => return Some(true),
        "0" | "of" | "off" => return Some(false),
        _ => {}
    }
    let begins = |whole: &str| whole.starts_with(&word);
    if begins("true") || begins("yes") {
        Some(true)
    } else if begins("false") || begins("no") {
        Some(false)
    } else {
        None
    }
}

/// Digits with a sign, between blanks.
pub(super) fn integer(text: &str) -> Option<i128> {
    let trimmed = text.trim_matches(is_space);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(trimmed.parse().unwrap_or(if trimmed.starts_with('-') { i128::MIN } else { i128::MAX }))
}

/// A number with point and exponent, at this scale, rounded half away from zero; `None` for what is no number or needs
/// more than 76 digits.
pub(super) fn decimal(text: &str, scale: i8) -> Option<i256> {
    let trimmed = text.trim_matches(is_space);
    let (negative, rest) = match trimmed.as_bytes().first()? {
        b'-' => (true, &trimmed[1..]),
        b'+' => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if before.is_empty() && after.is_empty() || !before.bytes().chain(after.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Digits and the power of ten of the last one.
    let digits: String = format!("{before}{after}").trim_start_matches('0').to_owned();
    let last = i64::from(exponent) - after.len() as i64;
    let value = at_scale(&digits, last, i64::from(scale))?;
    Some(if negative { value.wrapping_neg() } else { value })
}

fn at_scale(digits: &str, last: i64, scale: i64) -> Option<i256> {
    if digits.is_empty() {
        return Some(i256::ZERO);
    }
    let shift = last + scale;
    let kept = digits.len() as i64 + shift.min(0);
    if kept + shift.max(0) > 76 {
        return None;
    }
    if kept < 0 {
        return Some(i256::ZERO);
    }
    let whole = i256::from_string(if kept == 0 { "0" } else { &digits[..kept as usize] })?;
    if shift >= 0 {
        return whole.checked_mul(power(shift as u32));
    }
    let up = digits.as_bytes()[kept as usize] >= b'5';
    Some(if up { whole.wrapping_add(i256::ONE) } else { whole })
}

/// A float by C's rules without its hexadecimal forms.
pub(super) fn float<R: Real + std::str::FromStr>(trimmed: &str) -> Option<R> {
    let word = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let named = ["nan", "inf", "infinity"].iter().any(|name| word.eq_ignore_ascii_case(name));
    let digits = word.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if named || digits { trimmed.parse().ok() } else { None }
}
