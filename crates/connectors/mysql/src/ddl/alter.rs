//! The parts of an ALTER TABLE.

use super::column::{NewColumn, changes_rows, column_definition};
use super::lexer::Token;
use super::tokens::{Cursor, excerpt, split_commas};

/// Where a column goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPlace {
    /// After all others.
    Last,
    /// Before all others.
    First,
    /// After the column of this name.
    After(String),
}

/// One change of a table's columns or keys.
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
    /// A column gets another definition, and maybe another name and place (`MODIFY`, `CHANGE`).
    Change {
        /// Its name so far.
        old: String,
        /// Its definition.
        column: NewColumn,
        /// Where it goes, if it moves.
        place: Option<ColumnPlace>,
        /// Whether it is no mistake when the column is not there.
        if_exists: bool,
    },
    /// A column gets another name.
    Rename {
        /// Its name so far.
        old: String,
        /// Its name from now on.
        new: String,
        /// Whether it is no mistake when the column is not there.
        if_exists: bool,
    },
    /// There is a primary key from now on.
    AddPrimary {
        /// Its columns.
        columns: Vec<String>,
    },
    /// There is no primary key any more.
    DropPrimary,
    /// There is one more unique index; it may become the key by which rows are known.
    AddUnique {
        /// Its name, if written.
        name: Option<String>,
        /// Its columns; empty if it is over a part or an expression.
        columns: Vec<String>,
    },
    /// An index, or a constraint which may be one, is dropped; it may be the key by which the table's rows are known.
    DropIndex {
        /// Its name.
        name: String,
    },
    /// An index gets another name.
    RenameIndex {
        /// Its name so far.
        old: String,
        /// Its name from now on.
        new: String,
    },
    /// All character columns are converted.
    Convert {
        /// The character set; none is the database's.
        charset: Option<String>,
        /// The collation, if written.
        collation: Option<String>,
    },
    /// Columns added from now on have this character set.
    Defaults {
        /// The character set, if written.
        charset: Option<String>,
        /// The collation, if written.
        collation: Option<String>,
    },
    /// A foreign key is added by which the server changes rows on its own.
    Cascade,
}

/// What an ALTER TABLE does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alterations {
    /// To columns and keys, in order.
    pub columns: Vec<Alteration>,
    /// The table's new name (database if written, name).
    pub rename: Option<(Option<String>, String)>,
    /// The part by which rows come or go without being logged, for people.
    pub unlogged: Option<String>,
    /// The part that could not be understood, for people.
    pub unclear: Option<String>,
}

/// A table's options, and parts that change neither rows nor columns.
const HARMLESS: &[&str] = &[
    "ALGORITHM",
    "LOCK",
    "COMMENT",
    "ENGINE",
    "TYPE",
    "ROW_FORMAT",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "COMPRESSION",
    "CONNECTION",
    "DATA",
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
    "TABLESPACE",
    "ENCRYPTED",
    "ENCRYPTION",
    "ENCRYPTION_KEY_ID",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "ENABLE",
    "DISABLE",
    "FORCE",
    "ORDER",
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
    "SECONDARY_LOAD",
    "SECONDARY_UNLOAD",
    "AUTOEXTEND_SIZE",
    "IETF_QUOTES",
    "ENGINE_ATTRIBUTE",
    "SECONDARY_ENGINE_ATTRIBUTE",
];

/// What follows the table's name in an ALTER TABLE.
pub fn alterations(tokens: &[Token]) -> Alterations {
    let mut all = Alterations::default();
    for part in split_commas(tokens) {
        if alteration(part, &mut all).is_none() && all.unclear.is_none() {
            all.unclear = Some(excerpt(part));
        }
        // What is done to partitions is the only or the last part, and lists them with commas.
        if all.unlogged.is_some() || part[0].is_any(PARTITIONS) {
            break;
        }
    }
    all
}

