//! The definition of a column.

use super::lexer::Token;
use super::tokens::Cursor;

/// A column as its DDL defines it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewColumn {
    /// Name as written.
    pub name: String,
    /// Its type.
    pub column_type: NewType,
    /// `CHARACTER SET`, if written.
    pub charset: Option<String>,
    /// `COLLATE`, if written.
    pub collation: Option<String>,
    /// Whether `BINARY` is written: the binary collation of its character set.
    pub binary: bool,
    /// `NOT NULL` or `NULL`, if written.
    pub nullable: Option<bool>,
    /// It is the primary key.
    pub primary: bool,
    /// It has a unique index of its own.
    pub unique: bool,
    /// It counts by itself, and is therefore not NULL.
    pub counts: bool,
    /// It is a foreign key by which the server changes rows on its own.
    pub cascades: bool,
}

/// A type as its DDL writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewType {
    /// Its name in lower case, synonyms resolved.
    pub base: String,
    /// What stands in parentheses: numbers, or labels.
    pub arguments: Vec<String>,
    /// `UNSIGNED`.
    pub unsigned: bool,
    /// `ZEROFILL`, which implies it.
    pub zerofill: bool,
    /// `COMPRESSED` (MariaDB).
    pub compressed: bool,
}

/// Reads `name type [attributes]`; `None` for what cannot be understood completely.
pub(super) fn column_definition(tokens: &[Token]) -> Option<NewColumn> {
    let mut cursor = Cursor::new(tokens);
    let name = cursor.identifier()?.to_owned();
    let mut column = NewColumn { name, ..NewColumn::default() };
    type_name(&mut cursor, &mut column)?;
    if let Some(inner) = cursor.parentheses() {
        column.column_type.arguments = arguments(inner)?;
    }
    while !cursor.is_at_end() {
        attribute(&mut cursor, &mut column)?;
    }
    Some(column)
}

fn arguments(inner: &[Token]) -> Option<Vec<String>> {
    let mut out = Vec::new();
    for part in inner.split(|token| *token == Token::Symbol(',')) {
        let [Token::Word(text) | Token::Text(text)] = part else { return None };
        out.push(text.clone());
    }
    Some(out)
}

/// The base type, synonyms resolved.
fn type_name(cursor: &mut Cursor<'_>, column: &mut NewColumn) -> Option<()> {
    let Token::Word(word) = cursor.next()? else { return None };
    let mut word = word.to_ascii_lowercase();
    if matches!(word.as_str(), "national" | "nchar" | "nvarchar") {
        column.charset = Some("utf8mb3".into());
        word = match word.as_str() {
            "nchar" => "char".into(),
            "nvarchar" => "varchar".into(),
            _ => cursor.next()?.identifier()?.to_ascii_lowercase(),
        };
    }
    let base = match word.as_str() {
        "integer" | "int4" => "int",
        "int1" => "tinyint",
        "int2" => "smallint",
        "int3" | "middleint" => "mediumint",
        "int8" => "bigint",
        "dec" | "numeric" | "fixed" => "decimal",
        "double" => {
            cursor.eat("PRECISION");
            "double"
        }
        "float8" => "double",
        "float4" => "float",
        "character" | "char" if cursor.eat("VARYING") => "varchar",
        "character" => "char",
        "varcharacter" => "varchar",
        "char" if cursor.eat("BYTE") => "binary",
        "geomcollection" => "geometrycollection",
        "long" => {
            if cursor.eat("VARBINARY") {
                "mediumblob"
            } else {
                let _ = cursor.eat_any(&["VARCHAR", "VARCHARACTER"]) || cursor.eat_all(&["CHAR", "VARYING"]);
                "mediumtext"
            }
        }
        "bool" | "boolean" => {
            column.column_type.arguments = vec!["1".into()];
            "tinyint"
        }
        "serial" => {
            (column.column_type.unsigned, column.nullable) = (true, Some(false));
            (column.counts, column.unique) = (true, true);
            "bigint"
        }
        other => other,
    };
    column.column_type.base = base.to_owned();
    Some(())
}

/// Attributes that do not matter to the shape, each with the number of tokens it takes after itself.
const PLAIN: &[(&str, usize)] = &[
    ("COMMENT", 1),
    ("VISIBLE", 0),
    ("INVISIBLE", 0),
    ("COLUMN_FORMAT", 1),
    ("STORAGE", 1),
    ("SIGNED", 0),
    ("RESTRICT", 0),
    ("VIRTUAL", 0),
    ("STORED", 0),
    ("PERSISTENT", 0),
    ("ENFORCED", 0),
    ("SRID", 1),
];

