//! Statements in the log.

use crate::ddl::model::Habits;
use crate::ddl::plan::{After, Fate, Known, plan};
use crate::ddl::{Action, Effect, Reading, effect as read};
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
    /// `sql_mode` of the session.
    pub sql_mode: u64,
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
        Self { database: Cow::Borrowed(query.database), text, exact, sql_mode: query.sql_mode() }
    }

    /// The same, independent of the event.
    pub fn into_owned(self) -> Statement<'static> {
        let text = Cow::Owned(self.text.into_owned());
        Statement { database: Cow::Owned(self.database.into_owned()), text, ..self }
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

/// A statement that may change tables, to be carried through.
#[derive(Debug, Clone, PartialEq)]
pub struct Ddl {
    /// What it does; none when it cannot be read.
    pub actions: Option<Vec<Action>>,
    /// The captured tables that it may change.
    pub tables: Vec<usize>,
    /// The session's default database.
    pub database: String,
    /// How the session's server reads it.
    pub reading: Reading,
    /// The statement.
    pub statement: String,
    /// Where its transaction begins.
    pub begin: Place,
    /// Where the event after it begins.
    pub next: Option<Place>,
}

impl Ddl {
    /// Whether no chunk of its tables that was read before it is still to be handed out.
    pub(super) fn passes_handoff(&self, tables: &Tables) -> bool {
        let passes = |at: &usize| {
            let handoff = tables.get(*at).handoff.as_ref();
            handoff.is_none_or(|h| lock(h).judge_table(&self.begin) == Verdict::Pass)
        };
        self.tables.iter().all(passes)
    }

    /// Whether a captured table may look different after it.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn reshapes(&self, tables: &Tables) -> Result<bool> {
        let Some(actions) = &self.actions else { return Ok(true) };
        let plan = plan(actions, tables, &Habits { reading: self.reading, ..Habits::default() })?;
        let reshaped = |fate: &Fate| match &fate.after {
            After::New { .. } => false,
            After::Kept { shape: Ok(after), .. } => {
                let before = tables.captured_shape(&fate.table);
                after.key_unsure || before.is_none_or(|before| !after.shape.is_like(before))
            }
            After::Kept { shape: Err(_), .. } | After::Gone | After::Replaced { .. } => true,
        };
        Ok(plan.fates.iter().any(reshaped))
    }
}

/// What a statement whose transaction begins at `begin` does to tables that are captured or would be; `None` for nothing.
///
/// # Errors
/// `UnknownEvent` for rows logged as text.
pub fn effect(statement: &Statement<'_>, tables: &Tables, begin: &Place) -> Result<Option<Ddl>> {
    let reading = Reading { sql_mode: statement.sql_mode, ..tables.names().reading };
    let ddl = |actions: Option<Vec<Action>>, concerned: Vec<usize>| Ddl {
        actions,
        tables: concerned,
        database: statement.database.clone().into_owned(),
        reading,
        statement: statement.text.clone().into_owned(),
        begin: begin.clone(),
        next: None,
    };
    match read(&statement.text, &statement.database, &reading) {
        // In an unknown character set a quote may be half of a character: what stands in it may be anything.
        Effect::None if statement.exact || tables.captured(&statement.database, "").is_none() => Ok(None),
        Effect::None | Effect::Unreadable => Ok(riddle(statement, tables, begin).map(|concerned| ddl(None, concerned))),
        Effect::Tables(actions) => {
            let concerned = concerned(&actions, tables, begin);
            if statement.exact {
                let actions: Vec<Action> =
                    actions.into_iter().flat_map(|action| of_joined(action, tables, begin)).collect();
                let habits = Habits { reading, ..Habits::default() };
                if concerned.is_empty() && plan(&actions, tables, &habits)?.is_nothing() {
                    return Ok(None);
                }
                return Ok(Some(ddl(Some(actions), concerned)));
            }
            Ok((!concerned.is_empty()).then(|| ddl(None, concerned)))
        }
        Effect::Statement { verb } => logged_as_text(statement, &verb, tables),
    }
}

/// What an action is to tables that have joined. Those that have not are as they will be when they do: nothing before that
/// is theirs.
fn of_joined(action: Action, tables: &Tables, begin: &Place) -> Vec<Action> {
    let early = |id: &TableId| tables.find(&id.database, &id.table).is_some_and(|at| !tables.get(at).has_joined(begin));
    match action {
        Action::Rename { from, to } => match (early(&from), early(&to)) {
            (true, true) => Vec::new(),
            (true, false) => vec![Action::Rename { from: TableId::new("", ""), to }],
            (false, true) => vec![Action::Drop { table: from }],
            (false, false) => vec![Action::Rename { from, to }],
        },
        Action::DropDatabase { database } => {
            let gone = tables.of_database(&database.database).into_iter().filter(|id| !early(id));
            gone.map(|table| Action::Drop { table }).collect()
        }
        action if early(action.table()) => Vec::new(),
        action => vec![action],
    }
}

