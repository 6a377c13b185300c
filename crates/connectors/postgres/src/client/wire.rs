//! Reading the fields of a message, in network order.

use dujiang_core::{Code, Error, Result};

/// Goes through the body of a message; every shortage is an error that names what was being read.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which are `what` ("a row").
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    #[cold]
    fn short(&self) -> Error {
        Error::new(Code::Protocol, format!("{} of the server ends too early", self.what))
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*chunk)
    }

    /// One byte.
    ///
    /// # Errors
    /// `Protocol` when the bytes end, as for all of these.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.chunk::<1>()?[0])
    }

    /// Two bytes, signed.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.chunk()?))
    }

    /// Four bytes, signed.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.chunk()?))
    }

    /// Four bytes, unsigned.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.chunk()?))
    }

    /// Eight bytes, signed.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.chunk()?))
    }

    /// Eight bytes, unsigned.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.chunk()?))
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(taken)
    }

    /// A value as rows carry it: four bytes of length, -1 for NULL, then the bytes.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn value(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.i32()?;
        if length < 0 { Ok(None) } else { self.take(length as usize).map(Some) }
    }

    /// A text that ends with a zero byte; it must be UTF-8, since that is what sessions ask for.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn cstr(&mut self) -> Result<&'a str> {
        let end = self.rest.iter().position(|&b| b == 0).ok_or_else(|| self.short())?;
        let text = std::str::from_utf8(&self.rest[..end]);
        self.rest = &self.rest[end + 1..];
        text.map_err(|e| Error::new(Code::Protocol, format!("{} of the server is not UTF-8", self.what)).with_source(e))
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let message = format!("{} of the server is longer than it should be", self.what);
        Err(Error::new(Code::Protocol, message).fact("left", format!("{} bytes", self.rest.len())))
    }
}
