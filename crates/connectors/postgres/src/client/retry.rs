//! Which errors another connection may mend.

use dujiang_core::codes::Retry;
use dujiang_core::{Code, Error};

/// Whether reconnecting can mend an error: always for lost connections, a few times where the cause may be in the way of the
/// bytes or an old session of ours.
pub fn worth_another_try(error: &Error, failures: u32) -> bool {
    match error.retry() {
        Retry::Endless => true,
        // The server was there before: something between us and it is down and closes connections before the greeting.
        Retry::Never if error.code() == Code::NotADatabase => true,
        Retry::Bounded => failures < 5,
        Retry::Never => false,
    }
}