fn attribute(cursor: &mut Cursor<'_>, column: &mut NewColumn) -> Option<()> {
    let first = cursor.next()?;
    match first {
        t if t.is("UNSIGNED") => column.column_type.unsigned = true,
        t if t.is("ZEROFILL") => column.column_type.zerofill = true,
        t if t.is("COMPRESSED") => {
            column.column_type.compressed = true;
            if cursor.eat_symbol('=') {
                cursor.next()?;
            }
        }
        t if t.is("NOT") => {
            if !cursor.eat("ENFORCED") {
                cursor.eat("NULL").then_some(())?;
                column.nullable = Some(false);
            }
        }
        t if t.is("NULL") => column.nullable = Some(true),
        t if t.is("AUTO_INCREMENT") => column.counts = true,
        t if t.is("PRIMARY") => {
            cursor.eat("KEY").then_some(())?;
            column.primary = true;
        }
        t if t.is("KEY") => column.primary = true,
        t if t.is("UNIQUE") => {
            cursor.eat("KEY");
            column.unique = true;
        }
        t if t.is("CHARACTER") || t.is("CHAR") => {
            cursor.eat("SET").then_some(())?;
            column.charset = Some(cursor.value()?);
        }
        t if t.is("CHARSET") => column.charset = Some(cursor.value()?),
        t if t.is("COLLATE") => column.collation = Some(cursor.value()?),
        t if t.is("BINARY") => column.binary = true,
        t if t.is("ASCII") => column.charset = Some("latin1".into()),
        t if t.is("UNICODE") => column.charset = Some("ucs2".into()),
        t if t.is("BYTE") => column.charset = Some("binary".into()),
        t if t.is("DEFAULT") => skip_default(cursor)?,
        t if t.is("ON") => {
            cursor.eat("UPDATE").then_some(())?;
            skip_default(cursor)?;
        }
        t if t.is("CONSTRAINT") => {
            if !cursor.at("CHECK") {
                cursor.identifier()?;
            }
            cursor.at("CHECK").then_some(())?;
        }
        t if t.is("CHECK") => drop(cursor.parentheses()?),
        t if t.is("GENERATED") => {
            cursor.eat_all(&["ALWAYS", "AS"]).then_some(())?;
            cursor.parentheses()?;
        }
        t if t.is("AS") => drop(cursor.parentheses()?),
        t if t.is("REFERENCES") => {
            column.cascades |= changes_rows(cursor.rest());
            *cursor = Cursor::new(&[]);
        }
        t if t.is_any(&["ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]) => {
            cursor.eat_symbol('=');
            cursor.next()?;
        }
        t => {
            let (_, used) = PLAIN.iter().find(|(word, _)| t.is(word))?;
            (0..*used).try_for_each(|_| cursor.next().map(drop))?;
        }
    }
    Some(())
}

/// Whether a foreign key lets the server change the table's rows: `ON DELETE CASCADE`, `ON UPDATE SET NULL`, ...
pub(super) fn changes_rows(reference: &[Token]) -> bool {
    let on =
        |w: &[Token]| w[0].is("ON") && w[1].is_any(&["DELETE", "UPDATE"]) && (w[2].is("CASCADE") || w[2].is("SET"));
    reference.windows(3).any(on)
}

/// A literal with an optional sign or introducer, a function with or without parentheses, or `(expression)`.
fn skip_default(cursor: &mut Cursor<'_>) -> Option<()> {
    if cursor.at_symbol('(') {
        return cursor.parentheses().map(drop);
    }
    let _ = cursor.eat_symbol('-') || cursor.eat_symbol('+');
    // `.5` and `1.5` are words and points; `b'1'`, `x'00'`, `_utf8mb4'x'` are word and text.
    if cursor.eat_symbol('.') {
        return cursor.next().map(drop);
    }
    let first = cursor.next()?;
    while cursor.eat_symbol('.') {
        if matches!(cursor.peek(), Some(Token::Word(_))) {
            cursor.next();
        }
    }
    // `1e-5`
    if matches!(first, Token::Word(word) if word.starts_with(|c: char| c.is_ascii_digit()))
        && (cursor.at_symbol('-') || cursor.at_symbol('+'))
    {
        cursor.next();
        cursor.next()?;
    }
    if let (Token::Word(_), Some(Token::Text(_))) = (first, cursor.peek()) {
        cursor.next();
    }
    while matches!((first, cursor.peek()), (Token::Text(_), Some(Token::Text(_)))) {
        cursor.next();
    }
    if cursor.at_symbol('(') {
        cursor.parentheses()?;
    }
    Some(())
}
