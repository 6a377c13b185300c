//! The source against a real server: nothing lost, nothing twice, in order per key.

mod basic;
pub mod harness;
mod load;
mod lost;
mod promises;
mod saboteurs;
mod schema;
mod size;
mod window;