/// The captured tables that are named.
fn concerned(actions: &[Action], tables: &Tables, begin: &Place) -> Vec<usize> {
    let mut out = Vec::new();
    for action in actions {
        match action {
            Action::DropDatabase { database } => {
                let folded = tables.names().folded(&database.database);
                out.extend(tables.iter().filter(|(_, t)| tables.names().folded(&t.id.database) == folded).map(|t| t.0));
            }
            Action::Rename { from, to } => {
                out.extend([from, to].into_iter().filter_map(|id| tables.find(&id.database, &id.table)));
            }
            action => out.extend(tables.find(&action.table().database, &action.table().table)),
        }
    }
    out.sort_unstable();
    out.dedup();
    out.retain(|&at| tables.get(at).has_joined(begin));
    out
}

/// The captured tables that a statement may change that cannot be read: those whose names stand in it, or all of its
/// database if none does.
fn riddle(statement: &Statement<'_>, tables: &Tables, begin: &Place) -> Option<Vec<usize>> {
    let text = statement.text.to_lowercase();
    let joined = || tables.iter().filter(|(_, table)| table.has_joined(begin));
    let named: Vec<usize> =
        joined().filter(|(_, table)| text.contains(&table.id.table.to_lowercase())).map(|t| t.0).collect();
    let of_database = || {
        let folded = tables.names().folded(&statement.database).into_owned();
        joined().filter(|(_, t)| *tables.names().folded(&t.id.database) == *folded).map(|t| t.0).collect()
    };
    let found: Vec<usize> = if named.is_empty() { of_database() } else { named };
    (!found.is_empty()).then_some(found)
}

/// A statement that changes rows of a captured database, without the rows.
fn logged_as_text(statement: &Statement<'_>, verb: &str, tables: &Tables) -> Result<Option<Ddl>> {
    let text = statement.text.to_lowercase();
    let named = tables.iter().any(|(_, t)| text.contains(&t.id.database.to_lowercase()));
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

/// At most 200 characters, for messages.
pub fn shortened(text: &str) -> String {
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
    use crate::stream::scope::Names;

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
            collation: None,
        };
        Tables::new(vec![shape]).unwrap()
    }

    fn met(tables: &Tables, statement: &[u8], collation: u16) -> Option<Ddl> {
        let status = [&[4][..], &collation.to_le_bytes(), &[0; 4]].concat();
        let query = Query { thread_id: 1, error_code: 0, status: &status, database: "shop", statement };
        effect(&Statement::of(&query), tables, &Place::new("bin.000001", 4).unwrap()).unwrap()
    }

    #[test]
    fn statements_are_read_in_the_clients_character_set() {
        let (tables, latin1, gbk) = (tables(), 8, 28);
        let read = |statement: &[u8], collation| met(&tables, statement, collation).map(|ddl| ddl.actions.is_some());
        assert_eq!(read(b"ALTER TABLE orders ADD e ENUM('\xe9')", latin1), Some(true));
        assert_eq!(read(b"ALTER TABLE orders ADD e ENUM('\xe9')", gbk), Some(false), "the label would be another");
        assert_eq!(read(b"CREATE VIEW v AS SELECT '\xe9'", latin1), None);
    }

    #[test]
    fn names_mean_a_table_whatever_their_case_where_the_server_says_so() {
        let mut tables = tables();
        let concerned = |tables: &Tables| met(tables, b"TRUNCATE TABLE SHOP.Orders", 45).map(|ddl| ddl.tables);
        assert_eq!(concerned(&tables), None);
        tables.set_names(Names { folds_case: true, ..Names::default() });
        assert_eq!(concerned(&tables), Some(vec![0]));
        assert_eq!(tables.find("shop", "ORDERS"), Some(0));
    }

    #[test]
    fn what_reshapes_a_captured_table_is_known() {
        let tables = tables();
        let reshapes = |sql: &str| met(&tables, sql.as_bytes(), 45).is_some_and(|ddl| ddl.reshapes(&tables).unwrap());
        for sql in
            ["ALTER TABLE orders ADD UNIQUE (a)", "TRUNCATE orders", "DROP INDEX x ON orders", "DROP TABLE other"]
        {
            assert!(!reshapes(sql), "{sql}");
        }
        for sql in ["ALTER TABLE orders ADD b INT", "DROP INDEX u ON orders", "FROBNICATE orders", "DROP TABLE orders"]
        {
            assert!(reshapes(sql), "{sql}");
        }
    }
}
