//! What the user may do, found out by trying where that changes nothing.

use super::listed;
use crate::catalog::{ServerFlavor, ServerProfile, Version};
use crate::client::{Connection, TextRows, quote};
use dujiang_core::{Code, Error, Result, TableId};

/// May the user read the binlog, and ask where it ends? Returns what the server says of its log.
///
/// # Errors
/// `MissingPrivilege`, naming all that are missing.
pub(super) async fn check_replication(
    connection: &mut Connection,
    server: &ServerProfile,
    server_id: u32,
) -> Result<TextRows> {
    let (monitor, place) = match server.flavor {
        ServerFlavor::MariaDb if server.version >= Version(10, 5, 2) => ("BINLOG MONITOR", "SHOW MASTER STATUS"),
        ServerFlavor::MySql if server.version >= Version(8, 2, 0) => ("REPLICATION CLIENT", "SHOW BINARY LOG STATUS"),
        _ => ("REPLICATION CLIENT", "SHOW MASTER STATUS"),
    };
    let mut missing = Vec::new();
    if permitted(connection.register_replica(server_id).await)?.is_none() {
        missing.push("REPLICATION SLAVE");
    }
    let status = permitted(connection.query(place).await)?;
    if status.is_none() {
        missing.push(monitor);
    }
    if let (Some(status), true) = (status, missing.is_empty()) {
        return Ok(status);
    }
    let (user, missing) = (account(connection).await?, missing.join(", "));
    Err(Error::new(Code::MissingPrivilege, format!("user {user} may not read the binlog of {}", connection.address()))
        .fact("missing", missing.clone())
        .help(format!("run GRANT {missing} ON *.* TO {user}")))
}

/// `None` when a privilege is missing.
fn permitted<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.code() == Code::MissingPrivilege => Ok(None),
        Err(e) => Err(e),
    }
}

/// May the user read all columns of these tables?
///
/// # Errors
/// `MissingPrivilege`, naming all tables.
pub(super) async fn check_select(connection: &mut Connection, tables: &[TableId]) -> Result<()> {
    if selects_everywhere(connection).await? {
        return Ok(());
    }
    let mut missing = Vec::new();
    for id in tables {
        let sql = format!("SELECT * FROM {} LIMIT 0", quote::table(id)?);
        match connection.execute(&sql).await {
            Err(e) if e.code() == Code::MissingPrivilege => missing.push(id),
            // Dropped in the meantime, or broken: later steps say more about it.
            Err(e) if e.code() == Code::ConnectionLost => return Err(e),
            _ => {}
        }
    }
    let Some(first) = missing.first() else { return Ok(()) };
    let user = account(connection).await?;
    let error =
        Error::new(Code::MissingPrivilege, format!("user {user} may not read {} captured tables", missing.len()))
            .fact("missing", "SELECT")
            .help(format!(
                "run GRANT SELECT ON {}.* TO {user}, or leave the tables out",
                quote::identifier(&first.database)?
            ));
    Err(listed(error, "table", missing.iter().map(|t| t.to_string())))
}

/// Whether a grant on everything makes further trying needless. A line that is not understood proves nothing.
async fn selects_everywhere(connection: &mut Connection) -> Result<bool> {
    let Ok(rows) = connection.query("SHOW GRANTS").await else { return Ok(false) };
    let mut everywhere = false;
    for row in rows.iter() {
        let line = row.text(0)?.unwrap_or_default().to_ascii_uppercase();
        let Some((privileges, _)) = line.strip_prefix("GRANT ").and_then(|l| l.split_once(" ON *.* TO ")) else {
            continue;
        };
        everywhere |= privileges.split(',').any(|p| matches!(p.trim(), "SELECT" | "ALL PRIVILEGES"));
        // MySQL's partial revokes take single databases out again.
        if line.starts_with("REVOKE ") {
            return Ok(false);
        }
    }
    Ok(everywhere)
}

/// `'app'@'%'`, the account whose privileges count.
async fn account(connection: &mut Connection) -> Result<String> {
    let found = connection.query_value("SELECT CURRENT_USER()").await?.unwrap_or_default();
    let (user, host) = found.rsplit_once('@').unwrap_or((&found, "%"));
    Ok(format!("{}@{}", quote::text(user), quote::text(host)))
}
