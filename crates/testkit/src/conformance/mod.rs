//! One suite per trait, run on every implementation: `conformance::sink::all(&mut my_sink).await`.
//!
//! A suite panics at the first promise that is not kept, and says which.

pub mod log;
pub mod queue;
pub mod sink;
pub mod source;
pub mod store;

use dujiang_core::clock::{Clock, Standing};
use std::sync::Arc;

/// It is the same moment for ever.
fn clock() -> Arc<dyn Clock> {
    Arc::new(Standing(1_700_000_000_000_000))
}
