//! Statements from the log: which of them change tables, and how.
//!
//! The reader is small and tolerant: it knows what changes columns, what changes nothing, and calls everything else by
//! name. What it cannot read is never skipped (F43): then the catalog is asked, or the log's own table maps.

mod alter;
mod column;
mod create;
mod foreign;
mod lexer;
pub mod model;
pub mod plan;
mod statement;
#[cfg(test)]
mod tests;
mod tokens;
mod types;

pub use alter::{Alteration, ColumnPlace};
pub use column::{NewColumn, NewType};
pub use create::{Definition, Origin};
pub use foreign::{ForeignKey, foreign_keys};
pub use lexer::Reading;
pub use statement::{Action, Effect, effect};
