//! One rule of `route`: from a table's name to the name it gets in the sink.

use super::Whole;
use crate::error::Result;
use crate::schema::TableId;

/// A rule that gives tables another name.
///
/// The pattern is one regular expression for the whole name, `database.table`, in which case counts. Commas separate
/// alternatives, wherever they stand; a bare dot is a dot of the name, and `\.` any character. In the sink's name either
/// every `replace-symbol` becomes the source's table name, or `$1`, `${name}` what a group has captured. (The dialect
/// finds the pattern anew inside the name to fill in the groups, so that an alternative could leave a rest of the name
/// behind; here the groups are those of the match.)
///
/// ```
/// use dujiang_core::pattern::Route;
/// use dujiang_core::schema::TableId;
/// let route = Route::parse(r"shop.orders_(\.*)", "ods.orders_$1", None).unwrap();
/// let target = route.target(&TableId::new("shop", "orders_eu")).unwrap();
/// assert_eq!(target, Some(TableId::new("ods", "orders_eu")));
/// ```
#[derive(Debug, Clone)]
pub struct Route {
    source_table: String,
    pattern: Whole,
    sink: Vec<Piece>,
}

/// The part of a rule that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutePart {
    /// `source-table`.
    SourceTable,
    /// `sink-table`.
    SinkTable,
    /// `replace-symbol`.
    ReplaceSymbol,
}

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMistake {
    /// Which part.
    pub part: RoutePart,
    /// A phrase that completes "`sink-table` ...".
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
    /// The source's table name.
    TableName,
}

impl Route {
    /// Reads a rule.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn parse(
        source_table: &str,
        sink_table: &str,
        replace_symbol: Option<&str>,
    ) -> std::result::Result<Self, RouteMistake> {
        let pattern =
            Self::pattern(source_table).map_err(|message| RouteMistake { part: RoutePart::SourceTable, message })?;
        let in_sink = |message: String| RouteMistake { part: RoutePart::SinkTable, message };
        let sink = match replace_symbol {
            Some("") => {
                let message = "must not be empty".to_owned();
                return Err(RouteMistake { part: RoutePart::ReplaceSymbol, message });
            }
            Some(symbol) => with_symbol(sink_table, symbol),
            None => with_groups(sink_table, &pattern).map_err(in_sink)?,
        };
        check_name(&sink).map_err(in_sink)?;
        Ok(Self { source_table: source_table.to_owned(), pattern, sink })
    }

    fn pattern(source_table: &str) -> std::result::Result<Whole, String> {
        if source_table.trim().is_empty() {
            return Err("must name a table, such as `shop.orders` or `shop.\\.*`".into());
        }
        Whole::compile(&java_expression(source_table), false).map_err(|why| {
            format!(
                "is not a regular expression: {why}. Notice that `.` is used to separate Table ID components. To use it \
                 as a regex token, put a `\\` before to escape it"
            )
        })
    }

    /// The pattern as it was written.
    pub fn written(&self) -> &str {
        &self.source_table
    }

    /// Whether the rule is about this table.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn matches(&self, table: &TableId) -> Result<bool> {
        self.pattern.matches(&table.to_string())
    }

    /// The table's name in the sink, if the rule is about it. A name of three parts has its first two in the database.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn target(&self, table: &TableId) -> Result<Option<TableId>> {
        let source = table.to_string();
        let Some(found) = self.pattern.find(&source)? else { return Ok(None) };
        let mut name = String::new();
        for piece in &self.sink {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Group(group) => name.push_str(found.group(*group)),
                Piece::TableName => name.push_str(&table.table),
            }
        }
        Ok(Some(match name.rsplit_once('.') {
            Some((database, table)) => TableId::new(database, table),
            None => TableId::new("", name),
        }))
    }
}

