//! One cell in the style of a format.

use super::native::Native;
use super::quoted::write_quoted_json;
use arrow_schema::Field;
use dujiang_core::cells::{Cells, Values};
use dujiang_core::schema::LOGICAL_SET;
use dujiang_core::text::write_json_string;

/// How the values of a column are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Style {
    /// As in files: [`dujiang_core::text`].
    Plain,
    /// As the dialect's `debezium-json` has them: the same with a space between date and time, and with documents as text.
    Spaced,
    /// As Canal has them: everything is text, bytes are the characters U+0000 to U+00FF.
    Canal,
    /// As Maxwell has them: numbers are numbers, times have a space and no zone, a SET is an array.
    Maxwell,
    /// As Debezium has them: by the column's semantic type.
    Debezium(Native),
}

/// The styles of a table's columns by the style of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Plain,
    /// As plain, but instants are counted in microseconds.
    Counted,
    Spaced,
    Canal,
    Maxwell,
    Debezium,
}

impl Style {
    pub(super) fn of(manner: Manner, field: &Field) -> Self {
        match manner {
            Manner::Plain | Manner::Counted => Self::Plain,
            Manner::Spaced => Self::Spaced,
            Manner::Canal => Self::Canal,
            Manner::Maxwell => Self::Maxwell,
            Manner::Debezium => Self::Debezium(Native::of(field)),
        }
    }

    /// Appends a cell.
    pub(super) fn write(&self, cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
        if cells.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match (self, cells.values()) {
            (_, Values::Dictionary(keys, values)) => self.write(values, keys.get(row), out),
            (Self::Debezium(native), _) => native.write(cells, row, out),
            (Self::Canal, _) => write_canal(cells, row, out),
            (Self::Spaced, Values::LocalTime(_) | Values::Instant(_)) => write_spaced(cells, row, true, out),
            (Self::Spaced, Values::Text(texts)) => write_json_string(texts.get(row), out),
            (Self::Maxwell, Values::LocalTime(_) | Values::Instant(_)) => write_spaced(cells, row, false, out),
            (Self::Maxwell, Values::Text(texts)) if cells.logical() == Some(LOGICAL_SET) => {
                // Labels have no commas in them.
                write_list(texts.get(row).split(',').filter(|label| !label.is_empty()), out);
            }
            _ => cells.write_json(row, out),
        }
    }
}

/// `"2026-11-20 17:38:25"`, with the `Z` of an instant or without it.
fn write_spaced(cells: &Cells<'_>, row: usize, zone: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    write_moment(cells, row, zone, out);
    out.push(b'"');
}

fn write_moment(cells: &Cells<'_>, row: usize, zone: bool, out: &mut Vec<u8>) {
    let start = out.len();
    cells.write_plain(row, out);
    if let Some(place) = out[start..].iter().position(|&byte| byte == b'T') {
        out[start + place] = b' ';
    }
    if !zone && out.last() == Some(&b'Z') {
        out.pop();
    }
}

/// Appends an array of strings.
pub(super) fn write_list<'a>(names: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, name) in names.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json_string(name, out);
    }
    out.push(b']');
}

fn write_canal(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    match cells.values() {
        Values::Text(texts) => write_json_string(texts.get(row), out),
        Values::Binary(bytes) => write_latin1(bytes.get(row), out),
        Values::LocalTime(_) | Values::Instant(_) => write_spaced(cells, row, false, out),
        Values::List(..) | Values::Map(..) | Values::Row(_) => write_quoted_json(cells, row, out),
        // Numbers and the other times have nothing to escape.
        _ => {
            out.push(b'"');
            cells.write_plain(row, out);
            out.push(b'"');
        }
    }
}

/// Each byte as the character of its number.
fn write_latin1(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=31 | 127..=159 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            32..=126 => out.push(byte),
            // The two bytes of a character between U+00A0 and U+00FF.
            _ => out.extend_from_slice(&[0xC0 | byte >> 6, 0x80 | byte & 0x3F]),
        }
    }
    out.push(b'"');
}
