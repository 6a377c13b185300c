//! Lists of tables: `shop.\.*, crm.users`.

use super::{Whole, split_unescaped};
use crate::error::Result;
use crate::schema::TableId;

/// A list of patterns, as in `source.tables` and `transform[].source-table`.
///
/// The list is split at unescaped commas, each entry at unescaped dots into one to three parts, and each part is a
/// regular expression for the whole of that part, whatever the case of ASCII letters. `\.` is the expression's own dot,
/// `\,` a comma: between brackets one of a class or of a repetition, elsewhere one between alternatives.
///
/// Of a pattern with three parts the first is a namespace, which no table here has: it is ignored, as in the dialect. A
/// pattern with one part means tables without a database.
///
/// ```
/// use dujiang_core::pattern::Selectors;
/// use dujiang_core::schema::TableId;
/// let tables = Selectors::parse(r"shop.\.*, crm.users_[0-9]+").unwrap();
/// assert!(tables.matches(&TableId::new("shop", "Orders")).unwrap());
/// assert!(!tables.matches(&TableId::new("crm", "users")).unwrap());
/// ```
#[derive(Debug, Clone)]
pub struct Selectors(Vec<Selector>);

/// One entry of a list.
#[derive(Debug, Clone)]
pub struct Selector {
    written: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    whole: Whole,
    /// The part's text, when it is a plain name.
    plain: Option<String>,
}

impl Selectors {
    /// Reads a list.
    ///
    /// # Errors
    /// A phrase that completes "`source-table` ...".
    pub fn parse(list: &str) -> std::result::Result<Self, String> {
        let written = split_unescaped(list, ',').into_iter().map(str::trim).filter(|entry| !entry.is_empty());
        let entries = written.map(Selector::parse).collect::<std::result::Result<Vec<_>, _>>()?;
        if entries.is_empty() {
            return Err("must name at least one table, such as `shop.orders` or `shop.\\.*`".into());
        }
        Ok(Self(entries))
    }

    /// Whether any entry means this table.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn matches(&self, table: &TableId) -> Result<bool> {
        for entry in &self.0 {
            if entry.matches(table)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The entries, in the order written.
    pub fn entries(&self) -> &[Selector] {
        &self.0
    }
}

impl Selector {
    fn parse(written: &str) -> std::result::Result<Self, String> {
        let parts = split_unescaped(written, '.');
        if parts.len() > 3 {
            let count = parts.len();
            return Err(format!(
                "needs `database.table`, but `{written}` has {count} parts (a dot of the expression is written `\\.`)"
            ));
        }
        let parts = parts.into_iter().map(|text| part(text, written)).collect::<std::result::Result<_, _>>()?;
        Ok(Self { written: written.to_owned(), parts })
    }

    /// The entry as written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// How many parts it has: 1 to 3.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The namespace's name, when the entry has three parts and gives it as a plain name.
    pub fn plain_namespace(&self) -> Option<&str> {
        let at = self.parts.len().checked_sub(3)?;
        self.parts[at].plain.as_deref()
    }

    /// The database's name, when it is given as a plain name.
    pub fn plain_database(&self) -> Option<&str> {
        let at = self.parts.len().checked_sub(2)?;
        self.parts[at].plain.as_deref()
    }

    /// Whether the entry means this table.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn matches(&self, table: &TableId) -> Result<bool> {
        let Some((name, rest)) = self.parts.split_last() else { return Ok(false) };
        let in_database = match rest.last() {
            Some(database) => !table.database.is_empty() && database.whole.matches(&table.database)?,
            None => table.database.is_empty(),
        };
        Ok(in_database && name.whole.matches(&table.table)?)
    }
}

/// A part with its escapes resolved.
fn part(text: &str, written: &str) -> std::result::Result<Part, String> {
    let text = text.trim().replace("\\.", ".").replace("\\,", ",");
    if text.is_empty() {
        return Err(format!("needs `database.table`, but a part of `{written}` is empty"));
    }
    let whole = Whole::compile(&alternatives(&text), true).map_err(|why| {
        let meant = if text == "*" { " (any name is `\\.*`)" } else { "" };
        format!("has `{written}`, in which `{text}` is not a regular expression: {why}{meant}")
    })?;
    let plain = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')).then_some(text);
    Ok(Part { whole, plain })
}

