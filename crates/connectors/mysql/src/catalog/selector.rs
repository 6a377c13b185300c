//! Which tables are meant: the dialect's *selectors* ([`Selectors`]), without the server's own databases.

use dujiang_core::pattern::Selectors;
use dujiang_core::{Result, TableId};

/// Databases that belong to the server itself; never captured.
const SYSTEM: &[&str] = &[
    "mysql",
    "information_schema",
    "performance_schema",
    "sys",
    "ndbinfo",
    // Of OceanBase.
    "oceanbase",
    "__recyclebin",
    "__public",
    "lbacsys",
    "oraauditor",
];

/// Whether a database belongs to the server itself.
pub fn is_system(database: &str) -> bool {
    SYSTEM.iter().any(|s| database.eq_ignore_ascii_case(s))
}

/// A list of patterns that each name database and table.
#[derive(Debug, Clone)]
pub struct Selector(Selectors);

impl Selector {
    /// Reads a list.
    ///
    /// # Errors
    /// A phrase that completes "`tables` ...".
    pub fn parse(list: &str) -> std::result::Result<Self, String> {
        let selectors = Selectors::parse(list)?;
        match selectors.entries().iter().find(|entry| entry.parts() == 1) {
            Some(entry) => Err(format!(
                "needs `database.table`, but `{0}` is one part: all tables of a database are `{0}.\\.*` (a dot of the \
                 expression is written `\\.`)",
                entry.written()
            )),
            None => Ok(Self(selectors)),
        }
    }

    /// Whether any pattern means this table.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn matches(&self, table: &TableId) -> Result<bool> {
        Ok(!is_system(&table.database) && self.0.matches(table)?)
    }

    /// The patterns, as written, that mean none of these tables.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn without_match(&self, tables: &[TableId]) -> Result<Vec<&str>> {
        let mut idle = Vec::new();
        for entry in self.0.entries() {
            let mut found = false;
            for table in tables.iter().filter(|table| !is_system(&table.database)) {
                found = found || entry.matches(table)?;
            }
            if !found {
                idle.push(entry.written());
            }
        }
        Ok(idle)
    }

    /// Databases that are named plainly, in the order written.
    pub fn plain_databases(&self) -> impl Iterator<Item = &str> {
        self.0.entries().iter().filter_map(|entry| entry.plain_database())
    }
}

/// `tables` and `tables.exclude`.
#[derive(Debug, Clone)]
pub struct TableFilter {
    /// What to capture.
    pub include: Selector,
    /// What to leave out of it.
    pub exclude: Option<Selector>,
}

impl TableFilter {
    /// Reads both lists.
    ///
    /// # Errors
    /// The option at fault, and a phrase that completes "`option` ...".
    pub fn parse(tables: &str, exclude: Option<&str>) -> std::result::Result<Self, (&'static str, String)> {
        let include = Selector::parse(tables).map_err(|e| ("tables", e))?;
        let exclude = exclude.map(Selector::parse).transpose().map_err(|e| ("tables.exclude", e))?;
        Ok(Self { include, exclude })
    }

    /// Whether the table is to be captured.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn captures(&self, table: &TableId) -> Result<bool> {
        let excluded = match &self.exclude {
            Some(exclude) => exclude.matches(table)?,
            None => false,
        };
        Ok(!excluded && self.include.matches(table)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TableId {
        let (database, table) = name.split_once('.').unwrap();
        TableId::new(database, table)
    }

    #[test]
    fn the_servers_own_databases_are_never_meant() {
        let selector = Selector::parse(r"\.*.\.*, mysql.\.*").unwrap();
        for (name, expected) in
            [("a.b", true), ("mysql.user", false), ("sys.x", false), ("Information_Schema.T", false)]
        {
            assert_eq!(selector.matches(&id(name)).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn a_pattern_needs_a_database() {
        for list in [r"shop\.*", "orders", "a.b, c"] {
            assert!(Selector::parse(list).unwrap_err().contains("one part"), "{list}");
        }
        assert!(Selector::parse("def.shop.orders").unwrap().matches(&id("shop.orders")).unwrap());
        assert_eq!(TableFilter::parse("a.b", Some("x")).unwrap_err().0, "tables.exclude");
    }

    #[test]
    fn what_is_excluded_is_not_captured() {
        let filter = TableFilter::parse(r"shop.\.*", Some(r"shop.tmp_\.*, \.*.log")).unwrap();
        let captures = |name: &str| filter.captures(&id(name)).unwrap();
        assert!(captures("shop.orders"));
        assert!(!captures("shop.tmp_1") && !captures("shop.LOG") && !captures("crm.x"));
    }

    #[test]
    fn patterns_without_a_table_are_found() {
        let selector = Selector::parse(r"shop.orders, shop.ordrs, crm_\.*.x").unwrap();
        assert_eq!(selector.without_match(&[id("shop.orders")]).unwrap(), ["shop.ordrs", r"crm_\.*.x"]);
        assert_eq!(selector.plain_databases().collect::<Vec<_>>(), ["shop", "shop"]);
    }
}
