//! Keys of rows: canonical bytes, hashes for lanes, equality of two images.

use crate::batch::{ChangeBatch, Kind};
use crate::cells::{Cells, Values};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

/// The key columns of a batch, looked up once.
///
/// The canonical bytes of a key are equal iff the key columns' values are equal, independent of the batch and of the
/// width an integer is stored in. They are length-prefixed per column, so that no two keys run into each other. Both
/// zeros of a float are equal, and so are all its NaNs. A table without key has no bytes. A value that could not be carried
/// ([`ChangeBatch::unfit`]) counts as what the source shows, and is equal to no value of the column.
#[derive(Debug)]
pub struct Keys<'a> {
    columns: Vec<Cells<'a>>,
    batch: &'a ChangeBatch,
}

impl<'a> Keys<'a> {
    /// Looks up the key columns.
    ///
    /// # Panics
    /// For a type that [`crate::cells::check_types`] refuses.
    pub fn new(batch: &'a ChangeBatch) -> Self {
        let column = |&index: &usize| {
            Cells::new(batch.schema.arrow.field(index), batch.rows.column(index).as_ref())
                .expect("invariant: sources use only types that cells can be read of")
        };
        Self { columns: batch.schema.key.iter().map(column).collect(), batch }
    }

    /// Appends the canonical bytes of a row's key.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        for (cells, &column) in self.columns.iter().zip(&self.batch.schema.key) {
            match self.batch.unfit_cell(row, column) {
                Some(unfit) => write_unfit(&unfit.text, out),
                None => write_part(cells, row, out),
            }
        }
    }

    /// Appends 32 lower-case hexadecimal digits: the XXH3 128-bit hash of the canonical bytes.
    pub fn write_digest(&self, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        self.write(row, out);
        let digest = xxh3_128(&out[start..]);
        out.truncate(start);
        out.reserve(32);
        // In eights: what is put together of smaller parts is read again before the processor has it together.
        for part in [96, 64, 32, 0] {
            out.extend_from_slice(&hexadecimal((digest >> part) as u32));
        }
    }

    /// Appends the last part of a row's event id: of a snapshot row the digest of its key, else its ordinal.
    pub fn write_event_end(&self, kind: Kind, row: usize, ordinal: u64, out: &mut Vec<u8>) {
        if kind == Kind::Read && !self.columns.is_empty() {
            self.write_digest(row, out);
        } else {
            out.extend_from_slice(itoa::Buffer::new().format(ordinal).as_bytes());
        }
    }

    /// One 64-bit hash per row, a function of the row's canonical key bytes alone, computed column by column into `out`
    /// (cleared first). All zero for a table without key. Rows with values that could not be carried come to no lane.
    pub fn hash(&self, rows: usize, out: &mut Vec<u64>) {
        out.clear();
        out.resize(rows, 0);
        let mut part = Vec::new();
        for (index, cells) in self.columns.iter().enumerate() {
            for (row, hash) in out.iter_mut().enumerate() {
                part.clear();
                write_part(cells, row, &mut part);
                *hash = if index == 0 { xxh3_64(&part) } else { xxh3_64_with_seed(&part, *hash) };
            }
        }
    }

    /// Whether two rows have the same key. Rows of a table without key never have.
    pub fn same(&self, a: usize, b: usize, scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        self.write(a, scratch);
        let end = scratch.len();
        self.write(b, scratch);
        !self.columns.is_empty() && scratch[..end] == scratch[end..]
    }
}

/// Appends the canonical bytes of the key of `row`; see [`Keys`].
pub fn write_key(batch: &ChangeBatch, row: usize, out: &mut Vec<u8>) {
    Keys::new(batch).write(row, out);
}

/// One 64-bit hash per row; see [`Keys::hash`].
pub fn hash_keys(batch: &ChangeBatch, out: &mut Vec<u64>) {
    Keys::new(batch).hash(batch.images(), out);
}

/// Whether two rows of a batch have the same key; see [`Keys::same`].
pub fn same_key(batch: &ChangeBatch, a: usize, b: usize) -> bool {
    Keys::new(batch).same(a, b, &mut Vec::new())
}

/// For every update of a batch whose key changed, the row of its before image; in ascending order. None for a table
/// without key.
pub fn changed_keys(batch: &ChangeBatch) -> Vec<usize> {
    if batch.schema.key.is_empty() {
        return Vec::new();
    }
    let keys = Keys::new(batch);
    let mut scratch = Vec::new();
    let updates = (0..batch.images()).filter(|&row| batch.kinds[row] == Kind::UpdateBefore);
    updates.filter(|&row| !keys.same(row, row + 1, &mut scratch)).collect()
}

/// The digits of a number, all eight at once.
fn hexadecimal(number: u32) -> [u8; 8] {
    // Every half byte into a byte of its own.
    let spread = |bits: u64, by: u32, mask: u64| (bits | bits << by) & mask;
    let halves = spread(u64::from(number), 16, 0x0000_ffff_0000_ffff);
    let halves = spread(halves, 8, 0x00ff_00ff_00ff_00ff);
    let halves = spread(halves, 4, 0x0f0f_0f0f_0f0f_0f0f);
    let ones = 0x0101_0101_0101_0101;
    let letters = (halves + 6 * ones) >> 4 & ones;
    (halves + u64::from(b'0') * ones + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

/// One column: the length of its bytes plus one as LEB128 (0 is NULL), then the bytes. Of a column whose cells have parts:
/// the number of parts plus one, then each part in the same way.
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
        Values::List(ranges, items) => {
            write_length(ranges.get(row).len(), out);
            ranges.get(row).for_each(|item| write_part(items, item, out));
        }
        Values::Map(ranges, parts) => {
            write_length(ranges.get(row).len(), out);
            for pair in ranges.get(row) {
                write_part(&parts.0, pair, out);
                write_part(&parts.1, pair, out);
            }
        }
        Values::Row(parts) => {
            out.push(1);
            parts.iter().for_each(|(_, cells)| write_part(cells, row, out));
        }
    }
}

/// No value has the length that stands here.
fn write_unfit(text: &str, out: &mut Vec<u8>) {
    write_length(usize::MAX - 1, out);
    write_bytes(text.as_bytes(), out);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    let mut rest = length as u64 + 1;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
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
