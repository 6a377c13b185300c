//! The source against real servers.

#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout)]

mod catalog;
mod examine;
mod fuzz;
mod source;
mod support;
mod values;
