//! Statements in the log.

use crate::ddl::{Alteration, Effect, effect as read};
use crate::decode::statement::Query;
use crate::place::Place;
use crate::snapshot::{Verdict, lock};
use crate::stream::tables::Tables;
use dujiang_core::{Code, Error, Result};
use std::borrow::Cow;

/// A statement as text.
#[derive(Debug)]
pub struct Statement<'a> {
    /// The session's default database.
    pub database: Cow<'a, str>,
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether the text was valid UTF-8.
    pub exact: bool,
}

/// Statements that frame transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// BEGIN, START TRANSACTION, XA START.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// ROLLBACK TO a savepoint.
    RollbackToSavepoint,
    /// SAVEPOINT, RELEASE SAVEPOINT, XA END.
    Savepoint,
    /// XA COMMIT, XA ROLLBACK.
    Xa,
    /// Any other statement.
    None,
}

impl<'a> Statement<'a> {
    /// The statement of an event.
    pub fn of(query: &Query<'a>) -> Self {
        let text = String::from_utf8_lossy(query.statement);
        Self { database: Cow::Borrowed(query.database), exact: matches!(text, Cow::Borrowed(_)), text }
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
            ("BEGIN", _) | ("START", "TRANSACTION") | ("XA", "START" | "BEGIN") => Control::Begin,
            ("COMMIT", "" | "WORK") => Control::Commit,
            ("ROLLBACK", "TO") => Control::RollbackToSavepoint,
            ("ROLLBACK", "WORK") if words.next().as_deref() == Some("TO") => Control::RollbackToSavepoint,
            ("ROLLBACK", _) => Control::Rollback,
            ("SAVEPOINT", _) | ("RELEASE", "SAVEPOINT") | ("XA", "END") => Control::Savepoint,
            ("XA", _) => Control::Xa,
            _ => Control::None,
        }
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
        Effect::Columns { table, alterations } => {
            let at = tables.find(&table.database, &table.table).expect("invariant: the table is captured");
            Ok(Some(Ddl { table: at, alterations, statement: statement.text.clone().into_owned(), next: None }))
        }
        Effect::Other { table, what } => Err(Error::new(
            Code::SchemaChange,
            format!("captured table {table} was changed by a statement that cannot be carried through: {what}"),
        )
        .fact("statement", shortened(&statement.text))
        .help("start a new pipeline with a new snapshot of the table, or leave it out of `tables`")),
        Effect::Statement { verb } => logged_as_text(statement, &verb, tables),
    }
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
