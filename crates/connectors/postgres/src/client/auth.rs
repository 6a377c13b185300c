//! The login's exchange: cleartext, MD5 and SCRAM-SHA-256.

use super::channel::Channel;
use super::refusal::Refusal;
use super::wire::Reader;
use super::{Endpoint, Session};
use bytes::BytesMut;
use dujiang_core::{Code, Error, Result, ResultExt};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;

const OK: i32 = 0;
const CLEARTEXT: i32 = 3;
const MD5: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// Answers the server's requests until it is content.
///
/// # Errors
/// `LoginRefused`, `NotADatabase`, `UnknownDatabase`, and what a server says that is not ready.
pub(super) async fn authenticate(
    channel: &mut Channel,
    endpoint: &Endpoint,
    session: Session,
    encrypted: bool,
) -> Result<()> {
    let mut scram = None;
    loop {
        let frame = channel.receive().await?;
        let body = channel.body(&frame);
        let mut out = BytesMut::new();
        match frame.tag {
            b'E' => return Err(Refusal::read(body)?.of_login(endpoint, session, encrypted)),
            b'N' | b'v' => continue,
            b'R' => {}
            _ => return Err(stranger(endpoint)),
        }
        let mut r = Reader::new(body, "a request for authentication");
        match r.i32()? {
            OK if scram.as_ref().is_none_or(|(_, finished)| *finished) => return Ok(()),
            CLEARTEXT => password(endpoint, endpoint.password.reveal().as_bytes(), encrypted, &mut out)?,
            MD5 => {
                let salt = r.take(4)?.try_into().expect("invariant: four bytes were taken");
                let hash = md5_hash(endpoint.user.as_bytes(), endpoint.password.reveal().as_bytes(), salt);
                password(endpoint, hash.as_bytes(), true, &mut out)?;
            }
            SASL => scram = Some((begin(endpoint, &mut r, &mut out)?, false)),
            SASL_CONTINUE => {
                let (exchange, _) = scram.as_mut().ok_or_else(|| stranger(endpoint))?;
                exchange.update(r.rest()).or_code(Code::LoginRefused, || refused(endpoint))?;
                frontend::sasl_response(exchange.message(), &mut out).or_code(Code::Bug, || "answer SCRAM".into())?;
            }
            SASL_FINAL => {
                let (exchange, finished) = scram.as_mut().ok_or_else(|| stranger(endpoint))?;
                exchange.finish(r.rest()).or_code(Code::LoginRefused, || {
                    format!("{} does not prove that it knows the password of `{}`", endpoint.address(), endpoint.user)
                })?;
                *finished = true;
                continue;
            }
            method => {
                let message = format!("{} asks for an authentication that is not supported", endpoint.address());
                return Err(Error::new(Code::LoginRefused, message)
                    .fact("method", method_name(method))
                    .help("let pg_hba.conf ask this user for `scram-sha-256`"));
            }
        }
        channel.send(&out).await?;
    }
}

fn refused(endpoint: &Endpoint) -> String {
    format!("{} refused the login of `{}`", endpoint.address(), endpoint.user)
}

fn stranger(endpoint: &Endpoint) -> Error {
    Error::new(Code::NotADatabase, format!("{} does not answer as a PostgreSQL server", endpoint.address()))
        .help("check host and port")
}

/// A password in the clear is sent over an encrypted connection, a Unix socket, or when nobody asked for encryption.
fn password(endpoint: &Endpoint, password: &[u8], safe: bool, out: &mut BytesMut) -> Result<()> {
    if !safe && endpoint.socket().is_none() {
        tracing::warn!(server = %endpoint.address(), "the server asks for the password in the clear, and the connection is not encrypted");
    }
    frontend::password_message(password, out).or_code(Code::LoginRefused, || "the password has a zero byte".into())
}

fn begin(endpoint: &Endpoint, r: &mut Reader<'_>, out: &mut BytesMut) -> Result<ScramSha256> {
    let mut offered = Vec::new();
    loop {
        match r.cstr()? {
            "" => break,
            mechanism => offered.push(mechanism),
        }
    }
    if !offered.contains(&SCRAM_SHA_256) {
        let message = format!("{} offers no login that is supported", endpoint.address());
        return Err(Error::new(Code::LoginRefused, message).fact("offered", offered.join(", ")));
    }
    let exchange = ScramSha256::new(endpoint.password.reveal().as_bytes(), ChannelBinding::unsupported());
    frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), out)
        .or_code(Code::Bug, || "begin SCRAM".into())?;
    Ok(exchange)
}

fn method_name(method: i32) -> String {
    match method {
        2 => "Kerberos 5".into(),
        7 | 8 => "GSSAPI".into(),
        9 => "SSPI".into(),
        other => other.to_string(),
    }
}
