//! Reading what is there, in chunks, beside the stream.

mod chunk_query;
mod context;
mod distributed;
mod fold;
mod handoff;
#[cfg(test)]
mod handoff_tests;
mod key;
mod lagging;
mod reader;
pub mod told_place;
pub mod view;
mod weights;

pub use chunk_query::read_expression;
pub use context::SnapshotContext;
pub use handoff::{Chunk, Handoff, SharedHandoff, Upper, Verdict, lock};
pub use lagging::{LaggingLog, Window};
pub use reader::{ChunkRead, Job, Snapshot};
pub use weights::{OpenKey, ServerOrder};
