//! Keys of rows: canonical bytes, hashes for lanes, equality of two images.

use crate::batch::ChangeBatch;

/// Appends the canonical bytes of the key of `row`: equal iff the key columns' values are equal (same type, same
/// value), independent of the batch. Length-prefixed per column, so that no two keys run into each other.
///
/// The key columns' types are those a key may have: integers, decimals, text, binary, dates, times, booleans, floats.
pub fn write_key(_batch: &ChangeBatch, _row: usize, _out: &mut Vec<u8>) {
    todo!()
}

/// One 64-bit hash per row of the row's canonical key bytes, computed column by column into `out` (cleared first).
pub fn hash_keys(_batch: &ChangeBatch, _out: &mut Vec<u64>) {
    todo!()
}

/// Whether two rows of a batch have the same key.
pub fn same_key(_batch: &ChangeBatch, _a: usize, _b: usize) -> bool {
    todo!()
}
