//! When rows of a statement are left to gather. Pure.
//!
//! The server sends a copy in pieces of 8 KB, and over a fast network, on one machine above all, each of them wakes the one who
//! reads, which takes longer than to decode it. What is left alone for a moment comes in large pieces.

use std::time::{Duration, Instant};

/// How long the socket is left alone: the shortest time that the runtime's timers know.
pub const REST: Duration = Duration::from_millis(1);
/// What a rest may take.
const AT_MOST: Duration = Duration::from_millis(3);
/// A statement with fewer rows than this is read as it comes.
const MANY: u64 = 1_000;

/// Whether a statement's rows are still so many that none are waited for in vain.
pub struct Gathering {
    began: Instant,
    most: Option<u64>,
}

impl Gathering {
    /// A statement has begun that reads so many rows at most.
    pub fn new(most: Option<u64>, now: Instant) -> Self {
        Self { began: now, most }
    }

    /// Whether to leave the socket alone after so many rows: not when all the others may have come before the rest is over.
    pub fn is_rest_due(&self, rows: u64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.began);
        if rows < MANY || passed < AT_MOST {
            return false;
        }
        let left = self.most.map_or(u64::MAX, |most| most.saturating_sub(rows));
        left as f64 * passed.as_secs_f64() > rows as f64 * AT_MOST.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rests(most: Option<u64>, rows: u64, micros: u64) -> bool {
        let began = Instant::now();
        Gathering::new(most, began).is_rest_due(rows, began + Duration::from_micros(micros))
    }

    #[test]
    fn rows_gather_while_many_are_to_come() {
        assert!(rests(None, 10_000, 20_000) && rests(Some(50_000), 10_000, 20_000));
        assert!(!rests(None, 999, 20_000) && !rests(None, 10_000, 2_900), "few rows are read as they come");
    }

    #[test]
    fn the_end_of_a_statement_is_not_waited_for() {
        // 500 rows a millisecond.
        assert!(rests(Some(11_600), 10_000, 20_000));
        assert!(!rests(Some(11_400), 10_000, 20_000) && !rests(Some(10_000), 10_000, 20_000));
    }
}
