//! From a TCP address to a session that is logged in.

use super::auth::{Exchange, NONCE, Plugin};
use super::channel::Channel;
use super::refusal::Refusal;
use super::server::{ServerFamily, ServerInfo};
use super::wire::{Reader, put_lenenc_bytes};
use super::{Endpoint, TlsMode};
use dujiang_core::{Code, Error, Result};
use dujiang_net::Stage;
use mysql_common::constants::CapabilityFlags;

/// utf8mb4_general_ci, which every server of the family knows.
const CHARSET: u8 = 45;
/// Largest packet we take, as told to the server.
const MAX_PACKET: u32 = 1 << 30;
const PROTOCOL_VERSION: u8 = 10;

/// Connects and logs in, within the endpoint's time limit.
pub(super) async fn establish(endpoint: &Endpoint) -> Result<(Channel, ServerInfo)> {
    match within_limit(endpoint).await {
        Err(e) if e.code() == Code::TlsFailed && endpoint.tls.mode == TlsMode::Preferred => {
            let plain = Endpoint { tls: TlsMode::Disabled.into(), ..endpoint.clone() };
            within_limit(&plain).await
        }
        other => other,
    }
}

async fn within_limit(endpoint: &Endpoint) -> Result<(Channel, ServerInfo)> {
    let mut stage = Stage::Resolving;
    let attempt = attempt(endpoint, &mut stage);
    match tokio::time::timeout(endpoint.connect_timeout, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(timed_out(endpoint, stage)),
    }
}

async fn attempt(endpoint: &Endpoint, stage: &mut Stage) -> Result<(Channel, ServerInfo)> {
    let peer = endpoint.address();
    let transport = endpoint.dial(&peer).tcp(stage).await?;
    *stage = Stage::Greeting;
    let mut channel = Channel::new(transport, peer, None);
    let greeting = greeting(&mut channel, endpoint).await?;
    *stage = Stage::LoggingIn;
    let encrypted = encrypt(&mut channel, endpoint, &greeting).await?;
    log_in(&mut channel, endpoint, &greeting, encrypted).await?;
    channel.read_timeout = endpoint.read_timeout;
    let info = ServerInfo {
        family: if endpoint.oceanbase { ServerFamily::OceanBase } else { greeting.family() },
        version: greeting.version,
        connection_id: greeting.connection_id,
        encrypted,
    };
    Ok((channel, info))
}

fn timed_out(endpoint: &Endpoint, stage: Stage) -> Error {
    let peer = endpoint.address();
    let mute = Error::new(Code::NotADatabase, format!("{peer} accepts connections but sends no greeting"))
        .help("check that a MySQL or MariaDB server listens on this port; PostgreSQL and HTTP servers wait in silence");
    endpoint.dial(&peer).timed_out(stage, mute)
}

/// What a server says first.
struct Greeting {
    version: String,
    connection_id: u32,
    capabilities: CapabilityFlags,
    plugin: Option<Plugin>,
    nonce: [u8; NONCE],
}

impl Greeting {
    fn family(&self) -> ServerFamily {
        if self.version.to_ascii_lowercase().contains("mariadb") { ServerFamily::MariaDb } else { ServerFamily::MySql }
    }
}

async fn greeting(channel: &mut Channel, endpoint: &Endpoint) -> Result<Greeting> {
    let packet = match channel.receive().await {
        Ok(packet) => packet.to_vec(),
        Err(e) => return Err(no_greeting(channel, endpoint, e)),
    };
    if packet.first() == Some(&0xff) {
        return Err(Refusal::read(&packet)?.of_login(endpoint, true));
    }
    read_greeting(&packet).map_err(|e| foreign(endpoint, &packet).with_source(e))
}

fn no_greeting(channel: &Channel, endpoint: &Endpoint, cause: Error) -> Error {
    if channel.received() == 0 {
        let message = format!("{} closed the connection without a greeting", endpoint.address());
        return Error::new(Code::NotADatabase, message)
            .help(
                "check that a MySQL or MariaDB server listens on this port; a proxy does this when its server is down",
            )
            .with_source(cause);
    }
    foreign(endpoint, channel.unread()).with_source(cause)
}

