//! Reading the binlog.

mod feed;
mod machine;
mod place;
mod query;
mod tables;

pub use feed::{Block, Fed, Feed, FeedOptions, worth_another_try};
pub use machine::{Machine, Step};
pub use place::Place;
pub use query::Ddl;
pub use tables::{SharedHandoff, Table, Tables, lock};
