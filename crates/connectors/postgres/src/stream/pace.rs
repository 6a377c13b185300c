//! When a busy stream is read in large pieces. Pure.
//!
//! The server sends every message by itself. Over a fast network, and on one machine above all, each of them then wakes the one
//! who reads, and costs both sides several times what decoding it costs. A socket that is left alone fills; what does not fit
//! gathers on the server's side and comes in large pieces (seen with 15.18 over loopback: three times the messages a second, and
//! a tenth of our time for each).

use std::time::{Duration, Instant};

/// How long the stream is left alone, and the shortest time it has to have been busy for.
pub const REST: Duration = Duration::from_millis(10);
/// So many messages in that time are many.
const MANY: u32 = 200;

/// Counts messages, and says when the stream is to be left alone for [`REST`]: while at least 20,000 messages a second come.
pub struct Pace {
    since: Instant,
    messages: u32,
}

impl Pace {
    /// Begins to count.
    pub fn new(now: Instant) -> Self {
        Self { since: now, messages: 0 }
    }

    /// So many messages more have come; whether a rest is due. What was left in the socket (`drained` is false) is read first.
    pub fn is_rest_due(&mut self, messages: u32, drained: bool, now: Instant) -> bool {
        self.messages = self.messages.saturating_add(messages);
        let passed = now.saturating_duration_since(self.since);
        if passed < REST || !drained {
            return false;
        }
        let many = f64::from(self.messages) * REST.as_secs_f64() >= f64::from(MANY) * passed.as_secs_f64();
        *self = Self::new(now);
        many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of so many messages each, one after another by so many microseconds: the times of those after which there was a rest.
    fn rests(reads: &[(u32, u64)]) -> Vec<usize> {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let mut rests = Vec::new();
        for (at, (messages, after)) in reads.iter().enumerate() {
            now += Duration::from_micros(*after);
            if pace.is_rest_due(*messages, true, now) {
                rests.push(at);
                now += REST;
            }
        }
        rests
    }

    #[test]
    fn a_quiet_stream_is_never_left_alone() {
        assert!(rests(&[(3, 1_000); 500]).is_empty());
        // A burst of less than 10 ms that comes out of silence.
        let mut burst = vec![(1, 5_000_000)];
        burst.extend([(1, 20); 450]);
        assert!(rests(&burst).is_empty());
        assert!(rests(&[(1, 5_000_000), (2_000, 100), (1, 5_000_000)]).is_empty());
    }

    #[test]
    fn a_busy_stream_is_left_alone_after_10_ms_and_after_every_large_piece() {
        let mut busy = vec![(1, 5_000_000)];
        busy.extend([(1, 20); 500]);
        busy.extend([(4_000, 100); 5]);
        busy.extend([(1, 20); 400]);
        assert_eq!(rests(&busy), [500, 501, 502, 503, 504, 505]);
    }

    #[test]
    fn what_is_left_in_the_socket_is_read_first() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(!pace.is_rest_due(9_000, false, now + 2 * REST));
        assert!(pace.is_rest_due(9_000, true, now + 2 * REST));
    }
}
