//! The snapshot: what is there when the pipeline begins, beside the stream.

mod handoff;
#[cfg(test)]
mod handoff_tests;
mod job;
mod order;
mod query;
mod reader;
mod view;

pub use handoff::{Chunk, Handoff, SharedHandoff, TableVerdict, Upper, Verdict, lock};
pub use job::{ChunkRead, Job, ReadWith, SnapshotContext, current_view, standby};
pub use order::KeyOrder;
pub use reader::{Snapshot, interrupted};
pub use view::{View, widen};
