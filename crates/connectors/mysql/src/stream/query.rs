//! Statements in the log.

use crate::ddl::{Alteration, Effect, effect as read};
use crate::decode::statement::Query;
use crate::place::Place;
use crate::snapshot::{Verdict, lock};
use crate::stream::tables::Tables;
use dujiang_core::{Code, Error, Result, TableId};
use std::borrow::Cow;

/// A statement as text.
#[derive(Debug)]
pub struct Statement<'a> {
    /// The session's default database.
    pub database: Cow<'a, str>,
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether the text could be read in the client's character set.
    pub exact: bool,
}

/// Statements that frame transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// ROLLBACK TO a savepoint.
    RollbackToSavepoint,
    /// SAVEPOINT.
    Savepoint,
    /// RELEASE SAVEPOINT.
    ReleaseSavepoint,
    /// XA START.
    XaStart,
    /// XA END.
    XaEnd,
    /// XA COMMIT of what was prepared before.
    XaCommit,
    /// XA ROLLBACK of what was prepared before.
    XaRollback,
    /// Any other statement.
    None,
}

impl<'a> Statement<'a> {
    /// The statement of an event.
    pub fn of(query: &Query<'a>) -> Self {
        let text = query.text();
        let exact = text.is_ok();
        let text = text.unwrap_or_else(|_| String::from_utf8_lossy(query.statement));
        Self { database: Cow::Borrowed(query.database), text, exact }
    }

    /// The same, independent of the event.
    pub fn into_owned(self) -> Statement<'static> {
        let text = Cow::Owned(self.text.into_owned());
        Statement { database: Cow::Owned(self.database.into_owned()), text, exact: self.exact }
    }

    /// Whether it frames a transaction.
    pub fn control(&self) -> Control {
        let mut words = self.text.split_ascii_whitespace().map(|w| w.trim_end_matches(';').to_ascii_uppercase());
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match (first.as_str(), second.as_str()) {
            ("BEGIN", _) | ("START", "TRANSACTION") => Control::Begin,
            ("COMMIT", "" | "WORK") => Control::Commit,
            ("ROLLBACK", "TO") => Control::RollbackToSavepoint,
            ("ROLLBACK", "WORK") if words.next().as_deref() == Some("TO") => Control::RollbackToSavepoint,
            ("ROLLBACK", _) => Control::Rollback,
            ("SAVEPOINT", _) => Control::Savepoint,
            ("RELEASE", "SAVEPOINT") => Control::ReleaseSavepoint,
            ("XA", "START" | "BEGIN") => Control::XaStart,
            ("XA", "END") => Control::XaEnd,
            ("XA", "COMMIT") => Control::XaCommit,
            ("XA", "ROLLBACK") => Control::XaRollback,
            _ => Control::None,
        }
    }
}

impl Statement<'_> {
    /// The identifier in an XA statement, as the log writes it: `X'61',X'62',7`.
    pub fn xid(&self) -> String {
        let words = self.text.split_ascii_whitespace().skip(2);
        words.collect::<String>().trim_end_matches(';').replace('x', "X")
    }

    /// The name in SAVEPOINT and ROLLBACK TO, as it is written.
    pub fn savepoint(&self) -> String {
        let text = self.text.trim().trim_end_matches(';').trim_end();
        let quoted = text.ends_with('`').then(|| text.find('`')).flatten();
        let name = quoted.map_or_else(|| text.rsplit(char::is_whitespace).next().unwrap_or(text), |at| &text[at..]);
        name.to_lowercase()
    }
}

/// A change of a captured table's columns, to be carried through.
#[derive(Debug, Clone, PartialEq)]
pub struct Ddl {
    /// The table's number.
    pub table: usize,
    /// What is done.
    pub alterations: Vec<Alteration>,
    /// The statement.
    pub statement: String,
    /// Where the event after it begins.
    pub next: Option<Place>,
}

impl Ddl {
    /// Whether no chunk of the table that was read before it is still to be handed out.
    pub(super) fn passes_handoff(&mut self, tables: &Tables, begin: &Place) -> bool {
        let handoff = tables.get(self.table).handoff.as_ref();
        handoff.is_none_or(|h| lock(h).judge_table(begin) == Verdict::Pass)
    }
}

/// What a statement does to captured tables; `None` for nothing.
///
/// # Errors
/// `SchemaChange` for what cannot be carried through, `UnknownEvent` for rows logged as text.
pub fn effect(statement: &Statement<'_>, tables: &Tables) -> Result<Option<Ddl>> {
    let captured = |database: &str, table: &str| tables.captured(database, table);
    match read(&statement.text, &statement.database, &captured) {
        Effect::None if statement.exact || captured(&statement.database, "").is_none() => Ok(None),
        Effect::None | Effect::Unreadable => unreadable(statement, tables),
        Effect::Columns { table, .. } if !statement.exact => {
            Err(not_carried(statement, &table, "its text is in a character set that cannot be read"))
        }
        Effect::Columns { table, mut alterations } => {
            let at = tables.find(&table.database, &table.table).expect("invariant: the table is captured");
            if let Some(index) =
                alterations.iter().find_map(|a| dropped_key(a, tables.get(at).shape.key_name.as_deref()))
            {
                let what = format!("it drops or renames {index}, the index by which rows are known");
                return Err(not_carried(statement, &table, &what));
            }
            alterations.retain(|a| !matches!(a, Alteration::DropIndex { .. }));
            if alterations.is_empty() {
                return Ok(None);
            }
            Ok(Some(Ddl { table: at, alterations, statement: statement.text.clone().into_owned(), next: None }))
        }
        Effect::Other { table, what } => Err(not_carried(statement, &table, &what)),
        Effect::Statement { verb } => logged_as_text(statement, &verb, tables),
    }
}

