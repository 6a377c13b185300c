//! The data of a `COPY ... TO STDOUT`.

use super::Connection;
use super::frame::Frame;
use super::rows::{self, Rows};
use dujiang_core::{Code, Error, Result};

/// Data of a copy, one message (in binary: one row) at a time.
pub struct CopyOut<'c> {
    connection: &'c mut Connection,
    behind: Rows,
}

impl<'c> CopyOut<'c> {
    pub(super) fn new(connection: &'c mut Connection) -> Self {
        Self { connection, behind: Rows::default() }
    }

    /// The rows of a statement that was sent together with the copy, behind it, once that has come to its end.
    pub fn behind(self) -> Rows {
        self.behind
    }

    /// The next message; `None` at the end, when the session can be used again. **Cancel-safe** until then.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let frame = self.connection.channel.receive().await?;
            match frame.tag {
                b'd' => return Ok(Some(self.connection.channel.body(&frame))),
                b'c' | b'C' => {}
                b'T' => self.behind = Rows::of(rows::columns(self.connection.channel.body(&frame))?),
                b'D' => self.behind.push(self.connection.channel.body(&frame))?,
                b'Z' => {
                    self.connection.idle = true;
                    return Ok(None);
                }
                _ => self.other(&frame).await?,
            }
        }
    }

    /// The next message if all of it has arrived and it is data.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn try_next(&mut self) -> Result<Option<&[u8]>> {
        let channel = &mut self.connection.channel;
        if channel.unread().first() != Some(&b'd') {
            return Ok(None);
        }
        Ok(channel.take()?.map(|frame| channel.body(&frame)))
    }

    async fn other(&mut self, frame: &Frame) -> Result<()> {
        if frame.tag != b'E' {
            return self.connection.aside(frame, "a copy");
        }
        let error = self.connection.refused(frame);
        self.connection.skip_to_end().await?;
        Err(error)
    }
}

/// What a binary copy begins with: a signature, 4 bytes of flags, 4 bytes of length of an extension, the extension
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Whether a message of a binary copy holds a row, and not the end (a count of columns of -1).
pub fn is_row(message: &[u8]) -> bool {
    !message.is_empty() && !message.starts_with(&[0xff, 0xff])
}

/// The rows in the first message of a binary copy, behind its header.
///
/// # Errors
/// `Protocol`.
pub fn after_header(first: &[u8]) -> Result<&[u8]> {
    let bad = || Error::new(Code::Protocol, "a binary copy of the server begins in an unknown way");
    let rest = first.strip_prefix(SIGNATURE).ok_or_else(bad)?;
    let (flags, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
    // Bits 16 to 31 say what must be understood.
    if u32::from_be_bytes(*flags) >> 16 != 0 {
        return Err(bad());
    }
    rest.get(u32::from_be_bytes(*length) as usize..).ok_or_else(bad)
}
