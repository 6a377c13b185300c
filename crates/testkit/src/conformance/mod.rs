//! One suite per trait, run on every implementation: `conformance::sink::all(&mut my_sink).await`.
//!
//! A suite panics at the first promise that is not kept, and says which.

pub mod queue;
pub mod sink;
pub mod source;
pub mod store;

use dujiang_core::clock::Clock;

/// It is the same moment for ever.
struct StandingClock;

impl Clock for StandingClock {
    fn now_micros(&self) -> i64 {
        1_700_000_000_000_000
    }
}
