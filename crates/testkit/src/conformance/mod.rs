//! One suite per trait, run on every implementation: `conformance::sink::all(&mut my_sink).await`.
//!
//! A suite panics at the first promise that is not kept, and says which.

pub mod queue;
pub mod sink;
pub mod source;
pub mod store;
