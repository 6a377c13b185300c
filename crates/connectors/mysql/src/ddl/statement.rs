//! What a statement does to tables.

use super::alter::{Alteration, alterations};
use super::create::{Origin, name, origin};
use super::lexer::{Reading, Token, lex};
use super::tokens::Cursor;
use dujiang_core::TableId;

/// What a statement from the log means for tables. Names are as written; whose tables they are is for others to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Nothing that concerns tables.
    None,
    /// Tables are made, changed or removed, in this order.
    Tables(Vec<Action>),
    /// Rows changed by a statement that was logged as text: the rows are not in the log.
    Statement {
        /// Its first word.
        verb: String,
    },
    /// It cannot be read well enough to tell.
    Unreadable,
}

/// One thing that is done to one table.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It is made, empty (rows of a SELECT follow as rows).
    Create {
        /// The table.
        table: TableId,
        /// Where its columns are told.
        origin: Origin,
        /// A table of that name is removed first.
        replaces: bool,
        /// Nothing is done when there is a table of that name.
        if_not_exists: bool,
    },
    /// Its columns or keys are changed.
    Alter {
        /// The table.
        table: TableId,
        /// How.
        alterations: Vec<Alteration>,
        /// The part that could not be understood, for people.
        unclear: Option<String>,
    },
    /// It gets another name.
    Rename {
        /// Its name so far.
        from: TableId,
        /// Its name from now on.
        to: TableId,
    },
    /// All its rows are removed.
    Truncate {
        /// The table.
        table: TableId,
    },
    /// It is removed.
    Drop {
        /// The table.
        table: TableId,
    },
    /// All tables of a database are removed.
    DropDatabase {
        /// The database, as a table without a name.
        database: TableId,
    },
    /// Rows come or go without being logged.
    Unlogged {
        /// The table.
        table: TableId,
        /// How, for people.
        what: String,
    },
}

impl Action {
    /// The table it is done to; the first of two. Of a whole database, one without a name.
    pub fn table(&self) -> &TableId {
        match self {
            Action::Create { table, .. }
            | Action::Alter { table, .. }
            | Action::Rename { from: table, .. }
            | Action::Truncate { table }
            | Action::Drop { table }
            | Action::Unlogged { table, .. } => table,
            Action::DropDatabase { database } => database,
        }
    }
}

/// Reads a statement; `database` is the session's default.
pub fn effect(sql: &str, database: &str, reading: &Reading) -> Effect {
    let Some(tokens) = lex(sql, reading) else { return Effect::Unreadable };
    let mut statement = Statement { cursor: Cursor::new(&tokens), database, actions: Vec::new() };
    match statement.read() {
        Some(Kind::Rows(verb)) => Effect::Statement { verb },
        Some(Kind::Tables) if statement.actions.is_empty() => Effect::None,
        Some(Kind::Tables) => Effect::Tables(statement.actions),
        None if tokens.is_empty() => Effect::None,
        None => Effect::Unreadable,
    }
}

enum Kind {
    Tables,
    Rows(String),
}

/// Statements that begin with these words change no table's rows or shape.
const HARMLESS: &[&str] = &[
    "GRANT",
    "REVOKE",
    "SET",
    "FLUSH",
    "ANALYZE",
    "OPTIMIZE",
    "REPAIR",
    "CHECK",
    "CHECKSUM",
    "BINLOG",
    "INSTALL",
    "UNINSTALL",
    "USE",
    "SHOW",
    "DO",
    "KILL",
    "RESET",
    "PURGE",
    "CHANGE",
    "START",
    "STOP",
    "SELECT",
    "HELP",
    "LOCK",
    "UNLOCK",
];

/// Statements that change rows, logged as text.
const ROWS: &[&str] = &["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "WITH", "IMPORT", "MERGE", "EXECUTE"];

/// Things that are created, altered and dropped without concern to tables.
const OTHER_OBJECTS: &[&str] = &[
    "VIEW",
    "ALGORITHM",
    "DEFINER",
    "SQL",
    "TRIGGER",
    "PROCEDURE",
    "FUNCTION",
    "AGGREGATE",
    "EVENT",
    "USER",
    "ROLE",
    "SERVER",
    "SEQUENCE",
    "TABLESPACE",
    "LOGFILE",
    "UNDO",
    "RESOURCE",
    "PACKAGE",
    "INSTANCE",
    "LIBRARY",
    "PREPARE",
    "SPATIAL",
];

struct Statement<'a> {
    cursor: Cursor<'a>,
    database: &'a str,
    actions: Vec<Action>,
}

