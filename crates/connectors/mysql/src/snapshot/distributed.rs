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

use super::told_place::ask_status;
use crate::catalog::Version;
use crate::client::{Connection, ServerFamily};
use crate::server::told_prepared;
use dujiang_core::{Code, Error, Result};

/// Whether distributed transactions are prepared. On MariaDB: when there are none, what XA COMMIT has logged is visible.
///
/// # Errors
/// `ConnectionLost`.
pub async fn are_prepared(connection: &mut Connection) -> Result<bool> {
    Ok(told_prepared(connection).await?.is_some_and(|names| !names.is_empty()))
}

/// How many XA COMMIT were begun; each is counted before it is logged.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn commits(connection: &mut Connection) -> Result<u64> {
    counter(connection, "Com_xa_commit").await
}

/// Whether distributed transactions may be visible out of order, asked with the view open. An XA COMMIT whose rows it lacks or
/// has too early is that of one which began before, or which was there when the server started.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn are_out_of_order(connection: &mut Connection) -> Result<bool> {
    let server = connection.server();
    let in_order = Version::parse(&server.version).is_some_and(|version| version >= Version(8, 0, 30));
    if server.family != ServerFamily::MySql || in_order {
        return Ok(false);
    }
    let prepared = told_prepared(connection).await?;
    Ok(prepared.is_none_or(|names| !names.is_empty()) || counter(connection, "Com_xa_start").await? > 0)
}

async fn counter(connection: &mut Connection, name: &str) -> Result<u64> {
    let rows = ask_status(connection, &format!("SHOW GLOBAL STATUS LIKE '{name}'")).await?;
    let value = rows.get(0).map(|row| row.parse(1)).transpose()?;
    value.flatten().ok_or_else(|| Error::new(Code::Protocol, format!("the source does not count {name}")))
}
