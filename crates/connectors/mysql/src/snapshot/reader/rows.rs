//! Rows on their way from the socket to the decoder.

use super::CHUNK_BYTES;
use crate::client::{Connection, LARGE};
use dujiang_core::{Code, Error, Result};

/// Rows decoded at a time.
const ROWS_AT_A_TIME: usize = 512;

/// Some of them.
#[derive(Default)]
pub(super) struct Rows {
    pub buffer: Vec<u8>,
    /// (start, end) in `buffer`.
    pub packets: Vec<(usize, usize)>,
    /// The one after them, too large to be copied.
    pub large: Option<Vec<u8>>,
}

impl Rows {
    /// Takes the next rows; false when there are none.
    pub async fn fill(&mut self, connection: &mut Connection) -> Result<bool> {
        self.buffer.clear();
        self.packets.clear();
        while self.large.is_none() && self.packets.len() < ROWS_AT_A_TIME && self.buffer.len() < CHUNK_BYTES / 8 {
            let is_large = match connection.try_next_row()? {
                Some(row) => self.push(row),
                None => match connection.next_row().await? {
                    Some(row) => self.push(row),
                    None => break,
                },
            };
            if is_large {
                let gone = || Error::new(Code::Bug, "the buffer of a large row is gone");
                self.large = Some(connection.take_large_row().ok_or_else(gone)?);
            }
        }
        Ok(!self.packets.is_empty() || self.large.is_some())
    }

    /// Takes a row; whether it is too large for that, and was not taken.
    fn push(&mut self, row: &[u8]) -> bool {
        if row.len() > LARGE {
            return true;
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(row);
        self.packets.push((start, self.buffer.len()));
        false
    }
}
