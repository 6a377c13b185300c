//! The pipeline in small of `testkit` on servers of this family.

use arrow_schema::Field;
use dujiang_core::Result;
use dujiang_core::source::Source;
use dujiang_postgres::SPEC;
use dujiang_postgres::lsn::Lsn;
use dujiang_scratch::{Postgres, PostgresOptions};
use dujiang_testkit::pipeline::{self, built};
pub use dujiang_testkit::pipeline::{Image, Sink, context, images};
use std::collections::BTreeMap;

pub type Pipeline = pipeline::Pipeline<PostgreSql>;

pub struct PostgreSql;

/// A new column is NULL in the rows that are there.
impl pipeline::Family for PostgreSql {
    fn reshaped(was: Option<(&Field, &str)>, _now: &Field, _in_key: bool) -> String {
        was.map_or("NULL", |(_, cell)| cell).to_owned()
    }
}

/// A source of these tables of the database `postgres`, at a port; `options` win.
pub fn source_at(port: u16, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    source_of(&format!("test {tables}"), port, tables, options)
}

/// As [`source_at`], of a pipeline of this name.
pub fn source_of(pipeline: &str, port: u16, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    let port = port.to_string();
    let usual =
        [("hostname", "127.0.0.1"), ("port", &port), ("username", "postgres"), ("password", ""), ("tables", tables)];
    built(&SPEC, pipeline, &usual, options)
}

pub fn source(server: &Postgres, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    source_at(server.port(), tables, options)
}

/// Waits for the end of the log.
pub trait UntilNow {
    /// Until everything that the server has logged by now is in the sink.
    async fn until_now(&mut self, server: &Postgres) -> Result<()>;
}

impl UntilNow for Pipeline {
    async fn until_now(&mut self, server: &Postgres) -> Result<()> {
        let wanted = end_of_log(server);
        while Lsn::parse(&self.status().position).unwrap() < wanted {
            self.step().await?;
        }
        self.barrier()
    }
}

/// The rows of a table as the server has them, in the text form of [`cell`] (for numbers and text).
pub fn rows_of(server: &Postgres, table: &str, key: usize) -> BTreeMap<Vec<String>, Vec<String>> {
    let text = server.sql(&format!("\\pset null NULL\n SELECT * FROM {table}")).unwrap();
    let rows = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row: Vec<String>| (row[..key].to_vec(), row)).collect()
}

/// The end of the log, all of it on disk.
pub fn end_of_log(server: &Postgres) -> Lsn {
    let sql = "SELECT pg_logical_emit_message(true, 'test', 'x'); SELECT pg_current_wal_flush_lsn()";
    Lsn::parse(server.sql(sql).unwrap().lines().last().unwrap()).unwrap()
}

/// What the server was told to be durable.
pub fn confirmed(server: &Postgres, slot: &str) -> Lsn {
    let sql = format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{slot}'");
    Lsn::parse(server.sql(&sql).unwrap().trim()).unwrap()
}

/// A server of the test's own.
pub fn own() -> Postgres {
    with(&[])
}

/// One server of each version, one after the other; its version is printed.
pub fn every() -> impl Iterator<Item = Postgres> {
    dujiang_scratch::PostgresKind::ALL.into_iter().map(|kind| {
        let server = Postgres::start_with(&PostgresOptions::default().on(kind)).unwrap();
        println!("PostgreSQL {}", server.version());
        server
    })
}

/// As [`own`], with settings.
pub fn with(settings: &[&str]) -> Postgres {
    let options = settings.iter().fold(PostgresOptions::default(), |options, setting| options.set(*setting));
    Postgres::start_with(&options).unwrap()
}
