//! JSON lines.

use crate::columns;
use arrow_array::RecordBatch;
use dujiang_core::cells::Values;
use dujiang_core::schema::LOGICAL_JSON;
use dujiang_core::text::{is_json_document, write_json_string};
use dujiang_core::{Code, Error, Result};

/// Appends every row as one JSON object and a line feed (RFC 8259; <https://jsonlines.org>). Keys are in column order,
/// a NULL is written as `null`.
///
/// # Errors
/// `UnknownType` for a column that has no text form; nothing has been appended then.
pub fn encode(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let columns = columns(batch)?;
    let names = names(batch);
    for row in 0..batch.num_rows() {
        for (name, cells) in names.iter().zip(&columns) {
            out.extend_from_slice(name);
            cells.write_json(row, out);
        }
        out.extend_from_slice(if columns.is_empty() { b"{}\n" } else { b"}\n" });
    }
    Ok(())
}

/// What stands before each value: `{"id":` or `,"name":`.
fn names(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let fields = batch.schema_ref().fields().iter().enumerate();
    let lead = |(index, field): (usize, &arrow_schema::FieldRef)| {
        let mut text = vec![if index == 0 { b'{' } else { b',' }];
        write_json_string(field.name(), &mut text);
        text.push(b':');
        text
    };
    fields.map(lead).collect()
}

/// The rows that JSON cannot carry as they are: text in a column marked `json` that is no JSON document. In ascending
/// order.
///
/// # Errors
/// `UnknownType` as [`encode`].
pub fn bad_rows(batch: &RecordBatch) -> Result<Vec<(usize, Error)>> {
    let mut bad = Vec::new();
    for (cells, field) in columns(batch)?.iter().zip(batch.schema_ref().fields()) {
        let Values::Text(texts) = cells.values() else { continue };
        if cells.logical() != Some(LOGICAL_JSON) {
            continue;
        }
        for row in 0..batch.num_rows() {
            if !cells.is_null(row) && !is_json_document(texts.get(row).as_bytes()) {
                let message = format!("column `{}` is declared JSON and holds something else", field.name());
                bad.push((row, Error::new(Code::BadRecord, message)));
            }
        }
    }
    bad.sort_by_key(|(row, _)| *row);
    bad.dedup_by_key(|(row, _)| *row);
    Ok(bad)
}
