//! Read views beside distributed transactions (XA), whose rows become visible in an order of their own.
//!
//! What a server does with XA COMMIT was seen by stopping its thread between the log and the tables:
//!
//! - **MariaDB** logs XA COMMIT of a prepared transaction, tells its end as the place of views, and only then commits in the
//!   engine (`ha_commit_or_rollback_by_xid` and `ha_commit_one_phase` in `sql/xa.cc`, 10.11 and 11.8). `XA RECOVER` lists it
//!   until that is done. The table is not locked by it once the session that prepared it is gone.
//! - **MySQL before 8.0.30** does the same with XA COMMIT ... ONE PHASE, and has given its identifier up by then; and it shows the
//!   rows of what another session has prepared before it logs their commit (5.7.29). The table is locked as on MariaDB.
//! - **MySQL since 8.0.30** commits them as it does others (`trx_coordinator::commit_in_engines` in `sql/tc_log.cc`; 9.7).

use super::told_place::counter;
use crate::catalog::Version;
use crate::client::{Connection, ServerFamily, quote};
use crate::place::Place;
use crate::server::told_prepared;
use dujiang_core::{Code, Result};

/// Whether distributed transactions are prepared. On MariaDB: when there are none, what XA COMMIT has logged is visible. Where they
/// may not be listed (XA_RECOVER_ADMIN), they count as prepared if it matters.
///
/// # Errors
/// `ConnectionLost`.
pub async fn are_prepared(connection: &mut Connection) -> Result<bool> {
    let unknown = !commits_in_order(connection);
    Ok(told_prepared(connection).await?.map_or(unknown, |names| !names.is_empty()))
}

/// Whether the server is a MySQL that commits distributed transactions as it does others.
fn commits_in_order(connection: &Connection) -> bool {
    let server = connection.server();
    let since = Version::parse(&server.version).is_some_and(|version| version >= Version(8, 0, 30));
    server.family == ServerFamily::MySql && since
}

/// Events looked through between two places; more of them in the moment of a view are rare.
const MOST_EVENTS: usize = 2_000;

/// Whether the log of a MariaDB may have an XA COMMIT between two places.
///
/// # Errors
/// `ConnectionLost`.
pub async fn may_commit_between(connection: &mut Connection, from: &Place, to: &Place) -> Result<bool> {
    if to <= from {
        return Ok(false);
    }
    if to.file() != from.file() {
        return Ok(true);
    }
    let file = quote::text(from.file());
    let sql = format!("SHOW BINLOG EVENTS IN {file} FROM {} LIMIT {MOST_EVENTS}", from.offset);
    let rows = match connection.query(&sql).await {
        // The file is gone.
        Err(error) if error.code() == Code::SourceQuery => return Ok(true),
        other => other?,
    };
    for row in rows.iter() {
        if row.parse::<u64>(1)?.is_none_or(|offset| offset >= to.offset) {
            return Ok(false);
        }
        // A query of its own, which may be compressed.
        if row.required(2)?.starts_with("Query") && row.text(5)?.is_none_or(|sql| sql.contains("XA COMMIT")) {
            return Ok(true);
        }
    }
    Ok(rows.len() == MOST_EVENTS)
}

/// Whether distributed transactions may be visible out of order, asked with the view open. An XA COMMIT whose rows it lacks or
/// has too early is that of one which began before, or which was there when the server started.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn are_out_of_order(connection: &mut Connection) -> Result<bool> {
    if connection.server().family != ServerFamily::MySql || commits_in_order(connection) {
        return Ok(false);
    }
    Ok(are_prepared(connection).await? || counter(connection, "Com_xa_start").await? > 0)
}
