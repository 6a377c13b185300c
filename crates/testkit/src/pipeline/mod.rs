//! A pipeline in small: a reader, barriers, crashes, and a sink that notices every row too many, too few or out of order.
//!
//! What differs between families of servers stands with their tests: how their rows are read, where their logs end, and
//! [`Family`].

mod cells;
mod opening;
mod run;
mod sink;

pub use cells::cell;
pub(crate) use opening::work_dir;
pub use opening::{built, context};
pub use run::{Pipeline, failure};
pub use sink::{Family, Image, Rows, Sink, images, same_row};
