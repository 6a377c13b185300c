//! What the user may do, found out by trying where that changes nothing.

use super::listed;
use crate::catalog::{ServerFlavor, ServerProfile, Version};
use crate::client::{Connection, TextRows, quote};
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::BTreeSet;

/// May the user read the binlog, and ask where it ends? Returns what the server says of its log.
///
/// # Errors
/// `MissingPrivilege`, naming all that are missing.
pub(super) async fn check_replication(
    connection: &mut Connection,
    server: &ServerProfile,
    server_id: u32,
) -> Result<TextRows> {
    let monitor = match server.mariadb_since(Version(10, 5, 2)) {
        true => "BINLOG MONITOR",
        false => "REPLICATION CLIENT",
    };
    let mut missing = Vec::new();
    let reads = match server.flavor {
        ServerFlavor::MariaDb => permitted(connection.register_replica(server_id).await)?.is_some(),
        // MySQL keeps a replica that registers and reads nothing in its list for ever, after its session, too; but telling the
        // list needs the very privilege.
        ServerFlavor::MySql => permitted(connection.query(replicas_statement(server)).await)?.is_some(),
        // Binlog Service checks none.
        ServerFlavor::OceanBase => true,
    };
    if !reads {
        missing.push("REPLICATION SLAVE");
    }
    let status = permitted(connection.query(place_statement(server)).await)?;
    if status.is_none() {
        missing.push(monitor);
    }
    if let (Some(status), true) = (status, missing.is_empty()) {
        return Ok(status);
    }
    let (user, missing) = (account(connection).await?, missing.join(", "));
    Err(Error::new(Code::MissingPrivilege, format!("user {user} may not read the binlog of {}", connection.address()))
        .fact("missing", missing.clone())
        .help(format!("run GRANT {missing} ON *.* TO {user}"))
        .remedy(format!("GRANT {missing} ON *.* TO {user}")))
}

/// What lists the clients that read the log.
pub(crate) fn replicas_statement(server: &ServerProfile) -> &'static str {
    let new_words = server.mysql_since(Version(8, 0, 22)) || server.mariadb_since(Version(10, 5, 1));
    match server.flavor {
        ServerFlavor::MySql if new_words => "SHOW REPLICAS",
        ServerFlavor::MariaDb if new_words => "SHOW REPLICA HOSTS",
        _ => "SHOW SLAVE HOSTS",
    }
}

/// What tells where the log ends.
fn place_statement(server: &ServerProfile) -> &'static str {
    if server.mysql_since(Version(8, 2, 0)) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
}

/// May the user lock tables for a moment? Views need it on servers that are never quiet.
///
/// # Errors
/// `MissingPrivilege`; `ConnectionLost`, `SourceQuery`.
pub(crate) async fn may_lock(connection: &mut Connection) -> Result<()> {
    let (grants, user) = (grants(connection).await?, account(connection).await?);
    let global = |wanted: &str| {
        let named = |privileges: &str| privileges.split(',').any(|p| matches!(p.trim(), p if p == wanted || p == ALL));
        grants.iter().any(|line| on_everything(line).is_some_and(named))
    };
    // MySQL's roles and MariaDB's are not followed: whoever has one may have it from there.
    let role = |line: &String| line.starts_with("GRANT ") && !line.contains(" ON ");
    let missing: Vec<&str> = ["RELOAD", "LOCK TABLES"].into_iter().filter(|wanted| !global(wanted)).collect();
    if missing.is_empty() || grants.iter().any(role) {
        return Ok(());
    }
    let missing = missing.join(", ");
    let message = format!("user {user} may not lock tables on {}", connection.address());
    Err(Error::new(Code::MissingPrivilege, message)
        .fact("missing", missing.clone())
        .help("grant them, so that the snapshot can begin while the server is never quiet for a moment")
        .remedy(format!("GRANT {missing} ON *.* TO {user}")))
}

const ALL: &str = "ALL PRIVILEGES";

/// The privileges of a line that grants them on everything.
fn on_everything(line: &str) -> Option<&str> {
    Some(line.strip_prefix("GRANT ")?.split_once(" ON *.* TO ")?.0)
}

async fn grants(connection: &mut Connection) -> Result<Vec<String>> {
    let rows = connection.query("SHOW GRANTS").await?;
    rows.iter().map(|row| Ok(row.text(0)?.unwrap_or_default().to_ascii_uppercase())).collect()
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
    let mut error =
        Error::new(Code::MissingPrivilege, format!("user {user} may not read {} captured tables", missing.len()))
            .fact("missing", "SELECT")
            .help(format!("run {}, or leave the tables out", grant_select(&first.database, &user)?));
    for database in missing.iter().map(|id| &*id.database).collect::<BTreeSet<_>>() {
        error = error.remedy(grant_select(database, &user)?);
    }
    Err(listed(error, "table", missing.iter().map(|t| t.to_string())))
}

/// What lets the user read all tables of a database. In the name of a granted database `_` and `%` are wildcards.
pub(super) fn grant_select(database: &str, user: &str) -> Result<String> {
    let literal = database.replace('_', "\\_").replace('%', "\\%");
    Ok(format!("GRANT SELECT ON {}.* TO {user}", quote::identifier(&literal)?))
}

/// Whether a grant on everything makes further trying needless. A line that is not understood proves nothing.
pub(super) async fn selects_everywhere(connection: &mut Connection) -> Result<bool> {
    let Ok(lines) = grants(connection).await else { return Ok(false) };
    // MySQL's partial revokes take single databases out again.
    if lines.iter().any(|line| line.starts_with("REVOKE ")) {
        return Ok(false);
    }
    let selects = |privileges: &str| privileges.split(',').any(|p| matches!(p.trim(), "SELECT" | ALL));
    Ok(lines.iter().any(|line| on_everything(line).is_some_and(selects)))
}

/// `'app'@'%'`, the account whose privileges count.
pub(crate) async fn account(connection: &mut Connection) -> Result<String> {
    let found = connection.query_value("SELECT CURRENT_USER()").await?.unwrap_or_default();
    let (user, host) = found.rsplit_once('@').unwrap_or((&found, "%"));
    Ok(format!("{}@{}", quote::text(user), quote::text(host)))
}