/// A comma outside of brackets separates alternatives.
fn alternatives(part: &str) -> String {
    let mut depth = 0usize;
    let separate = |c: char| {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 { '|' } else { c }
    };
    part.chars().map(separate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TableId {
        match name.split_once('.') {
            Some((database, table)) => TableId::new(database, table),
            None => TableId::new("", name),
        }
    }

    #[test]
    fn selectors_mean_what_they_mean_in_the_dialect() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (r"shop.\.*", &["shop.orders", "SHOP.x", "shop.a.b"], &["shops.orders", "myshop.orders"]),
            (r"shop.orders", &["shop.orders", "Shop.ORDERS"], &["shop.orders2", "shop.my_orders"]),
            (r"shop.orders, crm.users", &["shop.orders", "crm.users"], &["shop.users", "crm.orders"]),
            (r"\.*.\.*", &["a.b", "shop.orders"], &["orders"]),
            (r"db_\.*.order_[0-9]+", &["db_1.order_12", "db_.order_0"], &["db_1.order_", "db.order_1"]),
            (r"shop.(a|b)", &["shop.a", "shop.b"], &["shop.ab", "shop.c"]),
            (r"shop.a\,b", &["shop.a", "shop.b"], &["shop.a,b"]),
            (r"shop.t\.{1\,3}", &["shop.tx", "shop.txyz"], &["shop.t", "shop.twxyz"]),
            (r"shop.[a\,b]", &["shop.a", "shop.,"], &["shop.c"]),
            (r"def.shop.orders", &["shop.orders"], &["def.shop"]),
            (r"shop.orders,", &["shop.orders"], &["shop."]),
            (r"shop.日本\.*", &["shop.日本語"], &["shop.本"]),
            (r"shop.a|b", &["shop.a", "shop.b"], &["x.b", "shop.ab"]),
            // One part: a table without database, whatever its text.
            (r"orders", &["orders", "ORDERS"], &["shop.orders"]),
            (r"shop\.*", &["shop", "shopping"], &["shop.orders"]),
            // The dialect's own example is a class, not an alternation.
            (r"[app|web].order_\.*", &["a.order_1", "|.order_1"], &["app.order_1"]),
            (r"shop.(?!tmp_)\.*", &["shop.orders"], &["shop.tmp_1"]),
            (r"shop.É", &["shop.É"], &["shop.é"]),
            (r"shop.\\w+", &[r"shop.\www"], &["shop.orders"]),
            (r"shop.\w+", &["shop.orders"], &["shop.a-b"]),
        ];
        for (list, yes, no) in cases {
            let selectors = Selectors::parse(list).unwrap();
            for (names, expected) in [(yes, true), (no, false)] {
                for name in *names {
                    assert_eq!(selectors.matches(&id(name)).unwrap(), expected, "{list} on {name}");
                }
            }
        }
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        let cases = [
            ("", "at least one"),
            (" , ", "at least one"),
            ("a.b.c.d", "4 parts"),
            ("shop.", "empty"),
            (".orders", "empty"),
            ("shop.(orders", "not closed"),
            ("shop.*", "`*` is not a regular expression: target of repeat operator is invalid (any name is `\\.*`)"),
        ];
        for (list, part) in cases {
            let error = Selectors::parse(list).unwrap_err();
            assert!(error.contains(part), "{list}: {error}");
        }
    }

    #[test]
    fn plain_databases_are_known() {
        let selectors = Selectors::parse(r"shop.orders, crm_\.*.x, a.b.c, t").unwrap();
        let plain: Vec<_> = selectors.entries().iter().map(Selector::plain_database).collect();
        assert_eq!(plain, [Some("shop"), None, Some("b"), None]);
    }
}
