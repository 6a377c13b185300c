//! Reading the binlog.

mod feed;
mod machine;
mod nested;
mod query;
mod refusals;
mod tables;
mod transaction;
mod undecided;

pub use feed::{Block, Fed, Feed, FeedOptions, worth_another_try};
pub use machine::{Machine, OpenKeys, Step};
pub use query::{Control, Ddl, Statement, effect};
pub use tables::{Table, Tables};
pub use undecided::Undecided;
