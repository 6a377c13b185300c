//! The SQL side of a pipeline: projections, filters, routes and the evolution of schemas; batch in, batches out.
//!
//! Everything here is synchronous and does no I/O; time comes from the [`Context`]'s clock, once per batch.
//!
//! - [`Rule`] is one entry of the `transform` block. [`Rule::check`] finds what is wrong with its SQL before any table is
//!   known; [`Compiled::new`] checks it against a table and compiles it. Both report every [`Mistake`] at once, with
//!   [`Clause`] and byte span, so that a caret can be drawn into the SQL text.
//! - [`Transformer`] is core's `Transform`: the first rule that is for a table applies to it. It compiles a rule anew for
//!   every version of a table's schema, so that schema changes pass: a column that the projection hides changes nothing in
//!   the output, one behind `*` appears where the table has it.
//! - [`functions`] lists the functions there are.
//!
//! Results follow standard SQL, and PostgreSQL where the standard is silent. A row whose expression fails comes back as a
//! record error (`E071x`); it does not stop the others.

pub mod evolve;
pub mod route;

mod error;
mod eval;
mod expr;
mod operator;
mod project;
mod types;

pub use chrono_tz::Tz;
pub use error::SqlError;
pub use project::{
    Clause, Compiled, Context, META_PARTITION_KEYS, META_TABLE_OPTIONS, Mistake, Rule, Selects, TableRule, Transformer,
};

/// The names of all functions, in upper case.
pub fn functions() -> impl Iterator<Item = &'static str> {
    expr::bind::functions()
}
