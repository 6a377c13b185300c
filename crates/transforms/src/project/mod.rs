//! A transform rule: projection, filter, keys and soft deletes for the tables it is for.

mod compile;
mod keys;
mod meta;
mod rows;
#[cfg(test)]
mod tests;
mod transformer;

use crate::error::SqlError;
use crate::expr;
use dujiang_core::Code;
use dujiang_core::clock::Clock;
use std::sync::Arc;

pub use compile::Compiled;
pub use dujiang_core::transform::Clause;
pub use transformer::{Selects, TableRule, Transformer};

/// Schema metadata: the `partition-keys` of the rule, joined by commas.
pub const META_PARTITION_KEYS: &str = "dujiang.partition_keys";
/// Schema metadata: the `table-options` of the rule, as written.
pub const META_TABLE_OPTIONS: &str = "dujiang.table_options";

/// One entry of the `transform` block, without the tables it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// The select list; `None` stands for `*`.
    pub projection: Option<String>,
    /// The condition on rows.
    pub filter: Option<String>,
    /// Columns of the output that become its key; empty for the key the table has.
    pub primary_keys: Vec<String>,
    /// Columns of the output by which the sink partitions.
    pub partition_keys: Vec<String>,
    /// `table-options`, as written.
    pub table_options: Option<String>,
    /// `converter-after-transform: SOFT_DELETE`: a delete becomes an insert of the row that was deleted.
    pub soft_delete: bool,
}

/// What expressions need besides the row.
#[derive(Clone)]
pub struct Context {
    /// The session's time zone (`pipeline.local-time-zone`).
    pub time_zone: chrono_tz::Tz,
    /// What NOW() and its kin read, once per batch.
    pub clock: Arc<dyn Clock>,
    /// Connector metadata that may be read (`metadata.list`): `op_ts`, `table_name`, `database_name`, `schema_name`,
    /// `row_kind`.
    pub metadata: Vec<String>,
}

/// A mistake in a rule; the span of its error lies in the text of the clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub clause: Clause,
    /// What.
    pub error: SqlError,
}

/// Where an output column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A column of the table, untouched.
    Column(usize),
    /// A computed one.
    Computed(usize),
}

impl Rule {
    /// What is wrong with the rule whatever the table: syntax, unknown functions, aggregates, missing names. Takes bounded
    /// time and memory.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        match expr::projection(self.projection_text()) {
            Err(errors) => {
                mistakes.extend(errors.into_iter().map(|error| Mistake { clause: Clause::Projection, error }))
            }
            Ok(items) => {
                let mut errors = compile::check_items(&items);
                expr::check_item_calls(&items, &mut errors);
                mistakes.extend(errors.into_iter().map(|error| Mistake { clause: Clause::Projection, error }));
            }
        }
        if let Some(filter) = &self.filter {
            let mut errors = Vec::new();
            match expr::expression(filter) {
                Err(error) => errors.push(error),
                Ok(node) => expr::check_calls(&node, &mut errors),
            }
            mistakes.extend(errors.into_iter().map(|error| Mistake { clause: Clause::Filter, error }));
        }
        mistakes
    }

    fn projection_text(&self) -> &str {
        self.projection.as_deref().unwrap_or("*")
    }
}

impl Mistake {
    fn key(clause: Clause, name: &str, message: String) -> Self {
        Self { clause, error: SqlError::new(Code::SqlOutput, 0..name.len(), message) }
    }

    /// The mistake as a general error, for places that have no pipeline file to point into.
    pub fn into_error(self, rule: &Rule) -> dujiang_core::Error {
        let (clause, text) = match self.clause {
            Clause::Projection => ("projection", rule.projection_text()),
            Clause::Filter => ("filter", rule.filter.as_deref().unwrap_or_default()),
            Clause::PrimaryKey(i) => ("primary-keys", rule.primary_keys.get(i).map_or("", String::as_str)),
            Clause::PartitionKey(i) => ("partition-keys", rule.partition_keys.get(i).map_or("", String::as_str)),
        };
        self.error.into_error(text).fact("in", clause)
    }
}
