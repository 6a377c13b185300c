//! The snapshot: what is there when the pipeline begins, beside the stream.

mod gather;
mod handoff;
#[cfg(test)]
mod handoff_tests;
#[cfg(test)]
mod in_order_tests;
mod job;
mod literal;
mod on_disk;
mod order;
mod ordered;
mod query;
mod reader;
mod size;
mod sortable;
mod stream_at;
mod view;
mod whole;

pub use handoff::{Chunk, Handoff, SharedHandoff, TableVerdict, Upper, Verdict, lock};
pub use job::{ChunkRead, Job, ReadWith, SnapshotContext, current_view};
pub use on_disk::log_something;
pub use order::{Frontier, KeyOrder};
pub use reader::Snapshot;
pub use stream_at::StreamAt;
pub use view::{Committed, View};
pub use whole::interrupted;
