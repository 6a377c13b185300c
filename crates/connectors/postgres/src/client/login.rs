//! From an address to a session that is logged in.

use super::channel::Channel;
use super::refusal::Refusal;
use super::session::Session;
use super::wire::Reader;
use super::{Endpoint, TlsMode, auth};
use bytes::BytesMut;
use dujiang_core::{Code, Error, Result, ResultExt};
use dujiang_net::{Stage, Transport};
use postgres_protocol::message::frontend;
use std::collections::BTreeMap;

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
        Err(e) if e.code() == Code::TlsFailed && endpoint.tls.mode == TlsMode::Preferred => {
            let plain = Endpoint { tls: TlsMode::Disabled.into(), ..endpoint.clone() };
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
    let peer = endpoint.address();
    let transport = connect(endpoint, &peer, stage).await?;
    *stage = Stage::Greeting;
    let mut channel = Channel::new(transport, peer);
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
    auth::authenticate(channel, endpoint, session, encrypted).await?;
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
            b'E' => return Err(Refusal::read(body)?.of_login(endpoint, session, encrypted)),
            b'Z' => return Ok(greeting),
            other => {
                let message = format!("{} answered the login in an unknown way", endpoint.address());
                return Err(Error::new(Code::Protocol, message).fact("type", format!("{:?}", char::from(other))));
            }
        }
    }
}

async fn encrypt(channel: &mut Channel, endpoint: &Endpoint) -> Result<bool> {
    if endpoint.tls.mode == TlsMode::Disabled || matches!(channel.transport, Transport::Unix(_)) {
        return Ok(false);
    }
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    channel.send(&out).await?;
    match channel.receive_byte().await? {
        b'S' => {}
        b'N' | b'E' if endpoint.tls.mode == TlsMode::Preferred => return Ok(false),
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
    channel.transport.encrypt(&endpoint.host, &endpoint.address(), &endpoint.tls).await?;
    Ok(true)
}

async fn connect(endpoint: &Endpoint, peer: &str, stage: &mut Stage) -> Result<Transport> {
    match endpoint.socket() {
        Some(path) => endpoint.dial(peer).unix(&path, stage).await,
        None => endpoint.dial(peer).tcp(stage).await,
    }
}

fn timed_out(endpoint: &Endpoint, stage: Stage) -> Error {
    let peer = endpoint.address();
    let mute = Error::new(Code::NotADatabase, format!("{peer} accepts connections but does not answer"))
        .help("check that a PostgreSQL server listens on this port");
    endpoint.dial(&peer).timed_out(stage, mute)
}
