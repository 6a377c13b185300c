//! Encryption, with certificates made here.

use super::harness::*;
use dujiang_core::{Code, Error};
use dujiang_postgres::client::{Connection, Endpoint, Session, TlsMode};
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::PathBuf;

/// An authority, and who shows its certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    /// Its own name tells it from others.
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Certificate and key, for a host or for a user.
    fn signed(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Files of a user's certificate and key.
    fn user(&self, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = self.signed(name);
        let write = |end: &str, text: String| {
            let path = self.dir.path().join(format!("{name}.{end}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        (write("pem", cert), write("key", key))
    }

    /// A server that shows a certificate for `localhost`.
    fn server(&self, kind: PostgresKind) -> Postgres {
        let server = Postgres::start_with(&PostgresOptions::default().on(kind)).unwrap();
        let (cert, key) = self.signed("localhost");
        server.file("server.crt", &cert).unwrap();
        server.file("server.key", &key).unwrap();
        server.file("ca.crt", &self.issuer.pem()).unwrap();
        server.sql("ALTER SYSTEM SET ssl = 'on'").unwrap();
        server.sql("ALTER SYSTEM SET ssl_ca_file = 'ca.crt'").unwrap();
        server.reload().unwrap();
        server
    }
}

async fn encrypted(endpoint: &Endpoint) -> Result<bool, Error> {
    for session in [Session::Replication, Session::Ordinary] {
        let mut connection = Connection::connect(endpoint, session).await?;
        let sql = format!("SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = {}", connection.process());
        let seen = connection.simple(&sql).await?.first().unwrap().flag(0)?;
        assert_eq!(seen, connection.is_encrypted());
        if session == Session::Ordinary {
            return Ok(seen);
        }
    }
    unreachable!()
}

#[tokio::test]
async fn connections_are_encrypted_and_servers_checked_as_asked() {
    let (authority, stranger) = (Authority::new("an authority"), Authority::new("a stranger"));
    for kind in PostgresKind::ALL {
        let server = authority.server(kind);
        let at = |host: &str, tls| {
            let mut endpoint = Endpoint::new(host, server.port(), "postgres", "postgres");
            (endpoint.tls.mode, endpoint.tls.ca_file) = (tls, Some(authority.ca()));
            endpoint
        };
        for (tls, expected) in [
            (TlsMode::Disabled, false),
            (TlsMode::Preferred, true),
            (TlsMode::Required, true),
            (TlsMode::VerifyCa, true),
            (TlsMode::VerifyIdentity, true),
        ] {
            assert_eq!(encrypted(&at("localhost", tls)).await.unwrap(), expected, "{kind:?} {tls:?}");
        }
        // Its certificate names another host.
        assert!(encrypted(&at("127.0.0.1", TlsMode::VerifyCa)).await.unwrap());
        let error = encrypted(&at("127.0.0.1", TlsMode::VerifyIdentity)).await.unwrap_err();
        assert_eq!(error.code(), Code::TlsFailed);
        assert!(error.help_text().unwrap().contains("verify-ca"), "{error:?}");
        // Signed by somebody else.
        for tls in [TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
            let mut endpoint = at("localhost", tls);
            endpoint.tls.ca_file = Some(stranger.ca());
            let error = encrypted(&endpoint).await.unwrap_err();
            assert_eq!(error.code(), Code::TlsFailed);
            assert!(error.help_text().unwrap().contains("authority"), "{error:?}");
        }
        client_certificates(&authority, &server).await;
        rows_come_encrypted(&authority, &server).await;
    }
    let plain = own();
    let mut endpoint = Endpoint::new("localhost", plain.port(), "postgres", "postgres");
    assert!(!encrypted(&endpoint).await.unwrap());
    endpoint.tls.mode = TlsMode::Required;
    let error = encrypted(&endpoint).await.unwrap_err();
    assert_eq!(error.code(), Code::TlsFailed);
    assert!(error.help_text().unwrap().contains("ssl = on"), "{error:?}");
}

/// The server asks users for a certificate of their name.
async fn client_certificates(authority: &Authority, server: &Postgres) {
    server.sql("CREATE ROLE keyed LOGIN REPLICATION").unwrap();
    server.let_in(&["hostssl all keyed all cert", "hostssl all postgres all trust"]).unwrap();
    let mut endpoint = Endpoint::new("localhost", server.port(), "postgres", "keyed");
    endpoint.tls.mode = TlsMode::Required;
    assert_eq!(encrypted(&endpoint).await.unwrap_err().code(), Code::LoginRefused);
    for (name, let_in) in [("keyed", true), ("somebody", false)] {
        let (cert, key) = authority.user(name);
        (endpoint.tls.cert_file, endpoint.tls.key_file) = (Some(cert), Some(key));
        let outcome = encrypted(&endpoint).await.map_err(|error| error.code());
        assert_eq!(outcome, if let_in { Ok(true) } else { Err(Code::LoginRefused) }, "{name}");
    }
    // Who comes unencrypted is told what the server lets in.
    endpoint.tls.mode = TlsMode::Disabled;
    let error = encrypted(&endpoint).await.unwrap_err();
    assert!(error.help_text().unwrap().contains("tls.mode: required"), "{error:?}");
}

/// Snapshot and stream through encrypted connections.
async fn rows_come_encrypted(authority: &Authority, server: &Postgres) {
    server
        .sql("CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 3000) n")
        .unwrap();
    let ca = authority.ca().display().to_string();
    let options = [("hostname", "localhost"), ("tls.mode", "verify-identity"), ("tls.ca", &*ca)];
    let mut pipeline = Pipeline::new(source(server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    server.sql("UPDATE t SET v = repeat('y', 100) WHERE id % 2 = 0").unwrap();
    pipeline.until_now(server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(server, "t", 1));
}
