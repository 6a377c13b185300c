//! The parts of an ALTER TABLE.

use super::column::{NewColumn, column_definition};
use super::lexer::Token;

/// Where an added column goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPlace {
    /// After all others.
    Last,
    /// Before all others.
    First,
    /// After the column of this name.
    After(String),
}

/// One change of a table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// A column is added.
    Add {
        /// The column.
        column: NewColumn,
        /// Where.
        place: ColumnPlace,
        /// Whether it is no mistake when the column is there.
        if_not_exists: bool,
    },
    /// A column is dropped.
    Drop {
        /// Its name.
        name: String,
        /// Whether it is no mistake when the column is not there.
        if_exists: bool,
    },
    /// An index is dropped or renamed; it may be the key by which the table's rows are known.
    DropIndex {
        /// Its name.
        name: String,
    },
}

/// A table's options, and parts that change neither rows nor columns.
const HARMLESS: &[&str] = &[
    "ALGORITHM",
    "LOCK",
    "COMMENT",
    "ENGINE",
    "ROW_FORMAT",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "COMPRESSION",
    "CONNECTION",
    "DELAY_KEY_WRITE",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PASSWORD",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "TRANSACTIONAL",
    "PAGE_CHECKSUM",
    "TABLE_CHECKSUM",
    "ENCRYPTED",
    "ENCRYPTION",
    "ENCRYPTION_KEY_ID",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "ENABLE",
    "DISABLE",
    "FORCE",
    "ORDER",
    "DEFAULT",
    "CHARSET",
    "CHARACTER",
    "COLLATE",
    "NOWAIT",
    "WAIT",
    "ANALYZE",
    "REBUILD",
    "OPTIMIZE",
    "REPAIR",
    "CHECK",
    "REORGANIZE",
    "COALESCE",
    "PARTITION",
    "REMOVE",
    "SECONDARY_ENGINE",
    "AUTOEXTEND_SIZE",
    "IETF_QUOTES",
    "WITH",
    "WITHOUT",
    "SEQUENCE",
];

/// The column changes of an ALTER TABLE, after the table's name.
///
/// # Errors
/// The part that is more than that, for people.
pub fn alterations(tokens: &[Token]) -> Result<Vec<Alteration>, String> {
    let mut all = Vec::new();
    for part in split_commas(tokens) {
        alteration(part, &mut all).ok_or_else(|| excerpt(part))?;
    }
    Ok(all)
}

/// Cuts at commas outside parentheses.
pub(super) fn split_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0i32;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            Token::Symbol(',') if depth == 0 => {
                parts.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts.retain(|part| !part.is_empty() && *part != [Token::Symbol(';')]);
    parts
}

