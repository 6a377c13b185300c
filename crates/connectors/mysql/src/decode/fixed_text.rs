//! MariaDB's UUID, INET4 and INET6: from their stored bytes to the text the server prints.

use super::value::BadValue;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

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

/// Appends an IPv6 address as the server prints it.
pub(super) fn append_inet6(cell: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let address = Ipv6Addr::from(padded::<16>(cell)?);
    write!(out, "{address}").map_err(|_| BadValue::corrupt("an INET6"))
}
