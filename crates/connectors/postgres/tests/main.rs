//! The source against real servers.

#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout)]

mod catalog;
mod examine;
mod source;
mod support;
mod values;
