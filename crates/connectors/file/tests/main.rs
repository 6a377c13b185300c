//! Tests of the `file` sink against a real file system.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod conformance;
mod crash;
mod formats;
mod full_disk;
mod power;
mod protocol;
mod retry;
mod rolling;
mod support;
