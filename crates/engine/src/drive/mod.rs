//! The run itself: the driver between the protocol and the stages.

mod driver;
mod run;

pub use run::{Parts, run, run_with};
