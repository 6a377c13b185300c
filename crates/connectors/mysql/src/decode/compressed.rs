//! MariaDB's compressed records, in compressed events (`log_bin_compress`) .

use super::cursor::{Cursor, Malformed};
use super::value::BadValue;

/// zlib cannot expand by more (RFC 1951: 258 bytes out of at least two bits).
const MAX_EXPANSION: usize = 1040;

/// Inflates one record into `out` (cleared first).
///
/// Layout (`binlog_buf_uncompress` in MariaDB's log_event.cc): one byte `1aaa0lll` with algorithm `a` (0: zlib) and the
/// count `l` of length bytes, the inflated length big-endian, the zlib stream.
///
/// # Errors
/// When the record does not hold together.
pub fn inflate_record(record: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut c = Cursor::new(record, "a compressed event");
    let head = c.u8()?;
    let length_bytes = usize::from(head & 0x07);
    if head & 0xf0 != 0x80 || !(1..=4).contains(&length_bytes) {
        return Err(c.malformed());
    }
    let length = c.take(length_bytes)?.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    inflate(c.rest(), true, length, out)
}

/// Inflates `length` bytes into `out` (cleared first). `wrapped`: with zlib's header and checksum, otherwise raw deflate.
///
/// # Errors
/// When the stream is damaged or does not yield exactly `length` bytes.
pub fn inflate(stream: &[u8], wrapped: bool, length: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let damaged = Malformed("a compressed event");
    if length > stream.len().saturating_mul(MAX_EXPANSION) {
        return Err(damaged);
    }
    out.clear();
    out.reserve_exact(length);
    let mut inflater = flate2::Decompress::new(wrapped);
    let status = inflater.decompress_vec(stream, out, flate2::FlushDecompress::Finish).map_err(|_| damaged)?;
    if status != flate2::Status::StreamEnd || out.len() != length {
        return Err(damaged);
    }
    Ok(())
}

/// Appends the plain bytes of a cell of a COMPRESSED column.
///
/// Layout (`Field_longstr::compress` in MariaDB's field.cc): nothing for the empty string; else one byte `aaaawlll`
/// with method `a` (0: plain, 8: zlib), `w` set for a raw stream, then `l` bytes of the inflated length, big-endian.
pub(super) fn append_column(cell: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let bad = || BadValue::corrupt("a compressed value");
    let Some((head, rest)) = cell.split_first() else { return Ok(()) };
    match head >> 4 {
        0 => out.extend_from_slice(rest),
        8 => {
            let (length, stream) = rest.split_at_checked(usize::from(head & 7)).ok_or_else(bad)?;
            let length = length.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
            let mut plain = Vec::new();
            inflate(stream, head & 8 == 0, length, &mut plain).map_err(|_| bad())?;
            out.append(&mut plain);
        }
        _ => return Err(bad()),
    }
    Ok(())
}
