//! The frame around protocol buffers: `DHUB`, CRC-32C and length, both big-endian, then the message.

const MAGIC: &[u8; 4] = b"DHUB";
const HEAD: usize = 12;

/// Appends a framed message that `write` appends.
pub fn write_frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[0; 8]);
    write(out);
    let payload = start + HEAD;
    let checksum = crc32c::crc32c(&out[payload..]);
    let length = (out.len() - payload) as u32;
    out[start + 4..start + 8].copy_from_slice(&checksum.to_be_bytes());
    out[start + 8..payload].copy_from_slice(&length.to_be_bytes());
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// It does not begin as one.
    NoFrame,
    /// It is shorter or longer than it says.
    Length,
    /// Its bytes are not those that were sent.
    Checksum,
}

/// The message of a frame.
///
/// # Errors
/// When it is none, or damaged.
pub fn read_frame(bytes: &[u8]) -> Result<&[u8], FrameFault> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(FrameFault::NoFrame)?;
    let (checksum, rest) = rest.split_first_chunk::<4>().ok_or(FrameFault::Length)?;
    let (length, payload) = rest.split_first_chunk::<4>().ok_or(FrameFault::Length)?;
    if payload.len() != u32::from_be_bytes(*length) as usize {
        return Err(FrameFault::Length);
    }
    if crc32c::crc32c(payload) != u32::from_be_bytes(*checksum) {
        return Err(FrameFault::Checksum);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_that_of_the_service_and_every_damage_is_seen() {
        let mut out = Vec::new();
        write_frame(&mut out, |out| out.extend_from_slice(&[8, 0]));
        // Recorded from the service: PutRecordsResponse { failed_count: 0 }.
        assert_eq!(out, [0x44, 0x48, 0x55, 0x42, 0x6c, 0x75, 0xb4, 0x6a, 0, 0, 0, 2, 8, 0]);
        assert_eq!(read_frame(&out), Ok(&[8, 0][..]));
        for bit in 0..out.len() * 8 {
            let mut damaged = out.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read_frame(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..out.len() {
            assert!(read_frame(&out[..length]).is_err(), "{length} bytes");
        }
    }
}
