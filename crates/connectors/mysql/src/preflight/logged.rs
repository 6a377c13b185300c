//! Changes that happen on the server and never reach its binlog.

use super::listed;
use crate::catalog::{ServerFlavor, ServerProfile};
use crate::client::{Connection, TextRows};
use crate::snapshot::told_place::ask_status;
use dujiang_core::{Code, Error, Result, TableId};

/// A replica that does not log what it replicates has half a binlog.
///
/// # Errors
/// `BinlogOff`; `ConnectionLost`, `SourceQuery`.
pub(super) async fn check_replica(connection: &mut Connection, server: &ServerProfile) -> Result<()> {
    if server.is_on("log_slave_updates") || server.is_on("log_replica_updates") {
        return Ok(());
    }
    let replicates = match server.flavor {
        ServerFlavor::MariaDb => {
            let rows = ask_status(connection, "SHOW GLOBAL STATUS LIKE 'Slaves_running'").await?;
            rows.get(0).map(|r| r.parse::<u32>(1)).transpose()?.flatten().is_some_and(|n| n > 0)
        }
        // Who may not ask is taken for the owner of a server that nobody made a replica.
        ServerFlavor::MySql => match connection.query("SHOW REPLICA STATUS").await {
            Ok(rows) => !rows.is_empty(),
            // Before 8.0.22 it has another name.
            Err(_) => connection.query("SHOW SLAVE STATUS").await.is_ok_and(|rows| !rows.is_empty()),
        },
        ServerFlavor::OceanBase => false,
    };
    if !replicates {
        return Ok(());
    }
    let message = format!("{} is a replica and does not log what it replicates", connection.address());
    Err(Error::new(Code::BinlogOff, message)
        .fact("server", server.name())
        .fact("found", "log_slave_updates=OFF")
        .help("set log_slave_updates=ON in the server's configuration file and restart it, or capture from its source"))
}

/// `binlog_do_db` and `binlog_ignore_db` keep databases out of the log.
///
/// # Errors
/// `BinlogOff`, naming the tables.
pub(super) fn check_filters(server: &ServerProfile, log_status: &TextRows, tables: &[TableId]) -> Result<()> {
    let Some(status) = log_status.get(0) else { return Ok(()) };
    let list = |name: &str| -> Result<Vec<&str>> {
        let text = status.column(name).map(|c| status.text(c)).transpose()?.flatten().unwrap_or_default();
        Ok(text.split(',').filter(|d| !d.is_empty()).collect())
    };
    let (logged, ignored) = (list("Binlog_Do_DB")?, list("Binlog_Ignore_DB")?);
    let left_out =
        |t: &&TableId| (!logged.is_empty() && !logged.contains(&&*t.database)) || ignored.contains(&&*t.database);
    let missing: Vec<&TableId> = tables.iter().filter(left_out).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let error = Error::new(Code::BinlogOff, format!("the binlog leaves out database {}", first.database))
        .fact("server", server.name())
        .fact("found", format!("binlog_do_db={} binlog_ignore_db={}", logged.join(","), ignored.join(",")))
        .help("take binlog_do_db and binlog_ignore_db out of the server's configuration file and restart it");
    Err(listed(error, "table", missing.iter().map(|t| t.to_string())))
}