/// Words with which a part about partitions begins.
const PARTITIONS: &[&str] =
    &["ANALYZE", "REBUILD", "OPTIMIZE", "REPAIR", "CHECK", "REORGANIZE", "COALESCE", "PARTITION", "REMOVE"];

fn alteration(part: &[Token], all: &mut Alterations) -> Option<()> {
    let mut cursor = Cursor::new(part);
    let first = cursor.next()?;
    match first {
        t if t.is("ADD") => add(&mut cursor, all),
        t if t.is("DROP") => drop_part(&mut cursor, all),
        t if t.is_any(&["MODIFY", "CHANGE"]) => change(t.is("CHANGE"), &mut cursor, all),
        t if t.is("ALTER") => alter_default(&mut cursor),
        t if t.is("RENAME") => rename(&mut cursor, all),
        t if t.is("CONVERT") => convert(part, &mut cursor, all),
        t if t.is_any(&["DEFAULT", "CHARACTER", "CHARSET", "CHAR", "COLLATE"]) => defaults(part, all),
        // They stand after one another without commas.
        t if t.is_any(&["TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT"]) => {
            all.unlogged = Some(excerpt(part));
            Some(())
        }
        t if t.is_any(&["WITH", "WITHOUT"]) => cursor.at("VALIDATION").then_some(()),
        t if t.is("SEQUENCE") => None,
        t if t.is_any(HARMLESS) => options(part, all),
        _ => None,
    }
}

/// Table options may follow one another without commas, and a character set may be among them.
fn options(part: &[Token], all: &mut Alterations) -> Option<()> {
    let at = part.iter().position(|t| t.is_any(&["CHARSET", "COLLATE"]) || t.is("CHARACTER"));
    match at {
        Some(at) if !part[0].is_any(&["PARTITION", "REORGANIZE", "COMMENT"]) => defaults(&part[at..], all),
        _ => Some(()),
    }
}

/// `[DEFAULT] CHARACTER SET [=] x [COLLATE [=] y]`.
fn defaults(part: &[Token], all: &mut Alterations) -> Option<()> {
    let (charset, collation) = character_set(part)?;
    all.columns.push(Alteration::Defaults { charset, collation });
    Some(())
}

/// Character set and collation named among table options; the last of each counts.
pub(super) fn character_set(tokens: &[Token]) -> Option<(Option<String>, Option<String>)> {
    let mut cursor = Cursor::new(tokens);
    let (mut charset, mut collation) = (None, None);
    while !cursor.is_at_end() {
        let is_set = cursor.eat_all(&["CHARACTER", "SET"]) || cursor.eat("CHARSET") || cursor.eat_all(&["CHAR", "SET"]);
        if is_set {
            cursor.eat_symbol('=');
            charset = Some(cursor.value()?);
        } else if cursor.eat("COLLATE") {
            cursor.eat_symbol('=');
            collation = Some(cursor.value()?);
        } else {
            cursor.next();
        }
    }
    Some((charset, collation))
}

/// `CONVERT TO CHARACTER SET ...`, or MariaDB's `CONVERT PARTITION p TO TABLE t` and `CONVERT TABLE t TO PARTITION p`.
fn convert(part: &[Token], cursor: &mut Cursor<'_>, all: &mut Alterations) -> Option<()> {
    if cursor.at("PARTITION") || cursor.at("TABLE") {
        all.unlogged = Some(excerpt(part));
        return Some(());
    }
    cursor.eat("TO").then_some(())?;
    let (charset, collation) = character_set(cursor.rest())?;
    let charset = charset?;
    let charset = (charset != "default").then_some(charset);
    all.columns.push(Alteration::Convert { charset, collation });
    Some(())
}

