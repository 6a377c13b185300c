//! The time, for whoever only looks.

use dujiang_core::clock::Clock;

/// Requests carry the time, and whoever only looks is handed no clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        // tidy: allow(clock): requests carry the time, and who only looks is handed no clock.
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
    }
}
