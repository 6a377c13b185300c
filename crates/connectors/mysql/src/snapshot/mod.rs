//! Reading what is there, in chunks, beside the stream.

mod chunk_query;
mod distributed;
mod fold;
mod handoff;
#[cfg(test)]
mod handoff_tests;
mod key;
mod reader;
pub mod told_place;
pub mod view;
mod weights;

pub use chunk_query::read_expression;
pub use fold::{LaggingLog, Window};
pub use handoff::{Chunk, Handoff, SharedHandoff, Upper, Verdict, lock};
pub use reader::{ChunkRead, Job, Snapshot, SnapshotContext};
pub use weights::{OpenKey, ServerOrder};
