//! The data of a `COPY ... TO STDOUT`.

use super::Connection;
use super::frame::Frame;
use dujiang_core::{Code, Error, Result};
use std::time::Duration;

/// Data of a copy, one message at a time: in binary one row, beginning with its number of columns.
pub struct CopyOut<'c> {
    connection: &'c mut Connection,
    binary: bool,
    /// The header is still to come.
    first: bool,
}

impl Connection {
    /// Runs `COPY ... TO STDOUT` and hands out its data.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>> {
        let binary = self.begin_copy(sql, b'H').await?;
        Ok(CopyOut::new(self, binary))
    }
}

impl<'c> CopyOut<'c> {
    fn new(connection: &'c mut Connection, binary: bool) -> Self {
        Self { connection, binary, first: binary }
    }

    /// The next row; `None` at the end, when the session can be used again. **Cancel-safe** until then.
    ///
    /// # Errors
    /// As [`Connection::execute`]; `Protocol` for a binary copy that begins in an unknown way.
    pub async fn next(&mut self) -> Result<Option<&[u8]>> {
        let (frame, header) = loop {
            let frame = self.connection.channel.receive().await?;
            match frame.tag {
                b'd' => {
                    let data = self.connection.channel.body(&frame);
                    let header = if std::mem::take(&mut self.first) { header_of(data)? } else { 0 };
                    if !self.binary || is_row(&data[header..]) {
                        break (frame, header);
                    }
                }
                b'c' | b'C' => {}
                b'Z' => {
                    self.connection.idle = true;
                    return Ok(None);
                }
                _ => self.other(&frame).await?,
            }
        };
        Ok(Some(&self.connection.channel.body(&frame)[header..]))
    }

    /// Whether all that had come was handed out.
    pub fn is_drained(&self) -> bool {
        self.connection.channel.is_drained() && !self.connection.channel.has_message()
    }

    /// Lets what comes gather for a while, where that gains something. **Not cancel-safe.**
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn rest(&mut self, time: Duration) -> Result<()> {
        self.connection.channel.rest(time).await
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

/// Whether there is a row behind the header, and not the end (a count of columns of -1).
fn is_row(data: &[u8]) -> bool {
    !data.is_empty() && !data.starts_with(&[0xff, 0xff])
}

/// The length of the header in the first message of a binary copy; rows may follow it there.
fn header_of(first: &[u8]) -> Result<usize> {
    let bad = || Error::new(Code::Protocol, "a binary copy of the server begins in an unknown way");
    let rest = first.strip_prefix(SIGNATURE).ok_or_else(bad)?;
    let (flags, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
    // Bits 16 to 31 say what must be understood.
    if u32::from_be_bytes(*flags) >> 16 != 0 {
        return Err(bad());
    }
    let rest = rest.get(u32::from_be_bytes(*length) as usize..).ok_or_else(bad)?;
    Ok(first.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_binary_copy_is_passed_over() {
        let header = |flags: u32, extension: &[u8]| {
            let mut header = SIGNATURE.to_vec();
            header.extend(flags.to_be_bytes());
            header.extend((extension.len() as u32).to_be_bytes());
            header.extend(extension);
            header
        };
        let with_row = [header(1, b"xyz"), vec![0, 1, 0xff, 0xff, 0xff, 0xff]].concat();
        let found = header_of(&with_row).unwrap();
        assert!(found == with_row.len() - 6 && is_row(&with_row[found..]));
        let empty = [header(0, b""), vec![0xff, 0xff]].concat();
        assert!(!is_row(&empty[header_of(&empty).unwrap()..]));
        assert!(header_of(&header(1 << 16, b"")).is_err());
        assert!(header_of(&header(0, b"xyz")[..20]).is_err());
        assert!(header_of(b"x").is_err());
    }
}
