//! Reading a list.

use crate::{HEAD, file};
use dujiang_core::Result;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Read from the file at a time.
const PIECE: usize = 256 << 10;

/// The records of one list, in order. Holds one piece of the file at a time, or one record if that is larger.
pub struct Records {
    source: Option<Source>,
    /// What comes after the file.
    tail: Vec<u8>,
    buffer: Vec<u8>,
    /// The next record's head begins there in `buffer`.
    at: usize,
}

struct Source {
    file: File,
    path: PathBuf,
    left: u64,
}

impl Records {
    pub(crate) fn of_memory(records: Vec<u8>) -> Self {
        Self { source: None, tail: Vec::new(), buffer: records, at: 0 }
    }

    pub(crate) fn of_file(path: &Path, length: u64, tail: Vec<u8>) -> Result<Self> {
        let source = Source { file: file::open(path)?, path: path.to_owned(), left: length };
        Ok(Self { source: Some(source), tail, buffer: Vec::new(), at: 0 })
    }

    /// The next record, without going past it; `None` at the end.
    ///
    /// # Errors
    /// `SpoolUnusable` when the file cannot be read or does not hold what was written.
    pub fn peek(&mut self) -> Result<Option<&[u8]>> {
        if !self.fill(HEAD)? {
            return Ok(None);
        }
        let word = |at: usize| u32::from_le_bytes(self.buffer[at..at + 4].try_into().expect("invariant: four bytes"));
        let (length, checksum) = (word(self.at) as usize, word(self.at + 4));
        let whole = self.fill(HEAD + length)?;
        let record = whole.then(|| &self.buffer[self.at + HEAD..self.at + HEAD + length]);
        match record.filter(|record| crc32c::crc32c(record) == checksum) {
            Some(record) => Ok(Some(record)),
            None => Err(file::damaged(self.source.as_ref().map_or(Path::new("memory"), |s| &s.path))),
        }
    }

    /// Goes past the record that [`Records::peek`] has shown.
    pub fn advance(&mut self) {
        if let Some(head) = self.buffer.get(self.at..self.at + 4) {
            let length = u32::from_le_bytes(head.try_into().expect("invariant: four bytes"));
            self.at += HEAD + length as usize;
        }
    }

    /// Brings `wanted` bytes from `at` on into the buffer; false when there is nothing more.
    fn fill(&mut self, wanted: usize) -> Result<bool> {
        while self.buffer.len() < self.at + wanted {
            self.buffer.drain(..self.at);
            self.at = 0;
            let have = self.buffer.len();
            match &mut self.source {
                Some(source) if source.left > 0 => {
                    let more = (wanted.saturating_sub(have)).max(PIECE).min(source.left as usize);
                    self.buffer.resize(have + more, 0);
                    file::read(&mut source.file, &source.path, &mut self.buffer[have..])?;
                    source.left -= more as u64;
                }
                _ if !self.tail.is_empty() => self.buffer.append(&mut self.tail),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}
