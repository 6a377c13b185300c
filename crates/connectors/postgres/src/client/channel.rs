//! A socket, plain or encrypted, with its messages.

use super::frame::{Frame, Framing};
use bytes::BytesMut;
use dujiang_core::{Code, Error, Result};
use std::io;
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// The bytes' way.
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While a session is being encrypted, and for ever if that failed.
    Gone,
}

impl Transport {
    async fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(s) => s.read(space).await,
            Transport::Unix(s) => s.read(space).await,
            Transport::Tls(s) => s.read(space).await,
            Transport::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Tcp(s) => s.write_all(bytes).await,
            Transport::Unix(s) => s.write_all(bytes).await,
            Transport::Tls(s) => {
                s.write_all(bytes).await?;
                s.flush().await
            }
            Transport::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

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
        sent.map_err(|e| self.lost(e))
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

    /// Reads what there is, at least a byte, and returns how many. Cancel-safe.
    pub async fn read_more(&mut self) -> Result<usize> {
        match self.transport.read(self.framing.space()).await {
            Ok(0) => Err(self.lost(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))),
            Ok(n) => {
                self.received += n as u64;
                self.framing.filled(n);
                Ok(n)
            }
            Err(e) => Err(self.lost(e)),
        }
    }

    fn lost(&self, cause: io::Error) -> Error {
        Error::new(Code::ConnectionLost, format!("the connection to {} was lost", self.peer))
            .help("see whether the server is up and what its log says")
            .with_source(cause)
    }
}
