//! Read views whose place in the log is known exactly.
//!
//! A place read beside the SELECT is never a hand-off point: the log moves before rows become visible.
//!
//! - **MariaDB**: a consistent snapshot carries its place; how it is told, and when that can be believed, is a subject of
//!   its own: [`super::told_place`]. Where it cannot, all commits are held up for the moment in which the view is opened.
//! - **OceanBase** reads as of a snapshot, and brings what it reads to a place in the log: [`super::fold`].
//! - **Tables without row versions** (MyISAM, Aria, ...): the table is locked against writers while the chunk is read.
//! - **MySQL with GTIDs**: a moment without commits. Between the log's end before and the same end after opening the view
//!   nothing was logged, and no transaction before was still on its way (`gtid_owned` was empty): the view shows exactly
//!   what is before that end. On a server that is never quiet, and without GTIDs, a second session locks the table against
//!   writers for the moment in which the view is opened: whoever has changed the table has then committed and left the log
//!   behind. Why so: `docs/decisions/2026-11-20-mysql-hand-off.md`.
//!
//! Distributed transactions are a case of their own on each of them: [`super::distributed`].

use super::context::SnapshotContext;
use super::distributed::{are_out_of_order, are_prepared, may_commit_between};
use super::fold::{self, Folding};
use super::handoff::{SharedHandoff, lock as locked};
use super::told_place::{agreed, ends_a_transaction};
use crate::client::{Connection, ServerFamily, quote};
use crate::place::Place;
use crate::server::end_of_log;
use crate::shape::Shape;
use dujiang_core::clock::Clock;
use dujiang_core::{Code, Error, Result, TableId, fault};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An open read view.
#[derive(Clone)]
pub struct View {
    /// It shows exactly the transactions before this place.
    pub point: Place,
    /// When it was opened, microseconds since 1970-01-01 UTC.
    pub micros: i64,
    /// When it was opened, to tell its age.
    pub opened: Instant,
    /// Whether the table is locked instead, for one chunk.
    pub locks: bool,
    /// Whether the server has told the place of the session's snapshot.
    told: bool,
    /// The snapshot's number, and what brings its rows to the point (OceanBase); the session has no transaction.
    pub as_of: Option<(u64, Arc<Folding>)>,
}

impl View {
    /// Whether the server still tells the same place, if it has told one: answers can be those of other sessions.
    ///
    /// # Errors
    /// `ConnectionLost`, `SourceQuery`.
    pub async fn is_confirmed(&self, connection: &mut Connection) -> Result<bool> {
        if !self.told || fault::removed("hand-off-in-snapshot") {
            return Ok(true);
        }
        Ok(agreed(connection).await?.as_ref() == Some(&self.point))
    }

