//! The machine between a source and a sink.
//!
//! - [`protocol`]: the epoch protocol as a pure state machine, `step(event) -> actions`.
//! - `stages`: one file per hop of a batch, from the reader to the commit.
//! - [`runtime`]: what a run is given and shares: settings, retry policy, stop signals, the status board.
//! - [`drive`]: the run itself: the driver between protocol and stages.
//! - [`state`]: checkpoints and dead letters on the local disk.
//!
//! Invariant: nothing here names a connector, a file format or a socket.

pub mod drive;
pub mod protocol;
pub mod runtime;
mod stages;
pub mod state;

pub use drive::{Parts, run, run_with};
pub use runtime::job::{End, ErrorPolicy, Guarantee, Job, Outcome, Settings, Until};
pub use runtime::status::{KindCounts, PipelineState, PipelineStatus, StatusBoard};
pub use runtime::stop::{StopSignal, Stopper};