/// `ALTER [COLUMN] c {SET DEFAULT x | DROP DEFAULT | SET [IN]VISIBLE}`, `ALTER INDEX ...`, `ALTER CHECK ...`: what is
/// written explicitly stays the same.
fn alter_default(cursor: &mut Cursor<'_>) -> Option<()> {
    if cursor.eat_any(&["INDEX", "KEY", "CHECK", "CONSTRAINT"]) {
        return Some(());
    }
    cursor.eat("COLUMN");
    cursor.if_exists();
    cursor.identifier()?;
    let ways: [&[&str]; 4] = [&["SET", "DEFAULT"], &["DROP", "DEFAULT"], &["SET", "VISIBLE"], &["SET", "INVISIBLE"]];
    ways.iter().any(|way| cursor.at_all(way)).then_some(())
}

fn rename(cursor: &mut Cursor<'_>, all: &mut Alterations) -> Option<()> {
    if cursor.eat_any(&["INDEX", "KEY"]) {
        cursor.if_exists();
        let old = cursor.identifier()?.to_owned();
        cursor.eat("TO").then_some(())?;
        let new = cursor.identifier()?.to_owned();
        all.columns.push(Alteration::RenameIndex { old, new });
        return Some(());
    }
    if cursor.eat("COLUMN") {
        let if_exists = cursor.if_exists();
        let old = cursor.identifier()?.to_owned();
        cursor.eat("TO").then_some(())?;
        let new = cursor.identifier()?.to_owned();
        all.columns.push(Alteration::Rename { old, new, if_exists });
        return Some(());
    }
    let _ = cursor.eat_any(&["TO", "AS"]) || cursor.eat_symbol('=');
    let first = cursor.identifier()?.to_owned();
    all.rename = Some(match cursor.eat_symbol('.') {
        true => (Some(first), cursor.identifier()?.to_owned()),
        false => (None, first),
    });
    cursor.is_at_end().then_some(())
}

/// Splits `FIRST` or `AFTER x` off the end of a definition.
fn placed(tokens: &[Token]) -> Option<(&[Token], Option<ColumnPlace>)> {
    let tokens = tokens.strip_suffix(&[Token::Symbol(';')]).unwrap_or(tokens);
    Some(match tokens {
        [head @ .., last] if last.is("FIRST") && head.len() > 1 => (head, Some(ColumnPlace::First)),
        [head @ .., after, name] if after.is("AFTER") && head.len() > 1 => {
            (head, Some(ColumnPlace::After(name.identifier()?.to_owned())))
        }
        all => (all, None),
    })
}

fn change(renames: bool, cursor: &mut Cursor<'_>, all: &mut Alterations) -> Option<()> {
    cursor.eat("COLUMN");
    let if_exists = cursor.if_exists();
    let old = match renames {
        true => Some(cursor.identifier()?.to_owned()),
        false => None,
    };
    let (definition, place) = placed(cursor.rest())?;
    let column = column_definition(definition)?;
    let old = old.unwrap_or_else(|| column.name.clone());
    all.columns.push(Alteration::Change { old, column, place, if_exists });
    Some(())
}

fn add(cursor: &mut Cursor<'_>, all: &mut Alterations) -> Option<()> {
    // VECTOR is also a name: `ADD vector INT`.
    let second = cursor.rest().get(1);
    if cursor.at("VECTOR") && second.is_some_and(|t| t.is_any(&["INDEX", "KEY"])) {
        return Some(());
    }
    if cursor.at("PARTITION") || cursor.eat_any(&["INDEX", "KEY", "FULLTEXT", "SPATIAL"]) {
        return Some(());
    }
    if cursor.peek()?.is_any(&["CONSTRAINT", "FOREIGN", "CHECK", "PRIMARY", "UNIQUE"]) {
        all.columns.extend(constraint(cursor)?);
        return Some(());
    }
    if cursor.at("PERIOD") || cursor.at("SYSTEM") {
        return None;
    }
    cursor.eat("COLUMN");
    let if_not_exists = cursor.if_exists();
    if let Some(inner) = cursor.parentheses() {
        for definition in split_commas(inner) {
            if let Some(first) = definition.first()
                && is_index(first)
            {
                all.columns.extend(constraint(&mut Cursor::new(definition))?);
                continue;
            }
            added(definition, if_not_exists, all)?;
        }
        return cursor.is_at_end().then_some(());
    }
    added(cursor.rest(), if_not_exists, all)
}

