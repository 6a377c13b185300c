//! The binlog as a stream of raw events.

use super::{Connection, ServerInfo};
use dujiang_core::{Code, Error, Result};
use std::time::Duration;

/// Where a dump begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BinlogStart {
    /// A place in a file of this server; the first event begins exactly there. An empty file name is the server's first.
    FilePosition {
        /// `bin.000003`.
        file: String,
        /// Byte offset of an event; 4 is the first.
        position: u64,
    },
    /// After every transaction of a MySQL GTID set, given in its binary encoding (`Gtid_set::encode`).
    MySqlGtidSet(Vec<u8>),
    /// After these MariaDB GTIDs, one per domain: `0-1-42,1-7-3`; empty is the beginning.
    MariaDbGtids(String),
}

/// What to ask of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinlogRequest {
    /// Our id among the server's replicas; unique, not 0.
    pub server_id: u32,
    /// Where to begin.
    pub start: BinlogStart,
    /// The server sends a heartbeat event after this much silence.
    pub heartbeat: Duration,
    /// A UUID that tells our sessions from those of other replicas with the same `server_id` (MySQL).
    pub replica_uuid: Option<String>,
    /// Whether to wait for new events at the end of the log; otherwise the stream ends there.
    pub wait_at_end: bool,
}

/// Raw events in the server's order.
pub struct BinlogStream {
    connection: Connection,
}

impl BinlogStream {
    /// The server's greeting.
    pub fn server(&self) -> &ServerInfo {
        self.connection.server()
    }

    /// The next event: 19-byte header, body and, if the server uses them, its 4-byte checksum, which is **not** verified
    /// here. Events larger than one packet are joined. `None` only at the end of a dump that does not wait.
    /// **Cancel-safe.** The slice is valid until the next call.
    ///
    /// # Errors
    /// `PositionLost`, `OtherServer`, `LogDamaged`, `ServerIdTaken`, `ConnectionLost`, `Protocol`.
    pub async fn next_event(&mut self) -> Result<Option<&[u8]>> {
        Err(Error::new(Code::Bug, "not written yet"))
    }

    /// The next event if it is already in the buffer: `Ok(None)` says to call [`BinlogStream::next_event`].
    ///
    /// # Errors
    /// As [`BinlogStream::next_event`].
    pub fn try_next_buffered(&mut self) -> Result<Option<&[u8]>> {
        Err(Error::new(Code::Bug, "not written yet"))
    }
}
