//! The way to a server: resolve and connect, encrypt, read and write bytes.
//!
//! What every client of a database server does alike before its own protocol begins. Whoever speaks first, how a login
//! goes and what the bytes mean is the client's.

mod dial;
mod tls;
mod transport;

pub use dial::{Dial, Stage, host_and_port};
pub use tls::{Tls, TlsMode};
pub use transport::{Transport, lost};
