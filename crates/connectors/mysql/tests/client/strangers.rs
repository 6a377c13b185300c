//! What answers on the port is no MySQL server, or nothing does.

use dujiang_core::{Code, Error, Secret};
use dujiang_mysql::client::{Connection, Endpoint};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint::new(host, port, "app", Secret::new("hunter2"))
}

/// For servers that never say enough.
const IMPATIENT: Duration = Duration::from_millis(300);
const PATIENT: Duration = Duration::from_secs(60);

/// Connects to a server that does with a client what the function says.
async fn error_of<F, R>(connect_timeout: Duration, serve: F) -> Error
where
    F: FnOnce(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
    let endpoint = Endpoint { connect_timeout, ..endpoint("127.0.0.1", port) };
    let error = Connection::connect(&endpoint).await.err().unwrap();
    assert!(error.message().contains(&format!("127.0.0.1:{port}")), "{error:?}");
    assert!(error.help_text().is_some() && !format!("{error:?}").contains("hunter2"));
    error
}

/// Sends some bytes at once and then waits for the client to go.
async fn error_after(connect_timeout: Duration, bytes: &'static [u8]) -> Error {
    error_of(connect_timeout, move |mut s| async move {
        s.write_all(bytes).await.unwrap();
        let _ = s.read_to_end(&mut Vec::new()).await;
    })
    .await
}

#[tokio::test]
async fn nothing_listens() {
    let port = dujiang_scratch::free_port();
    let error = Connection::connect(&endpoint("127.0.0.1", port)).await.err().unwrap();
    assert_eq!(error.code(), Code::SourceUnreachable);
    assert!(error.message().contains(&port.to_string()) && error.help_text().unwrap().contains("port"), "{error:?}");
}

#[tokio::test]
async fn a_host_that_does_not_resolve() {
    let error = Connection::connect(&endpoint("no-such-host.invalid", 3306)).await.err().unwrap();
    assert_eq!(error.code(), Code::SourceUnreachable);
    assert!(error.message().contains("no-such-host.invalid"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_waits_for_the_client_as_postgres_and_http_do() {
    let error = error_after(IMPATIENT, b"").await;
    assert_eq!(error.code(), Code::NotADatabase);
    assert!(error.message().contains("sends no greeting"), "{error:?}");
}

#[tokio::test]
async fn servers_that_greet_in_another_protocol() {
    for greeting in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"\x05\0\0\0\x0b\x08\x05\x1a\x00",
        b"\x01\0\0\0\x0a",
        b"\0\0\0\0",
        b"\x03\0\0\0abc",
    ] {
        let error = error_after(PATIENT, greeting).await;
        assert_eq!(error.code(), Code::NotADatabase, "{:?}: {error:?}", greeting.escape_ascii().to_string());
    }
    // A greeting that is never completed.
    for greeting in [&b"E\0\0\0\x8fSFATAL\0VFATAL\0C0A000\0Munsupported\0\0"[..], b"\x10\0\0\0\x0a8.0"] {
        let error = error_after(IMPATIENT, greeting).await;
        assert_eq!(error.code(), Code::NotADatabase, "{error:?}");
    }
    let error = error_after(PATIENT, b"\x05\0\0\0\x0b\x08\x05\x1a\x00").await;
    assert!(error.help_text().unwrap().contains("X Protocol"));
}

#[tokio::test]
async fn servers_that_close_at_once() {
    let error = error_of(PATIENT, |s| async move { drop(s) }).await;
    assert_eq!(error.code(), Code::NotADatabase);
    let error = error_of(PATIENT, |mut s| async move { s.write_all(b"HTTP/1.0 503\r\n\r\n").await.unwrap() }).await;
    assert_eq!(error.code(), Code::NotADatabase);
}

#[tokio::test]
async fn a_server_without_free_connections_says_so_instead_of_greeting() {
    let error = error_after(PATIENT, b"\x17\0\0\0\xff\x10\x04Too many connections").await;
    assert_eq!(error.code(), Code::SourceUnreachable);
    assert!(error.facts()[0].1.contains("Too many connections"), "{error:?}");
    let error = error_after(PATIENT, b"\x21\0\0\0\xff\x6a\x04Host 'h' is not allowed to conn").await;
    assert_eq!(error.code(), Code::LoginRefused);
}
