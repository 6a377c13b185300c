//! A bounds-checked reader over borrowed bytes.

use dujiang_core::{Code, Error};

/// Bytes that do not have the structure they should have; says which part.
///
/// Small and cheap, because it travels through the hot loops; becomes an [`Error`] where the context is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl From<Malformed> for Error {
    #[cold]
    fn from(malformed: Malformed) -> Self {
        Error::new(Code::LogDamaged, format!("an event of the log cannot be read: {} is damaged", malformed.0))
            .help("check the server's disk and binlog; if its own tools read this event, report a bug")
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// Reads little-endian and big-endian integers, lengths and texts from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// A reader of `bytes`; `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error for a structure that does not hold together here.
    #[cold]
    pub fn malformed(&self) -> Malformed {
        Malformed(self.what)
    }

    /// The next `n` bytes.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(Malformed(self.what))?;
        self.rest = tail;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed(self.what))?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Six bytes, little-endian.
    #[inline]
    pub fn u48(&mut self) -> Result<u64> {
        let b: [u8; 6] = self.array()?;
        Ok(u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], 0, 0]))
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// `n` (at most 8) bytes, little-endian.
    #[inline]
    pub fn uint(&mut self, n: usize) -> Result<u64> {
        if n > 8 {
            return Err(self.malformed());
        }
        let mut wide = [0; 8];
        wide[..n].copy_from_slice(self.take(n)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// A length-encoded integer. 0xfb (NULL in result rows) and 0xff are malformed.
    #[inline]
    pub fn lenenc(&mut self) -> Result<u64> {
        match self.u8()? {
            small @ 0..=0xfa => Ok(small.into()),
            0xfc => self.u16().map(Into::into),
            0xfd => self.uint(3),
            0xfe => self.u64(),
            _ => Err(self.malformed()),
        }
    }

    /// A length-encoded integer that counts bytes or elements in memory.
    #[inline]
    pub fn length(&mut self) -> Result<usize> {
        usize::try_from(self.lenenc()?).map_err(|_| self.malformed())
    }

    /// Bytes with a length-encoded length before them.
    #[inline]
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.length()?;
        self.take(n)
    }

    /// The next `n` bytes as UTF-8.
    pub fn text(&mut self, n: usize) -> Result<&'a str> {
        std::str::from_utf8(self.take(n)?).map_err(|_| self.malformed())
    }

    /// All that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}
