use super::harness::own;
use dujiang_core::{Code, Secret};
use dujiang_postgres::client::{Connection, Endpoint, Session};

/// Every way of logging in that servers ask for, with the right password and with a wrong one; over TCP and over a socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_proven_in_every_way() {
    let server = own();
    server
        .sql(
            "CREATE ROLE scram LOGIN PASSWORD 'pä\"ss'; CREATE ROLE clear LOGIN PASSWORD 'pä\"ss'; \
             SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'pä\"ss'",
        )
        .unwrap();
    let rules = "local all all trust\nhost all scram 127.0.0.1/32 scram-sha-256\nhost all hashed 127.0.0.1/32 md5\n\
                 host all clear 127.0.0.1/32 password\n";
    let file = server.sql("SHOW hba_file").unwrap();
    std::fs::write(file.trim(), rules).unwrap();
    server.sql("SELECT pg_reload_conf()").unwrap();
    while server.sql("SELECT count(*) FROM pg_hba_file_rules").unwrap().trim() != "4" {}
    for user in ["scram", "hashed", "clear"] {
        let mut endpoint = Endpoint::new("127.0.0.1", server.port(), "postgres", user);
        endpoint.password = Secret::new("pä\"ss");
        let mut connection = Connection::connect(&endpoint, Session::Ordinary).await.unwrap();
        let rows = connection.query("SELECT current_user::text, $1::int4 + 1", &[Some("41")]).await.unwrap();
        let row = rows.first().unwrap();
        assert_eq!((row.text(0).unwrap(), row.bytes(1)), (user, Some(&42i32.to_be_bytes()[..])));
        let error = connection.execute("SELECT 1 / 0").await.unwrap_err();
        assert_eq!((error.code(), dujiang_postgres::client::sqlstate(&error)), (Code::SourceQuery, Some("22012")));
        connection.execute("SELECT 1").await.unwrap();
        endpoint.password = Secret::new("wrong");
        let error = Connection::connect(&endpoint, Session::Ordinary).await.map(drop).unwrap_err();
        assert_eq!(error.code(), Code::LoginRefused);
        assert!(!format!("{error:?}").contains("wrong"));
    }
    let socket = Endpoint::new(server.socket_dir().display().to_string(), server.port(), "postgres", "scram");
    Connection::connect(&socket, Session::Ordinary).await.unwrap().close().await;
}

/// What answers on the port may be no PostgreSQL server at all.
#[tokio::test]
async fn strangers_are_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = ["HTTP/1.1 400 Bad Request\r\n\r\n", "", "S\0\0\0"];
    tokio::spawn(async move {
        for answer in answers {
            let (mut peer, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut peer, answer.as_bytes()).await;
        }
    });
    for _ in answers {
        let endpoint = Endpoint::new("127.0.0.1", port, "d", "u");
        let error = Connection::connect(&endpoint, Session::Ordinary).await.map(drop).unwrap_err();
        assert!(matches!(error.code(), Code::NotADatabase | Code::SourceUnreachable | Code::TlsFailed), "{error:?}");
        assert!(error.help_text().is_some());
    }
}
