//! Packets of the MySQL client/server protocol: three bytes of length, one of sequence, payload.

use std::io::{Error, ErrorKind, Read, Result, Write};

/// A packet of exactly this length is continued by the next one.
const LONGEST: usize = 0xff_ffff;

/// Reads one payload, joined from its packets, into `payload`; returns the sequence number of the last packet.
pub(crate) fn read(stream: &mut impl Read, payload: &mut Vec<u8>) -> Result<u8> {
    payload.clear();
    loop {
        let mut head = [0u8; 4];
        stream.read_exact(&mut head)?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        let start = payload.len();
        payload.resize(start + length, 0);
        stream.read_exact(&mut payload[start..])?;
        if length < LONGEST {
            return Ok(head[3]);
        }
    }
}

/// Writes one payload, split into packets, the first with this sequence number.
pub(crate) fn write(stream: &mut impl Write, payload: &[u8], sequence: u8) -> Result<()> {
    let mut buffer = Vec::with_capacity(payload.len() + 8);
    let mut number = sequence;
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(LONGEST));
        buffer.extend_from_slice(&(now.len() as u32).to_le_bytes()[..3]);
        buffer.push(number);
        buffer.extend_from_slice(now);
        number = number.wrapping_add(1);
        rest = later;
        if now.len() < LONGEST {
            break;
        }
    }
    stream.write_all(&buffer)
}

/// Takes fields off the front of a payload.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| damaged("a packet is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// A length-encoded integer; `None` is the mark of NULL.
    pub(crate) fn length(&mut self) -> Result<Option<u64>> {
        let width = match self.u8()? {
            0xfb => return Ok(None),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            0xff => return Err(damaged("a length begins with 0xff")),
            small => return Ok(Some(u64::from(small))),
        };
        let mut wide = [0u8; 8];
        wide[..width].copy_from_slice(self.bytes(width)?);
        Ok(Some(u64::from_le_bytes(wide)))
    }

    /// A length-encoded string; `None` is NULL.
    pub(crate) fn text(&mut self) -> Result<Option<&'a [u8]>> {
        match self.length()? {
            None => Ok(None),
            Some(length) => {
                let length = usize::try_from(length).map_err(|_| damaged("a text is longer than memory"))?;
                self.bytes(length).map(Some)
            }
        }
    }
}

pub(crate) fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_payloads_are_split_and_joined() {
        for length in [0, 1, LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST] {
            let payload = vec![7u8; length];
            let mut wire = Vec::new();
            write(&mut wire, &payload, 3).unwrap();
            let mut back = Vec::new();
            let last = read(&mut &wire[..], &mut back).unwrap();
            assert!(back == payload && usize::from(last) == 3 + length / LONGEST, "{length}");
        }
    }

    #[test]
    fn lengths_of_every_width_are_read() {
        let wire = [&[250][..], &[0xfb], &[0xfc, 1, 2], &[0xfd, 1, 2, 3], &[0xfe, 1, 0, 0, 0, 0, 0, 0, 1]].concat();
        let mut fields = Fields(&wire);
        let read: Vec<_> = (0..5).map(|_| fields.length().unwrap()).collect();
        assert_eq!(read, [Some(250), None, Some(0x201), Some(0x3_0201), Some(0x100_0000_0000_0001)]);
        assert!(Fields(&[0xfc, 1]).length().is_err());
    }
}