fn foreign(endpoint: &Endpoint, found: &[u8]) -> Error {
    let x_protocol = found.ends_with(&[0x0b, 0x08, 0x05, 0x1a, 0x00]);
    let help = if x_protocol {
        "this is MySQL's X Protocol (33060); use the port of the classic protocol, usually 3306"
    } else {
        "check that a MySQL or MariaDB server listens on this port"
    };
    Error::new(Code::NotADatabase, format!("what answers on {} does not speak MySQL's protocol", endpoint.address()))
        .fact("expected", format!("a greeting of protocol version {PROTOCOL_VERSION}"))
        .fact("found", format!("\"{}\"", found[..found.len().min(40)].escape_ascii()))
        .help(help)
}

fn read_greeting(packet: &[u8]) -> Result<Greeting> {
    let mut r = Reader::new(packet, "the greeting");
    let version = r.u8()?;
    if version != PROTOCOL_VERSION {
        return Err(Error::new(Code::NotADatabase, format!("protocol version {version} is unknown")));
    }
    let version = String::from_utf8_lossy(r.nul_bytes()?).into_owned();
    let connection_id = r.u32()?;
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(r.bytes(8)?);
    r.bytes(1)?;
    let low = r.u16()?;
    let (_charset, _status) = (r.u8()?, r.u16()?);
    let capabilities = CapabilityFlags::from_bits_truncate(u32::from(low) | u32::from(r.u16()?) << 16);
    r.bytes(1 + 10)?;
    let required = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
    if !capabilities.contains(required) {
        return Err(Error::new(Code::NotADatabase, "the server is older than version 4.1"));
    }
    nonce[8..].copy_from_slice(r.bytes(NONCE - 8)?);
    let rest = r.rest().strip_prefix(b"\0").unwrap_or(r.rest());
    let plugin = rest.split(|&b| b == 0).next().unwrap_or_default();
    let version = version.strip_prefix("5.5.5-").map(str::to_owned).unwrap_or(version);
    Ok(Greeting { version, connection_id, capabilities, plugin: Plugin::named(plugin), nonce })
}

fn our_capabilities(greeting: &Greeting, encrypted: bool) -> CapabilityFlags {
    let mut wanted = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_CONNECT_ATTRS;
    wanted.set(CapabilityFlags::CLIENT_SSL, encrypted);
    // MariaDB clears the first bit to announce capabilities of its own; it takes the bit all the same.
    wanted & (greeting.capabilities | CapabilityFlags::CLIENT_LONG_PASSWORD)
}

fn login_head(capabilities: CapabilityFlags) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&capabilities.bits().to_le_bytes());
    out.extend_from_slice(&MAX_PACKET.to_le_bytes());
    out.push(CHARSET);
    out.extend_from_slice(&[0; 23]);
    out
}

async fn encrypt(channel: &mut Channel, endpoint: &Endpoint, greeting: &Greeting) -> Result<bool> {
    let offered = greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL);
    match endpoint.tls.mode {
        TlsMode::Disabled => return Ok(false),
        TlsMode::Preferred if !offered => return Ok(false),
        _ if !offered => {
            return Err(Error::new(Code::TlsFailed, format!("{} does not offer encryption", endpoint.address()))
                .help("give the server a certificate (ssl_cert, ssl_key), or allow plain connections (`preferred`)"));
        }
        _ => {}
    }
    channel.send(&login_head(our_capabilities(greeting, true))).await?;
    if channel.has_unread() {
        return Err(Error::new(Code::TlsFailed, format!("{} sent data before encryption began", endpoint.address()))
            .help("see what stands between this machine and the server"));
    }
    channel.transport.encrypt(&endpoint.host, &endpoint.address(), &endpoint.tls).await?;
    Ok(true)
}

