//! JSON of cells that have parts. No source has them, expressions make them.

use super::write_json_string;
use crate::cells::{Cells, Values};
use std::ops::Range;

pub(super) fn write_list(places: Range<usize>, items: &Cells<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    let first = places.start;
    for place in places {
        if place > first {
            out.push(b',');
        }
        items.write_json(place, out);
    }
    out.push(b']');
}

pub(super) fn write_row(parts: &[(&str, Cells<'_>)], row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, cells)) in parts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json_string(name, out);
        out.push(b':');
        cells.write_json(row, out);
    }
    out.push(b'}');
}

pub(super) fn write_map(places: Range<usize>, (keys, values): &(Cells<'_>, Cells<'_>), out: &mut Vec<u8>) {
    out.push(b'{');
    let first = places.start;
    for place in places {
        if place > first {
            out.push(b',');
        }
        write_name(keys, place, out);
        out.push(b':');
        values.write_json(place, out);
    }
    out.push(b'}');
}

/// The name of a pair: the text of its key.
fn write_name(keys: &Cells<'_>, place: usize, out: &mut Vec<u8>) {
    match keys.values() {
        Values::Text(texts) => write_json_string(texts.get(place), out),
        Values::Dictionary(..) | Values::List(..) | Values::Map(..) | Values::Row(_) => {
            let mut text = Vec::new();
            keys.write_plain(place, &mut text);
            write_json_string(&String::from_utf8_lossy(&text), out);
        }
        // Numbers, times and base64 have nothing to escape.
        _ => {
            out.push(b'"');
            keys.write_plain(place, out);
            out.push(b'"');
        }
    }
}