    /// Closes the view.
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn close(self, connection: &mut Connection) -> Result<()> {
        if self.as_of.is_some() {
            return Ok(());
        }
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

fn is_refused(error: &Error) -> bool {
    error.code() == Code::MissingPrivilege
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
    Ok(View { point, micros: clock.now_micros(), opened: Instant::now(), locks: true, told: false, as_of: None })
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
    let (point, told) = loop {
        let found = match connection.server().family {
            ServerFamily::MariaDb => told(connection, context, handoff).await?.map(|place| (place, true)),
            ServerFamily::MySql => in_quiet(connection, handoff).await?.map(|place| (place, false)),
            ServerFamily::OceanBase => return Err(Error::new(Code::Bug, "a read view was asked of OceanBase")),
        };
        if let Some(found) = found {
            break found;
        }
        match under_lock(connection, context, table, handoff).await {
            Ok(place) => break (place, false),
            Err(error) if is_refused(&error) && connection.server().family == ServerFamily::MariaDb => {
                tracing::warn!(%table, %error, "the place of a view is certain after the next commit, with no distributed transaction prepared, or with RELOAD granted");
                locked(handoff).abandon();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error),
        }
    };
    Ok(View { point, micros, opened: Instant::now(), locks: false, told, as_of: None })
}

/// Takes a snapshot of a table and reads the log up to a marker behind it. None when the table was altered in between.
///
/// # Errors
/// As [`LaggingLog::window`](super::LaggingLog::window).
pub async fn as_of(
    connection: &mut Connection,
    context: &SnapshotContext,
    shape: &Shape,
    handoff: &SharedHandoff,
) -> Result<Option<View>> {
    let micros = context.clock.now_micros();
    locked(handoff).opening();
    let Some((number, folding)) = fold::snapshot(connection, context, shape).await? else {
        locked(handoff).abandon();
        return Ok(None);
    };
    let point = folding.point().clone();
    let as_of = Some((number, Arc::new(folding)));
    Ok(Some(View { point, micros, opened: Instant::now(), locks: false, told: false, as_of }))
}

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Views opened before writers are locked out, and the longest pause between them: a rotation is over in a moment, unless
/// a commit waits for a replica.
const VIEWS: u32 = 12;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

async fn told(
    connection: &mut Connection,
    context: &SnapshotContext,
    handoff: &SharedHandoff,
) -> Result<Option<Place>> {
    let mut pause = Duration::from_millis(1);
    let checks = !fault::removed("hand-off-at-commit");
    for _ in 0..VIEWS {
        // Whose XA COMMIT is in the log and not in the tables is listed after that, or logs it later.
        let logged = if checks { Some(end_of_log(connection).await?) } else { None };
        let undecided = are_prepared(connection).await?;
        locked(handoff).opening();
        connection.execute(BEGIN).await?;
        if fault::removed("hand-off-in-snapshot") {
            return end_of_log(connection).await.map(Some);
        }
        if !undecided
            && let Some(place) = agreed(connection).await?
            && is_exact(connection, context, logged.as_ref(), &place).await?
        {
            return Ok(Some(place));
        }
        locked(handoff).abandon();
        connection.execute("COMMIT").await?;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(None)
}

/// Whether the view shows just what lies before the place. `logged`: the log's end before distributed transactions were asked for.
async fn is_exact(
    connection: &mut Connection,
    context: &SnapshotContext,
    logged: Option<&Place>,
    place: &Place,
) -> Result<bool> {
    let Some(logged) = logged else { return Ok(true) };
    Ok(ends_a_transaction(connection, place, &context.heads).await?
        && !may_commit_between(connection, logged, place).await?)
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
        if fault::removed("hand-off-in-quiet") {
            connection.execute(BEGIN).await?;
            return end_of_log(connection).await.map(Some);
        }
        let before = end_of_log(connection).await?;
        // A transaction owns its identifier from before it is logged until it is visible.
        let owned = connection.query_value("SELECT @@GLOBAL.gtid_owned").await?;
        if owned.is_some_and(|owned| !owned.is_empty()) {
            locked(handoff).abandon();
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        connection.execute(BEGIN).await?;
        let hopeless = are_out_of_order(connection).await?;
        if !hopeless && end_of_log(connection).await? == before {
            return Ok(Some(before));
        }
        locked(handoff).abandon();
        connection.execute("COMMIT").await?;
        if hopeless {
            break;
        }
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
    let release = hold_commits(&mut locker, table).await?;
    locked(handoff).opening();
    connection.execute(BEGIN).await?;
    let place = end_of_log(&mut locker).await?;
    locker.execute(release).await?;
    locker.close().await;
    Ok(place)
}

/// Waits for all commits that may have changed the table, and holds up others; returns the statement that lets them go on.
async fn hold_commits(locker: &mut Connection, table: &TableId) -> Result<&'static str> {
    if locker.server().family == ServerFamily::MariaDb {
        locker.execute("BACKUP STAGE START").await?;
        locker.execute("BACKUP STAGE BLOCK_COMMIT").await?;
        return Ok("BACKUP STAGE END");
    }
    let release = "UNLOCK TABLES";
    // A prepared one may be committed without regard to the table's lock; the lock on everything waits for its commit.
    if !are_prepared(locker).await? {
        locker.execute(&format!("FLUSH TABLES {} WITH READ LOCK", quote::table(table)?)).await?;
        if !are_prepared(locker).await? {
            return Ok(release);
        }
        locker.execute(release).await?;
    }
    locker.execute("FLUSH TABLES WITH READ LOCK").await?;
    Ok(release)
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
