//! The sink against a real broker.

mod conformance;
mod faults;
mod log;
mod messages;
mod source;
mod support;