async fn log_in(channel: &mut Channel, endpoint: &Endpoint, greeting: &Greeting, encrypted: bool) -> Result<()> {
    let plugin = greeting.plugin.unwrap_or(Plugin::Native);
    let mut exchange = Exchange { endpoint, encrypted, plugin, nonce: greeting.nonce };
    // The server's default may be unfit for an open line while the user's own plugin is not: let the server choose.
    let first = exchange.first().unwrap_or_default();
    channel.send(&login_packet(greeting, endpoint, plugin, &first, encrypted)).await?;
    loop {
        let packet = channel.receive().await.map_err(|e| cut_off(endpoint, e))?.to_vec();
        let answer = match packet.split_first() {
            Some((0x00, _)) => return Ok(()),
            Some((0xff, _)) => return Err(Refusal::read(&packet)?.of_login(endpoint, encrypted)),
            Some((0xfe, request)) => Some(switch_plugin(&mut exchange, request)?),
            Some((0x01, data)) => exchange.more(data)?,
            _ => {
                return Err(Error::new(
                    Code::Protocol,
                    format!("{} answers the login in an unknown way", endpoint.address()),
                )
                .fact("found", format!("\"{}\"", packet[..packet.len().min(40)].escape_ascii())));
            }
        };
        if let Some(answer) = answer {
            channel.send(&answer).await.map_err(|e| cut_off(endpoint, e))?;
        }
    }
}

fn cut_off(endpoint: &Endpoint, cause: Error) -> Error {
    if cause.code() != Code::ConnectionLost {
        return cause;
    }
    Error::new(Code::SourceUnreachable, format!("{} closed the connection during the login", endpoint.address()))
        .help("see the server's error log")
        .with_source(cause)
}

fn switch_plugin(exchange: &mut Exchange<'_>, request: &[u8]) -> Result<Vec<u8>> {
    if request.is_empty() {
        return Err(Exchange::unknown_plugin(exchange.endpoint, b"mysql_old_password"));
    }
    let mut r = Reader::new(request, "the request for another login plugin");
    let name = r.nul_bytes()?;
    let plugin = Plugin::named(name).ok_or_else(|| Exchange::unknown_plugin(exchange.endpoint, name))?;
    exchange.plugin = plugin;
    if plugin != Plugin::Clear {
        exchange.nonce.copy_from_slice(r.bytes(NONCE)?);
    }
    exchange.first()
}

fn login_packet(greeting: &Greeting, endpoint: &Endpoint, plugin: Plugin, first: &[u8], encrypted: bool) -> Vec<u8> {
    let capabilities = our_capabilities(greeting, encrypted);
    let mut out = login_head(capabilities);
    out.extend_from_slice(endpoint.user.as_bytes());
    out.push(0);
    // All plugins' first answers but a clear password are shorter than 251 bytes, where both length forms agree.
    put_lenenc_bytes(&mut out, first);
    if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
        out.extend_from_slice(plugin.name().as_bytes());
        out.push(0);
    }
    if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
        let mut attributes = Vec::new();
        for text in [
            "_client_name",
            "dujiang",
            "_client_version",
            env!("CARGO_PKG_VERSION"),
            "program_name",
            &endpoint.program_name,
        ] {
            put_lenenc_bytes(&mut attributes, text.as_bytes());
        }
        put_lenenc_bytes(&mut out, &attributes);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn greeting_bytes(version: &str) -> Vec<u8> {
        let mut out = vec![10];
        out.extend_from_slice(version.as_bytes());
        out.push(0);
        out.extend_from_slice(&7u32.to_le_bytes());
        out.extend_from_slice(b"01234567\0");
        out.extend_from_slice(&[0xff, 0xff, 45, 2, 0, 0xff, 0xff, 21]);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(b"890123456789\0caching_sha2_password\0");
        out
    }

    #[test]
    fn a_greeting_is_read() {
        let read = read_greeting(&greeting_bytes("5.5.5-10.11.6-MariaDB-log")).unwrap();
        assert_eq!((read.version.as_str(), read.connection_id), ("10.11.6-MariaDB-log", 7));
        assert_eq!((read.family(), read.plugin), (ServerFamily::MariaDb, Some(Plugin::CachingSha2)));
        assert_eq!(&read.nonce, b"01234567890123456789");
        assert_eq!(read_greeting(&greeting_bytes("8.4.3")).unwrap().family(), ServerFamily::MySql);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
        #[test]
        fn no_greeting_makes_us_panic(mut packet: Vec<u8>, cut in 0usize..90, known: bool) {
            if known {
                packet = greeting_bytes("8.0.36");
                packet.truncate(cut);
            }
            let _ = read_greeting(&packet);
        }
    }
}
