//! Time, as something handed in.

/// Wall-clock time. Positions and the protocol never depend on it; it names files and measures lag.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01 UTC.
    fn now_micros(&self) -> i64;
}

/// A clock that stands still at a moment: for whoever plays one, and for tests. Microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy)]
pub struct Standing(pub i64);

impl Clock for Standing {
    fn now_micros(&self) -> i64 {
        self.0
    }
}
