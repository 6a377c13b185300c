//! Values as Java prints them.

use arrow_array::ArrayRef;
use arrow_schema::Field;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dujiang_core::cells::{Cells, Values};
use dujiang_core::schema::{LOGICAL_BIT, META_SOURCE_TYPE};
use dujiang_core::{ChangeBatch, Result};
use std::ops::Range;
use std::sync::Arc;

/// A column of a batch, ready to be printed row by row.
pub(crate) struct Column<'a> {
    cells: Cells<'a>,
    /// Bits of a BIT column.
    bits: Option<u64>,
}

impl<'a> Column<'a> {
    /// The columns of a batch.
    pub(crate) fn all(batch: &'a ChangeBatch) -> Result<Vec<Self>> {
        let columns = batch.schema.arrow.fields().iter().zip(batch.rows.columns());
        let column = |(field, column): (&'a Arc<Field>, &'a ArrayRef)| {
            let cells = Cells::new(field, column.as_ref())?;
            let bits = (cells.logical() == Some(LOGICAL_BIT)).then(|| width(field));
            Ok(Self { cells, bits })
        };
        columns.map(column).collect()
    }

    /// Appends the text of a cell.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) {
        write(&self.cells, self.bits, row, out);
    }
}

fn write(cells: &Cells<'_>, bits: Option<u64>, row: usize, out: &mut Vec<u8>) {
    if cells.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match cells.values() {
        Values::List(ranges, items) => {
            enclosed(b'[', b']', ranges.get(row), out, |item, out| write(items, None, item, out));
        }
        Values::Map(ranges, parts) => enclosed(b'{', b'}', ranges.get(row), out, |pair, out| {
            write(&parts.0, None, pair, out);
            out.push(b'=');
            write(&parts.1, None, pair, out);
        }),
        Values::Row(parts) => enclosed(b'{', b'}', 0..parts.len(), out, |index, out| {
            let (name, cells) = &parts[index];
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            write(cells, None, row, out);
        }),
        _ => plain(cells, bits, row, out),
    }
}

fn enclosed(open: u8, close: u8, places: Range<usize>, out: &mut Vec<u8>, write: impl Fn(usize, &mut Vec<u8>)) {
    out.push(open);
    let first = places.start;
    for place in places {
        if place > first {
            out.extend_from_slice(b", ");
        }
        write(place, out);
    }
    out.push(close);
}

/// Bits of a BIT column.
fn width(field: &Field) -> u64 {
    let declared = field.metadata().get(META_SOURCE_TYPE).and_then(|text| text.split_once('('));
    declared.and_then(|(_, rest)| rest.split(')').next()?.trim().parse().ok()).unwrap_or(1)
}

fn plain(cells: &Cells<'_>, bits: Option<u64>, row: usize, out: &mut Vec<u8>) {
    let start = out.len();
    match (cells.values(), bits) {
        // In the dialect one bit is true or false, and more are bytes, the lowest first.
        (Values::U64(values), Some(1)) => out.extend_from_slice(if values[row] == 0 { b"false" } else { b"true" }),
        (Values::U64(values), Some(bits)) => {
            let bytes = values[row].to_le_bytes();
            let used = &bytes[..(bits.div_ceil(8) as usize).min(8)];
            out.extend_from_slice(STANDARD.encode(used).as_bytes());
        }
        (Values::F32(values), _) if values[row].is_finite() => {
            java_float(ryu::Buffer::new().format_finite(values[row]), out);
        }
        (Values::F64(values), _) if values[row].is_finite() => {
            java_float(ryu::Buffer::new().format_finite(values[row]), out);
        }
        (Values::TimeOfDay(_) | Values::LocalTime(_) | Values::Instant(_) | Values::Duration(_), _) => {
            cells.write_plain(row, out);
            java_time(start, out);
        }
        _ => cells.write_plain(row, out),
    }
}

/// `Double.toString`: plain from 10^-3 up to 10^7, otherwise `1.0E10`; always a digit behind the point.
fn java_float(shortest: &str, out: &mut Vec<u8>) {
    let (sign, text) = shortest.strip_prefix('-').map_or(("", shortest), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let digits = all.trim_matches('0');
    out.extend_from_slice(sign.as_bytes());
    if digits.is_empty() {
        out.extend_from_slice(b"0.0");
        return;
    }
    // The value is 0.digits times ten to this power.
    let power = whole.len() as i32 + exponent.parse::<i32>().unwrap_or(0) - leading as i32;
    let text = match power {
        -2..=0 => format!("0.{}{digits}", "0".repeat(power.unsigned_abs() as usize)),
        1..=7 if digits.len() <= power as usize => format!("{digits}{}.0", "0".repeat(power as usize - digits.len())),
        1..=7 => format!("{}.{}", &digits[..power as usize], &digits[power as usize..]),
        _ => {
            let rest = if digits.len() == 1 { "0" } else { &digits[1..] };
            format!("{}.{rest}E{}", &digits[..1], power - 1)
        }
    };
    out.extend_from_slice(text.as_bytes());
}

/// `LocalTime.toString` and `LocalDateTime.toString`: no seconds when they are zero, a fraction of three, six or nine
/// digits. Instants are printed in UTC without saying so.
fn java_time(start: usize, out: &mut Vec<u8>) {
    if out.last() == Some(&b'Z') {
        out.pop();
    }
    let text = &out[start..];
    match text.iter().position(|&byte| byte == b'.') {
        None if text.ends_with(b":00") && text.iter().filter(|&&byte| byte == b':').count() == 2 => {
            out.truncate(out.len() - 3);
        }
        None => {}
        Some(point) => {
            let point = start + point + 1;
            while (out.len() - point).is_multiple_of(3) && out.len() - point > 3 && out.ends_with(b"000") {
                out.truncate(out.len() - 3);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(value: f64) -> String {
        let mut out = Vec::new();
        java_float(ryu::Buffer::new().format_finite(value), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_are_printed_as_java_prints_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (17.0, "17.0"),
            (0.001, "0.001"),
            (0.000999, "9.99E-4"),
            (0.1, "0.1"),
            (0.0123, "0.0123"),
            (123.456, "123.456"),
            (1_234_567.0, "1234567.0"),
            (9_999_999.5, "9999999.5"),
            (10_000_000.0, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (1e100, "1.0E100"),
            (-2.5e-10, "-2.5E-10"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
        ];
        for (value, expected) in cases {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn times_are_printed_as_java_prints_them() {
        let cases = [
            ("18:00:00", "18:00"),
            ("18:00:22", "18:00:22"),
            ("18:00:00.100000", "18:00:00.100"),
            ("18:00:00.123456", "18:00:00.123456"),
            ("18:00:00.000000001", "18:00:00.000000001"),
            ("2020-07-17T18:00:00Z", "2020-07-17T18:00"),
            ("2020-07-17T18:00:22.120000Z", "2020-07-17T18:00:22.120"),
            ("838:59:59", "838:59:59"),
        ];
        for (ours, java) in cases {
            let mut out = format!("x{ours}").into_bytes();
            java_time(1, &mut out);
            assert_eq!(String::from_utf8(out).unwrap()[1..], *java);
        }
    }
}
