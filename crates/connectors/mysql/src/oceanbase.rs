//! OceanBase in MySQL mode, read through its Binlog Service: what is different from the MySQL it stands for.
//!
//! A proxy (ODP, port 2883) sends ordinary SQL to the database and replication commands to the Binlog Service, so that
//! settings such as `log_bin` say nothing about the log. Facts are from the sources of the open Binlog Service
//! (oceanbase/oblogproxy 2.0) and from the kernel itself:
//!
//! - **Only identifiers resume.** File names and offsets differ between nodes of the service. One stream per tenant gives its
//!   transactions `uuid:1`, `uuid:2`, ...; a stream that was made anew has another UUID, and is refused (INV-5).
//! - **Signs of life say nothing about the place**, which may be that of the next event, in a file named by its path.
//! - **What its parser does not understand is answered with OK**, not with an error.
//! - Rows that foreign keys change are in the log, as everything is that the storage does.

use crate::client::Connection;
use crate::gtid::{Executed, GtidSet};
use crate::place::Place;
use crate::position::ServerName;
use crate::resume::{Resume, lost, other_server};
use dujiang_core::options::Problem;
use dujiang_core::{Code, Error, Result};

/// Refuses a tenant whose changes are in no binlog.
///
/// # Errors
/// `OracleMode`, `BinlogServiceOff`; `ConnectionLost`.
pub async fn check(connection: &mut Connection) -> Result<()> {
    let rows = connection.query("SHOW VARIABLES LIKE 'ob_compatibility_mode'").await?;
    let mode = rows.get(0).map(|row| row.text(1)).transpose()?.flatten();
    if mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ORACLE")) {
        let message = format!("{} is a tenant in Oracle mode", connection.address());
        return Err(Error::new(Code::OracleMode, message)
            .help("name a tenant in MySQL mode: OceanBase writes no binlog for others"));
    }
    status(connection).await.map(|_| ())
}

/// Where the tenant's log ends: file, offset and all transactions before it, in one answer.
async fn status(connection: &mut Connection) -> Result<(Place, GtidSet)> {
    let off = |address: &str| {
        Error::new(Code::BinlogServiceOff, format!("Binlog Service is not enabled for the tenant at {address}"))
            .fact("asked", "SHOW MASTER STATUS")
            .help(
                "enable Binlog Service for this tenant (CREATE BINLOG FOR TENANT, or in the cloud's console), and name the \
                 address of the proxy (ODP, usually port 2883), which knows the service; the database itself does not",
            )
    };
    let rows = match connection.query("SHOW MASTER STATUS").await {
        Ok(rows) => rows,
        // 1064, 1235: the statement has reached the database instead of the service.
        Err(error) if error.code() == Code::SourceQuery => return Err(off(connection.address()).with_source(error)),
        Err(error) => return Err(error),
    };
    let Some(row) = rows.get(0) else { return Err(off(connection.address())) };
    let place = Place::new(row.required(0)?, row.parse(1)?.unwrap_or(0));
    let executed = row.column("Executed_Gtid_Set").map(|at| row.text(at)).transpose()?.flatten().unwrap_or_default();
    let executed = executed.parse().map_err(|e: String| Error::new(Code::Protocol, e))?;
    Ok((place.ok_or_else(|| off(connection.address()))?, executed))
}

/// The end of the log, in both its names.
///
/// # Errors
/// `BinlogServiceOff`, `ConnectionLost`, `Protocol`.
pub async fn end(connection: &mut Connection) -> Result<(Place, Executed)> {
    let (place, executed) = status(connection).await?;
    Ok((place, Executed::MySql(executed)))
}

/// Checks that the stream is the one that was followed (INV-5). Whether it still has what comes next only the dump tells.
///
/// # Errors
/// `OtherServer`, `PositionLost`.
pub async fn verify(connection: &mut Connection, name: ServerName, resume: &Resume) -> Result<ServerName> {
    let (_, executed) = status(connection).await?;
    let Executed::MySql(ours) = &resume.executed else {
        return Err(other_server(
            &name,
            resume,
            "the position has no transaction identifiers, without which none resumes",
        ));
    };
    if !executed.covers(ours) {
        let why = format!(
            "the pipeline has read {}, which its log does not have; the service's task for the tenant may have been made anew",
            ours.subtract(&executed)
        );
        return Err(other_server(&name, resume, &why));
    }
    // The database may answer in the service's place and know nothing.
    let purged = connection.query_value("SELECT @@GLOBAL.gtid_purged").await.ok().flatten().unwrap_or_default();
    let purged: GtidSet = purged.parse().unwrap_or_default();
    if !ours.covers(&purged) {
        return Err(lost(resume, &format!("{} was purged before it was read", purged.subtract(ours))));
    }
    Ok(name)
}

/// Snapshots have to account for the service's lag behind the database, which they do not yet.
#[cold]
pub fn no_snapshot() -> Error {
    Error::new(Code::NotSupported, "snapshots of OceanBase are not supported yet")
        .help("begin with `scan.startup.mode: latest-offset`")
}

/// As [`no_snapshot`], for the option that asks for one, or for another beginning that needs a place in the log.
pub fn unsupported_start(mode: &str, place: dujiang_core::options::Place) -> Problem {
    let message = format!("`scan.startup.mode: {mode}` is not supported yet with `type: oceanbase`");
    Problem::new(Code::NotSupported, message, place)
        .help("write `scan.startup.mode: latest-offset`: every change from now on, without what is there already")
}
