//! The run: what it is given, how it is stopped, what it tells.

pub(crate) mod driver;
pub(crate) mod health;
pub mod job;
pub mod retry;
pub mod run;
pub mod status;
pub mod stop;
