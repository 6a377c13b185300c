//! How long things take, for people who are told of a log that is kept for some time.

use std::time::Duration;

/// A careful guess of what a snapshot reads per second, so that the estimate rather errs on the long side.
const ROWS_PER_SECOND: u64 = 50_000;
const BYTES_PER_SECOND: u64 = 20_000_000;

/// Seconds of a day.
pub const DAY: u64 = 24 * 60 * 60;

/// How long a snapshot of so much may take.
pub fn snapshot_time(rows: u64, bytes: u64) -> Duration {
    Duration::from_secs((rows / ROWS_PER_SECOND).max(bytes / BYTES_PER_SECOND))
}

/// So many seconds, as a person would say it.
pub fn in_words(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..=1 => return "a second".into(),
        2..120 => (seconds, "seconds"),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        _ => (seconds / DAY, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_and_times_are_told_in_words() {
        assert_eq!(snapshot_time(3_000_000, 100 << 20), Duration::from_secs(60));
        assert_eq!(snapshot_time(10, 40_000_000_000), Duration::from_secs(2000));
        let words: Vec<_> = [0, 90, 3600, 86_400, 604_800].map(in_words).into();
        assert_eq!(words, ["a second", "90 seconds", "60 minutes", "24 hours", "7 days"]);
    }
}
