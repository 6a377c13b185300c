//! Binlog files as they lie on the server's disk; for tests, benches and tools.

use super::cursor::Malformed;
use super::header::{HEADER_LENGTH, Header};

const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];

/// The events of a binlog file, in order, as whole events with their headers.
#[derive(Debug, Clone)]
pub struct FileEvents<'a> {
    rest: &'a [u8],
}

impl<'a> FileEvents<'a> {
    /// Opens the bytes of a file.
    ///
    /// # Errors
    /// When they do not begin as a binlog file does.
    pub fn new(file: &'a [u8]) -> Result<Self, Malformed> {
        let rest = file.strip_prefix(&MAGIC).ok_or(Malformed("the begin of a binlog file"))?;
        Ok(Self { rest })
    }

    /// The next event; `None` at the end of the file or before an event that is not complete yet.
    ///
    /// # Errors
    /// When an event gives an impossible length.
    pub fn next_event(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.len() < HEADER_LENGTH {
            return Ok(None);
        }
        let size = Header::parse(self.rest)?.size as usize;
        if size < HEADER_LENGTH {
            return Err(Malformed("the length of an event"));
        }
        let Some((event, rest)) = self.rest.split_at_checked(size) else { return Ok(None) };
        self.rest = rest;
        Ok(Some(event))
    }
}
