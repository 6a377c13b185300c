//! The snapshot: what is there when the pipeline begins, beside the stream.

mod handoff;
mod order;
mod query;
mod reader;
mod view;

pub use handoff::{Chunk, Handoff, SharedHandoff, TableVerdict, Upper, Verdict, lock};
pub use order::KeyOrder;
pub use reader::{ChunkRead, Job, Snapshot, SnapshotContext, interrupted, standby};
pub use view::{View, widen};
