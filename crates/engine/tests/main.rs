//! Tests of the engine: the protocol by exhaustive search, the running engine by seeded simulation, the state on disk.

mod model;
mod properties;
mod saboteur;
mod sim;
mod state;
