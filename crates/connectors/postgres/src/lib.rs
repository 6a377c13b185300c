//! The source `postgres`: tables of a PostgreSQL database, first everything that is there, then every change, by chunks of
//! a snapshot and by logical replication.

pub mod catalog;
pub mod client;
pub mod config;
pub mod evolve;
pub mod pgoutput;
pub mod selector;
pub mod shape;
pub mod values;
