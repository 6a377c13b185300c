//! Logging in: passwords, plugins, encryption.

use crate::support::{own, reads_as_written, root, shared, user};
use dujiang_core::Code;
use dujiang_mysql::client::{Connection, Endpoint, ServerFamily, Tls, TlsMode};
use dujiang_scratch::{Family, Kind, Options, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn refused(endpoint: &Endpoint) -> dujiang_core::Error {
    let error = Connection::connect(endpoint).await.err().expect("the login should fail");
    assert!(endpoint.password.reveal().is_empty() || !format!("{error:?}").contains(endpoint.password.reveal()));
    error
}

#[tokio::test]
async fn wrong_passwords_and_unknown_users_are_refused() {
    let server = shared();
    server.sql("CREATE USER IF NOT EXISTS login_app@'%' IDENTIFIED BY 's3cret'").unwrap();
    assert!(Connection::connect(&user(server, "login_app", "s3cret")).await.is_ok());
    for (name, password, said) in
        [("login_app", "wr0ng", "given"), ("login_app", "", "empty"), ("login_nobody", "wr0ng", "given")]
    {
        let error = refused(&user(server, name, password)).await;
        assert_eq!(error.code(), Code::LoginRefused);
        assert!(error.message().contains(&format!("'{name}'@'127.0.0.1'")), "{error:?}");
        assert_eq!(error.facts()[0], ("password", said.to_owned()));
    }
}

#[tokio::test]
async fn a_host_that_may_not_connect_is_told_so() {
    let server = shared();
    server.sql("CREATE USER IF NOT EXISTS login_far@'10.1.2.3' IDENTIFIED BY 's3cret'").unwrap();
    let error = refused(&user(server, "login_far", "s3cret")).await;
    assert_eq!(error.code(), Code::LoginRefused);
}

#[tokio::test]
async fn plugins_we_do_not_have_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut s, _) = listener.accept().await.unwrap();
        s.write_all(&packet(0, &greeting("mysql_native_password"))).await.unwrap();
        read_packet(&mut s).await;
        s.write_all(&packet(2, b"\xfeclient_ed25519\0ABCDEFGHIJKLMNOPQRSTABCDEFGHIJKL")).await.unwrap();
    });
    let error = refused(&Endpoint { port, password: dujiang_core::Secret::new("s3cret"), ..root(shared()) }).await;
    assert_eq!(error.code(), Code::LoginRefused);
    assert!(error.message().contains("client_ed25519") && error.help_text().unwrap().contains("mysql_native_password"));
}

/// Each family's passwords on its own servers: MariaDB's and 5.7's SHA-1, the newest MySQL's SHA-256, for which the password is
/// sealed with the server's key when nothing is encrypted, and remembered afterwards.
#[tokio::test]
async fn every_server_takes_a_password() {
    for kind in Kind::ALL {
        let server = own(&Options::default().on(kind));
        server.sql("CREATE USER app@'127.0.0.1' IDENTIFIED BY 's3cret \u{e9}'").unwrap();
        for tls in [TlsMode::Disabled, TlsMode::Disabled, TlsMode::Preferred] {
            let endpoint = Endpoint { tls: tls.into(), ..user(&server, "app", "s3cret \u{e9}") };
            let connection =
                Connection::connect(&endpoint).await.unwrap_or_else(|e| panic!("{kind:?}, {tls:?}: {e:?}"));
            let family = if kind.family() == Family::MariaDb { ServerFamily::MariaDb } else { ServerFamily::MySql };
            assert_eq!(connection.server().family, family);
        }
        assert_eq!(refused(&user(&server, "app", "wrong")).await.code(), Code::LoginRefused);
    }
}

/// A certificate authority, and a server certificate it signed for `localhost`.
struct Certificates {
    dir: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &ca).unwrap();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
        write("ca.pem", ca.pem());
        write("server.pem", cert.pem());
        write("server.key", key.serialize_pem());
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn server(&self) -> Server {
        let arg = |name: &str, path: &Path| format!("--{name}={}", path.display());
        own(&Options::default()
            .arg(arg("ssl-ca", &self.path("ca.pem")))
            .arg(arg("ssl-cert", &self.path("server.pem")))
            .arg(arg("ssl-key", &self.path("server.key"))))
    }
}

