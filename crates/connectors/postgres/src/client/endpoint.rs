//! Where and how to connect.

use dujiang_core::Secret;
use dujiang_net::{Dial, Tls, host_and_port};
use std::path::PathBuf;
use std::time::Duration;

/// One server and the login used there.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Host name or address; a path is the folder of a Unix socket.
    pub host: String,
    /// TCP port, or the number in the name of the Unix socket.
    pub port: u16,
    /// Database to connect to: PostgreSQL's sessions never leave it.
    pub database: String,
    /// User name.
    pub user: String,
    /// Password; empty for none.
    pub password: Secret,
    /// Encryption.
    pub tls: Tls,
    /// Longest time from the first packet to a finished login.
    pub connect_timeout: Duration,
    /// Name shown in `pg_stat_activity` and `pg_stat_replication`.
    pub application_name: String,
}

impl Endpoint {
    /// A server without password, encrypted if it can.
    pub fn new(host: impl Into<String>, port: u16, database: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            database: database.into(),
            user: user.into(),
            password: Secret::default(),
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(30),
            application_name: "dujiang".into(),
        }
    }

    /// The file of the Unix socket, when the host is a folder.
    pub fn socket(&self) -> Option<PathBuf> {
        self.host.starts_with('/').then(|| PathBuf::from(format!("{}/.s.PGSQL.{}", self.host, self.port)))
    }

    /// `host:port`, for people.
    pub fn address(&self) -> String {
        match self.socket() {
            Some(path) => path.display().to_string(),
            None => host_and_port(&self.host, self.port),
        }
    }

    /// How to get there; `peer` is [`Endpoint::address`].
    pub(super) fn dial<'a>(&'a self, peer: &'a str) -> Dial<'a> {
        Dial { host: &self.host, port: self.port, peer, limit: self.connect_timeout, listening: "listen_addresses" }
    }
}
