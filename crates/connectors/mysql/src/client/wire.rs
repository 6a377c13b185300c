//! Reading and writing the protocol's little-endian fields.

use dujiang_core::{Code, Error, Result};

/// A cursor over one packet. Every read is checked: a short packet is an error, never a panic.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `packet`, called `what` in errors.
    pub fn new(packet: &'a [u8], what: &'static str) -> Self {
        Self { rest: packet, what }
    }

    fn short(&self, wanted: usize) -> Error {
        Error::new(Code::Protocol, format!("{} from the server ends too early", self.what))
            .fact("expected", format!("{wanted} more bytes"))
            .fact("found", format!("{} bytes", self.rest.len()))
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(|| self.short(n))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.bytes(N)?.try_into().expect("invariant: N bytes were taken"))
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u24(&mut self) -> Result<u32> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A length-encoded integer; NULL (0xfb) and 0xff are errors here.
    pub fn lenenc_int(&mut self) -> Result<u64> {
        match self.u8()? {
            0xfc => Ok(u64::from(self.u16()?)),
            0xfd => Ok(u64::from(self.u24()?)),
            0xfe => self.u64(),
            marker @ (0xfb | 0xff) => {
                Err(Error::new(Code::Protocol, format!("{} has a length that is none", self.what))
                    .fact("found", format!("marker 0x{marker:02x}")))
            }
            small => Ok(u64::from(small)),
        }
    }

    /// A length-encoded string.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.lenenc_int()?;
        let n = usize::try_from(n).map_err(|_| self.short(usize::MAX))?;
        self.bytes(n)
    }

    /// A length-encoded string or NULL, as in rows of the text protocol.
    pub fn lenenc_cell(&mut self) -> Result<Option<&'a [u8]>> {
        if self.rest.first() == Some(&0xfb) {
            self.rest = &self.rest[1..];
            return Ok(None);
        }
        self.lenenc_bytes().map(Some)
    }

    /// Bytes up to a NUL, which is skipped.
    pub fn nul_bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.rest.iter().position(|&b| b == 0).ok_or_else(|| self.short(1))?;
        let head = self.bytes(n)?;
        self.bytes(1)?;
        Ok(head)
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Appends a length-encoded integer.
pub(super) fn put_lenenc_int(out: &mut Vec<u8>, n: u64) {
    let bytes = n.to_le_bytes();
    match n {
        0..=0xfa => out.push(bytes[0]),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends a length-encoded string.
pub(super) fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
        #[test]
        fn length_encoded_values_come_back(n: u64, small in 0u64..0x2_0000, text: Vec<u8>) {
            for n in [n, small] {
                let mut out = Vec::new();
                put_lenenc_int(&mut out, n);
                put_lenenc_bytes(&mut out, &text);
                let mut r = Reader::new(&out, "a test");
                prop_assert_eq!(r.lenenc_int().unwrap(), n);
                prop_assert_eq!(r.lenenc_bytes().unwrap(), &text[..]);
                prop_assert!(r.is_empty());
            }
        }

        #[test]
        fn no_packet_makes_the_reader_panic(packet: Vec<u8>) {
            let mut r = Reader::new(&packet, "a test");
            while r.lenenc_cell().is_ok() && !r.is_empty() {}
            let _ = Reader::new(&packet, "a test").nul_bytes();
            let _ = super::super::ColumnDefinition::read(&packet);
        }
    }
}
