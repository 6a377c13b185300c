//! The one text form of values and events: used by JSON and CSV files, dead letters, event ids and messages.

use crate::batch::{ChangeBatch, Origin};
use crate::checkpoint::Lineage;
use arrow_array::Array;
use arrow_schema::Field;

/// Appends the JSON form of one cell: exact numbers (decimals as plain numbers with all their digits, never rounded),
/// text escaped as RFC 8259 asks, binary as base64, dates and times as ISO 8601 text, instants with `Z`, NULL as
/// `null`, a column marked `json` as the document itself, NaN and infinities as text.
pub fn write_json_value(_field: &Field, _column: &dyn Array, _row: usize, _out: &mut Vec<u8>) {
    todo!()
}

/// Appends the plain text of one cell (no quotes, no escapes); nothing for NULL.
pub fn write_plain_value(_field: &Field, _column: &dyn Array, _row: usize, _out: &mut Vec<u8>) {
    todo!()
}

/// Appends a row as one JSON object without a line end.
pub fn write_json_row(_batch: &ChangeBatch, _row: usize, _out: &mut Vec<u8>) {
    todo!()
}

/// Appends the event id of a row: `<lineage>/<transaction>/<database>.<table>/<ordinal>`; for a snapshot row
/// `<lineage>/<snapshot>/<database>.<table>/<32 hexadecimal digits of the key's hash>`. Both images of an update share
/// one id. The id is the same on every re-read.
pub fn write_event_id(
    _lineage: &Lineage,
    _batch: &ChangeBatch,
    _row: usize,
    _ordinal: u64,
    _origin: &Origin<'_>,
    _out: &mut Vec<u8>,
) {
    todo!()
}

/// Appends an instant as `2026-11-20T17:38:25.123456Z`; whole seconds have no fraction.
pub fn write_instant(_micros: i64, _out: &mut Vec<u8>) {
    todo!()
}
