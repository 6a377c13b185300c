//! Where and how to connect.

use dujiang_core::Secret;
use std::path::PathBuf;
use std::time::Duration;

dujiang_core::choice! {
    /// How far a connection is encrypted and its server checked; the words are those of MySQL's `--ssl-mode`.
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
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User name.
    pub user: String,
    /// Password; empty for none.
    pub password: Secret,
    /// Encryption.
    pub tls: TlsMode,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client's certificate chain, for users created with `REQUIRE X509`.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with the key of the client's certificate.
    pub client_key_file: Option<PathBuf>,
    /// Longest time from the first packet to a finished login.
    pub connect_timeout: Duration,
    /// Longest silence of the server while an answer is awaited; `None` waits for ever (TCP keep-alive still finds a
    /// dead peer within two minutes).
    pub read_timeout: Option<Duration>,
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
            tls: TlsMode::default(),
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            connect_timeout: Duration::from_secs(30),
            read_timeout: None,
            program_name: "dujiang".into(),
        }
    }

    /// `host:port`, for people.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}
