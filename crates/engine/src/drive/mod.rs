//! The run itself: the driver between the protocol and the stages.

mod driver;
mod run;

pub use driver::Parts;
pub use run::{run, run_with};
