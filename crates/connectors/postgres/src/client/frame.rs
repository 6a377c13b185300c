//! Framing: bytes of the socket -> messages.
//!
//! A message is one byte of type, four bytes of length (itself included, the type not), and the body
//! (<https://www.postgresql.org/docs/current/protocol-overview.html>).

use dujiang_core::{Code, Error, Result};
use std::ops::Range;

const HEADER: usize = 5;
const FIRST_BUFFER: usize = 16 << 10;
/// The buffer grows to this while the socket keeps filling it.
const LARGEST_BUFFER: usize = 512 << 10;
/// The server's own limit for one message (`MaxAllocHugeSize` aside, `PQ_LARGE_MESSAGE_LIMIT` is 1 GB).
const LARGEST_MESSAGE: usize = (1 << 30) + 4;

/// Where the body of a message lies in the buffer, and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type of the message.
    pub tag: u8,
    /// Its body.
    pub body: Range<usize>,
}

/// The read buffer and what lies in it; no I/O of its own, so that every way of cutting the bytes can be tested.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// Always initialised to its full length; the bytes of `start..end` are not yet taken.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The socket had at least as much as there was room for.
    was_filled: bool,
}

impl Framing {
    /// Bytes that no message has claimed yet.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes one byte that stands outside of any message (the answer to a request for encryption).
    pub fn take_byte(&mut self) -> Option<u8> {
        let byte = *self.unread().first()?;
        self.start += 1;
        Some(byte)
    }

    /// The next message if all of it is there. The one before it stays readable until [`Framing::space`] is called.
    ///
    /// # Errors
    /// `Protocol` for a length that cannot be.
    pub fn take(&mut self) -> Result<Option<Frame>> {
        let Some(length) = self.length_of_next()? else { return Ok(None) };
        if self.end - self.start < length {
            return Ok(None);
        }
        let frame = Frame { tag: self.buffer[self.start], body: self.start + HEADER..self.start + length };
        self.start += length;
        Ok(Some(frame))
    }

    pub fn body(&self, frame: &Frame) -> &[u8] {
        &self.buffer[frame.body.clone()]
    }

    /// Room behind the unread bytes, at least enough for the rest of the next message when its length is known and for
    /// a byte otherwise.
    pub fn space(&mut self) -> &mut [u8] {
        let unread = self.end - self.start;
        let wanted = self.length_of_next().ok().flatten().unwrap_or(HEADER).max(unread + 1);
        if unread == 0 && self.buffer.len() > 4 * LARGEST_BUFFER {
            (self.buffer, self.start, self.end) = (Vec::new(), 0, 0);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, unread);
        }
        let mut next = self.buffer.len();
        if std::mem::take(&mut self.was_filled) || next == 0 {
            next = next.max((next * 2).clamp(FIRST_BUFFER, LARGEST_BUFFER));
        }
        if wanted > next {
            // The memory of a huge message is taken step by step, as its bytes arrive.
            next = wanted.min((unread * 2).max(LARGEST_BUFFER)).max(next);
        }
        self.buffer.resize(next.max(unread + 1), 0);
        &mut self.buffer[self.end..]
    }

    pub fn filled(&mut self, n: usize) {
        self.end += n;
        self.was_filled = self.end == self.buffer.len();
    }

    /// Whether all of the next message is there.
    pub fn has_message(&self) -> bool {
        matches!(self.length_of_next(), Ok(Some(length)) if self.end - self.start >= length)
    }

    /// Whether the socket had less than there was room for.
    pub fn is_drained(&self) -> bool {
        !self.was_filled
    }

    /// Gives the buffer away with all whole messages in it, and goes on in `fresh` with what is left over. Returns the
    /// buffer and where its messages lie.
    ///
    /// # Errors
    /// As [`Framing::take`].
    pub fn exchange(&mut self, mut fresh: Vec<u8>) -> Result<(Vec<u8>, Range<usize>)> {
        let first = self.start;
        while self.take()?.is_some() {}
        let left = self.end - self.start;
        let size = if std::mem::take(&mut self.was_filled) { self.buffer.len() * 2 } else { self.buffer.len() };
        let size = size.clamp(FIRST_BUFFER, LARGEST_BUFFER).max(left + 1);
        if fresh.len() < size {
            fresh.resize(size, 0);
        }
        fresh[..left].copy_from_slice(&self.buffer[self.start..self.end]);
        let taken = first..self.start;
        (self.start, self.end) = (0, left);
        Ok((std::mem::replace(&mut self.buffer, fresh), taken))
    }

    fn length_of_next(&self) -> Result<Option<usize>> {
        let Some(header) = self.unread().first_chunk::<HEADER>() else { return Ok(None) };
        length(header).map(Some)
    }
}

/// The whole length of a message, its header included.
fn length(header: &[u8; HEADER]) -> Result<usize> {
    let told = i32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    match usize::try_from(told) {
        Ok(told @ 4..=LARGEST_MESSAGE) => Ok(told + 1),
        _ => Err(Error::new(Code::Protocol, "a message of the server has an impossible length")
            .fact("type", format!("{:?}", char::from(header[0])))
            .fact("length", told.to_string())),
    }
}

/// The first message of a piece of buffer in which all messages are whole.
pub fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let header = bytes.first_chunk::<HEADER>()?;
    let whole = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize + 1;
    Some((header[0], bytes.get(HEADER..whole)?, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(tag: u8, length: usize) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend((length as u32 + 4).to_be_bytes());
        out.extend((0..length).map(|n| n as u8 ^ tag));
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// However the bytes are cut, the same messages come out; and the buffers that are given away hold them all.
        #[test]
        fn messages_survive_every_cut(
            lengths in proptest::collection::vec(prop_oneof![0usize..40, 15_000usize..40_000], 1..20),
            cuts in proptest::collection::vec(1usize..30_000, 1..40),
            exchanged: bool,
        ) {
            let messages: Vec<_> = lengths.iter().enumerate().map(|(n, &l)| message(b'a' + n as u8, l)).collect();
            let all = messages.concat();
            let (mut framing, mut rest, mut out) = (Framing::default(), &all[..], Vec::new());
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let space = framing.space();
                let n = rest.len().min(space.len()).min(*cuts.next().unwrap());
                space[..n].copy_from_slice(&rest[..n]);
                framing.filled(n);
                rest = &rest[n..];
                if exchanged {
                    let (buffer, taken) = framing.exchange(Vec::new()).unwrap();
                    let mut bytes = &buffer[taken];
                    while let Some((tag, body, whole)) = split(bytes) {
                        out.push((tag, body.to_vec()));
                        bytes = &bytes[whole..];
                    }
                    prop_assert!(bytes.is_empty());
                } else {
                    while let Some(frame) = framing.take().unwrap() {
                        out.push((frame.tag, framing.body(&frame).to_vec()));
                    }
                }
            }
            let expected: Vec<_> = messages.iter().map(|m| (m[0], m[5..].to_vec())).collect();
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn impossible_lengths_are_named() {
        let mut framing = Framing::default();
        framing.space()[..5].copy_from_slice(b"HTTP/");
        framing.filled(5);
        assert_eq!(framing.take().unwrap_err().code(), Code::Protocol);
    }
}
