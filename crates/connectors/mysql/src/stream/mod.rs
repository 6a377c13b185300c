//! Reading the binlog.

mod at;
mod feed;
mod machine;
mod nested;
mod query;
mod refusals;
mod scope;
mod tables;
mod transaction;
mod undecided;

pub use feed::{Block, Fed, Feed, FeedOptions, worth_another_try};
pub use machine::{Machine, OpenKeys, Step, Unfit};
pub use query::{Control, Ddl, Statement, effect, shortened};
pub use scope::{Names, Scope};
pub use tables::{Riddle, Table, Tables, Whose};
pub use undecided::Undecided;
