//! The source `postgres`: tables of a PostgreSQL database, first everything that is there, then every change, by chunks of
//! a snapshot and by logical replication.

pub mod client;
pub mod config;
pub mod pgoutput;
pub mod selector;
