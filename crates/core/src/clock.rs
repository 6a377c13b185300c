//! Time, as something handed in.

/// Wall-clock time. Positions and the protocol never depend on it; it names files and measures lag.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01 UTC.
    fn now_micros(&self) -> i64;
}
