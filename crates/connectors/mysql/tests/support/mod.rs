//! Servers and connections for all test modules.

pub mod stopped;
pub mod walk;

use dujiang_core::{Error, Secret};
use dujiang_mysql::client::{Connection, Endpoint, TlsMode};
use dujiang_scratch::{Options, Server};
use std::sync::LazyLock;

static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(&Options::default()).unwrap());

/// One server for all tests that do not change its settings; keep to databases of your own.
pub fn shared() -> &'static Server {
    &SHARED
}

/// A server of the test's own.
pub fn own(options: &Options) -> Server {
    Server::start(options).unwrap()
}

/// Demands that an error reads as it is written down in `tests/snapshots`.
#[track_caller]
pub fn reads_as_written(error: &Error, hide: &[(&str, &str)]) {
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, hide);
}

/// User `root` without a password and without encryption.
pub fn root(server: &Server) -> Endpoint {
    Endpoint { tls: TlsMode::Disabled.into(), ..Endpoint::new("127.0.0.1", server.port(), "root", Secret::default()) }
}

/// A user of the server.
pub fn user(server: &Server, name: &str, password: &str) -> Endpoint {
    Endpoint { user: name.into(), password: Secret::new(password), ..root(server) }
}

/// A session as `root`.
pub async fn connect(server: &Server) -> Connection {
    Connection::connect(&root(server)).await.unwrap()
}

/// A table expression with the column `seq`, from 1 to `count` (10 000 at most), for servers without sequences.
pub fn numbers(count: u32) -> String {
    let digit = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 \
                 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let sum = "a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 1";
    format!(
        "(SELECT {sum} AS seq FROM {digit} a, {digit} b, {digit} c, {digit} e WHERE {sum} <= {count} ORDER BY 1) numbers"
    )
}
