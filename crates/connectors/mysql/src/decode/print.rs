//! Dates and times as the server prints them, also those that are none: for columns that carry text.

use super::op::Op;
use super::temporal;
use super::value::BadValue;
use std::io::Write;

/// Appends the text of a cell, with `fsp` digits of the fraction.
pub(super) fn append(op: &Op, cell: &[u8], fsp: u8, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let has_clock = !matches!(op, Op::Date | Op::DateParts);
    let parts = temporal::parts_of(op, cell)?;
    let (year, month, day) = parts.date;
    let written = write!(out, "{year:04}-{month:02}-{day:02}").and_then(|()| {
        if !has_clock {
            return Ok(());
        }
        let (hour, minute, second) = parts.clock;
        write!(out, " {hour:02}:{minute:02}:{second:02}")?;
        let digits = format!("{:06}", parts.micros);
        if fsp > 0 { write!(out, ".{}", &digits[..usize::from(fsp.min(6))]) } else { Ok(()) }
    });
    written.map_err(|_| BadValue::corrupt("a date"))
}
