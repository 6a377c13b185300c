//! Sink and source against a service of this project's own, which checks signatures, checksums and the rules of shards.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod conformance;
mod failures;
mod log;
mod log_crashes;
mod order;
mod source;
mod support;
mod topics;
