//! The tests of the embedded log.

#![allow(clippy::print_stdout, reason = "figures of a long test, shown when it fails or with --nocapture")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod conformance;
mod damage;
mod model;
mod power;
mod retention;
mod support;
mod survival;
mod virtual_disk;
