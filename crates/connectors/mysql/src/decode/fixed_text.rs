//! MariaDB's UUID, INET4 and INET6: from their stored bytes to the text the server prints.

use super::value::BadValue;
use std::io::Write;
use std::net::Ipv4Addr;

/// The log strips trailing zero bytes.
fn padded<const N: usize>(cell: &[u8]) -> Result<[u8; N], BadValue> {
    let mut full = [0; N];
    let head = full.get_mut(..cell.len()).ok_or_else(|| BadValue::corrupt("a fixed-length value"))?;
    head.copy_from_slice(cell);
    Ok(full)
}

/// Appends a UUID. The groups of versions 1 to 5 are stored in reverse order, so that those made one after the other
/// sort so (`UUID::record_to_memory` in MariaDB's sql_type_uuid.h).
pub(super) fn append_uuid(cell: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let stored: [u8; 16] = padded(cell)?;
    let swapped = stored[6] & stored[8].wrapping_neg() & 0x80 != 0;
    let order: [usize; 16] = if swapped {
        [12, 13, 14, 15, 10, 11, 8, 9, 6, 7, 0, 1, 2, 3, 4, 5]
    } else {
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    };
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, at) in order.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        let byte = stored[at];
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    Ok(())
}

/// Appends an IPv4 address.
pub(super) fn append_inet4(cell: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let address = Ipv4Addr::from(padded::<4>(cell)?);
    write!(out, "{address}").map_err(|_| BadValue::corrupt("an INET4"))
}

/// Appends an IPv6 address as the server prints it: the longest run of zero groups, even of one, becomes `::`, and what
/// looks like an IPv4 address in disguise ends in dots (`Inet6::to_string` in MariaDB's sql_type_inet.cc).
pub(super) fn append_inet6(cell: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let bytes = padded::<16>(cell)?;
    let group = |i: usize| u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]]);
    let (gap, length) = longest_zeros(group);
    let hides_inet4 = gap == 0 && (length == 6 || (length == 5 && group(5) == 0xffff));
    let mut i = 0;
    while i < 8 {
        if i == gap && length > 0 {
            out.extend_from_slice(if i == 0 { b"::" } else { b":" });
            i += length;
            continue;
        }
        if i == 6 && hides_inet4 {
            return append_inet4(&bytes[12..], out);
        }
        write!(out, "{:x}", group(i)).map_err(|_| BadValue::corrupt("an INET6"))?;
        if i < 7 {
            out.push(b':');
        }
        i += 1;
    }
    Ok(())
}

/// The first of the longest runs of zero groups: (begin, length).
fn longest_zeros(group: impl Fn(usize) -> u16) -> (usize, usize) {
    let (mut best, mut run) = ((0, 0), (0, 0));
    for i in 0..8 {
        run = match (group(i), run) {
            (0, (begin, length)) if length > 0 => (begin, length + 1),
            (0, _) => (i, 1),
            _ => (0, 0),
        };
        if run.1 > best.1 {
            best = run;
        }
    }
    best
}
