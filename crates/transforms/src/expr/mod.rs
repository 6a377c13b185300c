//! The SQL of projections and filters: text to checked, compiled expressions.

pub(crate) mod ast;
pub(crate) mod bind;
pub(crate) mod input;
mod lex;
mod parse;
mod walk;

pub(crate) use parse::{expression, projection};
pub(crate) use walk::{check_calls, check_item_calls};