/// Whether a part in parentheses is an index or a constraint and not a column.
pub(super) fn is_index(first: &Token) -> bool {
    first.is_any(&["INDEX", "KEY", "FULLTEXT", "SPATIAL", "CONSTRAINT", "FOREIGN", "CHECK", "PRIMARY", "UNIQUE"])
}

/// `[CONSTRAINT [name]] {PRIMARY KEY | UNIQUE | FOREIGN KEY | CHECK} ...`, or a plain index: nothing.
pub(super) fn constraint(cursor: &mut Cursor<'_>) -> Option<Option<Alteration>> {
    let mut name = None;
    if cursor.eat("CONSTRAINT") && !cursor.peek()?.is_any(&["FOREIGN", "CHECK", "PRIMARY", "UNIQUE"]) {
        name = Some(cursor.identifier()?.to_owned());
    }
    if cursor.eat("PRIMARY") {
        cursor.eat("KEY").then_some(())?;
        let columns = indexed(cursor)?;
        return (!columns.is_empty()).then_some(Some(Alteration::AddPrimary { columns }));
    }
    if cursor.eat("UNIQUE") {
        cursor.eat_any(&["INDEX", "KEY"]);
        cursor.if_exists();
        if !cursor.at_symbol('(') && !cursor.at("USING") {
            name = Some(cursor.identifier()?.to_owned());
        }
        let columns = indexed(cursor)?;
        return Some(Some(Alteration::AddUnique { name, columns }));
    }
    if cursor.eat("FOREIGN") {
        return Some(changes_rows(cursor.rest()).then_some(Alteration::Cascade));
    }
    Some(None)
}

/// The columns of an index; none if it is over parts or expressions.
fn indexed(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    while !cursor.at_symbol('(') {
        cursor.next()?;
    }
    let mut columns = Vec::new();
    for part in split_commas(cursor.parentheses()?) {
        match part {
            [name] => columns.push(name.identifier()?.to_owned()),
            [name, order] if order.is_any(&["ASC", "DESC"]) => columns.push(name.identifier()?.to_owned()),
            _ => return Some(Vec::new()),
        }
    }
    Some(columns)
}

fn added(tokens: &[Token], if_not_exists: bool, all: &mut Alterations) -> Option<()> {
    let (definition, place) = placed(tokens)?;
    let place = place.unwrap_or(ColumnPlace::Last);
    all.columns.push(Alteration::Add { column: column_definition(definition)?, place, if_not_exists });
    Some(())
}

fn drop_part(cursor: &mut Cursor<'_>, all: &mut Alterations) -> Option<()> {
    if cursor.at("PARTITION") {
        all.unlogged = Some(format!("DROP {}", excerpt(cursor.rest())));
        return Some(());
    }
    if cursor.eat_any(&["INDEX", "KEY", "CONSTRAINT"]) {
        cursor.if_exists();
        let name = cursor.identifier()?.to_owned();
        let primary = name.eq_ignore_ascii_case("PRIMARY");
        all.columns.push(if primary { Alteration::DropPrimary } else { Alteration::DropIndex { name } });
        return Some(());
    }
    if cursor.eat("PRIMARY") {
        cursor.eat("KEY").then_some(())?;
        all.columns.push(Alteration::DropPrimary);
        return Some(());
    }
    if cursor.at("FOREIGN") || cursor.at("CHECK") {
        return Some(());
    }
    if cursor.at("PERIOD") || cursor.at("SYSTEM") {
        return None;
    }
    cursor.eat("COLUMN");
    let if_exists = cursor.if_exists();
    let name = cursor.identifier()?.to_owned();
    cursor.eat_any(&["RESTRICT", "CASCADE"]);
    cursor.is_at_end().then_some(())?;
    all.columns.push(Alteration::Drop { name, if_exists });
    Some(())
}
