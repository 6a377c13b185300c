//! Large values that a change did not touch and the log does not hold, read from the table.

use super::{LINGER, PostgresReader};
use crate::client::{Connection, Session, quote, sqlstate};
use crate::config::Config;
use crate::shape::Shape;
use crate::stream::{Missing, worth_another_try};
use dujiang_core::{Error, Result};

/// What is to be read, and the session for it.
#[derive(Default)]
pub(super) struct Reread {
    missing: Option<(usize, Missing)>,
    connection: Option<Connection>,
}

impl Reread {
    /// These values of a table are to be read.
    pub(super) fn begin(&mut self, at: usize, missing: Missing) {
        self.missing = Some((at, missing));
    }

    /// Whether there are any.
    pub(super) fn is_due(&self) -> bool {
        self.missing.is_some()
    }

    /// The change they belong to will not be shown again.
    pub(super) fn forget(&mut self) {
        self.missing = None;
    }
}

impl PostgresReader {
    /// Reads what is missing. Cancelled in its midst, it begins anew. A row that is gone, or has another shape by now, leaves its
    /// values missing.
    pub(super) async fn reread(&mut self) -> Result<()> {
        let Some((at, missing)) = &self.reread.missing else { return Ok(()) };
        let sql = statement(&self.start.tables.get(*at).shape, missing);
        let values = match sql {
            Some(sql) => match look(&mut self.reread.connection, &self.start.config, &sql, missing).await {
                Ok(values) => values,
                Err(error) if is_of_another_shape(&error) => Vec::new(),
                Err(error) if worth_another_try(&error, 0) => {
                    tracing::warn!(%error, "large values cannot be read from their table yet");
                    self.reread.connection = None;
                    tokio::time::sleep(LINGER * 100).await;
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
            None => Vec::new(),
        };
        self.reread.missing = None;
        self.start.tables.found(values);
        Ok(())
    }
}

/// None for a row that has no key to be found by.
fn statement(shape: &Shape, missing: &Missing) -> Option<String> {
    let name = |at: usize| shape.columns.get(at).map(|column| quote::identifier(&column.name));
    let columns = missing.columns.iter().map(|at| name(*at)).collect::<Option<Vec<_>>>()?.join(", ");
    let equals = |(at, text): &(usize, Vec<u8>)| {
        Some(format!("{} = {}", name(*at)?, quote::literal(std::str::from_utf8(text).ok()?)))
    };
    let key = missing.key.iter().map(equals).collect::<Option<Vec<_>>>().filter(|key| !key.is_empty())?.join(" AND ");
    Some(format!("SELECT {columns} FROM {} WHERE {key} LIMIT 2", quote::table(&shape.id())))
}

type Values = Vec<(usize, Option<Vec<u8>>)>;

async fn look(slot: &mut Option<Connection>, config: &Config, sql: &str, missing: &Missing) -> Result<Values> {
    let connection = match slot {
        // A session that was left in the midst of an answer is of no use.
        Some(connection) if connection.is_idle() => connection,
        _ => slot.insert(Connection::connect(&config.endpoint, Session::Ordinary).await?),
    };
    let rows = connection.simple(sql).await?;
    let (Some(row), 1) = (rows.first(), rows.len()) else { return Ok(Vec::new()) };
    let value = |(n, at): (usize, &usize)| (*at, row.bytes(n).map(<[u8]>::to_vec));
    Ok(missing.columns.iter().enumerate().map(value).collect())
}

/// A column or the table is gone, or the key has another type.
fn is_of_another_shape(error: &Error) -> bool {
    matches!(sqlstate(error), Some("42703" | "42P01" | "42883" | "22P02"))
}
