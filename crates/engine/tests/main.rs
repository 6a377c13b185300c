//! Tests of the engine: the protocol by exhaustive search, the running engine by seeded simulation, the state on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod awaited;
mod faults_are_told;
mod model;
mod properties;
mod saboteur;
mod sim;
mod state;
