//! The stream: from messages to rows.

mod feed;
mod ids;
mod machine;
#[cfg(test)]
mod machine_tests;
mod pace;
mod relations;
mod step;
mod tables;
mod undecided;

pub use feed::{Durable, Fed, Feed, FeedOptions, Fill};
pub use machine::{Begin, Machine};
pub use step::Step;
pub use tables::{Appended, Missing, RowsOf, Table, Tables};
pub use undecided::Undecided;
