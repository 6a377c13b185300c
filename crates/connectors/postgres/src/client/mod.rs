//! Our own connection to PostgreSQL servers.
//!
//! One connection reads into one buffer in large pieces and hands messages out as slices of it, so that a row or a change
//! costs neither an allocation nor a copy; the replication stream hands out the buffers themselves. Messages to the
//! server and the exchanges of its authentication are `postgres-protocol`'s.
//!
//! Protocol facts: <https://www.postgresql.org/docs/current/protocol.html> and
//! <https://www.postgresql.org/docs/current/protocol-replication.html>.

mod auth;
mod channel;
mod connection;
mod copy;
mod endpoint;
mod frame;
mod login;
pub mod quote;
mod refusal;
mod replication;
mod retry;
mod rows;
mod session;
pub mod wire;

pub use connection::Connection;
pub use copy::CopyOut;
pub use dujiang_net::{Tls, TlsMode};
pub use endpoint::Endpoint;
pub use refusal::{may_not_replicate, sqlstate};
pub use replication::{Block, EPOCH_MICROS, Message, Messages, Replication, Status};
pub use retry::worth_another_try;
pub use rows::{Column, Row, Rows};
pub use session::Session;
