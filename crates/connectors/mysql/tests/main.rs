//! Tests against real servers, each in a scratch folder.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod catalog;
mod client;
mod decode;
mod examine;
mod fuzz;
mod oceanbase;
mod source;
mod support;
