//! Bounded fuzzing of what is read from queues: entries of a log, and messages.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod fuzz;
