//! Which tables are meant: the dialect's *selectors*.
//!
//! A list is split at unescaped commas, each entry at unescaped dots into database and table, and each part is a regular
//! expression for the whole name, whatever its case. `\.` is the expression's own dot and `\,` a comma, so that
//! `shop.\.*` means all tables of `shop` and `shop.t\.{1\,3}` is possible, too.

use regex::Regex;

/// Databases that belong to the server itself; never captured.
const SYSTEM: &[&str] = &["mysql", "information_schema", "performance_schema", "sys", "ndbinfo", "oceanbase"];

/// Whether a database belongs to the server itself.
pub fn is_system(database: &str) -> bool {
    SYSTEM.iter().any(|s| database.eq_ignore_ascii_case(s))
}

/// One entry of a list.
#[derive(Debug, Clone)]
struct Entry {
    written: String,
    database: Regex,
    table: Regex,
    /// The database's name, when the part is a plain name.
    plain_database: Option<String>,
}

/// A list of patterns.
#[derive(Debug, Clone)]
pub struct Selector {
    entries: Vec<Entry>,
}

impl Selector {
    /// Reads a list.
    ///
    /// # Errors
    /// A phrase that completes "`tables` ...".
    pub fn parse(list: &str) -> Result<Self, String> {
        let written = split_unescaped(list, ',');
        let entries = written.iter().map(|w| w.trim()).filter(|w| !w.is_empty());
        let entries = entries.map(entry).collect::<Result<Vec<_>, _>>()?;
        if entries.is_empty() {
            return Err("must name at least one table, such as `shop.orders` or `shop.\\.*`".into());
        }
        Ok(Self { entries })
    }

    /// Whether any pattern means this table.
    pub fn matches(&self, database: &str, table: &str) -> bool {
        !is_system(database) && self.entries.iter().any(|e| e.matches(database, table))
    }

    /// The patterns, as written, that mean none of these tables.
    pub fn without_match<'a>(&self, tables: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Vec<&str> {
        let idle = self.entries.iter().filter(|e| !tables.clone().any(|(d, t)| !is_system(d) && e.matches(d, t)));
        idle.map(|e| e.written.as_str()).collect()
    }

    /// Databases that are named plainly, in the order written.
    pub fn plain_databases(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|e| e.plain_database.as_deref())
    }
}

impl Entry {
    fn matches(&self, database: &str, table: &str) -> bool {
        self.database.is_match(database) && self.table.is_match(table)
    }
}

fn entry(written: &str) -> Result<Entry, String> {
    let parts = split_unescaped(written, '.');
    let (database, table) = match parts.as_slice() {
        [database, table] => (database, table),
        // The dialect's ids of three parts begin with a namespace, which this family of servers does not have.
        [_, database, table] => (database, table),
        [_] => {
            return Err(format!(
                "needs `database.table`, but `{written}` is one part (a dot of the expression is written `\\.`)"
            ));
        }
        _ => return Err(format!("needs `database.table`, but `{written}` has {} parts", parts.len())),
    };
    let (database, table) = (part(database, written)?, part(table, written)?);
    let plain = database.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-$".contains(&b) || b >= 0x80);
    Ok(Entry {
        written: written.to_owned(),
        database: whole(&database, written)?,
        table: whole(&table, written)?,
        plain_database: plain.then_some(database),
    })
}

/// A part with its escapes resolved.
fn part(text: &str, written: &str) -> Result<String, String> {
    let text = text.trim().replace("\\.", ".").replace("\\,", ",");
    if text.is_empty() { Err(format!("needs `database.table`, but a part of `{written}` is empty")) } else { Ok(text) }
}

/// The expression of a part. A comma outside of brackets separates alternatives, as in the dialect.
fn whole(part: &str, written: &str) -> Result<Regex, String> {
    let (mut expression, mut depth) = (String::new(), 0usize);
    for c in part.chars() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        expression.push(if c == ',' && depth == 0 { '|' } else { c });
    }
    Regex::new(&format!(r"\A(?i:{expression})\z")).map_err(|e| {
        let why = e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("has `{written}`, in which `{part}` is not a regular expression: {why}")
    })
}

