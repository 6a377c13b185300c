//! Read views whose place in the log is known exactly.
//!
//! A place read beside the SELECT is never a hand-off point: the log moves before rows become visible.
//!
//! - **MariaDB**: a consistent snapshot carries its place, `Binlog_snapshot_file` and `_position`.
//! - **Tables without row versions** (MyISAM, Aria, ...): the table is locked against writers while the chunk is read.
//! - **MySQL with GTIDs**: a moment without commits. Between the log's end before and the same end after opening the view
//!   nothing was logged, and no transaction before was still on its way (`gtid_owned` was empty): the view shows exactly
//!   what is before that end. On a server that is never quiet, and without GTIDs, a second session locks the table against
//!   writers for the moment in which the view is opened: whoever has changed the table has then committed and left the log
//!   behind. Why so: `docs/decisions/2026-11-20-mysql-hand-off.md`.

use super::handoff::{SharedHandoff, lock as locked};
use super::reader::SnapshotContext;
use crate::client::{Connection, ServerFamily, quote};
use crate::place::Place;
use crate::server::end_of_log;
use dujiang_core::clock::Clock;
use dujiang_core::{Code, Error, Result, TableId, fault};
use std::time::{Duration, Instant};

/// An open read view.
#[derive(Debug, Clone)]
pub struct View {
    /// It shows exactly the transactions before this place.
    pub point: Place,
    /// When it was opened, microseconds since 1970-01-01 UTC.
    pub micros: i64,
    /// When it was opened, to tell its age.
    pub opened: Instant,
    /// Whether the table is locked instead, for one chunk.
    pub locks: bool,
}

impl View {
    /// Closes the view.
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn close(self, connection: &mut Connection) -> Result<()> {
        connection.execute(if self.locks { "UNLOCK TABLES" } else { "COMMIT" }).await?;
        Ok(())
    }
}

/// Whether the table's engine keeps row versions, so that a read view can be opened.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn has_versions(connection: &mut Connection, table: &TableId) -> Result<bool> {
    let sql = format!(
        "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        quote::text(&table.database),
        quote::text(&table.table)
    );
    Ok(connection.query_value(&sql).await?.is_some_and(|engine| engine.eq_ignore_ascii_case("InnoDB")))
}

/// A lock that is waited for holds up everybody else: it is given up soon and asked for again later. And should we vanish
/// while holding one, the server notices soon.
const LIMITS: &str = "SET SESSION lock_wait_timeout=5, wait_timeout=30, net_read_timeout=30, net_write_timeout=30";

/// Whether an error says that a lock could not be had in time (`ER_LOCK_WAIT_TIMEOUT`).
pub fn is_locked(error: &Error) -> bool {
    error.facts().iter().any(|(name, value)| *name == "server says" && value.starts_with("1205 "))
}

/// Locks the table against writers: whoever has changed it has left the log behind.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`, `MissingPrivilege`.
pub async fn lock(
    connection: &mut Connection,
    table: &TableId,
    clock: &dyn Clock,
    handoff: &SharedHandoff,
) -> Result<View> {
    connection.execute("SET SESSION lock_wait_timeout=5").await?;
    connection.execute(&format!("LOCK TABLES {} READ", quote::table(table)?)).await?;
    locked(handoff).opening();
    let point = end_of_log(connection).await?;
    Ok(View { point, micros: clock.now_micros(), opened: Instant::now(), locks: true })
}

/// Opens a view for a table in the session, whose transaction it becomes. The hand-off is told before, as late as
/// possible: the stream waits from then on.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`, `MissingPrivilege`.
pub async fn open(
    connection: &mut Connection,
    context: &SnapshotContext,
    table: &TableId,
    handoff: &SharedHandoff,
) -> Result<View> {
    let micros = context.clock.now_micros();
    let point = match connection.server().family {
        ServerFamily::MariaDb => {
            locked(handoff).opening();
            consistent(connection).await?
        }
        ServerFamily::MySql => match in_quiet(connection, handoff).await? {
            Some(place) => place,
            None => under_lock(connection, context, table, handoff).await?,
        },
    };
    Ok(View { point, micros, opened: Instant::now(), locks: false })
}

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

async fn consistent(connection: &mut Connection) -> Result<Place> {
    connection.execute(BEGIN).await?;
    if fault::removed("hand-off-in-snapshot") {
        return end_of_log(connection).await;
    }
    let rows = connection.query("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'").await?;
    let (mut file, mut position) = (None, None);
    for row in rows.iter() {
        match row.required(0)?.to_ascii_lowercase().as_str() {
            "binlog_snapshot_file" => file = row.text(1)?,
            "binlog_snapshot_position" => position = row.parse(1)?,
            _ => {}
        }
    }
    let place = file.zip(position).and_then(|(file, position)| Place::new(file, position));
    place.ok_or_else(|| Error::new(Code::BinlogOff, "the source does not tell the place of a snapshot in its binlog"))
}

/// Attempts to find a moment without commits before writers are locked out.
const ATTEMPTS: usize = 400;

async fn in_quiet(connection: &mut Connection, handoff: &SharedHandoff) -> Result<Option<Place>> {
    let mode = connection.query_value("SELECT @@GLOBAL.gtid_mode").await?;
    if mode.as_deref() != Some("ON") {
        return Ok(None);
    }
    for _ in 0..ATTEMPTS {
        locked(handoff).opening();
        let before = end_of_log(connection).await?;
        // A transaction owns its identifier from before it is logged until it is visible.
        let owned = connection.query_value("SELECT @@GLOBAL.gtid_owned").await?;
        if owned.is_some_and(|owned| !owned.is_empty()) {
            locked(handoff).abandon();
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        connection.execute(BEGIN).await?;
        if end_of_log(connection).await? == before {
            return Ok(Some(before));
        }
        locked(handoff).abandon();
        connection.execute("COMMIT").await?;
    }
    Ok(None)
}

async fn under_lock(
    connection: &mut Connection,
    context: &SnapshotContext,
    table: &TableId,
    handoff: &SharedHandoff,
) -> Result<Place> {
    let mut locker = context.connect().await?;
    locker.execute(LIMITS).await?;
    locker.execute(&format!("FLUSH TABLES {} WITH READ LOCK", quote::table(table)?)).await?;
    locked(handoff).opening();
    connection.execute(BEGIN).await?;
    let place = end_of_log(&mut locker).await?;
    locker.execute("UNLOCK TABLES").await?;
    locker.close().await;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_taken_is_told_from_other_refusals() {
        let refused = |says: &str| Error::new(Code::SourceQuery, "refused").fact("server says", says);
        assert!(is_locked(&refused("1205 (HY000): Lock wait timeout exceeded; try restarting transaction")));
        assert!(!is_locked(&refused("1064 (42000): You have an error in your SQL syntax near '1205 '")));
    }
}