impl Statement<'_> {
    fn read(&mut self) -> Option<Kind> {
        let Token::Word(verb) = self.cursor.next()? else { return None };
        let verb = verb.to_ascii_uppercase();
        match verb.as_str() {
            "ALTER" => self.alter()?,
            "SET" if self.cursor.eat("STATEMENT") => return self.with_settings(),
            "CREATE" => self.create()?,
            "DROP" => self.drop()?,
            "RENAME" => self.rename()?,
            "TRUNCATE" => {
                self.cursor.eat("TABLE");
                let table = self.table()?;
                self.actions.push(Action::Truncate { table });
            }
            v if HARMLESS.contains(&v) => {}
            v if ROWS.contains(&v) => return Some(Kind::Rows(v.to_owned())),
            _ => return None,
        }
        Some(Kind::Tables)
    }

    fn id(&self, (database, table): (Option<String>, String)) -> TableId {
        TableId::new(database.unwrap_or_else(|| self.database.to_owned()), table)
    }

    fn table(&mut self) -> Option<TableId> {
        let name = name(&mut self.cursor)?;
        Some(self.id(name))
    }

    /// `SET STATEMENT variable=value, ... FOR statement`: MariaDB logs it as it stands.
    fn with_settings(&mut self) -> Option<Kind> {
        loop {
            if self.cursor.at_symbol('(') {
                self.cursor.parentheses()?;
            } else if self.cursor.next()?.is("FOR") {
                return self.read();
            }
        }
    }

    fn alter(&mut self) -> Option<()> {
        while self.cursor.eat_any(&["ONLINE", "OFFLINE", "IGNORE"]) {}
        if self.cursor.eat_any(&["DATABASE", "SCHEMA"]) || self.cursor.eat_any(OTHER_OBJECTS) {
            return Some(());
        }
        self.cursor.eat("TABLE").then_some(())?;
        self.cursor.if_exists();
        let table = self.table()?;
        if self.cursor.eat("WAIT") {
            self.cursor.next();
        }
        self.cursor.eat("NOWAIT");
        self.exchange(&table);
        let all = alterations(self.cursor.rest());
        if !all.columns.is_empty() || all.unclear.is_some() {
            let (alterations, unclear) = (all.columns, all.unclear);
            self.actions.push(Action::Alter { table: table.clone(), alterations, unclear });
        }
        if let Some(part) = all.unlogged {
            let what = format!("ALTER TABLE ... {part}");
            self.actions.push(Action::Unlogged { table: table.clone(), what });
        }
        if let Some(to) = all.rename {
            let to = self.id(to);
            self.actions.push(Action::Rename { from: table, to });
        }
        Some(())
    }

    /// The other table of `EXCHANGE PARTITION p WITH TABLE t`, `CONVERT TABLE t TO PARTITION p` (which is then gone) and
    /// `CONVERT PARTITION p TO TABLE t` (which is new).
    fn exchange(&mut self, table: &TableId) {
        let mut cursor = self.cursor;
        while let Some(token) = cursor.next() {
            let what = match token {
                t if t.is("WITH") && cursor.at("TABLE") => "EXCHANGE PARTITION",
                t if t.is("CONVERT") && cursor.at("TABLE") => "CONVERT TABLE",
                t if t.is("TO") && cursor.at("TABLE") => "CONVERT PARTITION",
                _ => continue,
            };
            cursor.next();
            let Some(other) = name(&mut cursor) else { continue };
            let other = self.id(other);
            let what = format!("ALTER TABLE {table} ... {what}");
            self.actions.push(Action::Unlogged { table: other, what });
        }
    }

    fn create(&mut self) -> Option<()> {
        let replaces = self.cursor.eat_all(&["OR", "REPLACE"]);
        let temporary = self.cursor.eat("TEMPORARY");
        if self.cursor.eat("TABLE") {
            let if_not_exists = self.cursor.if_exists();
            let table = self.table()?;
            if !temporary {
                let origin = origin(self.cursor.rest());
                let origin = match origin {
                    Origin::Like(database, other) => {
                        Origin::Like(Some(database.unwrap_or_else(|| self.database.to_owned())), other)
                    }
                    origin => origin,
                };
                self.actions.push(Action::Create { table, origin, replaces, if_not_exists });
            }
            return Some(());
        }
        if self.cursor.eat_any(&["DATABASE", "SCHEMA"]) {
            return Some(());
        }
        let unique = self.cursor.eat("UNIQUE");
        if unique || self.cursor.peek()?.is_any(&["FULLTEXT", "SPATIAL", "INDEX", "ONLINE", "OFFLINE", "VECTOR"]) {
            return self.create_index(unique);
        }
        self.cursor.eat_any(OTHER_OBJECTS).then_some(())
    }

    /// A unique index may become the key by which rows are known; another one changes nothing.
    fn create_index(&mut self, unique: bool) -> Option<()> {
        if !unique {
            return Some(());
        }
        self.cursor.eat("INDEX").then_some(())?;
        self.cursor.if_exists();
        let index = self.cursor.identifier()?.to_owned();
        while !self.cursor.eat("ON") {
            self.cursor.next()?;
        }
        let table = self.table()?;
        let parts = self.cursor.parentheses()?;
        let plain = |part: &[Token]| match part {
            [name] => name.identifier().map(str::to_owned),
            [name, order] if order.is_any(&["ASC", "DESC"]) => name.identifier().map(str::to_owned),
            _ => None,
        };
        let columns: Option<Vec<String>> = super::tokens::split_commas(parts).into_iter().map(plain).collect();
        let unique = Alteration::AddUnique { name: Some(index), columns: columns.unwrap_or_default() };
        self.actions.push(Action::Alter { table, alterations: vec![unique], unclear: None });
        Some(())
    }

    fn drop(&mut self) -> Option<()> {
        let temporary = self.cursor.eat("TEMPORARY");
        if self.cursor.eat_any(&["TABLE", "TABLES"]) {
            self.cursor.if_exists();
            loop {
                let table = self.table()?;
                if !temporary {
                    self.actions.push(Action::Drop { table });
                }
                if !self.cursor.eat_symbol(',') {
                    return Some(());
                }
            }
        }
        if self.cursor.eat_any(&["DATABASE", "SCHEMA"]) {
            self.cursor.if_exists();
            let database = TableId::new(self.cursor.identifier()?, "");
            self.actions.push(Action::DropDatabase { database });
            return Some(());
        }
        while self.cursor.eat_any(&["ONLINE", "OFFLINE"]) {}
        if self.cursor.eat("INDEX") {
            self.cursor.if_exists();
            let name = self.cursor.identifier()?.to_owned();
            self.cursor.eat("ON").then_some(())?;
            let table = self.table()?;
            let primary = name.eq_ignore_ascii_case("PRIMARY");
            let alterations = vec![if primary { Alteration::DropPrimary } else { Alteration::DropIndex { name } }];
            self.actions.push(Action::Alter { table, alterations, unclear: None });
            return Some(());
        }
        self.cursor.eat_any(OTHER_OBJECTS).then_some(())
    }

    fn rename(&mut self) -> Option<()> {
        if self.cursor.eat("USER") {
            return Some(());
        }
        self.cursor.eat_any(&["TABLE", "TABLES"]).then_some(())?;
        self.cursor.if_exists();
        loop {
            let from = self.table()?;
            while self.cursor.eat_any(&["WAIT", "NOWAIT"]) {
                if self.cursor.peek().is_some_and(|t| !t.is("TO")) {
                    self.cursor.next();
                }
            }
            self.cursor.eat("TO").then_some(())?;
            let to = self.table()?;
            self.actions.push(Action::Rename { from, to });
            if !self.cursor.eat_symbol(',') {
                return self.cursor.is_at_end().then_some(());
            }
        }
    }
}
