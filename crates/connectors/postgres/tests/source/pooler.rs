//! What a connection pooler does, by stand-ins: it refuses replication, or lends a session of somebody else.

use super::harness::*;
use dujiang_core::Code;
use dujiang_postgres::client::{Connection, Endpoint, Session, TlsMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An answer of the server: type, length, body.
async fn message(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
    let mut message = head.to_vec();
    message.resize(1 + length, 0);
    stream.read_exact(&mut message[5..]).await.unwrap();
    message
}

/// Asks for encryption.
const SSL_REQUEST: &[u8] = &80_877_103u32.to_be_bytes();

/// What a client begins with; there is no encryption here.
pub async fn startup(client: &mut TcpStream) -> Vec<u8> {
    loop {
        let length = client.read_u32().await.unwrap();
        let mut packet = length.to_be_bytes().to_vec();
        packet.resize(length as usize, 0);
        client.read_exact(&mut packet[4..]).await.unwrap();
        if &packet[4..] != SSL_REQUEST {
            return packet;
        }
        client.write_u8(b'N').await.unwrap();
    }
}

/// Whether the session is one for replication.
pub fn replicates(startup: &[u8]) -> bool {
    startup.windows(12).any(|bytes| bytes == b"replication\0")
}

fn endpoint(port: u16) -> Endpoint {
    let mut endpoint = Endpoint::new("127.0.0.1", port, "postgres", "postgres");
    endpoint.tls.mode = TlsMode::Disabled;
    endpoint
}

/// As PgBouncer answers in a mode of transactions: the key is its own, the session is whichever is free.
#[tokio::test]
async fn a_pooler_that_lends_sessions_is_noticed() {
    let server = own();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), server.port());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
        server.write_all(&startup(&mut client).await).await.unwrap();
        loop {
            let mut message = message(&mut server).await;
            if message[0] == b'K' {
                message[5..9].copy_from_slice(&7i32.to_be_bytes());
            }
            client.write_all(&message).await.unwrap();
            if message[0] == b'Z' {
                break;
            }
        }
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    let error = Connection::connect(&endpoint(port), Session::Ordinary).await.map(drop).unwrap_err();
    assert_eq!(error.code(), Code::Pooler);
    assert!(error.help_text().unwrap().contains("connect to the server itself"), "{error:?}");
}

/// As PgBouncer before 1.23 answers a replication.
#[tokio::test]
async fn a_pooler_that_does_not_know_replication_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let asked = String::from_utf8_lossy(&startup(&mut client).await).into_owned();
        assert!(asked.contains("replication\0database\0"), "{asked:?}");
        let body = b"SFATAL\0C08P01\0Munsupported startup parameter: replication\0\0";
        client.write_u8(b'E').await.unwrap();
        client.write_u32(4 + body.len() as u32).await.unwrap();
        client.write_all(body).await.unwrap();
    });
    let error = Connection::connect(&endpoint(port), Session::Replication).await.map(drop).unwrap_err();
    assert_eq!(error.code(), Code::Pooler);
    assert!(error.facts().iter().any(|(_, text)| text.contains("unsupported startup parameter")), "{error:?}");
}
