//! What `doctor` looks at: everything that a start checks, and what would go wrong only later.

mod publication;
mod session;
mod slots;

use crate::catalog::TableDetail;
use crate::client::{Connection, Session};
use crate::config::{Config, OriginFilter};
use crate::preflight::{self, Checked};
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::{Code, Error, Result};
use dujiang_database::estimate::snapshot_time;

/// Examines the source; connects twice, for queries and for replication.
pub async fn examine(config: &Config, visit: &Visit) -> Examination {
    let address = config.endpoint.address();
    let mut examination = Examination::of(address.clone());
    let mut connection = match Connection::connect(&config.endpoint, Session::Ordinary).await {
        Ok(connection) => connection,
        Err(error) => {
            not_connected(&mut examination, &address, error);
            return examination;
        }
    };
    let encrypted = if connection.is_encrypted() { "encrypted" } else { "not encrypted" };
    examination.ok("connection", format!("{address} answers, {encrypted}"));
    examination.ok("login", format!("as `{}`, database `{}`", config.endpoint.user, config.endpoint.database));
    let version = connection.parameter("server_version").unwrap_or("?").split(' ').next().unwrap_or("?");
    examination.of = format!("PostgreSQL {version} at {address}");
    match connected(&mut connection, config, visit, &mut examination).await {
        Err(error) if error.code() == Code::ServerVersion => examination.finding("version", error),
        Err(error) => examination.unknown("the rest", error.to_string()),
        Ok(()) => {}
    }
    connection.close().await;
    examination
}

fn not_connected(examination: &mut Examination, address: &str, error: Error) {
    let refused = [Code::LoginRefused, Code::MissingPrivilege, Code::UnknownDatabase, Code::Pooler];
    if refused.contains(&error.code()) {
        examination.ok("connection", format!("{address} answers"));
        examination.finding("login", error);
    } else {
        examination.finding("connection", error);
    }
    examination.unknown("the rest", "there is no session to ask in");
}

/// # Errors
/// What ends the session, or keeps the catalog from being read.
async fn connected(
    connection: &mut Connection,
    config: &Config,
    visit: &Visit,
    examination: &mut Examination,
) -> Result<()> {
    let (checked, checks) = preflight::look(connection, config).await?;
    let tables = &checked.details.tables;
    let (rows, bytes) = size(tables);
    examination.expected_bytes = Some(bytes);
    let may_replicate = checks.iter().all(|(name, outcome)| *name != "replication role" || outcome.is_ok());
    for (name, outcome) in checks {
        examination.record(name, outcome, |()| in_order(name, config, &checked));
    }
    match preflight::check_keys(tables) {
        Err(error) => examination.advice("keys", error),
        Ok(()) => examination.ok("keys", "every captured table has one"),
    }
    publication::examine(connection, config, &checked, visit, examination).await?;
    slots::examine(connection, config, visit, snapshot_time(rows, bytes), examination).await?;
    session::transactions(connection, visit, examination).await?;
    session::standby_names(connection, config, examination).await?;
    session::time(connection, visit, examination).await?;
    if may_replicate {
        session::replication(config, visit, examination).await?;
    }
    Ok(())
}

fn size(tables: &[TableDetail]) -> (u64, u64) {
    let rows = tables.iter().map(|table| table.rows.max(0.0) as u64).sum();
    (rows, tables.iter().map(|table| u64::try_from(table.bytes).unwrap_or(0)).sum())
}

/// What a check in order found, in a few words.
fn in_order(name: &str, config: &Config, checked: &Checked) -> String {
    let tables = &checked.details.tables;
    match name {
        "primary" => "the server is no standby".into(),
        "standby" => {
            "the server is a standby whose primary server keeps what slots need (hot_standby_feedback = on)".into()
        }
        "log level" => "wal_level = logical".into(),
        "replication role" => "the role may replicate".into(),
        "origins" if config.options.origin == OriginFilter::None => {
            "changes that came from elsewhere are left out".into()
        }
        "origins" => "changes of every origin are read".into(),
        "tables" if tables.len() == 1 => format!("1 captured: {}", tables[0].id()),
        "tables" => format!("{} captured", tables.len()),
        "table privileges" => "the role may read every captured table".into(),
        "row security" => "no policy hides rows from the role".into(),
        "replica identity" if config.key_images() => "the log holds the key of every old row".into(),
        "replica identity" => "the log holds old rows whole".into(),
        _ => "more than none".into(),
    }
}
