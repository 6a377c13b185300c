//! The definition of an added column.

use super::lexer::Token;

/// A column as its DDL defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewColumn {
    /// Name as written.
    pub name: String,
    /// Type in the catalog's spelling, as far as it can be told: `int unsigned`, `varchar(20)`, `enum('a','b')`.
    pub column_type: String,
    /// `CHARACTER SET`, if written.
    pub charset: Option<String>,
    /// `COLLATE`, if written.
    pub collation: Option<String>,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// Reads `name type [attributes]`; `None` for what needs more than a new plain column.
pub(super) fn column_definition(tokens: &[Token]) -> Option<NewColumn> {
    let tokens = tokens.strip_suffix(&[Token::Symbol(';')]).unwrap_or(tokens);
    let (name, rest) = tokens.split_first()?;
    let (mut column_type, mut rest) = type_name(rest)?;
    if let [Token::Symbol('('), inner @ ..] = rest {
        let end = inner.iter().position(|t| *t == Token::Symbol(')'))?;
        let arguments: Vec<String> = inner[..end].iter().map(argument).collect();
        column_type.push_str(&format!("({})", arguments.concat()));
        rest = &inner[end + 1..];
    }
    let name = name.identifier()?.to_owned();
    let mut column = NewColumn { name, column_type, charset: None, collation: None, nullable: true };
    attributes(rest, &mut column)?;
    Some(column)
}

fn argument(token: &Token) -> String {
    match token {
        Token::Word(word) | Token::Quoted(word) => word.clone(),
        Token::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Token::Symbol(c) => c.to_string(),
    }
}

/// The base type in the catalog's spelling.
fn type_name(tokens: &[Token]) -> Option<(String, &[Token])> {
    let (first, rest) = tokens.split_first()?;
    let Token::Word(word) = first else { return None };
    let second = |expected: &str| rest.first().is_some_and(|t| t.is(expected));
    let word = word.to_ascii_lowercase();
    let (name, used) = match word.as_str() {
        "integer" | "int4" => ("int", 0),
        "int1" => ("tinyint", 0),
        "int2" => ("smallint", 0),
        "int3" | "middleint" => ("mediumint", 0),
        "int8" => ("bigint", 0),
        "bool" | "boolean" => ("tinyint(1)", 0),
        "dec" | "numeric" | "fixed" => ("decimal", 0),
        "double" if second("precision") => ("double", 1),
        "real" | "float8" => ("double", 0),
        "float4" => ("float", 0),
        "character" | "char" if second("varying") => ("varchar", 1),
        "character" => ("char", 0),
        "varcharacter" => ("varchar", 0),
        "serial" | "national" | "nchar" | "nvarchar" | "long" => return None,
        other => (other, 0),
    };
    Some((name.to_owned(), &rest[used..]))
}

/// Attributes that do not matter to the shape, each with the number of tokens it takes after itself.
const PLAIN: &[(&str, usize)] = &[
    ("AUTO_INCREMENT", 0),
    ("COMMENT", 1),
    ("VISIBLE", 0),
    ("COLUMN_FORMAT", 1),
    ("STORAGE", 1),
    ("SIGNED", 0),
    ("ENGINE_ATTRIBUTE", 1),
    ("SECONDARY_ENGINE_ATTRIBUTE", 1),
    ("RESTRICT", 0),
];

fn attributes(mut rest: &[Token], column: &mut NewColumn) -> Option<()> {
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if first.is("UNSIGNED") || first.is("ZEROFILL") {
            column.column_type.push_str(if first.is("UNSIGNED") { " unsigned" } else { " zerofill" });
        } else if first.is("NOT") {
            rest = rest.split_first().filter(|(t, _)| t.is("NULL"))?.1;
            column.nullable = false;
        } else if first.is("NULL") {
            column.nullable = true;
        } else if first.is("CHARACTER") || first.is("CHAR") {
            let [set, name, tail @ ..] = rest else { return None };
            column.charset = set.is("SET").then(|| value(name))??.into();
            rest = tail;
        } else if first.is("CHARSET") || first.is("COLLATE") {
            let (name, tail) = rest.split_first()?;
            let target = if first.is("COLLATE") { &mut column.collation } else { &mut column.charset };
            *target = Some(value(name)?);
            rest = tail;
        } else if first.is("DEFAULT") {
            rest = skip_default(rest)?;
        } else if first.is("ON") {
            let [update, tail @ ..] = rest else { return None };
            update.is("UPDATE").then_some(())?;
            rest = skip_default(tail)?;
        } else if first.is("CHECK") {
            rest = skip_parentheses(rest)?;
        } else {
            let (_, used) = PLAIN.iter().find(|(word, _)| first.is(word))?;
            rest = rest.get(*used..)?;
        }
    }
    Some(())
}

fn value(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) | Token::Quoted(word) | Token::Text(word) => Some(word.to_ascii_lowercase()),
        Token::Symbol(_) => None,
    }
}

/// A literal with an optional sign or introducer, a function with or without parentheses, or `(expression)`.
fn skip_default(mut rest: &[Token]) -> Option<&[Token]> {
    if matches!(rest.first()?, Token::Symbol('(')) {
        return skip_parentheses(rest);
    }
    if matches!(rest.first()?, Token::Symbol('-' | '+')) {
        rest = &rest[1..];
    }
    let first = rest.first()?;
    rest = &rest[1..];
    // `1.5` is word, point, word; `b'1'`, `x'00'`, `_utf8mb4'x'` are word and text.
    while let [Token::Symbol('.'), Token::Word(_), tail @ ..] = rest {
        rest = tail;
    }
    if matches!((first, rest.first()), (Token::Word(_), Some(Token::Text(_)))) {
        rest = &rest[1..];
    }
    if matches!(rest.first(), Some(Token::Symbol('('))) {
        rest = skip_parentheses(rest)?;
    }
    Some(rest)
}

fn skip_parentheses(tokens: &[Token]) -> Option<&[Token]> {
    let mut depth = 0i32;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (at > 0).then(|| &tokens[at + 1..]);
        }
    }
    None
}