async fn cipher(endpoint: &Endpoint) -> String {
    let mut c = Connection::connect(endpoint).await.unwrap();
    let rows = c.query("SHOW STATUS LIKE 'Ssl_cipher'").await.unwrap();
    let cipher = rows.get(0).unwrap().required(1).unwrap().to_owned();
    assert_eq!(c.server().encrypted, !cipher.is_empty());
    cipher
}

#[tokio::test]
async fn encryption_in_every_mode() {
    let certificates = Certificates::new();
    let server = certificates.server();
    let at = |host: &str, tls, ca: &str| Endpoint {
        host: host.into(),
        tls: Tls { ca_file: (!ca.is_empty()).then(|| certificates.path(ca)), ..Tls::from(tls) },
        ..root(&server)
    };
    // The server listens on the IPv4 loopback address only; `localhost` must still find it.
    assert!(cipher(&at("127.0.0.1", TlsMode::Disabled, "")).await.is_empty());
    for (host, tls, ca) in [
        ("127.0.0.1", TlsMode::Preferred, ""),
        ("127.0.0.1", TlsMode::Required, ""),
        ("127.0.0.1", TlsMode::VerifyCa, "ca.pem"),
        ("localhost", TlsMode::VerifyIdentity, "ca.pem"),
    ] {
        assert!(!cipher(&at(host, tls, ca)).await.is_empty(), "{tls:?}");
    }
    for (host, tls, ca, part) in [
        ("127.0.0.1", TlsMode::VerifyIdentity, "ca.pem", "verify-ca"),
        ("localhost", TlsMode::VerifyIdentity, "", "authority"),
        ("127.0.0.1", TlsMode::VerifyCa, "server.key", "PEM"),
        ("127.0.0.1", TlsMode::VerifyCa, "missing.pem", ""),
    ] {
        let error = refused(&at(host, tls, ca)).await;
        assert_eq!(error.code(), Code::TlsFailed, "{error:?}");
        assert!(error.help_text().unwrap_or_default().contains(part), "{error:?}");
        if part == "verify-ca" {
            reads_as_written(&error, &[]);
        }
    }
}

#[tokio::test]
async fn large_answers_come_whole_over_tls() {
    let server = Certificates::new().server();
    let mut c = Connection::connect(&Endpoint { tls: TlsMode::Required.into(), ..root(&server) }).await.unwrap();
    let rows = c.query("SELECT REPEAT('x', 40000000)").await.unwrap();
    assert_eq!(rows.get(0).unwrap().bytes(0).unwrap().len(), 40_000_000);
}

#[tokio::test]
async fn encryption_a_server_does_not_offer() {
    let plain = shared();
    for tls in [TlsMode::Required, TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
        let error = refused(&Endpoint { tls: tls.into(), ..root(plain) }).await;
        assert_eq!(error.code(), Code::TlsFailed);
    }
    let c = Connection::connect(&Endpoint { tls: TlsMode::Preferred.into(), ..root(plain) }).await.unwrap();
    assert!(!c.server().encrypted);
}

#[tokio::test]
async fn a_server_that_insists_on_encryption() {
    let certificates = Certificates::new();
    let server = certificates.server();
    server.sql("SET GLOBAL require_secure_transport=ON").unwrap();
    let error = refused(&root(&server)).await;
    // MariaDB says no more than that access is denied.
    assert!(matches!(error.code(), Code::TlsFailed | Code::LoginRefused), "{error:?}");
    assert!(error.help_text().unwrap().contains("encryption"), "{error:?}");
    assert!(Connection::connect(&Endpoint { tls: TlsMode::Preferred.into(), ..root(&server) }).await.is_ok());
}

const RSA_KEY: &str = include_str!("rsa_public_key.pem");

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    out.push(number);
    out.extend_from_slice(payload);
    out
}

async fn read_packet(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    stream.read_exact(&mut payload).await.unwrap();
    payload
}

fn greeting(plugin: &str) -> Vec<u8> {
    let mut out =
        b"\x0a8.4.0\0\x01\0\0\0abcdefgh\0\xff\xf7\x2d\x02\0\xff\x80\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0".to_vec();
    out.extend_from_slice(plugin.as_bytes());
    out.push(0);
    out
}

