//! The machine between a source and a sink.
//!
//! - [`protocol`]: the epoch protocol as a pure state machine, `step(event) -> actions`.
//! - [`stages`]: one file per hop of a batch, from the reader to the commit.
//! - [`runtime`]: the run itself: tasks, retry, stop signals, the status board.
//! - [`state`]: checkpoints and dead letters on the local disk.
//!
//! Invariant: nothing here names a connector, a file format or a socket.

pub mod protocol;
pub mod runtime;
mod stages;
pub mod state;

pub use runtime::job::{ErrorPolicy, Guarantee, Job, Settings, Until};
pub use runtime::run::{End, Outcome, Parts, run, run_with};
pub use runtime::status::{KindCounts, PipelineState, PipelineStatus, StatusBoard};
pub use runtime::stop::{StopSignal, Stopper};
