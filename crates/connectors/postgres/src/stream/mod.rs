//! The stream: from messages to rows.

mod feed;
mod machine;
mod tables;

pub use feed::{Durable, Fed, Feed, FeedOptions, Fill, worth_another_try};
pub use machine::{Machine, Step};
pub use tables::{Appended, RowsOf, Table, Tables};
