//! The source against a real server: nothing lost, nothing twice, in order per key.

mod basic;
mod ddl;
mod ddl_random;
mod events;
mod failover;
pub mod harness;
mod joining;
pub mod load;
mod lost;
mod promises;
mod questions;
mod rekeyed;
mod resume;
mod saboteurs;
mod schema;
mod size;
mod window;
mod xa;
mod xa_window;
