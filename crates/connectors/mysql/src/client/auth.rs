//! Proving who we are, without ever sending a password readable on an open line.

use super::Endpoint;
use dujiang_core::{Code, Error, Result, ResultExt};
use mysql_common::auth::plugins::caching_sha2_password::scramble_sha256;
use mysql_common::auth::plugins::mysql_native_password::scramble_native;

/// Length of the server's nonce.
pub(super) const NONCE: usize = 20;

/// An authentication plugin, with the part of the exchange that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugin {
    Native,
    CachingSha2,
    Sha256,
    Clear,
}

impl Plugin {
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"mysql_native_password" => Some(Self::Native),
            b"caching_sha2_password" => Some(Self::CachingSha2),
            b"sha256_password" => Some(Self::Sha256),
            b"mysql_clear_password" => Some(Self::Clear),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Sha256 => "sha256_password",
            Self::Clear => "mysql_clear_password",
        }
    }
}

/// The client's side of one exchange.
pub(super) struct Exchange<'a> {
    pub endpoint: &'a Endpoint,
    pub encrypted: bool,
    pub plugin: Plugin,
    pub nonce: [u8; NONCE],
}

impl Exchange<'_> {
    fn password(&self) -> &[u8] {
        self.endpoint.password.reveal().as_bytes()
    }

    fn terminated(&self) -> Vec<u8> {
        let mut out = self.password().to_vec();
        out.push(0);
        out
    }

    /// The first answer of the plugin.
    pub fn first(&self) -> Result<Vec<u8>> {
        let scramble = match self.plugin {
            Plugin::Native => scramble_native(&self.nonce, self.password()).map(|s| s.to_vec()),
            Plugin::CachingSha2 => scramble_sha256(&self.nonce, self.password()).map(|s| s.to_vec()),
            Plugin::Sha256 if self.password().is_empty() || self.encrypted => Some(self.terminated()),
            Plugin::Sha256 => Some(vec![1]),
            Plugin::Clear if self.encrypted => Some(self.terminated()),
            Plugin::Clear => return Err(self.would_be_readable()),
        };
        Ok(scramble.unwrap_or_default())
    }

    /// The answer to more data from the server; `None` when nothing is to be sent.
    pub fn more(&self, data: &[u8]) -> Result<Option<Vec<u8>>> {
        match (self.plugin, data) {
            // The server knows the password's hash already.
            (Plugin::CachingSha2, [3]) => Ok(None),
            (Plugin::CachingSha2, [4]) if self.encrypted => Ok(Some(self.terminated())),
            (Plugin::CachingSha2, [4]) => Ok(Some(vec![2])),
            (Plugin::CachingSha2 | Plugin::Sha256, key) if key.starts_with(b"-----BEGIN") => {
                self.under_key(key).map(Some)
            }
            _ => Err(Error::new(
                Code::Protocol,
                format!("{} continued the login in an unknown way", self.endpoint.address()),
            )
            .fact("plugin", self.plugin.name())
            .fact("found", format!("{} bytes beginning with {:02x?}", data.len(), &data[..data.len().min(4)]))),
        }
    }

    /// The password, hidden by the nonce, under the server's RSA key.
    fn under_key(&self, key: &[u8]) -> Result<Vec<u8>> {
        let mut hidden = self.terminated();
        hidden.iter_mut().zip(self.nonce.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let encrypted = mysql_common::crypto::encrypt(&hidden, key);
        encrypted.or_code(Code::LoginRefused, || format!("the RSA key of {} cannot be used", self.endpoint.address()))
    }

    fn would_be_readable(&self) -> Error {
        let message = format!("{} asks for the password in clear text over an open line", self.endpoint.address());
        Error::new(Code::TlsFailed, message)
            .help("encrypt the connection (`verify-identity`), or give the user another plugin")
    }

    /// The server asks for a plugin we do not have.
    pub fn unknown_plugin(endpoint: &Endpoint, name: &[u8]) -> Error {
        let name = String::from_utf8_lossy(name);
        let message =
            format!("{} wants `{}` to log in by `{name}`, which is not supported", endpoint.address(), endpoint.user);
        Error::new(Code::LoginRefused, message)
            .fact("supported", "mysql_native_password, caching_sha2_password, sha256_password, mysql_clear_password over TLS")
            .help("use a user with a supported plugin, e.g. on MariaDB ALTER USER ... IDENTIFIED VIA mysql_native_password \
                   USING PASSWORD('...'), on MySQL ALTER USER ... IDENTIFIED WITH caching_sha2_password BY '...'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_core::Secret;

    fn exchange(endpoint: &Endpoint, plugin: Plugin, encrypted: bool) -> Exchange<'_> {
        Exchange { endpoint, encrypted, plugin, nonce: *b"01234567890123456789" }
    }

    #[test]
    fn no_password_is_sent_readable_over_an_open_line() {
        let endpoint = Endpoint::new("db", 1, "u", Secret::new("hunter2"));
        for plugin in [Plugin::Native, Plugin::CachingSha2, Plugin::Sha256] {
            let sent = exchange(&endpoint, plugin, false).first().unwrap();
            assert!(!sent.windows(7).any(|w| w == b"hunter2"));
        }
        assert_eq!(exchange(&endpoint, Plugin::Clear, false).first().unwrap_err().code(), Code::TlsFailed);
        assert_eq!(exchange(&endpoint, Plugin::CachingSha2, false).more(&[4]).unwrap(), Some(vec![2]));
    }

    #[test]
    fn the_full_exchange_sends_the_password_over_tls_only() {
        let endpoint = Endpoint::new("db", 1, "u", Secret::new("hunter2"));
        assert_eq!(exchange(&endpoint, Plugin::CachingSha2, true).more(&[4]).unwrap().unwrap(), b"hunter2\0");
        assert_eq!(exchange(&endpoint, Plugin::CachingSha2, true).more(&[3]).unwrap(), None);
        assert_eq!(exchange(&endpoint, Plugin::Native, true).more(&[4]).unwrap_err().code(), Code::Protocol);
    }
}
