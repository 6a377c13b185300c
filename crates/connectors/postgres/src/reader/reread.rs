//! Large values that a change did not touch and the log does not hold, read from the table.
//!
//! The value is the row's at some moment after the change: never before. The log moves before a commit becomes visible, so a row is
//! read under a snapshot that shows the change's transaction; until there is one it is waited for.

use super::{LINGER, PostgresReader};
use crate::client::{Connection, quote, sqlstate, worth_another_try};
use crate::followed::Followed;
use crate::shape::Shape;
use crate::stream::Missing;
use dujiang_core::{Error, Result, fault};

/// What is to be read, and the session for it.
#[derive(Default)]
pub(super) struct Reread {
    missing: Option<(usize, Missing)>,
    connection: Option<Connection>,
    /// The transaction that was said to be waited for.
    said: Option<u64>,
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
        let table = self.start.tables.get(*at);
        let values = match statement(&table.shape, missing) {
            Some(sql) => match look(&mut self.reread.connection, &self.start.followed, &sql, missing).await {
                Ok(Looked::At { values, snapshot }) => {
                    let (table, position) = (&table.id, self.start.machine.boundary());
                    tracing::debug!(%table, after = %position, xid = missing.xid, snapshot, "large values were read from their table");
                    values
                }
                Ok(Looked::TooEarly) => {
                    if self.reread.said.replace(missing.xid) != Some(missing.xid) {
                        tracing::warn!(
                            table = %table.id,
                            xid = missing.xid,
                            "a large value is read when the commit that it belongs to is visible: it waits for a standby, or another server \
                             is asked that is behind"
                        );
                    }
                    tokio::time::sleep(LINGER).await;
                    return Ok(());
                }
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
    // Rows of partitions, but not of tables that inherit from it.
    let own = format!(
        "(tableoid = {0} OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {0} AND c.relkind = 'p'))",
        shape.relation
    );
    Some(format!(
        "SELECT pg_catalog.pg_visible_in_snapshot('{}', s), s, r.*
         FROM pg_catalog.pg_current_snapshot() s
           LEFT JOIN (SELECT true, {columns} FROM {} WHERE {key} AND {own} LIMIT 2) r ON true",
        missing.xid,
        quote::table(&shape.id())
    ))
}

type Values = Vec<(usize, Option<Vec<u8>>)>;

enum Looked {
    /// The snapshot shows the change.
    At { values: Values, snapshot: String },
    /// It does not yet.
    TooEarly,
}

async fn look(slot: &mut Option<Connection>, followed: &Followed, sql: &str, missing: &Missing) -> Result<Looked> {
    let connection = match slot {
        // A session that was left in the midst of an answer is of no use.
        Some(connection) if connection.is_idle() => connection,
        _ => slot.insert(followed.connect().await?),
    };
    let rows = connection.simple(sql).await?;
    let Some(row) = rows.first() else { return Ok(Looked::TooEarly) };
    if !row.flag(0)? && !fault::removed("read-again-when-visible") {
        return Ok(Looked::TooEarly);
    }
    let value = |(n, at): (usize, &usize)| (*at, row.bytes(n + 3).map(<[u8]>::to_vec));
    let is_found = rows.len() == 1 && row.bytes(2).is_some();
    let values = if is_found { missing.columns.iter().enumerate().map(value).collect() } else { Vec::new() };
    Ok(Looked::At { values, snapshot: row.text(1)?.to_owned() })
}

/// A column or the table is gone, or the key has another type.
fn is_of_another_shape(error: &Error) -> bool {
    matches!(sqlstate(error), Some("42703" | "42P01" | "42883" | "22P02"))
}
