//! Where and how to connect.

use dujiang_core::Secret;
use std::path::PathBuf;
use std::time::Duration;

dujiang_core::choice! {
    /// How far a connection is encrypted and its server checked; the words are the same for every connector.
    #[derive(Default)]
    pub enum TlsMode {
        /// Never encrypted.
        Disabled = "disabled",
        /// Encrypted if the server can; the certificate is not checked. Falls back to plain TCP.
        #[default]
        Preferred = "preferred",
        /// Encrypted or not at all; the certificate is not checked.
        Required = "required",
        /// Encrypted, and the certificate must be signed by a trusted authority.
        VerifyCa = "verify-ca",
        /// Encrypted, and the certificate must be signed by a trusted authority for this host name.
        VerifyIdentity = "verify-identity",
    }
}

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
    pub tls: TlsMode,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client's certificate chain.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with the key of the client's certificate.
    pub client_key_file: Option<PathBuf>,
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
            tls: TlsMode::default(),
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
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
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}
