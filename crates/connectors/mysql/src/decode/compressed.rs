//! MariaDB's compressed records, in compressed events (`log_bin_compress`) .

use super::cursor::{Cursor, Malformed};

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
