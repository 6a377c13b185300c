//! From a host name to a connected socket.

use crate::Transport;
use dujiang_core::{Code, Error, Result};
use rustix::net::sockopt;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

/// How far a connection came; says what a timeout means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The host name is being looked up.
    Resolving,
    /// The socket is being connected.
    Connecting,
    /// The server's first words are awaited.
    Greeting,
    /// Who we are is being settled.
    LoggingIn,
}

/// `host:port`, for people; an IPv6 address stands in brackets.
pub fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whom to call, and how long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Dial<'a> {
    /// Host name or address.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// The server's name in messages.
    pub peer: &'a str,
    /// Longest time for all of it, the login included.
    pub limit: Duration,
    /// The server's settings that decide where it listens, for the help in messages.
    pub listening: &'static str,
}

impl Dial<'_> {
    /// Connects by TCP, to the first address of the host that answers.
    ///
    /// # Errors
    /// `SourceUnreachable`.
    pub async fn tcp(&self, stage: &mut Stage) -> Result<Transport> {
        let found = tokio::net::lookup_host((self.host, self.port)).await;
        let addresses: Vec<_> = found.map_err(|e| self.unresolved().with_source(e))?.collect();
        *stage = Stage::Connecting;
        // An address that swallows packets must leave time for the next one.
        let share = self.limit / addresses.len().max(1) as u32;
        let mut last = None;
        for address in addresses {
            let connected = tokio::time::timeout(share, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    prepare_socket(&stream).map_err(|e| self.unreachable(e))?;
                    return Ok(Transport::Tcp(stream));
                }
                Err(e) => last = Some(e),
            }
        }
        Err(last.map_or_else(|| self.unresolved(), |e| self.unreachable(e)))
    }

    /// Connects to the socket file of a server on this machine.
    ///
    /// # Errors
    /// `SourceUnreachable`.
    pub async fn unix(&self, socket: &Path, stage: &mut Stage) -> Result<Transport> {
        *stage = Stage::Connecting;
        UnixStream::connect(socket).await.map(Transport::Unix).map_err(|e| self.unreachable(e))
    }

    /// What it means that the time was over at `stage`; `mute` is what to think of a server that accepts and stays silent.
    pub fn timed_out(&self, stage: Stage, mute: Error) -> Error {
        let peer = self.peer;
        let error = match stage {
            Stage::Resolving => self.unresolved(),
            Stage::Connecting => Error::new(Code::SourceUnreachable, format!("{peer} does not answer"))
                .help("check host and port, that the server is up, and firewalls between"),
            Stage::Greeting => mute,
            Stage::LoggingIn => Error::new(Code::SourceUnreachable, format!("{peer} does not finish the login"))
                .help("see whether the server is overloaded"),
        };
        error.fact("waited", format!("{} ms", self.limit.as_millis()))
    }

    fn unresolved(&self) -> Error {
        Error::new(Code::SourceUnreachable, format!("the host name `{}` cannot be resolved", self.host))
            .help("check the spelling, and the name service of this machine")
    }

    fn unreachable(&self, cause: io::Error) -> Error {
        let help = match cause.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                format!("check host and port, that the server is up, and that it listens there ({})", self.listening)
            }
            _ => "check host and port, and routes and firewalls between".into(),
        };
        Error::new(Code::SourceUnreachable, format!("no connection to {} can be made", self.peer))
            .help(help)
            .with_source(cause)
    }
}

/// No delay for small messages; keep-alive finds a peer that vanished without a word within two minutes.
fn prepare_socket(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 6)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_told_from_its_port() {
        assert_eq!(host_and_port("db1", 3306), "db1:3306");
        assert_eq!(host_and_port("::1", 3306), "[::1]:3306");
    }

    #[tokio::test]
    async fn what_keeps_a_connection_from_being_made_is_named() {
        let dial =
            |host, port| Dial { host, port, peer: "db1", limit: Duration::from_secs(5), listening: "bind_address" };
        let mut stage = Stage::Resolving;
        let error = dial("no host.invalid", 1).tcp(&mut stage).await.err().unwrap();
        assert_eq!((error.code(), stage), (Code::SourceUnreachable, Stage::Resolving));
        assert!(error.to_string().contains("`no host.invalid` cannot be resolved"), "{error}");

        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = dial("127.0.0.1", closed).tcp(&mut stage).await.err().unwrap();
        assert_eq!((error.code(), stage), (Code::SourceUnreachable, Stage::Connecting));
        assert!(error.help_text().unwrap().contains("bind_address"), "{error}");

        let error = dial("h", 1).unix(Path::new("/no/such/folder/s"), &mut stage).await.err().unwrap();
        assert_eq!(error.code(), Code::SourceUnreachable);
    }

    #[test]
    fn a_timeout_says_how_far_it_came() {
        let dial = Dial { host: "h", port: 1, peer: "h:1", limit: Duration::from_secs(2), listening: "" };
        let mute = || Error::new(Code::NotADatabase, "h:1 says nothing");
        let said = |stage| dial.timed_out(stage, mute()).to_string();
        assert!(said(Stage::Connecting).contains("h:1 does not answer"));
        assert!(said(Stage::Greeting).contains("h:1 says nothing"));
        assert!(said(Stage::LoggingIn).contains("does not finish the login"));
    }
}
