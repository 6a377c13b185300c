//! JSON within JSON.

use dujiang_core::cells::Cells;

/// Appends the JSON of a cell as text: only quotes and backslashes need another escape.
pub(super) fn write_quoted_json(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    cells.write_plain(row, out);
    let special = |byte: &&u8| matches!(byte, b'"' | b'\\');
    let mut from = out.len();
    out.resize(from + out[start..].iter().filter(special).count(), 0);
    let mut to = out.len();
    while to > from {
        (from, to) = (from - 1, to - 1);
        out[to] = out[from];
        if special(&&out[from]) {
            to -= 1;
            out[to] = b'\\';
        }
    }
    out.push(b'"');
}
