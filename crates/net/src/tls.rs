//! Encryption with rustls; the cryptography is given explicitly, so that no process-wide default is needed.

use dujiang_core::{Code, Error, Result, ResultExt};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

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

/// What is encrypted, whom to trust and what to show.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// How far.
    pub mode: TlsMode,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client's certificate chain, for servers that ask for one.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the key of the client's certificate; without one it stands in `cert_file`.
    pub key_file: Option<PathBuf>,
}

impl From<TlsMode> for Tls {
    fn from(mode: TlsMode) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// Encrypts a connection whose server has agreed to it.
pub(crate) async fn encrypt(stream: TcpStream, host: &str, peer: &str, tls: &Tls) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.or_code(Code::TlsFailed, || format!("`{host}` is not a name that TLS can verify"))?;
    let connector = TlsConnector::from(Arc::new(config(tls)?));
    connector.connect(name, stream).await.map_err(|e| handshake_failed(peer, e))
}

fn config(tls: &Tls) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match tls.mode {
        TlsMode::VerifyIdentity => trusted(tls, &provider)?,
        TlsMode::VerifyCa => Arc::new(AnyName(trusted(tls, &provider)?)),
        TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => Arc::new(Unchecked(provider.clone())),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .or_code(Code::Bug, || "TLS has no protocol version".into())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(cert_file) = &tls.cert_file else { return Ok(builder.with_no_client_auth()) };
    let key_file = tls.key_file.as_ref().unwrap_or(cert_file);
    let key = PrivateKeyDer::from_pem_file(key_file);
    let key = key.or_code(Code::TlsFailed, || format!("no private key can be read from {}", key_file.display()))?;
    builder
        .with_client_auth_cert(certificates(cert_file)?, key)
        .or_code(Code::TlsFailed, || format!("the client certificate in {} cannot be used", cert_file.display()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let found = read.or_code(Code::TlsFailed, || format!("no certificate can be read from {}", file.display()))?;
    if found.is_empty() {
        return Err(Error::new(Code::TlsFailed, format!("there is no certificate in {}", file.display()))
            .help("give a file in PEM format"));
    }
    Ok(found)
}

fn trusted(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        Some(file) => {
            for certificate in certificates(file)? {
                let added = roots.add(certificate);
                added.or_code(Code::TlsFailed, || format!("a certificate in {} cannot be used", file.display()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Error::new(Code::TlsFailed, "this system has no trusted certificate authorities")
            .help("name a PEM file with the authority that signed the server's certificate"));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .or_code(Code::TlsFailed, || "the trusted certificate authorities cannot be used".into())
}

fn handshake_failed(peer: &str, cause: std::io::Error) -> Error {
    let tls = cause.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let help = match tls {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "connect by the name in the server's certificate, or verify the authority only (`verify-ca`)",
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "name the PEM file of the authority that signed the server's certificate"
        }
        Some(rustls::Error::InvalidCertificate(_)) => "replace the server's certificate",
        _ => "see whether the server's TLS settings allow TLS 1.2 or 1.3",
    };
    Error::new(Code::TlsFailed, format!("the connection to {peer} cannot be encrypted")).help(help).with_source(cause)
}

/// Accepts whatever the server shows. Nothing is verified, signatures included: who can put a certificate of his own in
/// the middle can sign with it as well, and old servers' self-made certificates cannot even be parsed.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies everything but the name, which is what `verify-ca` means.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The chain is verified before the name, so this error says that the chain is good.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
