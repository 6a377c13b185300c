//! The definition of a new table.

use super::alter::{Alteration, character_set, constraint, is_index};
use super::column::{NewColumn, column_definition};
use super::lexer::Token;
use super::tokens::{Cursor, excerpt, split_commas};

/// A table as its CREATE TABLE defines it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Definition {
    /// Its columns, in order.
    pub columns: Vec<NewColumn>,
    /// Its keys that may tell rows apart, and its cascading foreign keys.
    pub keys: Vec<Alteration>,
    /// Its default character set, if written.
    pub charset: Option<String>,
    /// Its default collation, if written.
    pub collation: Option<String>,
}

/// Where a new table's columns are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the statement.
    Defined(Definition),
    /// In another table (database if written, name).
    Like(Option<String>, String),
    /// Not in a way that could be understood; for people.
    Unclear(String),
}

/// Reads what follows the name of a new table.
pub(super) fn origin(tokens: &[Token]) -> Origin {
    let mut cursor = Cursor::new(tokens);
    let inner = cursor.at_symbol('(').then(|| cursor.parentheses()).flatten();
    let mut like = match inner {
        Some([first, ..]) if first.is("LIKE") => Cursor::new(inner.unwrap_or_default()),
        _ => Cursor::new(tokens),
    };
    if like.eat("LIKE")
        && let Some(other) = name(&mut like)
    {
        return Origin::Like(other.0, other.1);
    }
    let unclear = || Origin::Unclear(excerpt(tokens));
    let Some(inner) = inner else { return unclear() };
    let Some(mut definition) = definition(inner) else { return unclear() };
    let options = cursor.rest();
    let end = options.iter().position(|t| t.is_any(&["PARTITION", "UNION"])).unwrap_or(options.len());
    // Columns of a SELECT come after those that are defined; and what versioned tables hide is not known here.
    let odd = ["SELECT", "WITH", "VALUES", "TABLE"];
    if options[..end].iter().any(|t| t.is_any(&odd)) {
        return unclear();
    }
    let Some((charset, collation)) = character_set(&options[..end]) else { return unclear() };
    (definition.charset, definition.collation) = (charset, collation);
    Origin::Defined(definition)
}

/// `[database.]table`.
pub(super) fn name(cursor: &mut Cursor<'_>) -> Option<(Option<String>, String)> {
    let first = cursor.identifier()?.to_owned();
    if cursor.eat_symbol('.') {
        return Some((Some(first), cursor.identifier()?.to_owned()));
    }
    Some((None, first))
}

fn definition(inner: &[Token]) -> Option<Definition> {
    let mut definition = Definition::default();
    for part in split_commas(inner) {
        let first = part.first()?;
        if first.is_any(&["PERIOD"]) {
            return None;
        }
        let vector = first.is("VECTOR") && part.get(1).is_some_and(|t| t.is_any(&["INDEX", "KEY"]));
        if is_index(first) || vector {
            definition.keys.extend(constraint(&mut Cursor::new(part))?);
        } else {
            definition.columns.push(column_definition(part)?);
        }
    }
    (!definition.columns.is_empty()).then_some(definition)
}