fn split_unescaped(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut escaped) = (vec![String::new()], false);
    for c in text.chars() {
        if c == separator && !escaped {
            parts.push(String::new());
        } else {
            parts.last_mut().expect("invariant: there is a part").push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    parts
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
    pub fn parse(tables: &str, exclude: Option<&str>) -> Result<Self, (&'static str, String)> {
        let include = Selector::parse(tables).map_err(|e| ("tables", e))?;
        let exclude = exclude.map(Selector::parse).transpose().map_err(|e| ("tables.exclude", e))?;
        Ok(Self { include, exclude })
    }

    /// Whether the table is to be captured.
    pub fn captures(&self, database: &str, table: &str) -> bool {
        let excluded = self.exclude.as_ref().is_some_and(|e| e.matches(database, table));
        self.include.matches(database, table) && !excluded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialects_patterns_mean_what_they_mean_there() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (r"shop.\.*", &["shop.orders", "SHOP.x", "shop.a.b"], &["shops.orders", "myshop.orders"]),
            (r"shop.orders", &["shop.orders", "Shop.ORDERS"], &["shop.orders2", "shop.my_orders"]),
            (r"shop.orders, crm.users", &["shop.orders", "crm.users"], &["shop.users", "crm.orders"]),
            (r"\.*.\.*", &["a.b", "shop.orders"], &["mysql.user", "sys.x", "Information_Schema.TABLES"]),
            (r"db_\.*.order_[0-9]+", &["db_1.order_12", "db_.order_0"], &["db_1.order_", "db.order_1"]),
            (r"shop.(a|b)", &["shop.a", "shop.b"], &["shop.ab", "shop.c"]),
            (r"shop.a\,b", &["shop.a", "shop.b"], &["shop.a,b"]),
            (r"shop.t\.{1\,3}", &["shop.tx", "shop.txyz"], &["shop.t", "shop.twxyz"]),
            (r"shop.[a\,b]", &["shop.a", "shop.,"], &["shop.c"]),
            (r"def.shop.orders", &["shop.orders"], &["def.shop"]),
            (r"shop.orders,", &["shop.orders"], &["shop."]),
            (r"shop.日本\.*", &["shop.日本語"], &["shop.本"]),
            (r"mysql.\.*", &[], &["mysql.user"]),
            (r"shop.a|b", &["shop.a", "shop.b"], &["x.b", "shop.ab"]),
        ];
        for (list, yes, no) in cases {
            let selector = Selector::parse(list).unwrap();
            for (names, expected) in [(yes, true), (no, false)] {
                for name in *names {
                    let (database, table) = name.split_once('.').unwrap();
                    assert_eq!(selector.matches(database, table), expected, "{list} on {name}");
                }
            }
        }
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        let cases = [
            ("", "at least one"),
            (" , ", "at least one"),
            (r"shop\.*", "one part"),
            ("orders", "one part"),
            ("a.b.c.d", "4 parts"),
            ("shop.", "empty"),
            (".orders", "empty"),
            ("shop.(orders", "unclosed group"),
            ("shop.*", "repetition operator missing"),
        ];
        for (list, part) in cases {
            let error = Selector::parse(list).unwrap_err();
            assert!(error.contains(part), "{list}: {error}");
        }
        assert_eq!(TableFilter::parse("a.b", Some("x")).unwrap_err().0, "tables.exclude");
    }

    #[test]
    fn what_is_excluded_is_not_captured() {
        let filter = TableFilter::parse(r"shop.\.*", Some(r"shop.tmp_\.*, \.*.log")).unwrap();
        assert!(filter.captures("shop", "orders"));
        assert!(!filter.captures("shop", "tmp_1") && !filter.captures("shop", "LOG") && !filter.captures("crm", "x"));
    }

    #[test]
    fn patterns_without_a_table_are_found() {
        let selector = Selector::parse(r"shop.orders, shop.ordrs, crm_\.*.x").unwrap();
        let tables = [("shop", "orders")];
        assert_eq!(selector.without_match(tables.into_iter()), ["shop.ordrs", r"crm_\.*.x"]);
        assert_eq!(selector.plain_databases().collect::<Vec<_>>(), ["shop", "shop"]);
    }
}
