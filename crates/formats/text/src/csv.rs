//! CSV as RFC 4180 has it: comma, CRLF, quotes doubled inside quotes.
//!
//! A NULL is the unquoted null text. Text that looks the same is quoted, and so is the empty string: a reader that
//! takes only unquoted fields for NULL gets back what was written. An ARRAY, MAP or ROW is the text of its JSON.

use crate::columns;
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use dujiang_core::Result;
use dujiang_core::cells::{Cells, Values};

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// What stands for NULL.
    pub null: String,
    /// Text that a spreadsheet would run as a formula (it begins with `=`, `+`, `-`, `@`, tab, CR or LF) gets a `'` in
    /// front. Changes data; off by default.
    pub safe: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { null: "\\N".to_owned(), safe: false }
    }
}

/// Appends the header line.
pub fn write_header(schema: &Schema, out: &mut Vec<u8>) {
    for (index, field) in schema.fields().iter().enumerate() {
        separate(index, out);
        write_text(field.name(), b"", out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends every row as one record.
///
/// # Errors
/// `UnknownType` for a column that has no text form; nothing has been appended then.
pub fn encode(batch: &RecordBatch, options: &CsvOptions, out: &mut Vec<u8>) -> Result<()> {
    let columns = columns(batch)?;
    for row in 0..batch.num_rows() {
        write_record(&columns, row, options, out);
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

/// Appends one row without a line end.
pub(crate) fn write_record(columns: &[Cells<'_>], row: usize, options: &CsvOptions, out: &mut Vec<u8>) {
    for (index, cells) in columns.iter().enumerate() {
        separate(index, out);
        write_cell(cells, row, options, out);
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

pub(crate) fn write_cell(cells: &Cells<'_>, row: usize, options: &CsvOptions, out: &mut Vec<u8>) {
    if cells.is_null(row) {
        out.extend_from_slice(options.null.as_bytes());
        return;
    }
    match cells.values() {
        Values::Null => out.extend_from_slice(options.null.as_bytes()),
        Values::Text(texts) => write_guarded(texts.get(row), options, out),
        Values::Dictionary(keys, values) => write_cell(values, keys.get(row), options, out),
        Values::List(..) | Values::Map(..) | Values::Row(_) => write_parts(cells, row, out),
        _ => write_plain(cells, row, options, out),
    }
}

/// Numbers, times and base64 have no byte that needs quotes; only the empty text, and a null text that looks like one of
/// them, do.
fn write_plain(cells: &Cells<'_>, row: usize, options: &CsvOptions, out: &mut Vec<u8>) {
    let start = out.len();
    cells.write_plain(row, out);
    if out.len() == start || out[start..] == *options.null.as_bytes() {
        out.insert(start, b'"');
        out.push(b'"');
    }
}

/// A cell with parts is its JSON, always in quotes.
fn write_parts(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    cells.write_plain(row, out);
    double_quotes(out, start);
    out.push(b'"');
}

/// Doubles the quotes behind `start` in place.
fn double_quotes(out: &mut Vec<u8>, start: usize) {
    let mut from = out.len();
    let quotes = out[start..].iter().filter(|&&byte| byte == b'"').count();
    out.resize(from + quotes, 0);
    let mut to = out.len();
    while to > from {
        (from, to) = (from - 1, to - 1);
        out[to] = out[from];
        if out[from] == b'"' {
            to -= 1;
            out[to] = b'"';
        }
    }
}

fn write_guarded(text: &str, options: &CsvOptions, out: &mut Vec<u8>) {
    if options.safe && text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        out.extend_from_slice(b"\"'");
        write_doubled(text, out);
        out.push(b'"');
    } else {
        write_text(text, options.null.as_bytes(), out);
    }
}

pub(crate) fn write_text(text: &str, null: &[u8], out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    // Without a branch per byte the compiler looks at many at once.
    let special = |found, &b: &u8| found | matches!(b, b',' | b'"' | b'\r' | b'\n' | b'\0');
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_whitespace());
    let quote = bytes.is_empty() || bytes == null || edge(bytes.first()) || edge(bytes.last());
    if quote || bytes.iter().fold(false, special) {
        out.push(b'"');
        write_doubled(text, out);
        out.push(b'"');
    } else {
        out.extend_from_slice(bytes);
    }
}

fn write_doubled(text: &str, out: &mut Vec<u8>) {
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
}
