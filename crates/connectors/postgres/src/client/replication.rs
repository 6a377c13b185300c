//! The stream of a logical replication.

use super::Connection;
use super::frame::split;
use super::wire::Reader;
use bytes::{BufMut, BytesMut};
use dujiang_core::{Code, Error, Result};
use std::ops::Range;
use std::time::Duration;

/// Microseconds from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
pub const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A stream of changes that has begun.
pub struct Replication {
    connection: Connection,
    out: BytesMut,
}

/// What the server is told from time to time: it needs no log before `flushed` any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The end of what has been received.
    pub written: u64,
    /// The end of what is durable, when that has moved.
    pub flushed: Option<u64>,
    /// Now, microseconds since 1970-01-01 UTC.
    pub now_micros: i64,
    /// Whether an answer is wanted at once.
    pub ask: bool,
}

impl Connection {
    /// Runs `START_REPLICATION` and becomes its stream.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn replicate(mut self, sql: &str) -> Result<Replication> {
        self.begin_copy(sql, b'W').await?;
        Ok(Replication::new(self))
    }
}

impl Replication {
    fn new(connection: Connection) -> Self {
        Self { connection, out: BytesMut::new() }
    }

    /// Waits until at least one whole message is there, and hands out the receive buffer with all that are; reading
    /// goes on in `fresh`. **Cancel-safe.**
    ///
    /// # Errors
    /// `ConnectionLost`, `Protocol`.
    pub async fn ready(&mut self) -> Result<()> {
        while split(self.connection.channel.unread()).is_none() {
            self.connection.channel.read_more().await?;
        }
        Ok(())
    }

    /// The receive buffer with all messages that are whole; reading goes on in `fresh`.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn take(&mut self, fresh: Vec<u8>) -> Result<Block> {
        let (buffer, taken) = self.connection.channel.exchange(fresh)?;
        Ok(Block { buffer, taken })
    }

    /// Whether all that had come was read, when [`Replication::ready`] said so last.
    pub fn is_drained(&self) -> bool {
        self.connection.channel.is_drained()
    }

    /// Lets what comes gather for a while, where that gains something. **Not cancel-safe.**
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn rest(&mut self, time: Duration) -> Result<()> {
        self.connection.channel.rest(time).await
    }

    /// Tells the server how far things are
    /// (<https://www.postgresql.org/docs/current/protocol-replication.html>, "Standby status update").
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn tell(&mut self, status: Status) -> Result<()> {
        self.out.clear();
        if status.flushed.is_some() {
            self.put(status);
        }
        // The slot remembers what is durable. A place that stays in the session makes a server that shuts down wait until it is
        // the end of its log, and takes the session for a synchronous standby: so none stays (0).
        self.put(Status { flushed: None, ..status });
        self.connection.channel.send(&self.out).await
    }

    fn put(&mut self, status: Status) {
        let flushed = status.flushed.unwrap_or(0);
        self.out.put_u8(b'd');
        self.out.put_i32(4 + 34);
        self.out.put_u8(b'r');
        self.out.put_u64(status.written);
        self.out.put_u64(flushed);
        self.out.put_u64(flushed);
        self.out.put_i64(status.now_micros - EPOCH_MICROS);
        self.out.put_u8(u8::from(status.ask));
    }

    /// The error behind an ErrorResponse in the stream.
    pub fn refused(&self, body: &[u8]) -> Error {
        match super::refusal::Refusal::read(body) {
            Ok(refusal) => refusal.of_statement(&self.connection.channel.peer, &self.connection.statement),
            Err(e) => e,
        }
    }

    /// What a NoticeResponse in the stream means: an error when the server passes over changes from here on, because the publication was
    /// not there when they were written. Before 18 it refuses to go on instead.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn passed_over(&self, body: &[u8]) -> Result<Option<Error>> {
        let notice = super::refusal::Refusal::read(body)?;
        let (peer, statement) = (&self.connection.channel.peer, &self.connection.statement);
        if notice.is_publication_skipped() {
            return Ok(Some(notice.of_statement(peer, statement)));
        }
        tracing::warn!(server = %peer, notice = %notice.message, "the server warns in the stream");
        Ok(None)
    }
}

/// A receive buffer with whole messages.
#[derive(Debug)]
pub struct Block {
    buffer: Vec<u8>,
    taken: Range<usize>,
}

impl Block {
    /// Its messages.
    pub fn messages(&self) -> Messages<'_> {
        Messages { rest: &self.buffer[self.taken.clone()] }
    }

    /// The message at `offset` of the block, and where the next one begins.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn at(&self, offset: usize) -> Result<Option<(Message<'_>, usize)>> {
        let mut messages = Messages { rest: &self.buffer[self.taken.clone()][offset..] };
        let before = messages.rest.len();
        let message = messages.next().transpose()?;
        Ok(message.map(|message| (message, offset + before - messages.rest.len())))
    }

    /// Bytes of its messages.
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// The buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

/// The messages of a block, in order.
#[derive(Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

/// One message of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A message of the output plugin.
    Data {
        /// Where it lies in the log; for pgoutput of no use beyond people's.
        start: u64,
        /// The plugin's message.
        body: &'a [u8],
    },
    /// The server is alive; everything before `end` has been sent.
    Keepalive {
        /// The end of the log that has been looked at.
        end: u64,
        /// Whether it wants an answer at once.
        ask: bool,
    },
    /// The server refuses to go on.
    Refused(&'a [u8]),
    /// The server warns, and goes on.
    Notice(&'a [u8]),
    /// The server has ended the stream.
    End,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (tag, body, whole) = split(self.rest)?;
            self.rest = &self.rest[whole..];
            match tag {
                b'd' => return Some(data(body)),
                b'E' => return Some(Ok(Message::Refused(body))),
                b'c' | b'C' => return Some(Ok(Message::End)),
                b'N' => return Some(Ok(Message::Notice(body))),
                // Changed parameters, and what sessions tell each other.
                b'S' | b'A' => {}
                other => {
                    let error = Error::new(Code::Protocol, "the replication stream holds an unknown message");
                    return Some(Err(error.fact("type", format!("{:?}", char::from(other)))));
                }
            }
        }
    }
}

fn data(body: &[u8]) -> Result<Message<'_>> {
    let mut r = Reader::new(body, "a message of the replication stream");
    match r.u8()? {
        b'w' => {
            let start = r.u64()?;
            r.take(16)?;
            Ok(Message::Data { start, body: r.rest() })
        }
        b'k' => {
            let end = r.u64()?;
            r.i64()?;
            Ok(Message::Keepalive { end, ask: r.u8()? == 1 })
        }
        other => Err(Error::new(Code::Protocol, "the replication stream holds an unknown message")
            .fact("type", format!("{:?}", char::from(other)))),
    }
}
