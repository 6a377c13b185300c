//! Reading the binlog.

mod feed;
mod machine;
mod place;
mod query;
mod tables;

pub use feed::{Block, Fed, Feed, FeedOptions, worth_another_try};
pub use machine::{Machine, OpenKeys, Step};
pub use place::Place;
pub use query::{Control, Ddl, Statement, effect};
pub use tables::{SharedHandoff, Table, Tables, lock};