/// The dialect's notation as a Java expression: commas are alternatives, `\.` is `.`, and a bare `.` is `\.`.
fn java_expression(source_table: &str) -> String {
    let alternatives: Vec<_> = source_table.split(',').map(str::trim).collect();
    let mut expression = String::new();
    let mut rest = alternatives.join("|");
    while let Some(at) = rest.find('.') {
        match rest[..at].strip_suffix('\\') {
            Some(before) => {
                expression.push_str(before);
                expression.push('.');
            }
            None => {
                expression.push_str(&rest[..at]);
                expression.push_str("\\.");
            }
        }
        rest = rest[at + 1..].to_owned();
    }
    expression + &rest
}

fn with_symbol(sink_table: &str, symbol: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, text) in sink_table.split(symbol).enumerate() {
        if index > 0 {
            pieces.push(Piece::TableName);
        }
        pieces.push(Piece::Text(text.to_owned()));
    }
    pieces
}

/// Java's replacement texts: `$1`, `${name}`, `\` before a character that stands for itself.
fn with_groups(sink_table: &str, pattern: &Whole) -> std::result::Result<Vec<Piece>, String> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut rest = sink_table;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let next = rest.chars().next().ok_or("ends with a lone backslash")?;
                rest = &rest[next.len_utf8()..];
                text.push(next);
            }
            '$' => {
                let (group, length) = group(rest, pattern)?;
                rest = &rest[length..];
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Group(group));
            }
            other => text.push(other),
        }
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

/// The group named after a `$`, and how many bytes its name takes.
fn group(rest: &str, pattern: &Whole) -> std::result::Result<(usize, usize), String> {
    if let Some(body) = rest.strip_prefix('{') {
        let end = body.find('}').ok_or("has a `${` that is not closed")?;
        let mut names = pattern.expression().into_iter().flat_map(fancy_regex::Regex::capture_names);
        let known = names.position(|name| name == Some(&body[..end]));
        let group = known.ok_or_else(|| format!("names the group `{}`, which `source-table` has not", &body[..end]))?;
        return Ok((group, end + 2));
    }
    let digits: Vec<usize> = rest.bytes().take_while(u8::is_ascii_digit).map(|b| usize::from(b - b'0')).collect();
    let Some((first, more)) = digits.split_first() else {
        return Err("has a `$` that names no group: write `$1`, or `\\$` for a dollar sign".into());
    };
    let groups = pattern.groups();
    if *first > groups {
        return Err(format!("asks for group `${first}`, but `source-table` captures {groups}"));
    }
    let (mut group, mut length) = (*first, 1);
    for digit in more {
        // Java takes a further digit only while such a group exists.
        match group.checked_mul(10).map(|tens| tens + digit).filter(|number| *number <= groups) {
            Some(number) => (group, length) = (number, length + 1),
            None => break,
        }
    }
    Ok((group, length))
}

