//! What a statement does to captured tables.

use super::alter::{self, Alteration};
use super::lexer::{Token, Tokens, lex};
use dujiang_core::TableId;

/// What a statement from the log means for the captured tables.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Nothing that concerns them.
    None,
    /// Columns or indexes of a captured table are added or dropped, in this order.
    Columns {
        /// The table.
        table: TableId,
        /// What is done to it.
        alterations: Vec<Alteration>,
    },
    /// Something else is done to a captured table.
    Other {
        /// The table.
        table: TableId,
        /// What, for people: `TRUNCATE TABLE`.
        what: String,
    },
    /// Rows changed by a statement that was logged as text: the rows are not in the log.
    Statement {
        /// Its first word.
        verb: String,
    },
    /// It cannot be read well enough to tell.
    Unreadable,
}

/// Reads a statement. `captured` says whether a table (database, table) is captured, and gives its name as the catalog
/// spells it; `database` is the session's default.
pub fn effect(sql: &str, database: &str, captured: &dyn Fn(&str, &str) -> Option<TableId>) -> Effect {
    let Some(tokens) = lex(sql) else { return Effect::Unreadable };
    let mut cursor = Cursor { tokens: &tokens, at: 0, database, captured };
    let effect = cursor.statement();
    match effect {
        Effect::None if tokens.conditional && cursor.mentions_captured() => Effect::Unreadable,
        Effect::Columns { table, .. } if tokens.conditional => {
            Effect::Other { table, what: "a statement with a version-dependent comment".into() }
        }
        effect => effect,
    }
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
];

