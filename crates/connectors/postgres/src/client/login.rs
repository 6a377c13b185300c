//! From an address to a session that is logged in.

use super::channel::{Channel, Transport};
use super::refusal::Refusal;
use super::wire::Reader;
use super::{Endpoint, Session, TlsMode, auth, tls};
use bytes::BytesMut;
use dujiang_core::{Code, Error, Result, ResultExt};
use postgres_protocol::message::frontend;
use rustix::net::sockopt;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

/// How far a connection came; says what a timeout means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Resolving,
    Connecting,
    Greeting,
    LoggingIn,
}

/// What is known once logged in.
#[derive(Debug, Clone, Default)]
pub(super) struct Greeting {
    /// `server_version` and the like.
    pub parameters: BTreeMap<String, String>,
    /// Id of the server's process.
    pub process: i32,
    /// Whether the session is encrypted.
    pub encrypted: bool,
}

/// Connects and logs in, within the endpoint's time limit.
pub(super) async fn establish(endpoint: &Endpoint, session: Session) -> Result<(Channel, Greeting)> {
    match within_limit(endpoint, session).await {
        Err(e) if e.code() == Code::TlsFailed && endpoint.tls == TlsMode::Preferred => {
            let plain = Endpoint { tls: TlsMode::Disabled, ..endpoint.clone() };
            within_limit(&plain, session).await
        }
        other => other,
    }
}

async fn within_limit(endpoint: &Endpoint, session: Session) -> Result<(Channel, Greeting)> {
    let mut stage = Stage::Resolving;
    let attempt = attempt(endpoint, session, &mut stage);
    match tokio::time::timeout(endpoint.connect_timeout, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(timed_out(endpoint, stage)),
    }
}

async fn attempt(endpoint: &Endpoint, session: Session, stage: &mut Stage) -> Result<(Channel, Greeting)> {
    let transport = connect(endpoint, stage).await?;
    *stage = Stage::Greeting;
    let mut channel = Channel::new(transport, endpoint.address());
    let outcome = log_in(&mut channel, endpoint, session, stage).await;
    match outcome {
        // A server that speaks another protocol closes without a word, or says what cannot be read.
        Err(e) if e.code() == Code::Protocol || (e.code() == Code::ConnectionLost && channel.received() == 0) => Err(
            Error::new(Code::NotADatabase, format!("{} does not answer as a PostgreSQL server", endpoint.address()))
                .help("check host and port")
                .with_source(e),
        ),
        Err(e) => Err(e),
        Ok(greeting) => Ok((channel, greeting)),
    }
}

async fn log_in(channel: &mut Channel, endpoint: &Endpoint, session: Session, stage: &mut Stage) -> Result<Greeting> {
    let encrypted = encrypt(channel, endpoint).await?;
    *stage = Stage::LoggingIn;
    let mut parameters = vec![
        ("user", endpoint.user.as_str()),
        ("database", endpoint.database.as_str()),
        ("application_name", endpoint.application_name.as_str()),
        ("client_encoding", "UTF8"),
    ];
    if session == Session::Replication {
        parameters.push(("replication", "database"));
    }
    let mut out = BytesMut::new();
    frontend::startup_message(parameters, &mut out)
        .or_code(Code::LoginRefused, || "the names of user and database cannot have a zero byte".into())?;
    channel.send(&out).await?;
    auth::authenticate(channel, endpoint, encrypted).await?;
    let mut greeting = Greeting { encrypted, ..Greeting::default() };
    loop {
        let frame = channel.receive().await?;
        let body = channel.body(&frame);
        match frame.tag {
            b'S' => {
                let mut r = Reader::new(body, "a parameter");
                greeting.parameters.insert(r.cstr()?.to_owned(), r.cstr()?.to_owned());
            }
            b'K' => greeting.process = Reader::new(body, "the key of the session").i32()?,
            b'N' | b'v' => {}
            b'E' => return Err(Refusal::read(body)?.of_login(endpoint, encrypted)),
            b'Z' => return Ok(greeting),
            other => {
                let message = format!("{} answered the login in an unknown way", endpoint.address());
                return Err(Error::new(Code::Protocol, message).fact("type", format!("{:?}", char::from(other))));
            }
        }
    }
}

