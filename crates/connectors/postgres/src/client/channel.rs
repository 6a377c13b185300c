//! A socket, plain or encrypted, with its messages.

use super::frame::{Frame, Framing};
use bytes::BytesMut;
use dujiang_core::Result;
use dujiang_net::{Transport, lost};
use std::io;
use std::ops::Range;
use std::time::Duration;

/// Sends and receives messages.
pub(super) struct Channel {
    pub transport: Transport,
    framing: Framing,
    /// `host:port`, for people.
    pub peer: String,
    /// Bytes received in all.
    received: u64,
}

impl Channel {
    pub fn new(transport: Transport, peer: String) -> Self {
        Self { transport, framing: Framing::default(), peer, received: 0 }
    }

    /// Sends messages.
    pub async fn send(&mut self, messages: &BytesMut) -> Result<()> {
        let sent = self.transport.write_all(messages).await;
        sent.map_err(|e| lost(&self.peer, e))
    }

    /// The next message. Cancel-safe.
    pub async fn receive(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            self.read_more().await?;
        }
    }

    /// The next message if all of it is in the buffer.
    pub fn take(&mut self) -> Result<Option<Frame>> {
        self.framing.take().map_err(|e| e.fact("server", self.peer.clone()))
    }

    /// The body of a message, valid until more is read.
    pub fn body(&self, frame: &Frame) -> &[u8] {
        self.framing.body(frame)
    }

    /// One byte outside of any message.
    pub async fn receive_byte(&mut self) -> Result<u8> {
        loop {
            if let Some(byte) = self.framing.take_byte() {
                return Ok(byte);
            }
            self.read_more().await?;
        }
    }

    /// Bytes received so far; 0 says that the peer never spoke.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that no message has claimed.
    pub fn unread(&self) -> &[u8] {
        self.framing.unread()
    }

    /// Gives the buffer away; see [`Framing::exchange`].
    pub fn exchange(&mut self, fresh: Vec<u8>) -> Result<(Vec<u8>, Range<usize>)> {
        self.framing.exchange(fresh).map_err(|e| e.fact("server", self.peer.clone()))
    }

    /// Whether all of the next message is in the buffer.
    pub fn has_message(&self) -> bool {
        self.framing.has_message()
    }

    /// Whether the last read took all that the socket had.
    pub fn is_drained(&self) -> bool {
        self.framing.is_drained()
    }

    /// Leaves the socket alone for a while; see [`Transport::rest`]. Not cancel-safe.
    pub async fn rest(&mut self, time: Duration) -> Result<()> {
        self.transport.rest(time).await.map_err(|e| lost(&self.peer, e))
    }

    /// Reads what there is, at least a byte, and returns how many. Cancel-safe.
    pub async fn read_more(&mut self) -> Result<usize> {
        match self.transport.read(self.framing.space()).await {
            Ok(0) => {
                Err(lost(&self.peer, io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")))
            }
            Ok(n) => {
                self.received += n as u64;
                self.framing.filled(n);
                Ok(n)
            }
            Err(e) => Err(lost(&self.peer, e)),
        }
    }
}