pub(super) struct Cursor<'a> {
    tokens: &'a Tokens,
    at: usize,
    database: &'a str,
    captured: &'a dyn Fn(&str, &str) -> Option<TableId>,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    fn eat(&mut self, keyword: &str) -> bool {
        let hit = self.peek().is_some_and(|t| t.is(keyword));
        self.at += usize::from(hit);
        hit
    }

    fn eat_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|k| self.eat(k))
    }

    fn eat_symbol(&mut self, symbol: char) -> bool {
        let hit = self.peek() == Some(&Token::Symbol(symbol));
        self.at += usize::from(hit);
        hit
    }

    /// `[IF [NOT] EXISTS]`; whether it was there.
    fn skip_if_exists(&mut self) -> bool {
        let found = self.eat("IF");
        if found {
            self.eat("NOT");
            self.eat("EXISTS");
        }
        found
    }

    /// A table's name; `None` when there is none. The inner value is the captured table of that name, if it is one.
    fn table(&mut self) -> Option<Option<TableId>> {
        let first = self.next()?.identifier()?;
        if self.eat_symbol('.') {
            let second = self.next()?.identifier()?;
            return Some((self.captured)(first, second));
        }
        Some((self.captured)(self.database, first))
    }

    fn statement(&mut self) -> Effect {
        let Some(Token::Word(verb)) = self.next() else {
            return if self.tokens.tokens.is_empty() { Effect::None } else { Effect::Unreadable };
        };
        let verb = verb.to_ascii_uppercase();
        let effect = match verb.as_str() {
            "ALTER" => self.alter(),
            "SET" if self.eat("STATEMENT") => self.with_settings(),
            "CREATE" => self.create(),
            "DROP" => self.drop(),
            "RENAME" => self.rename(),
            "TRUNCATE" => self.truncate(),
            v if HARMLESS.contains(&v) => Some(Effect::None),
            v if ROWS.contains(&v) => Some(self.rows(v)),
            _ => None,
        };
        effect.unwrap_or(Effect::Unreadable)
    }

    /// `SET STATEMENT variable=value, ... FOR statement`: MariaDB logs it as it stands.
    fn with_settings(&mut self) -> Option<Effect> {
        let mut depth = 0i32;
        loop {
            match self.next()? {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                token if depth == 0 && token.is("FOR") => return Some(self.statement()),
                _ => {}
            }
        }
    }

    fn rows(&self, verb: &str) -> Effect {
        Effect::Statement { verb: verb.to_owned() }
    }

    fn alter(&mut self) -> Option<Effect> {
        while self.eat_any(&["ONLINE", "OFFLINE", "IGNORE"]) {}
        if self.eat_any(&["DATABASE", "SCHEMA"]) || self.eat_any(OTHER_OBJECTS) {
            return Some(Effect::None);
        }
        if !self.eat("TABLE") {
            return None;
        }
        self.skip_if_exists();
        let Some(table) = self.table()? else { return Some(self.exchange()) };
        if self.eat("WAIT") {
            self.next();
        }
        self.eat("NOWAIT");
        let rest = &self.tokens.tokens[self.at..];
        Some(match alter::alterations(rest) {
            Ok(alterations) if alterations.is_empty() => Effect::None,
            Ok(alterations) => Effect::Columns { table, alterations },
            Err(what) => Effect::Other { table, what: format!("ALTER TABLE ... {what}") },
        })
    }

    /// A table that is not captured can still take the rows of one that is: `EXCHANGE PARTITION p WITH TABLE t`,
    /// `CONVERT TABLE t TO PARTITION p`.
    fn exchange(&mut self) -> Effect {
        while let Some(token) = self.next() {
            if (token.is("WITH") || token.is("CONVERT"))
                && self.eat("TABLE")
                && let Some(Some(table)) = self.table()
            {
                return Effect::Other { table, what: "ALTER TABLE ... that moves its rows to a partition".into() };
            }
        }
        Effect::None
    }

    fn create(&mut self) -> Option<Effect> {
        if self.eat("OR") {
            self.eat("REPLACE");
        }
        let temporary = self.eat("TEMPORARY");
        if self.eat("TABLE") {
            // MySQL logs it with IF NOT EXISTS although the table is there and nothing happens.
            let in_vain = self.skip_if_exists();
            let table = self.table()?;
            return Some(match table {
                Some(table) if !temporary && !in_vain => Effect::Other { table, what: "CREATE TABLE".into() },
                _ => Effect::None,
            });
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]) || self.eat_any(OTHER_OBJECTS) {
            return Some(Effect::None);
        }
        // An index changes neither rows nor columns.
        let index = self.eat_any(&["UNIQUE", "FULLTEXT", "SPATIAL", "INDEX", "ONLINE", "OFFLINE", "VECTOR"]);
        index.then_some(Effect::None)
    }

    fn drop(&mut self) -> Option<Effect> {
        let temporary = self.eat("TEMPORARY");
        if self.eat_any(&["TABLE", "TABLES"]) {
            self.skip_if_exists();
            return self.each_table("DROP TABLE", temporary);
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]) {
            self.skip_if_exists();
            let database = self.next()?.identifier()?.to_owned();
            let table = (self.captured)(&database, "");
            return Some(match table {
                Some(table) => Effect::Other { table, what: format!("DROP DATABASE {database}") },
                None => Effect::None,
            });
        }
        if self.eat("INDEX") {
            self.skip_if_exists();
            let name = self.next()?.identifier()?.to_owned();
            let primary = name.eq_ignore_ascii_case("PRIMARY");
            self.eat("ON").then_some(())?;
            let table = self.table()?;
            return Some(match table {
                Some(table) if primary => Effect::Other { table, what: "DROP INDEX PRIMARY".into() },
                Some(table) => Effect::Columns { table, alterations: vec![Alteration::DropIndex { name }] },
                None => Effect::None,
            });
        }
        self.eat_any(OTHER_OBJECTS).then_some(Effect::None)
    }

    fn each_table(&mut self, what: &str, temporary: bool) -> Option<Effect> {
        loop {
            if let Some(table) = self.table()?
                && !temporary
            {
                return Some(Effect::Other { table, what: what.into() });
            }
            if !self.eat_symbol(',') {
                return Some(Effect::None);
            }
        }
    }

    fn rename(&mut self) -> Option<Effect> {
        if self.eat("USER") {
            return Some(Effect::None);
        }
        self.eat_any(&["TABLE", "TABLES"]).then_some(())?;
        self.skip_if_exists();
        loop {
            let from = self.table()?;
            while self.eat_any(&["WAIT", "NOWAIT"]) {
                if matches!(self.peek(), Some(t) if !t.is("TO")) {
                    self.next();
                }
            }
            self.eat("TO").then_some(())?;
            let to = self.table()?;
            if let Some(table) = from.or(to) {
                return Some(Effect::Other { table, what: "RENAME TABLE".into() });
            }
            if !self.eat_symbol(',') {
                return Some(Effect::None);
            }
        }
    }

    fn truncate(&mut self) -> Option<Effect> {
        self.eat("TABLE");
        Some(match self.table()? {
            Some(table) => Effect::Other { table, what: "TRUNCATE TABLE".into() },
            None => Effect::None,
        })
    }

    /// Whether any word of the statement names a captured table.
    fn mentions_captured(&self) -> bool {
        let names: Vec<&str> = self.tokens.tokens.iter().filter_map(Token::identifier).collect();
        let with_database = names.windows(2).any(|w| (self.captured)(w[0], w[1]).is_some());
        with_database || names.iter().any(|name| (self.captured)(self.database, name).is_some())
    }
}
