//! OceanBase in MySQL mode, read through its Binlog Service: what is different from the MySQL it stands for.
//!
//! A proxy (ODP, port 2883) sends ordinary SQL to the database and replication commands to the Binlog Service, so that
//! settings such as `log_bin` say nothing about the log. Facts are from the sources of the open Binlog Service
//! (oceanbase/oblogproxy 2.0) and from the kernel itself:
//!
//! - **Only identifiers resume.** File names and offsets differ between nodes of the service. One stream per tenant gives its
//!   transactions `uuid:1`, `uuid:2`, ...; a stream that was made anew has another UUID, and is refused (INV-5).
//!   So places are the numbers of transactions.
//! - **Signs of life say nothing about the place**, which may be that of the next event, in a file named by its path.
//! - **The log lags behind the database.** What is in a snapshot is not yet in the log: [`crate::marked`].
//! - **What its parser does not understand is answered with OK**, not with an error.
//! - Rows that foreign keys change are in the log, as everything is that the storage does.

use crate::client::{Connection, oracle_mode, quote};
use crate::gtid::{Executed, GtidSet};
use crate::place::Place;
use crate::position::ServerName;
use crate::resume::{Resume, lost, other_server};
use dujiang_core::options::Problem;
use dujiang_core::{Code, Error, Result, TableId};
use std::time::Duration;

/// Refuses a tenant whose changes are in no binlog, and another server, about which nothing that is true of OceanBase's log holds.
///
/// # Errors
/// `OracleMode`, `BinlogServiceOff`, `NotADatabase`; `ConnectionLost`.
pub async fn check(connection: &mut Connection) -> Result<()> {
    let sql = "SHOW VARIABLES WHERE Variable_name IN ('ob_compatibility_mode', 'version', 'version_comment')";
    let rows = connection.query(sql).await?;
    let (mut mode, mut named) = (None, false);
    for row in rows.iter() {
        match (row.required(0)?, row.text(1)?) {
            ("ob_compatibility_mode", value) => mode = value,
            (_, value) => named |= value.is_some_and(|value| value.contains("OceanBase")),
        }
    }
    if mode.is_none() && !named {
        let message = format!("{} is not OceanBase", connection.address());
        return Err(Error::new(Code::NotADatabase, message)
            .fact("missing", "the variable ob_compatibility_mode")
            .help("name the proxy (ODP) of the tenant, or write `type: mysql` or `type: mariadb`"));
    }
    if mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ORACLE")) {
        return Err(oracle_mode(connection.address()));
    }
    status(connection).await.map(|_| ())
}

/// Where the tenant's log ends, as far as the service has come: the number of the next transaction, and all before it.
///
/// # Errors
/// `BinlogServiceOff`, `ConnectionLost`, `Protocol`, `OtherServer`.
pub async fn status(connection: &mut Connection) -> Result<(Place, GtidSet)> {
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
    let executed = row.column("Executed_Gtid_Set").map(|at| row.text(at)).transpose()?.flatten().unwrap_or_default();
    let executed = executed.parse().map_err(|e: String| Error::new(Code::Protocol, e))?;
    Ok((place_after(&executed)?, executed))
}

/// The number of the next transaction. Files and offsets differ between nodes of the service, numbers do not.
///
/// # Errors
/// `OtherServer` when the log has more than one history.
pub fn place_after(executed: &GtidSet) -> Result<Place> {
    executed.first_missing().map(Place::of_number).ok_or_else(|| {
        Error::new(Code::OtherServer, "the tenant's log holds the transactions of several tasks of Binlog Service")
            .fact("transactions", executed.to_string())
            .help("make the tenant's binlog anew with one UUID (CREATE BINLOG ... WITH SERVER UUID), and start a new pipeline")
    })
}

/// A snapshot of everything that is committed now: rows can be read as of it for some time (`undo_retention`).
///
/// # Errors
/// `Protocol`; `ConnectionLost`, `SourceQuery`.
pub async fn snapshot_number(connection: &mut Connection) -> Result<u64> {
    let number = connection.query_value("SELECT current_scn()").await?;
    number.and_then(|text| text.parse().ok()).ok_or_else(|| Error::new(Code::Protocol, "the source names no snapshot"))
}

