//! The one text form of values and events: used by JSON and CSV files, dead letters, event ids and messages.
//!
//! | Arrow type | text |
//! |---|---|
//! | integers, decimals | all digits, never an exponent; a decimal has exactly as many digits after the point as its scale |
//! | floats | the shortest text that reads back as the same value; `NaN`, `Infinity`, `-Infinity` |
//! | dates | `2026-11-20`; years beyond 9999 have a sign: `+12026-11-20` |
//! | time of day | `17:38:25.123456` |
//! | wall clock, instant | `2026-11-20T17:38:25.123456`, for an instant with `Z` |
//! | durations | `-838:59:59.000001`: hours, minutes, seconds |
//! | binary | base64, RFC 4648 §4, padded |
//! | ARRAY, ROW, MAP | JSON: an array, an object, an object whose names are the text of the keys |
//!
//! Times have a fraction of exactly their unit's digits, or none if it is zero.

mod json;
mod nested;
mod number;
mod time;

use crate::batch::{ChangeBatch, Origin};
use crate::cells::{Cells, Values};
use crate::checkpoint::Lineage;
use crate::key::Keys;
use crate::schema;
use arrow_array::Array;
use arrow_schema::Field;

pub use json::{is_json_document, write_json_string};
pub use number::write_base64;
pub use time::write_instant;

/// Appends the JSON form of one cell: exact numbers (decimals as plain numbers with all their digits, never rounded),
/// text escaped as RFC 8259 asks, binary as base64, dates and times as ISO 8601 text, instants with `Z`, NULL as
/// `null`, a column marked `json` as the document itself on one line, NaN and infinities as text. Text in a column
/// marked `json` or `number` that is no such thing is written as a string; [`is_json_document`] tells beforehand. A list
/// is an array, a struct an object, and a map an object whose names are the text of its keys.
///
/// # Panics
/// For a type that [`crate::cells::check_types`] refuses.
pub fn write_json_value(field: &Field, column: &dyn Array, row: usize, out: &mut Vec<u8>) {
    cells(field, column).write_json(row, out);
}

/// Appends the plain text of one cell (no quotes, no escapes); nothing for NULL. A cell with parts is its JSON.
///
/// # Panics
/// For a type that [`crate::cells::check_types`] refuses.
pub fn write_plain_value(field: &Field, column: &dyn Array, row: usize, out: &mut Vec<u8>) {
    cells(field, column).write_plain(row, out);
}

/// Appends a row as one JSON object without a line end. A cell whose value could not be carried ([`ChangeBatch::unfit`]) is
/// the string of the source's text.
///
/// # Panics
/// As [`write_json_value`].
pub fn write_json_row(batch: &ChangeBatch, row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, field) in batch.schema.arrow.fields().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json_string(field.name(), out);
        out.push(b':');
        match batch.unfit_cell(row, index) {
            Some(unfit) => write_json_string(&unfit.text, out),
            None => write_json_value(field, batch.rows.column(index).as_ref(), row, out),
        }
    }
    out.push(b'}');
}

fn cells<'a>(field: &'a Field, column: &'a dyn Array) -> Cells<'a> {
    Cells::new(field, column).expect("invariant: sources use only types that cells can be read of")
}

impl Cells<'_> {
    /// Appends the JSON form of the cell; see [`write_json_value`].
    pub fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self.values() {
            Values::Text(texts) => json::write_text(self.logical(), texts.get(row), out),
            Values::F32(values) if !values[row].is_finite() => quoted(self, row, out),
            Values::F64(values) if !values[row].is_finite() => quoted(self, row, out),
            Values::Dictionary(keys, values) => values.write_json(keys.get(row), out),
            Values::Binary(_)
            | Values::Date(_)
            | Values::TimeOfDay(_)
            | Values::LocalTime(_)
            | Values::Instant(_)
            | Values::Duration(_) => quoted(self, row, out),
            _ => self.write_plain(row, out),
        }
    }

    /// Appends the plain text of the cell; see [`write_plain_value`].
    pub fn write_plain(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        match self.values() {
            Values::Null => {}
            Values::Boolean(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Values::I8(values) => number::write_integer(values[row], out),
            Values::I16(values) => number::write_integer(values[row], out),
            Values::I32(values) => number::write_integer(values[row], out),
            Values::I64(values) => number::write_integer(values[row], out),
            Values::U8(values) => number::write_integer(values[row], out),
            Values::U16(values) => number::write_integer(values[row], out),
            Values::U32(values) => number::write_integer(values[row], out),
            Values::U64(values) => number::write_integer(values[row], out),
            Values::F32(values) => number::write_f32(values[row], out),
            Values::F64(values) => number::write_f64(values[row], out),
            Values::Decimal128(values, scale) => number::write_decimal128(values[row], *scale, out),
            Values::Decimal256(values, scale) => number::write_decimal256(values[row], *scale, out),
            Values::Text(texts) => out.extend_from_slice(texts.get(row).as_bytes()),
            Values::Binary(values) => number::write_base64(values.get(row), out),
            Values::Date(values) => time::write_date(i64::from(values[row]), out),
            Values::TimeOfDay(ticks) => time::write_time_of_day(ticks.get(row), ticks.unit, out),
            Values::LocalTime(ticks) => time::write_local(ticks.get(row), ticks.unit, out),
            Values::Instant(ticks) => {
                time::write_local(ticks.get(row), ticks.unit, out);
                out.push(b'Z');
            }
            Values::Duration(ticks) => time::write_duration(ticks.get(row), ticks.unit, out),
            Values::Dictionary(keys, values) => values.write_plain(keys.get(row), out),
            Values::List(ranges, items) => nested::write_list(ranges.get(row), items, out),
            Values::Map(ranges, parts) => nested::write_map(ranges.get(row), parts, out),
            Values::Row(parts) => nested::write_row(parts, row, out),
        }
    }
}

fn quoted(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    cells.write_plain(row, out);
    out.push(b'"');
}

/// Appends the event id of a row: `<lineage>/<transaction>/<database>.<table>/<ordinal>`; for a snapshot row
/// `<lineage>/<snapshot>/<database>.<table>/<32 hexadecimal digits of the key's hash>`. Both images of an update share
/// one id. The id is the same on every re-read. `.`, `/` and `%` inside a name are percent-encoded, so that different
/// tables never share an id. A snapshot row of a table without key has its ordinal.
pub fn write_event_id(
    lineage: &Lineage,
    batch: &ChangeBatch,
    row: usize,
    ordinal: u64,
    origin: &Origin<'_>,
    out: &mut Vec<u8>,
) {
    write_event_prefix(lineage, batch.source_table(), origin, out);
    Keys::new(batch).write_event_end(batch.kinds[row], row, ordinal, out);
}

/// Appends the part of an event id that all rows of one table and transaction share: everything up to and including the
/// last `/`.
pub fn write_event_prefix(lineage: &Lineage, table: &schema::TableId, origin: &Origin<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(lineage.0.as_bytes());
    out.push(b'/');
    out.extend_from_slice(origin.transaction.as_bytes());
    out.push(b'/');
    write_name(&table.database, out);
    out.push(b'.');
    write_name(&table.table, out);
    out.push(b'/');
}

/// Appends a whole number.
pub fn write_u64(value: u64, out: &mut Vec<u8>) {
    number::write_integer(value, out);
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    for byte in name.bytes() {
        match byte {
            b'.' => out.extend_from_slice(b"%2E"),
            b'/' => out.extend_from_slice(b"%2F"),
            b'%' => out.extend_from_slice(b"%25"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests;
