//! SQL identifiers and literals that mean the same under every `sql_mode`.

use dujiang_core::{Code, Error, Result, TableId};
use std::fmt::Write;

/// Appends an identifier in backticks, with backticks doubled.
///
/// # Errors
/// `BadValue` when the name is empty or holds NUL, which no server accepts.
pub fn push_identifier(out: &mut String, name: &str) -> Result<()> {
    if name.is_empty() || name.contains('\0') {
        let message = format!("{name:?} cannot be the name of a table or column");
        return Err(Error::new(Code::BadValue, message).help("use a name that is not empty and has no NUL character"));
    }
    out.push('`');
    for (i, part) in name.split('`').enumerate() {
        if i > 0 {
            out.push_str("``");
        }
        out.push_str(part);
    }
    out.push('`');
    Ok(())
}

/// An identifier in backticks.
///
/// # Errors
/// As [`push_identifier`].
pub fn identifier(name: &str) -> Result<String> {
    let mut out = String::with_capacity(name.len() + 2);
    push_identifier(&mut out, name)?;
    Ok(out)
}

/// `` `database`.`table` ``.
///
/// # Errors
/// As [`push_identifier`].
pub fn table(id: &TableId) -> Result<String> {
    let mut out = String::with_capacity(id.database.len() + id.table.len() + 5);
    push_identifier(&mut out, &id.database)?;
    out.push('.');
    push_identifier(&mut out, &id.table)?;
    Ok(out)
}

/// A text literal in utf8mb4.
///
/// Whether a backslash escapes depends on `NO_BACKSLASH_ESCAPES`, so text with one (or with control characters) is
/// written in hexadecimal.
pub fn text(value: &str) -> String {
    let plain = |c: char| c != '\\' && !c.is_control();
    if value.chars().all(plain) {
        return format!("'{}'", value.replace('\'', "''"));
    }
    format!("_utf8mb4 {}", bytes(value.as_bytes()))
}

/// A binary literal: `X'00ff'`.
pub fn bytes(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len() * 2 + 3);
    out.push_str("X'");
    for byte in value {
        write!(out, "{byte:02x}").expect("invariant: a String takes everything");
    }
    out.push('\'');
    out
}

/// Literals separated by commas, for `IN (...)`.
pub fn text_list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    values.into_iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads one identifier or literal as the server's lexer does; returns its value and what follows.
    fn lex(sql: &str, backslash_escapes: bool) -> Option<(Vec<u8>, &str)> {
        if let Some(rest) = sql.strip_prefix("_utf8mb4 ") {
            return lex(rest, backslash_escapes);
        }
        if let Some(rest) = sql.strip_prefix("X'") {
            let (digits, rest) = rest.split_once('\'')?;
            let pairs = digits.as_bytes().chunks(2).map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok());
            return Some((pairs.collect::<Option<_>>()?, rest));
        }
        let quote = sql.chars().next().filter(|c| ['\'', '`'].contains(c))?;
        let (mut value, mut rest) = (String::new(), &sql[1..]);
        loop {
            let c = rest.chars().next()?;
            rest = &rest[c.len_utf8()..];
            if c == quote && rest.starts_with(quote) {
                rest = &rest[1..];
            } else if c == quote {
                return Some((value.into_bytes(), rest));
            } else if c == '\\' && quote == '\'' && backslash_escapes {
                return None;
            }
            value.push(c);
        }
    }

    fn nasty() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[`'\"\\\\a\n\t\u{1a}é漢;-]{0,12}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
        #[test]
        fn quoted_text_reads_back_under_every_mode(value in nasty(), tail in "[a-z ,)]{0,4}") {
            for mode in [true, false] {
                let sql = text(&value) + &tail;
                prop_assert_eq!(lex(&sql, mode), Some((value.clone().into_bytes(), &tail[..])));
                let sql = bytes(value.as_bytes()) + &tail;
                prop_assert_eq!(lex(&sql, mode), Some((value.clone().into_bytes(), &tail[..])));
            }
        }

        #[test]
        fn quoted_identifiers_read_back(name in nasty(), tail in "[a-z ,)]{0,4}") {
            match identifier(&name) {
                Ok(sql) => {
                    let sql = sql + &tail;
                    prop_assert_eq!(lex(&sql, true), Some((name.into_bytes(), &tail[..])));
                }
                Err(error) => {
                    prop_assert!(name.is_empty() || name.contains('\0'));
                    prop_assert_eq!(error.code(), Code::BadValue);
                }
            }
        }
    }

    #[test]
    fn tables_are_quoted_in_both_parts() {
        assert_eq!(table(&TableId::new("a`b", "c.d")).unwrap(), "`a``b`.`c.d`");
        assert_eq!(text_list(["it's", "a\\b"]), "'it''s',_utf8mb4 X'615c62'");
    }
}
