//! The wall clock.

use dujiang_core::clock::Clock;
use std::time::SystemTime;

/// The system's clock: the one place that reads it.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
    }
}
