//! A service that speaks DataHub's protocol, as strict as the real one: it checks signatures, checksums, sizes, types and the
//! state of shards, and counts what must not happen.
//!
//! It is written from the protocol's description, not from the client of this project.

mod batch;
mod feeding;
mod http;
mod offsets;
mod pull;
mod read;
mod service;
mod state;

pub use service::{ACCESS_ID, ACCESS_KEY, Datahub, PROJECT};
pub use state::{Fault, Stored};
