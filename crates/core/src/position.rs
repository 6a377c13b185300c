//! Where a source has been read up to, and the counters of the epoch protocol.

use bytes::Bytes;
use std::fmt;

/// A place in a source, as opaque bytes that only the source itself can read.
///
/// The engine stores a position and hands it back; it never compares two of them, because the positions of one source
/// may be only partially ordered (GTID sets). A position is either a transaction boundary or carries the transaction and
/// how many rows of it, per table, have been handed out (INV-4).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Position(Bytes);

impl Position {
    /// Wraps the bytes a source wrote for itself.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes as the source wrote them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({})", String::from_utf8_lossy(&self.0))
    }
}

/// Number of an epoch, the unit of exactly-once: everything between two barriers. The first epoch of a pipeline is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The state before the first epoch.
    pub const NONE: Epoch = Epoch(0);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
