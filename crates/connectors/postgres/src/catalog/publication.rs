//! What the catalog has of a publication, and since when.

use dujiang_core::TableId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An entry of the catalog. What is changed is another one, and stays so when it is changed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Its `oid`.
    #[serde(rename = "o")]
    pub oid: u32,
    /// The transaction that wrote it (`xmin`); it stays when the entry is frozen.
    #[serde(rename = "x")]
    pub since: u32,
    /// It lets only some rows of the table through.
    #[serde(rename = "n", default, skip_serializing_if = "std::ops::Not::not")]
    pub narrow: bool,
}

/// How a publication publishes a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Publishing {
    /// The publication itself.
    pub publication: Entry,
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// What names it: its own entry, that of its schema; none if all tables are published.
    pub entries: BTreeSet<Entry>,
}

impl Publishing {
    /// The table's name.
    pub fn id(&self) -> TableId {
        TableId::new(self.schema.as_str(), self.table.as_str())
    }

    /// Whether it has been published all the time by what it was published by, and no wider. More entries may have come.
    pub fn goes_on(&self, then: &BTreeSet<Entry>) -> bool {
        let wider = self.entries.len() > then.len() && !then.is_empty() && then.iter().all(|entry| entry.narrow);
        then.is_subset(&self.entries) && !wider
    }
}

/// How a publication published tables when they were taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imprint {
    /// The publication itself.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<Entry>,
    /// What named tables, by their `pg_class.oid`.
    #[serde(rename = "t", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<u32, BTreeSet<Entry>>,
}

impl Imprint {
    /// Whether it says nothing, as in positions of earlier versions.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_may_be_added_but_for_those_that_let_more_rows_through() {
        let entry = |oid, narrow| Entry { oid, since: 700, narrow };
        let (own, schema, some_rows) = (entry(1, false), entry(2, false), entry(3, true));
        let goes_on = |then: &[Entry], now: &[Entry]| {
            let (schema, table) = ("public".to_owned(), "t".to_owned());
            let entries = now.iter().copied().collect();
            let now = Publishing { publication: entry(9, false), oid: 5, schema, table, entries };
            now.goes_on(&then.iter().copied().collect())
        };
        assert!(goes_on(&[], &[]) && goes_on(&[own], &[own]) && goes_on(&[own], &[own, schema]));
        assert!(goes_on(&[some_rows], &[some_rows]) && goes_on(&[schema], &[schema, some_rows]));
        assert!(!goes_on(&[some_rows], &[some_rows, schema]));
        assert!(!goes_on(&[own], &[]) && !goes_on(&[own], &[Entry { since: 701, ..own }]));
    }
}
