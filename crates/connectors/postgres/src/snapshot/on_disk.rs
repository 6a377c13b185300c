//! What a view shows is on the server's disk before anything of it is handed out.
//!
//! A commit with `synchronous_commit = off` is visible before it is written. A server that crashes in between forgets it, and gives
//! its number to another transaction: the chunk would have rows that were never there, and its view would seem to show a change that
//! it does not. The stream tells of nothing that is not on disk.

use super::job::SnapshotContext;
use super::view::View;
use crate::client::Connection;
use crate::lsn::Lsn;
use dujiang_core::{Code, Error, Result, fault};
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Commits of others write the log in a moment, if there are any; else it is written on our account.
const PATIENCE: Duration = Duration::from_millis(8);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Waits until the server has written its log as far as the view may show it.
///
/// # Errors
/// As [`Connection::simple`].
pub async fn reaches(connection: &mut Connection, context: &SnapshotContext, view: &View) -> Result<()> {
    // A standby replays what it has written.
    if view.is_replayed() || fault::removed("view-on-disk") {
        return Ok(());
    }
    let (mut pause, mut told) = (FIRST_PAUSE, false);
    while written(connection).await? < view.high() {
        if pause >= PATIENCE
            && let Err(error) = write(context).await
            && !std::mem::replace(&mut told, true)
        {
            tracing::warn!(%error, "the snapshot waits until the server writes its log to disk, and cannot make it do so");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

async fn written(connection: &mut Connection) -> Result<Lsn> {
    let rows = connection.simple("SELECT pg_catalog.pg_current_wal_flush_lsn()::text").await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell what it has written"))?;
    Lsn::parse(row.text(0)?)
}

/// A commit that waits for the server's own disk writes all before it, too.
async fn write(context: &SnapshotContext) -> Result<()> {
    let mut session = context.connect().await?;
    session.execute("SET synchronous_commit = local").await?;
    log_something(&mut session).await?;
    session.close().await;
    Ok(())
}

/// Gives the server a commit to log, which is of no table.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn log_something(connection: &mut Connection) -> Result<()> {
    connection.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'dujiang', '')").await
}
