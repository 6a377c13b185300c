//! The pipeline in small of `testkit` on servers of this family.

use crate::support;
use arrow_schema::Field;
use dujiang_core::Result;
use dujiang_core::source::Source;
use dujiang_mysql::SPECS;
use dujiang_scratch::{Family, Kind as ServerKind, Options, Server, ServerBinary};
use dujiang_testkit::pipeline::{self, built};
pub use dujiang_testkit::pipeline::{Sink, cell, failure, same_row};
use std::collections::BTreeMap;

pub type Pipeline = pipeline::Pipeline<MySql>;

pub struct MySql;

/// What a new column, or one of another type, holds in the rows that are there is the server's business: it is not compared.
impl pipeline::Family for MySql {
    fn reshaped(was: Option<(&Field, &str)>, now: &Field, in_key: bool) -> String {
        let same = |old: &Field| old.data_type() == now.data_type() || in_key;
        was.filter(|(old, _)| same(old)).map_or("*".to_owned(), |(_, cell)| cell.to_owned())
    }
}

/// A source of these tables, at a port.
pub fn source_at(port: u16, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    let port = port.to_string();
    let usual =
        [("hostname", "127.0.0.1"), ("port", &port), ("username", "root"), ("password", ""), ("tables", tables)];
    built(&SPECS[1], &format!("test {tables}"), &usual, options)
}

pub fn source(server: &Server, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    source_at(server.port(), tables, options)
}

/// Waits for a place in the log.
pub trait UntilGtid {
    /// Until everything that the server has logged by now is in the sink.
    async fn until_gtid(&mut self, gtid: &str) -> Result<()>;
}

impl UntilGtid for Pipeline {
    async fn until_gtid(&mut self, gtid: &str) -> Result<()> {
        let wanted = sequence(gtid);
        loop {
            self.step().await?;
            if sequence(&self.status().position) >= wanted {
                return self.barrier();
            }
        }
    }
}

/// The sink's rows of a table are those of the server.
pub fn assert_same(server: &Server, sink: &Sink, table: &str, key: usize) {
    let (mut expected, actual) = (rows_of(server, table, key), sink.rows.get(table).cloned().unwrap_or_default());
    for (key, row) in &actual {
        let other = expected.remove(key);
        assert!(other.as_ref().is_some_and(|o| same_row(o, row)), "{table} {key:?}: {row:?}, server {other:?}");
    }
    assert!(expected.is_empty(), "{table}: missing {expected:?}");
}

/// The rows of a table as the server has them, in the text form of [`cell`] (for numbers and text).
pub fn rows_of(server: &Server, table: &str, key: usize) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut session = server.session().unwrap();
    let rows = session.run(&format!("SELECT * FROM {table}")).unwrap();
    let text = |row: Vec<Option<String>>| -> Vec<String> {
        row.into_iter().map(|c| c.unwrap_or_else(|| "NULL".into())).collect()
    };
    rows.into_iter().map(text).map(|row| (row[..key].to_vec(), row)).collect()
}

pub fn last_gtid(server: &Server) -> String {
    let mut session = server.session().unwrap();
    let sql = match server.family() {
        Family::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
        Family::MySql => "SELECT @@GLOBAL.gtid_executed",
    };
    session.run(sql).unwrap()[0][0].clone().unwrap()
}

/// Until no session of the server reads its log: it purges no file that a reader holds, and notices that one is gone with
/// the next sign of life.
pub fn until_nobody_reads(server: &Server) {
    let mut session = server.session().unwrap();
    let readers = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog%'";
    while session.number(readers).unwrap() > 0 {}
}

/// Purges all files of the log but the last. The server keeps a file until its rows are on disk, which takes it a moment.
pub fn purge(server: &Server) {
    let mut session = server.session().unwrap();
    loop {
        let files = session.run("SHOW BINARY LOGS").unwrap();
        if files.len() == 1 {
            return;
        }
        let last = files.last().unwrap()[0].clone().unwrap();
        session.run(&format!("PURGE BINARY LOGS TO '{last}'")).unwrap();
    }
}

/// The number of the last transaction, of `bin.000001:4711 (0-1-99)` or `0-1-99`.
pub fn sequence(position: &str) -> u64 {
    position.trim_end_matches(')').rsplit(['-', ':']).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A server of the test's own: of the program that the variable `DUJIANG_TEST_SERVER` names, or what is installed.
pub fn own() -> Server {
    let options = Options::default();
    match std::env::var_os("DUJIANG_TEST_SERVER") {
        Some(path) => Server::start_with(&ServerBinary::at(path.as_ref()).unwrap(), &options).unwrap(),
        None => Server::start(&options).unwrap(),
    }
}

/// A server of this kind, of the test's own.
pub fn own_on(kind: ServerKind) -> Server {
    Server::start(&Options::default().on(kind)).unwrap()
}

/// Runs statements that may read from `seq_1_to_500` and the like, which only MariaDB has by itself.
pub fn sql(server: &Server, statements: &str) -> dujiang_scratch::Result<String> {
    if server.family() == Family::MariaDb {
        return server.sql(statements);
    }
    let mut pieces = statements.split("seq_");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (range, rest) = piece.split_at(end);
        let (first, last) = range.split_once("_to_").unwrap();
        let numbers = support::numbers(last.parse().unwrap());
        out += &format!("(SELECT seq FROM {numbers} WHERE seq >= {first}) seq_{range}{rest}");
    }
    server.sql(&out)
}
