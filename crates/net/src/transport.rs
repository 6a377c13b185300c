//! A socket, plain or encrypted.

use crate::{Tls, tls};
use dujiang_core::{Code, Error, Result};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// The bytes' way.
#[derive(Debug)]
pub enum Transport {
    /// TCP, in the clear.
    Tcp(TcpStream),
    /// A socket file of this machine.
    Unix(UnixStream),
    /// TCP, encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// While a session is being encrypted, and for ever if that failed.
    Gone,
}

impl Transport {
    /// Reads what there is, at least a byte; 0 when the peer closed. Cancel-safe.
    ///
    /// # Errors
    /// The socket's.
    pub async fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(s) => s.read(space).await,
            Transport::Unix(s) => s.read(space).await,
            Transport::Tls(s) => s.read(space).await,
            Transport::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The socket's.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
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

    /// Leaves a plain TCP socket alone for a while: nobody is woken for what arrives, which is read in one piece afterwards.
    /// Returns at once for others: what is encrypted comes record by record anyhow, and a socket file holds too few messages.
    ///
    /// **Not cancel-safe**: the connection is gone if this is dropped before it ends.
    ///
    /// # Errors
    /// The socket's.
    pub async fn rest(&mut self, time: Duration) -> io::Result<()> {
        let stream = match std::mem::replace(self, Transport::Gone) {
            Transport::Tcp(stream) => stream.into_std()?,
            other => {
                *self = other;
                return Ok(());
            }
        };
        // While the runtime knows the socket every message wakes it, whether anybody waits for one or not.
        tokio::time::sleep(time).await;
        *self = Transport::Tcp(TcpStream::from_std(stream)?);
        Ok(())
    }

    /// Encrypts a TCP connection whose server has agreed to it. `host` is the name that the certificate must have.
    ///
    /// # Errors
    /// `TlsFailed`; the transport is gone then.
    pub async fn encrypt(&mut self, host: &str, peer: &str, tls: &Tls) -> Result<()> {
        let Transport::Tcp(stream) = std::mem::replace(self, Transport::Gone) else {
            return Err(Error::new(Code::Bug, "only a plain TCP connection can be encrypted"));
        };
        *self = Transport::Tls(Box::new(tls::encrypt(stream, host, peer, tls).await?));
        Ok(())
    }
}

/// The connection to `peer` failed under way.
pub fn lost(peer: &str, cause: io::Error) -> Error {
    Error::new(Code::ConnectionLost, format!("the connection to {peer} was lost"))
        .help("see whether the server is up and what its error log says")
        .with_source(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_comes_during_a_rest_is_read_afterwards() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (ours, theirs) = tokio::join!(connecting, listener.accept());
        let (mut transport, mut server) = (Transport::Tcp(ours.unwrap()), theirs.unwrap().0);
        let mut space = [0; 8];
        for _ in 0..3 {
            let resting = transport.rest(Duration::from_millis(1));
            let (rested, written) = tokio::join!(resting, server.write_all(b"there"));
            rested.and(written).unwrap();
            let n = transport.read(&mut space).await.unwrap();
            assert_eq!(&space[..n], b"there");
            transport.write_all(b"back").await.unwrap();
            server.read_exact(&mut space[..4]).await.unwrap();
            assert_eq!(&space[..4], b"back");
        }
    }

    #[tokio::test]
    async fn a_socket_file_has_no_rest() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut transport = Transport::Unix(ours);
        transport.rest(Duration::from_secs(3_600)).await.unwrap();
        theirs.write_all(b"x").await.unwrap();
        assert_eq!(transport.read(&mut [0; 8]).await.unwrap(), 1);
        let mut gone = Transport::Gone;
        gone.rest(Duration::from_secs(3_600)).await.unwrap();
        assert_eq!(gone.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::NotConnected);
    }
}