/// The index's name if the alteration takes it away.
fn dropped_key<'a>(alteration: &'a Alteration, key: Option<&str>) -> Option<&'a str> {
    match alteration {
        Alteration::DropIndex { name } if key.is_some_and(|key| key.to_lowercase() == name.to_lowercase()) => {
            Some(name)
        }
        _ => None,
    }
}

#[cold]
fn not_carried(statement: &Statement<'_>, table: &TableId, what: &str) -> Error {
    let message = format!("captured table {table} was changed by a statement that cannot be carried through: {what}");
    Error::new(Code::SchemaChange, message)
        .fact("statement", shortened(&statement.text))
        .help("start a new pipeline with a new snapshot of the table, or leave it out of `tables`")
}

/// A statement that changes rows of a captured database, without the rows.
fn logged_as_text(statement: &Statement<'_>, verb: &str, tables: &Tables) -> Result<Option<Ddl>> {
    let text = statement.text.to_lowercase();
    let named = tables.iter().any(|t| text.contains(&t.id.database.to_lowercase()));
    if tables.captured(&statement.database, "").is_none() && !named {
        return Ok(None);
    }
    Err(Error::new(
        Code::UnknownEvent,
        format!("{verb} in database {} was logged as a statement, without its rows", statement.database),
    )
    .fact("statement", shortened(&statement.text))
    .help(
        "a session has set binlog_format to STATEMENT or MIXED: forbid that, and start a new pipeline with a new snapshot",
    ))
}

fn unreadable(statement: &Statement<'_>, tables: &Tables) -> Result<Option<Ddl>> {
    let text = statement.text.to_lowercase();
    let mentioned = tables.iter().any(|t| text.contains(&t.id.table.to_lowercase()));
    if statement.exact && !mentioned && tables.captured(&statement.database, "").is_none() {
        return Ok(None);
    }
    Err(Error::new(
        Code::SchemaChange,
        format!("a statement in database {} cannot be read: it may change captured tables", statement.database),
    )
    .fact("statement", shortened(&statement.text))
    .help("start a new pipeline with a new snapshot, and report the statement"))
}

/// At most 200 characters, for messages.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(200).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Shape, ShapeColumn};

    fn tables() -> Tables {
        let column = ShapeColumn {
            name: "a".into(),
            column_type: "int(11)".into(),
            charset: None,
            collation: None,
            nullable: false,
        };
        let shape = Shape {
            database: "shop".into(),
            table: "orders".into(),
            version: 1,
            columns: vec![column],
            key: vec![0],
            zero_dates: Default::default(),
            key_name: Some("u".into()),
        };
        Tables::new(vec![shape]).unwrap()
    }

    fn code(tables: &Tables, statement: &[u8], collation: u16) -> Result<bool, Code> {
        let status = [&[4][..], &collation.to_le_bytes(), &[0; 4]].concat();
        let query = Query { thread_id: 1, error_code: 0, status: &status, database: "shop", statement };
        effect(&Statement::of(&query), tables).map(|ddl| ddl.is_some()).map_err(|e| e.code())
    }

    #[test]
    fn the_index_rows_are_known_by_cannot_go() {
        let tables = tables();
        let read = |sql: &str| code(&tables, sql.as_bytes(), 45);
        assert_eq!(read("DROP INDEX other ON orders"), Ok(false));
        assert_eq!(read("ALTER TABLE orders DROP INDEX other, ADD b INT"), Ok(true));
        assert_eq!(read("DROP INDEX U ON orders"), Err(Code::SchemaChange));
        assert_eq!(read("ALTER TABLE orders DROP CONSTRAINT u"), Err(Code::SchemaChange));
        assert_eq!(read("ALTER TABLE orders RENAME INDEX u TO w"), Err(Code::SchemaChange));
    }

    #[test]
    fn names_mean_a_table_whatever_their_case_where_the_server_says_so() {
        let mut tables = tables();
        assert_eq!(code(&tables, b"TRUNCATE TABLE SHOP.Orders", 45), Ok(false));
        tables.fold_case(true);
        assert_eq!(code(&tables, b"TRUNCATE TABLE SHOP.Orders", 45), Err(Code::SchemaChange));
        assert_eq!(code(&tables, b"ALTER TABLE ORDERS ADD b INT", 45), Ok(true));
        assert_eq!(tables.find("shop", "ORDERS"), Some(0));
    }

    #[test]
    fn statements_are_read_in_the_clients_character_set() {
        let (tables, latin1, gbk) = (tables(), 8, 28);
        let added = b"ALTER TABLE orders ADD e ENUM('\xe9')";
        assert_eq!(code(&tables, added, latin1), Ok(true));
        assert_eq!(code(&tables, added, gbk), Err(Code::SchemaChange), "the label would be another");
        assert_eq!(code(&tables, b"CREATE VIEW v AS SELECT '\xe9'", latin1), Ok(false));
    }
}
