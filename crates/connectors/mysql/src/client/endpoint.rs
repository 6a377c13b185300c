//! Where and how to connect.

use dujiang_core::Secret;
use dujiang_net::{Dial, Tls, host_and_port};
use std::time::Duration;

/// One server and the login used there.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User name.
    pub user: String,
    /// Password; empty for none.
    pub password: Secret,
    /// Encryption.
    pub tls: Tls,
    /// Longest time from the first packet to a finished login.
    pub connect_timeout: Duration,
    /// Longest silence of the server while an answer is awaited; `None` waits for ever (TCP keep-alive still finds a
    /// dead peer within two minutes).
    pub read_timeout: Option<Duration>,
    /// Whether this is OceanBase, whatever the greeting says: proxies and the Binlog Service greet as some MySQL.
    pub oceanbase: bool,
    /// Name shown in the server's process list attributes.
    pub program_name: String,
}

impl Endpoint {
    /// A server on the default port, without password, encrypted if it can.
    pub fn new(host: impl Into<String>, port: u16, user: impl Into<String>, password: Secret) -> Self {
        Self {
            host: host.into(),
            port,
            user: user.into(),
            password,
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(30),
            read_timeout: None,
            oceanbase: false,
            program_name: "dujiang".into(),
        }
    }

    /// `host:port`, for people.
    pub fn address(&self) -> String {
        host_and_port(&self.host, self.port)
    }

    /// How to get there; `peer` is [`Endpoint::address`].
    pub(super) fn dial<'a>(&'a self, peer: &'a str) -> Dial<'a> {
        let listening = "bind_address, skip_networking";
        Dial { host: &self.host, port: self.port, peer, limit: self.connect_timeout, listening }
    }
}