async fn encrypt(channel: &mut Channel, endpoint: &Endpoint) -> Result<bool> {
    if endpoint.tls == TlsMode::Disabled || matches!(channel.transport, Transport::Unix(_)) {
        return Ok(false);
    }
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    channel.send(&out).await?;
    match channel.receive_byte().await? {
        b'S' => {}
        b'N' | b'E' if endpoint.tls == TlsMode::Preferred => return Ok(false),
        b'N' | b'E' => {
            let message = format!("{} does not encrypt connections", endpoint.address());
            return Err(Error::new(Code::TlsFailed, message)
                .help("set `ssl = on` on the server, or let the connection be plain with `tls.mode: disabled`"));
        }
        _ => return Err(Error::new(Code::Protocol, "the answer to a request for encryption cannot be read")),
    }
    // Bytes that came along in the clear could be somebody else's (CVE-2021-23222).
    if !channel.unread().is_empty() {
        let message = format!("{} sent bytes before the encryption began", endpoint.address());
        return Err(Error::new(Code::TlsFailed, message).help("somebody may be in the middle of the connection"));
    }
    if let Transport::Tcp(stream) = std::mem::replace(&mut channel.transport, Transport::Gone) {
        channel.transport = Transport::Tls(Box::new(tls::encrypt(stream, endpoint).await?));
    }
    Ok(true)
}

async fn connect(endpoint: &Endpoint, stage: &mut Stage) -> Result<Transport> {
    if let Some(path) = endpoint.socket() {
        *stage = Stage::Connecting;
        return UnixStream::connect(path).await.map(Transport::Unix).map_err(|e| unreachable(endpoint, e));
    }
    let found = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    let addresses: Vec<_> = found.map_err(|e| unresolved(endpoint).with_source(e))?.collect();
    *stage = Stage::Connecting;
    // An address that swallows packets must leave time for the next one.
    let share = endpoint.connect_timeout / addresses.len().max(1) as u32;
    let mut last = None;
    for address in addresses {
        let connected = tokio::time::timeout(share, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                prepare_socket(&stream).map_err(|e| unreachable(endpoint, e))?;
                return Ok(Transport::Tcp(stream));
            }
            Err(e) => last = Some(e),
        }
    }
    Err(last.map_or_else(|| unresolved(endpoint), |e| unreachable(endpoint, e)))
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

fn unresolved(endpoint: &Endpoint) -> Error {
    Error::new(Code::SourceUnreachable, format!("the host name `{}` cannot be resolved", endpoint.host))
        .help("check the spelling, and the name service of this machine")
}

fn unreachable(endpoint: &Endpoint, cause: io::Error) -> Error {
    let help = match cause.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            "check host and port, that the server is up, and that it listens there (listen_addresses)"
        }
        _ => "check host and port, and routes and firewalls between",
    };
    Error::new(Code::SourceUnreachable, format!("no connection to {} can be made", endpoint.address()))
        .help(help)
        .with_source(cause)
}

fn timed_out(endpoint: &Endpoint, stage: Stage) -> Error {
    let (address, limit) = (endpoint.address(), endpoint.connect_timeout);
    let error = match stage {
        Stage::Resolving => unresolved(endpoint),
        Stage::Connecting => Error::new(Code::SourceUnreachable, format!("{address} does not answer"))
            .help("check host and port, that the server is up, and firewalls between"),
        Stage::Greeting => Error::new(Code::NotADatabase, format!("{address} accepts connections but does not answer"))
            .help("check that a PostgreSQL server listens on this port"),
        Stage::LoggingIn => Error::new(Code::SourceUnreachable, format!("{address} does not finish the login"))
            .help("see whether the server is overloaded"),
    };
    error.fact("waited", format!("{} ms", limit.as_millis()))
}
