//! Our own connection to servers of the MySQL family.
//!
//! One connection reads into one buffer in large pieces and hands packets out as slices of it, so that a row or an event
//! costs neither an allocation nor a copy. It speaks the part of the protocol that change capture needs: text queries
//! for the catalog, prepared statements whose rows stay in their binary form, and the binlog dump.
//!
//! Protocol facts: <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html> and
//! <https://mariadb.com/kb/en/clientserver-protocol/>.

mod auth;
mod binary_rows;
mod binlog;
mod channel;
mod column;
mod connection;
mod endpoint;
mod handshake;
mod packet;
pub mod quote;
mod refusal;
mod server;
mod statement;
mod text;
mod wire;

pub use binary_rows::BinaryRows;
pub(crate) use binlog::stream_ended;
pub use binlog::{BinlogRequest, BinlogStart, BinlogStream};
pub use column::{ColumnDefinition, column_flags};
pub use connection::{Connection, Done};
pub use dujiang_net::{Tls, TlsMode};
pub use endpoint::Endpoint;
pub(crate) use refusal::{AS_OF, oracle_mode};
pub use server::{ServerFamily, ServerInfo};
pub use statement::{Param, Statement};
pub use text::{TextRow, TextRows};

/// A payload larger than this has a buffer of its own, which can be taken instead of copied.
pub const LARGE: usize = packet::KEPT_LARGE;