/// What makes the table for markers, and lets the user write to it.
///
/// # Errors
/// `BadValue` for a name that cannot be quoted.
pub fn marker_statements(table: &TableId, user: &str) -> Result<[String; 2]> {
    let table = quote::table(table)?;
    let columns = "pipeline VARCHAR(255) NOT NULL PRIMARY KEY, token CHAR(32) NOT NULL";
    Ok([
        format!("CREATE TABLE IF NOT EXISTS {table} ({columns})"),
        format!("GRANT SELECT, INSERT, UPDATE ON {table} TO {user}"),
    ])
}

/// Checks that markers can be written, without writing one.
///
/// # Errors
/// `MarkerTable`, with the statements that mend it; `ConnectionLost`.
pub async fn check_marker_table(connection: &mut Connection, table: &TableId, user: &str) -> Result<()> {
    let quoted = quote::table(table)?;
    let sql = format!(
        "INSERT INTO {quoted} (pipeline, token) SELECT pipeline, token FROM {quoted} WHERE 1 = 0 \
         ON DUPLICATE KEY UPDATE token = VALUES(token)"
    );
    connection.execute(&sql).await.map(|_| ()).map_err(|error| no_marker_table(error, table, user))
}

/// Why no marker can be written; errors that are not about that stay what they are.
pub fn no_marker_table(error: Error, table: &TableId, user: &str) -> Error {
    let about = [Code::MissingPrivilege, Code::TableGone, Code::UnknownDatabase, Code::SourceQuery];
    let (true, Ok([create, grant])) = (about.contains(&error.code()), marker_statements(table, user)) else {
        return error;
    };
    let error = match error.code() {
        Code::MissingPrivilege => Error::new(Code::MarkerTable, format!("no marker can be written into {table}"))
            .help(format!("run {grant}"))
            .with_source(error),
        _ => Error::new(Code::MarkerTable, format!("{table} is not a table for markers"))
            .help(format!("run {create}"))
            .remedy(create)
            .with_source(error),
    };
    error.remedy(grant)
}

/// Statements that may take as long as a chunk does, and see what is committed: the database ends them after 10 s, and a
/// follower may show less.
pub const SESSION: [&str; 4] = [
    "SET SESSION ob_query_timeout = 86400000000",
    "SET SESSION ob_trx_timeout = 86400000000",
    "SET SESSION ob_trx_idle_timeout = 86400000000",
    "SET SESSION ob_read_consistency = 'STRONG'",
];

/// The end of the log, in both its names.
///
/// # Errors
/// `BinlogServiceOff`, `ConnectionLost`, `Protocol`.
pub async fn end(connection: &mut Connection) -> Result<(Place, Executed)> {
    let (place, executed) = status(connection).await?;
    Ok((place, Executed::MySql(executed)))
}

const BEHIND_ATTEMPTS: u32 = 10;
const BEHIND_PAUSE: Duration = Duration::from_millis(500);

/// Checks that the stream is the one that was followed (INV-5). Whether it still has what comes next only the dump tells.
///
/// # Errors
/// `OtherServer`, `PositionLost`.
pub async fn verify(connection: &mut Connection, name: ServerName, resume: &Resume) -> Result<ServerName> {
    let Executed::MySql(ours) = &resume.executed else {
        return Err(other_server(
            &name,
            resume,
            "the position has no transaction identifiers, without which none resumes",
        ));
    };
    let (_, mut executed) = status(connection).await?;
    for _ in 0..BEHIND_ATTEMPTS {
        if executed.covers(ours) {
            break;
        }
        // Another node of the service may be behind the one that was read from.
        tokio::time::sleep(BEHIND_PAUSE).await;
        executed = status(connection).await?.1;
    }
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

/// A beginning that needs a place in the log which identifiers do not tell.
pub fn unsupported_start(mode: &str, place: dujiang_core::options::Place) -> Problem {
    let message = format!("`scan.startup.mode: {mode}` is not supported with `type: oceanbase`");
    Problem::new(Code::NotSupported, message, place)
        .help("write `initial`, `snapshot` or `latest-offset`: places in files differ between nodes of Binlog Service")
}

/// A snapshot needs a table for markers.
pub fn no_marker(mode: &str, place: dujiang_core::options::Place) -> Problem {
    let message =
        format!("`scan.startup.mode: {mode}` needs `scan.marker.table`, a table that the pipeline may write to");
    Problem::new(Code::MarkerTable, message, place).help(
        "name one, such as `scan.marker.table: ops.dujiang_marker`, and let `dujiang doctor --sql` print the statements that \
         make it: Binlog Service lags behind the database, and only a row that the pipeline itself writes tells when a \
         snapshot is in the log; or begin with `scan.startup.mode: latest-offset`",
    )
}
