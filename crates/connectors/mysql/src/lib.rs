//! mysql

pub mod client;
