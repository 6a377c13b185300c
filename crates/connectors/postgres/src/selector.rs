//! Which tables are meant: the dialect's `database.schema.table`, without the server's own schemas.

use dujiang_core::pattern::Selectors;
use dujiang_core::{Result, TableId};

/// Whether a schema belongs to the server itself; never captured.
pub fn is_system(schema: &str) -> bool {
    schema == "information_schema" || schema.starts_with("pg_")
}

/// `tables` and `tables.exclude`.
#[derive(Debug, Clone)]
pub struct TableFilter {
    include: Selectors,
    exclude: Option<Selectors>,
    database: String,
}

impl TableFilter {
    /// Reads both lists. All patterns name the same database, plainly: a session cannot leave its database.
    ///
    /// # Errors
    /// The option at fault, and a phrase that completes "`option` ...".
    pub fn parse(tables: &str, exclude: Option<&str>) -> std::result::Result<Self, (&'static str, String)> {
        let include = selectors(tables).map_err(|e| ("tables", e))?;
        let exclude = exclude.map(selectors).transpose().map_err(|e| ("tables.exclude", e))?;
        let databases = |list: &Selectors| {
            let named = |entry: &dujiang_core::pattern::Selector| {
                let plain = entry.plain_namespace().map(str::to_owned);
                plain.ok_or_else(|| {
                    let why = "one pipeline reads one database: make a pipeline for each";
                    format!("must name its database plainly, but has `{}` ({why})", entry.written())
                })
            };
            list.entries().iter().map(named).collect::<std::result::Result<Vec<_>, _>>()
        };
        let mut named = databases(&include).map_err(|e| ("tables", e))?;
        let database = named.swap_remove(0);
        for (key, list) in [("tables", Some(&include)), ("tables.exclude", exclude.as_ref())] {
            let Some(list) = list else { continue };
            if let Some(other) = databases(list).map_err(|e| (key, e))?.into_iter().find(|d| *d != database) {
                let help = "one pipeline reads one database: make a second pipeline for the other";
                return Err((key, format!("names the databases `{database}` and `{other}` ({help})")));
            }
        }
        Ok(Self { include, exclude, database })
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Whether the table is to be captured; the first part of its id is the schema.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn captures(&self, table: &TableId) -> Result<bool> {
        if is_system(&table.database) {
            return Ok(false);
        }
        let excluded = match &self.exclude {
            Some(exclude) => exclude.matches(table)?,
            None => false,
        };
        Ok(!excluded && self.include.matches(table)?)
    }

    /// The patterns, as written, that mean none of these tables.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn without_match(&self, tables: &[TableId]) -> Result<Vec<&str>> {
        let mut idle = Vec::new();
        for entry in self.include.entries() {
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
}

fn selectors(list: &str) -> std::result::Result<Selectors, String> {
    let selectors = Selectors::parse(list)?;
    match selectors.entries().iter().find(|entry| entry.parts() != 3) {
        Some(entry) => Err(format!(
            "needs `database.schema.table`, but `{}` has {} part(s) (a dot of the expression is written `\\.`)",
            entry.written(),
            entry.parts()
        )),
        None => Ok(selectors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_one_database() {
        let filter = TableFilter::parse(r"shop.public.\.*, shop.crm.users", Some(r"shop.\.*.tmp_\.*")).unwrap();
        assert_eq!(filter.database(), "shop");
        let captures = |s: &str, t: &str| filter.captures(&TableId::new(s, t)).unwrap();
        assert!(captures("public", "orders") && captures("crm", "users"));
        assert!(!captures("public", "tmp_1") && !captures("pg_catalog", "x") && !captures("crm", "x"));
        assert_eq!(filter.without_match(&[TableId::new("public", "a")]).unwrap(), ["shop.crm.users"]);
        for (tables, part) in [("a.b", "2 part(s)"), (r"\.*.b.c", "plainly"), ("a.b.c, d.b.c", "`a` and `d`")] {
            assert!(TableFilter::parse(tables, None).unwrap_err().1.contains(part), "{tables}");
        }
        assert_eq!(TableFilter::parse("a.b.c", Some("x.b.c")).unwrap_err().0, "tables.exclude");
    }
}