/// Refuses names of the sink that can never be right; groups may hold anything.
fn check_name(sink: &[Piece]) -> std::result::Result<(), String> {
    let sample: String = sink
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Group(_) | Piece::TableName => "x",
        })
        .collect();
    if sample.trim().is_empty() {
        return Err("must name a table, such as `ods.orders`".into());
    }
    let parts: Vec<_> = sample.split('.').collect();
    if parts.iter().any(|part| part.trim().is_empty()) {
        return Err(format!("has an empty part: `{sample}`"));
    }
    if parts.len() > 3 {
        return Err(format!("has {} parts, but a table has at most three", parts.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TableId {
        name.split_once('.').map_or_else(|| TableId::new("", name), |(d, t)| TableId::new(d, t))
    }

    #[test]
    fn expressions_are_rewritten_as_the_dialect_does() {
        // The first three are the dialect's own cases.
        let cases = [
            ("foo.bar", r"foo\.bar"),
            ("foo.bar,foo.baz", r"foo\.bar|foo\.baz"),
            (r"db.\.*", r"db\..*"),
            (r"a\.b.c\.{2}", r"a.b\.c.{2}"),
            (r" a.b , c.d ", r"a\.b|c\.d"),
        ];
        for (written, expected) in cases {
            assert_eq!(java_expression(written), expected);
        }
    }

    #[test]
    fn routes_mean_what_they_mean_in_the_dialect() {
        // (source-table, sink-table, replace-symbol, table, target)
        type Case<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, Option<&'a str>);
        let cases: &[Case<'_>] = &[
            ("db.orders", "ods.orders", None, "db.orders", Some("ods.orders")),
            ("db.orders", "ods.orders", None, "db.Orders", None),
            ("db.orders", "ods.orders", None, "db.orders2", None),
            ("db.orders", "ods.orders", None, "dbxorders", None),
            (r"db.\.*", "ods.all", None, "db.a.b", Some("ods.all")),
            (r"db.\.*", "ods.<>", Some("<>"), "db.t1", Some("ods.t1")),
            (r"db.\.*", "<>.p_<>", Some("<>"), "db.t1", Some("t1.p_t1")),
            (r"db.\.*", "ods.$1", Some("<>"), "db.t1", Some("ods.$1")),
            (r"(\.*).(\.*)", "x_$1.y_$2", None, "db.t", Some("x_db.y_t")),
            (r"(?<d>\w+).t", "${d}2.t", None, "db.t", Some("db2.t")),
            (r"db.t_(\d+)", "ods.t$1", None, "db.t_12", Some("ods.t12")),
            (r"db.t_(\d+)", "ods.t$10", None, "db.t_7", Some("ods.t70")),
            (r"db.(a)?b", "ods.x$1", None, "db.b", Some("ods.x")),
            (r"db.a,db.b", "ods.ab", None, "db.b", Some("ods.ab")),
            (r"db.a|db.b", "ods.ab", None, "db.b", Some("ods.ab")),
            (r"db.(a|ab)", "ods.$1", None, "db.ab", Some("ods.ab")),
            (r"db.t", r"ods.a\$b", None, "db.t", Some("ods.a$b")),
            (r"db.t", "a.b.c", None, "db.t", Some("a.b.c")),
            (r"\.*t\.*", "x.$0", None, "t", Some("x.t")),
            (r"[app|web]_\.*", "x.y", None, "app_1", None),
            (r"(?!tmp)\.*", "x.y", None, "tmp.t", None),
        ];
        for (source, sink, symbol, table, expected) in cases {
            let route = Route::parse(source, sink, *symbol).unwrap();
            let target = route.target(&id(table)).unwrap().map(|id| id.to_string());
            assert_eq!(target.as_deref(), *expected, "{source} -> {sink} on {table}");
            assert_eq!(route.matches(&id(table)).unwrap(), expected.is_some());
        }
    }

    #[test]
    fn mistakes_name_their_part() {
        let cases = [
            ("", "a.b", None, RoutePart::SourceTable, "must name a table"),
            // A comma splits even a repetition.
            (r"db.t\.{1,3}", "a.b", None, RoutePart::SourceTable, "repetition"),
            ("db.(t", "a.b", None, RoutePart::SourceTable, "not closed"),
            ("db.t", "", None, RoutePart::SinkTable, "must name a table"),
            ("db.t", "a.$1", None, RoutePart::SinkTable, "captures 0"),
            ("db.(t)", "a.$2", None, RoutePart::SinkTable, "captures 1"),
            ("db.t", "a.$x", None, RoutePart::SinkTable, "names no group"),
            ("db.t", "a.${x}", None, RoutePart::SinkTable, "group `x`"),
            ("db.t", "a..b", None, RoutePart::SinkTable, "empty part"),
            ("db.t", "a.b.c.d", None, RoutePart::SinkTable, "4 parts"),
            ("db.t", "a.b", Some(""), RoutePart::ReplaceSymbol, "empty"),
        ];
        for (source, sink, symbol, part, text) in cases {
            let mistake = Route::parse(source, sink, symbol).unwrap_err();
            assert_eq!(mistake.part, part, "{source} -> {sink}");
            assert!(mistake.message.contains(text), "{source} -> {sink}: {}", mistake.message);
        }
    }
}