/// MySQL's caching_sha2_password, played by a script: first the fast way, then a switch of plugins and the RSA way.
#[tokio::test]
async fn caching_sha2_sends_the_password_under_the_servers_key() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = tokio::spawn(async move {
        let (mut s, _) = listener.accept().await.unwrap();
        s.write_all(&packet(0, &greeting("caching_sha2_password"))).await.unwrap();
        let login = read_packet(&mut s).await;
        assert!(login.windows(21).any(|w| w == b"caching_sha2_password"));
        s.write_all(&packet(2, b"\xfecaching_sha2_password\0ABCDEFGHIJKLMNOPQRST\0")).await.unwrap();
        assert_eq!(read_packet(&mut s).await.len(), 32);
        s.write_all(&packet(4, b"\x01\x04")).await.unwrap();
        assert_eq!(read_packet(&mut s).await, [2]);
        s.write_all(&packet(6, &[b"\x01", RSA_KEY.as_bytes()].concat())).await.unwrap();
        let sealed = read_packet(&mut s).await;
        s.write_all(&packet(8, b"\xff\x15\x04#28000Access denied for user 'root'@'h' (using password: YES)"))
            .await
            .unwrap();
        sealed
    });
    let endpoint = Endpoint { port, password: dujiang_core::Secret::new("hunter2"), ..root(shared()) };
    assert_eq!(refused(&endpoint).await.code(), Code::LoginRefused);
    let sealed = script.await.unwrap();
    assert_eq!(sealed.len(), 256);
}

/// Answers every command with OK until the client goes.
async fn obey(stream: &mut tokio::net::TcpStream) {
    while stream.peek(&mut [0]).await.unwrap() > 0 {
        read_packet(stream).await;
        stream.write_all(&packet(1, b"\0\0\0\x02\0\0\0")).await.unwrap();
    }
}

#[tokio::test]
async fn caching_sha2_is_quick_when_the_server_remembers_the_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = tokio::spawn(async move {
        let (mut s, _) = listener.accept().await.unwrap();
        s.write_all(&packet(0, &greeting("caching_sha2_password"))).await.unwrap();
        read_packet(&mut s).await;
        s.write_all(&packet(2, b"\x01\x03")).await.unwrap();
        s.write_all(&packet(3, b"\0\0\0\x02\0\0\0")).await.unwrap();
        obey(&mut s).await;
    });
    let endpoint = Endpoint { port, password: dujiang_core::Secret::new("hunter2"), ..root(shared()) };
    let c = Connection::connect(&endpoint).await.unwrap();
    assert_eq!((c.server().family, c.server().version.as_str()), (ServerFamily::MySql, "8.4.0"));
    drop(c);
    script.await.unwrap();
}

#[tokio::test]
async fn preferred_encryption_that_fails_falls_back_and_required_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut greeting = greeting("mysql_native_password");
        let capabilities = greeting.windows(2).position(|w| w == b"\xff\xf7").unwrap();
        greeting[capabilities + 1] |= 0x08;
        loop {
            let (mut s, _) = listener.accept().await.unwrap();
            s.write_all(&packet(0, &greeting)).await.unwrap();
            let login = read_packet(&mut s).await;
            if login.len() > 32 {
                s.write_all(&packet(2, b"\0\0\0\x02\0\0\0")).await.unwrap();
                obey(&mut s).await;
            }
        }
    });
    let at = |tls: TlsMode| Endpoint { port, tls: tls.into(), ..root(shared()) };
    assert!(!Connection::connect(&at(TlsMode::Preferred)).await.unwrap().server().encrypted);
    assert_eq!(refused(&at(TlsMode::Required)).await.code(), Code::TlsFailed);
}

#[tokio::test]
async fn a_server_that_asks_for_the_password_in_clear_text_gets_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = tokio::spawn(async move {
        let (mut s, _) = listener.accept().await.unwrap();
        s.write_all(&packet(0, &greeting("mysql_clear_password"))).await.unwrap();
        let mut all = read_packet(&mut s).await;
        s.write_all(&packet(2, b"\xfemysql_clear_password\0")).await.unwrap();
        s.read_to_end(&mut all).await.unwrap();
        all
    });
    let endpoint = Endpoint { port, password: dujiang_core::Secret::new("hunter2"), ..root(shared()) };
    assert_eq!(refused(&endpoint).await.code(), Code::TlsFailed);
    assert!(!script.await.unwrap().windows(7).any(|w| w == b"hunter2"));
}