fn excerpt(part: &[Token]) -> String {
    let words = part.iter().take(6).map(|t| match t {
        Token::Word(w) | Token::Quoted(w) => w.clone(),
        Token::Text(_) => "'...'".to_owned(),
        Token::Symbol(c) => c.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn alteration(part: &[Token], all: &mut Vec<Alteration>) -> Option<()> {
    let (first, rest) = part.split_first()?;
    match first {
        t if t.is("ADD") => add(rest, all),
        t if t.is("DROP") => drop_part(rest, all),
        t if t.is("ALTER") => alter_default(rest),
        t if t.is("RENAME") => {
            rest.first().filter(|t| t.is("INDEX") || t.is("KEY"))?;
            drop_index(&rest[1..], all)
        }
        t if t.is("WITH") || t.is("WITHOUT") => rest.first().filter(|t| t.is("VALIDATION")).map(|_| ()),
        t if t.is("CHECK") || t.is("SEQUENCE") => None,
        t => HARMLESS.iter().any(|word| t.is(word)).then_some(()),
    }
}

/// `ALTER [COLUMN] c {SET DEFAULT x | DROP DEFAULT}`, `ALTER INDEX ...`: what is written explicitly stays the same.
fn alter_default(rest: &[Token]) -> Option<()> {
    if rest.first()?.is("INDEX") || rest.first()?.is("KEY") {
        return Some(());
    }
    let rest = rest.strip_prefix_word("COLUMN");
    let action = rest.get(1)?;
    let what = rest.get(2)?;
    ((action.is("SET") || action.is("DROP")) && what.is("DEFAULT")).then_some(())
}

fn add(rest: &[Token], all: &mut Vec<Alteration>) -> Option<()> {
    let first = rest.first()?;
    // VECTOR is also a name: `ADD vector INT`.
    let vector_index = first.is("VECTOR") && rest.get(1).is_some_and(|t| t.is("INDEX") || t.is("KEY"));
    let words = ["INDEX", "KEY", "UNIQUE", "FULLTEXT", "SPATIAL", "PARTITION"];
    if vector_index || words.iter().any(|w| first.is(w)) {
        return Some(());
    }
    if first.is("CONSTRAINT") || first.is("FOREIGN") || first.is("CHECK") || first.is("PRIMARY") {
        return constraint(rest);
    }
    if first.is("PERIOD") || first.is("SYSTEM") {
        return None;
    }
    let rest = rest.strip_prefix_word("COLUMN");
    let (rest, if_not_exists) = strip_if_exists(rest);
    if let Some(inner) = parenthesised(rest) {
        for definition in split_commas(inner) {
            all.push(added(definition, if_not_exists)?);
        }
        return Some(());
    }
    all.push(added(rest, if_not_exists)?);
    Some(())
}

/// A constraint neither moves the key nor lets the server change rows behind the log.
fn constraint(rest: &[Token]) -> Option<()> {
    let bad = ["PRIMARY", "CASCADE", "SET"];
    (!rest.iter().any(|t| bad.iter().any(|w| t.is(w)))).then_some(())
}

fn added(tokens: &[Token], if_not_exists: bool) -> Option<Alteration> {
    let (definition, place) = match tokens {
        [head @ .., last] if last.is("FIRST") => (head, ColumnPlace::First),
        [head @ .., after, name] if after.is("AFTER") => (head, ColumnPlace::After(name.identifier()?.to_owned())),
        all => (all, ColumnPlace::Last),
    };
    Some(Alteration::Add { column: column_definition(definition)?, place, if_not_exists })
}

fn drop_part(rest: &[Token], all: &mut Vec<Alteration>) -> Option<()> {
    let first = rest.first()?;
    if ["INDEX", "KEY", "CONSTRAINT"].iter().any(|w| first.is(w)) {
        return drop_index(&rest[1..], all);
    }
    if ["FOREIGN", "CHECK"].iter().any(|w| first.is(w)) {
        return Some(());
    }
    if ["PRIMARY", "PARTITION", "PERIOD", "SYSTEM"].iter().any(|w| first.is(w)) {
        return None;
    }
    let (rest, if_exists) = strip_if_exists(rest.strip_prefix_word("COLUMN"));
    let (name, tail) = rest.split_first()?;
    let harmless_tail = tail.iter().all(|t| t.is("RESTRICT") || t.is("CASCADE") || *t == Token::Symbol(';'));
    harmless_tail.then_some(())?;
    all.push(Alteration::Drop { name: name.identifier()?.to_owned(), if_exists });
    Some(())
}

/// The name of an index, or of a constraint, which may be one.
fn drop_index(rest: &[Token], all: &mut Vec<Alteration>) -> Option<()> {
    let name = strip_if_exists(rest).0.first()?.identifier()?;
    (!name.eq_ignore_ascii_case("PRIMARY")).then_some(())?;
    all.push(Alteration::DropIndex { name: name.to_owned() });
    Some(())
}

fn strip_if_exists(tokens: &[Token]) -> (&[Token], bool) {
    match tokens {
        [i, e, rest @ ..] if i.is("IF") && e.is("EXISTS") => (rest, true),
        [i, n, e, rest @ ..] if i.is("IF") && n.is("NOT") && e.is("EXISTS") => (rest, true),
        all => (all, false),
    }
}

/// What is between `(` and the `)` at the very end.
fn parenthesised(tokens: &[Token]) -> Option<&[Token]> {
    let tokens = tokens.strip_suffix(&[Token::Symbol(';')]).unwrap_or(tokens);
    match tokens {
        [Token::Symbol('('), inner @ .., Token::Symbol(')')] => Some(inner),
        _ => None,
    }
}

trait StripWord {
    fn strip_prefix_word(&self, word: &str) -> &Self;
}

impl StripWord for [Token] {
    fn strip_prefix_word(&self, word: &str) -> &Self {
        match self {
            [first, rest @ ..] if first.is(word) => rest,
            all => all,
        }
    }
}
