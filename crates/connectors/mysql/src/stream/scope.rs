//! Names of tables: how the server compares them, and which of them are captured.

use crate::catalog::TableFilter;
use crate::ddl::Reading;
use dujiang_core::{Result, TableId};
use std::borrow::Cow;

/// How the server treats names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Names {
    /// Names that differ in case mean the same (`lower_case_table_names` 1 and 2).
    pub folds_case: bool,
    /// Names are kept in lower case (1).
    pub lowers_case: bool,
    /// How it reads statements.
    pub reading: Reading,
}

impl Names {
    /// A name as it is compared.
    pub fn folded<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if self.folds_case { Cow::Owned(name.to_lowercase()) } else { Cow::Borrowed(name) }
    }

    /// A written name as the catalog spells it.
    pub fn spelled(&self, written: &TableId) -> TableId {
        match self.lowers_case {
            true => TableId::new(written.database.to_lowercase(), written.table.to_lowercase()),
            false => written.clone(),
        }
    }
}

/// Which tables are captured when they appear.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The tables named; none in tests that name no patterns.
    pub filter: Option<TableFilter>,
    /// Whether tables are captured that appear while the pipeline runs.
    pub follows_new: bool,
    /// Whether tools for online schema changes are followed.
    pub online: bool,
}

impl Scope {
    /// Whether the table is one of those named.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn wants(&self, table: &TableId) -> Result<bool> {
        self.filter.as_ref().map_or(Ok(false), |filter| filter.captures(table))
    }
}

/// The tables of which a tool for online schema changes may make or keep a copy under this name: gh-ost's `_t_gho`, `_t_ghc`
/// and `_t_del`, pt-online-schema-change's `_t_new` and `_t_old`, which puts more underscores in front of a name that is
/// taken.
pub fn copied(name: &str) -> impl Iterator<Item = &str> {
    let ends = ["_gho", "_ghc", "_del", "_new", "_old"];
    let inner = name.strip_prefix('_').unwrap_or_default();
    let base = ends.iter().find_map(|end| inner.strip_suffix(end)).unwrap_or_default();
    let plain = Some(base.trim_start_matches('_')).filter(|plain| *plain != base);
    [Some(base), plain].into_iter().flatten().filter(|base| !base.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_known_by_their_names() {
        let bases = |name: &'static str| copied(name).collect::<Vec<_>>();
        assert_eq!(bases("_orders_gho"), ["orders"]);
        assert_eq!(bases("__orders_old"), ["_orders", "orders"]);
        assert_eq!([bases("orders_new"), bases("_gho"), bases("_orders")], [[""; 0]; 3]);
    }
}
