//! A socket, plain or encrypted, with its packets.

use super::packet::{Framing, Taken, put_packets};
use dujiang_core::{Code, Error, Result};
use dujiang_net::{Transport, lost};
use std::io;
use std::time::Duration;

/// Sends and receives packets.
pub(super) struct Channel {
    pub transport: Transport,
    framing: Framing,
    out: Vec<u8>,
    /// `host:port`, for people.
    pub peer: String,
    pub read_timeout: Option<Duration>,
    /// Bytes received in all.
    received: u64,
}

impl Channel {
    pub fn new(transport: Transport, peer: String, read_timeout: Option<Duration>) -> Self {
        Self { transport, framing: Framing::default(), out: Vec::new(), peer, read_timeout, received: 0 }
    }

    /// Sends the first packet of a command.
    pub async fn send_command(&mut self, payload: &[u8]) -> Result<()> {
        self.framing.set_sequence(0);
        self.send(payload).await
    }

    /// Sends the next packet of an exchange.
    pub async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.out.clear();
        let next = put_packets(&mut self.out, self.framing.sequence(), payload);
        self.framing.set_sequence(next);
        let sent = self.transport.write_all(&self.out).await;
        self.out.shrink_to(64 << 10);
        sent.map_err(|e| lost(&self.peer, e))
    }

    /// The next packet. Cancel-safe. The slice is valid until the next call.
    pub async fn receive(&mut self) -> Result<&[u8]> {
        let taken = self.receive_place().await?;
        Ok(self.framing.payload(&taken))
    }

    /// As [`Channel::receive`], for callers that look at the payload more than once.
    pub async fn receive_place(&mut self) -> Result<Taken> {
        loop {
            if let Some(taken) = self.take()? {
                return Ok(taken);
            }
            self.read_more().await?;
        }
    }

    /// The next packet if all of it is in the buffer.
    pub fn take(&mut self) -> Result<Option<Taken>> {
        self.framing.take().map_err(|e| e.fact("server", self.peer.clone()))
    }

    pub fn payload(&self, taken: &Taken) -> &[u8] {
        self.framing.payload(taken)
    }

    /// The payload just taken, if it is a large one; see [`Framing::take_large`].
    pub fn take_large(&mut self) -> Option<Vec<u8>> {
        self.framing.take_large()
    }

    /// Bytes received so far; 0 says that the peer never spoke.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that no packet has claimed yet.
    pub fn unread(&self) -> &[u8] {
        self.framing.unread()
    }

    /// Whether bytes are waiting that nothing has asked for; they would be read as part of a later exchange.
    pub fn has_unread(&self) -> bool {
        !self.unread().is_empty()
    }

    async fn read_more(&mut self) -> Result<()> {
        let read = self.transport.read(self.framing.space());
        let n = match self.read_timeout {
            None => read.await,
            Some(limit) => match tokio::time::timeout(limit, read).await {
                Ok(read) => read,
                Err(_) => return Err(self.silent(limit)),
            },
        };
        match n {
            Ok(0) => {
                Err(lost(&self.peer, io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")))
            }
            Ok(n) => {
                self.received += n as u64;
                self.framing.filled(n);
                Ok(())
            }
            Err(e) => Err(lost(&self.peer, e)),
        }
    }

    fn silent(&self, limit: Duration) -> Error {
        Error::new(Code::ConnectionLost, format!("{} has been silent for {} s", self.peer, limit.as_secs()))
            .help("see whether the server is up and reachable")
    }
}
