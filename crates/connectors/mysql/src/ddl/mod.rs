//! Statements from the log: which of them change a captured table, and how.
//!
//! The reader is small and tolerant: it knows what changes columns, what changes nothing, and calls everything else by
//! name. What it cannot read is never skipped (F43).

mod alter;
mod column;
mod lexer;
mod statement;
#[cfg(test)]
mod tests;

pub use alter::{Alteration, ColumnPlace};
pub use column::NewColumn;
pub use statement::{Effect, effect};
