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

/// This moment as RFC 3339, UTC.
pub fn now_text() -> String {
    let mut text = Vec::new();
    dujiang_core::text::write_instant(SystemClock.now_micros(), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
