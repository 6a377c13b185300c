//! What every part of a run shares: what it is given, when to try again, how it is stopped, what it tells.

pub(crate) mod health;
pub mod job;
pub mod retry;
pub mod status;
pub mod stop;
