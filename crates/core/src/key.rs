//! Keys of rows: canonical bytes, hashes for lanes, equality of two images.

use crate::batch::{ChangeBatch, Kind};
use crate::cells::{Cells, Values};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

/// Appends the canonical bytes of the key of `row`: equal iff the key columns' values are equal, independent of the
/// batch and of the width an integer is stored in. Length-prefixed per column, so that no two keys run into each other.
///
/// Both zeros of a float are equal, and so are all its NaNs. A row of a table without key has no bytes.
///
/// # Panics
/// For a type that [`crate::cells::check_types`] refuses.
pub fn write_key(batch: &ChangeBatch, row: usize, out: &mut Vec<u8>) {
    for cells in key_cells(batch) {
        write_part(&cells, row, out);
    }
}

/// One 64-bit hash per row, a function of the row's canonical key bytes alone, computed column by column into `out`
/// (cleared first). All zero for a table without key.
///
/// # Panics
/// As [`write_key`].
pub fn hash_keys(batch: &ChangeBatch, out: &mut Vec<u64>) {
    out.clear();
    out.resize(batch.images(), 0);
    let mut part = Vec::new();
    for (index, cells) in key_cells(batch).enumerate() {
        for (row, hash) in out.iter_mut().enumerate() {
            part.clear();
            write_part(&cells, row, &mut part);
            *hash = if index == 0 { xxh3_64(&part) } else { xxh3_64_with_seed(&part, *hash) };
        }
    }
}

/// Whether two rows of a batch have the same key. Rows of a table without key never have.
///
/// # Panics
/// As [`write_key`].
pub fn same_key(batch: &ChangeBatch, a: usize, b: usize) -> bool {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    !batch.schema.key.is_empty()
        && key_cells(batch).all(|cells| {
            left.clear();
            right.clear();
            write_part(&cells, a, &mut left);
            write_part(&cells, b, &mut right);
            left == right
        })
}

/// For every update of a batch whose key changed, the row of its before image; in ascending order.
///
/// # Panics
/// As [`write_key`].
pub fn changed_keys(batch: &ChangeBatch) -> Vec<usize> {
    let columns: Vec<_> = key_cells(batch).collect();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let updates = (0..batch.images()).filter(|&row| batch.kinds[row] == Kind::UpdateBefore);
    let changed = updates.filter(|&row| {
        columns.iter().any(|cells| {
            before.clear();
            after.clear();
            write_part(cells, row, &mut before);
            write_part(cells, row + 1, &mut after);
            before != after
        })
    });
    changed.collect()
}

/// Appends 32 lower-case hexadecimal digits: the XXH3 128-bit hash of the canonical key bytes.
///
/// # Panics
/// As [`write_key`].
pub fn write_key_digest(batch: &ChangeBatch, row: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let start = out.len();
    write_key(batch, row, out);
    let digest = xxh3_128(&out[start..]);
    out.truncate(start);
    out.extend(digest.to_be_bytes().iter().flat_map(|b| [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]));
}

fn key_cells(batch: &ChangeBatch) -> impl Iterator<Item = Cells<'_>> {
    batch.schema.key.iter().map(|&column| {
        Cells::new(batch.schema.arrow.field(column), batch.rows.column(column).as_ref())
            .expect("invariant: sources use only types that cells can be read of")
    })
}

/// One column: the length of its bytes plus one as LEB128 (0 is NULL), then the bytes.
fn write_part(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    if cells.is_null(row) {
        out.push(0);
        return;
    }
    match cells.values() {
        Values::Null => out.push(0),
        Values::Boolean(values) => write_bytes(&[u8::from(values.value(row))], out),
        Values::I8(values) => write_signed(values[row].into(), out),
        Values::I16(values) => write_signed(values[row].into(), out),
        Values::I32(values) => write_signed(values[row].into(), out),
        Values::I64(values) => write_signed(values[row], out),
        Values::U8(values) => write_signed(values[row].into(), out),
        Values::U16(values) => write_signed(values[row].into(), out),
        Values::U32(values) => write_signed(values[row].into(), out),
        Values::U64(values) => write_unsigned(values[row], out),
        Values::F32(values) => write_float(values[row].into(), out),
        Values::F64(values) => write_float(values[row], out),
        Values::Decimal128(values, _) => write_bytes(&values[row].to_le_bytes(), out),
        Values::Decimal256(values, _) => write_bytes(&values[row].to_le_bytes(), out),
        Values::Text(texts) => write_bytes(texts.get(row).as_bytes(), out),
        Values::Binary(values) => write_bytes(values.get(row), out),
        Values::Date(values) => write_signed(values[row].into(), out),
        Values::TimeOfDay(t) | Values::LocalTime(t) | Values::Instant(t) | Values::Duration(t) => {
            write_signed(t.get(row), out);
        }
        Values::Dictionary(keys, values) => write_part(values, keys.get(row), out),
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes.len() as u64 + 1;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(bytes);
}

fn write_signed(value: i64, out: &mut Vec<u8>) {
    write_bytes(&value.to_le_bytes(), out);
}

/// Up to the largest signed value the bytes are those of a signed integer; above it there is a ninth.
fn write_unsigned(value: u64, out: &mut Vec<u8>) {
    match i64::try_from(value) {
        Ok(small) => write_signed(small, out),
        Err(_) => {
            let mut bytes = [0; 9];
            bytes[..8].copy_from_slice(&value.to_le_bytes());
            write_bytes(&bytes, out);
        }
    }
}

fn write_float(value: f64, out: &mut Vec<u8>) {
    let canonical = if value.is_nan() { f64::NAN } else { value + 0.0 };
    write_bytes(&canonical.to_bits().to_le_bytes(), out);
}

#[cfg(test)]
mod tests;
