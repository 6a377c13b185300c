//! What must hold before anything is read.

mod agreement;
mod fits;
mod generated;
mod publication;
mod server;
mod tables;

use crate::catalog::{TableDetail, check_identity, check_virtual};
use crate::client::Connection;
use crate::config::{Config, OriginFilter};
use crate::discovery::{self, Details, Facts, Found};
pub use agreement::Agreement;
use dujiang_core::{Code, Error, Result, TableId};
pub use fits::{Fit, fits, left_out};
pub use generated::{add_generated, once_made};
pub use publication::{Asked, READ_ANEW, publish, publish_one, published};
pub use server::{Holds, lasting};
pub use tables::check_keys;

/// Everything that was found out read-only.
pub struct Checked {
    /// The database.
    pub facts: Facts,
    /// What the patterns mean.
    pub found: Found,
    /// The captured tables.
    pub details: Details,
    /// What is no obstacle and should be known.
    pub warnings: Vec<String>,
}

/// One thing that was looked at, in words that never change, and what stands in the way.
pub type Check = (&'static str, Result<()>);

/// Checks all that can be checked read-only; the first refusal is returned.
///
/// # Errors
/// `ServerVersion`, `WalLevel`, `ReplicationRole`, `NoTable`, `MissingPrivilege`, `ReplicaIdentity`, ...
pub async fn check(connection: &mut Connection, config: &Config) -> Result<Checked> {
    let (checked, refusals) = survey(connection, config).await?;
    refusals.into_iter().next().map_or(Ok(checked), Err)
}

/// As [`check`], with everything that stands in the way.
///
/// # Errors
/// What keeps from looking.
pub async fn survey(connection: &mut Connection, config: &Config) -> Result<(Checked, Vec<Error>)> {
    let (checked, checks) = look(connection, config).await?;
    Ok((checked, checks.into_iter().filter_map(|(_, outcome)| outcome.err()).collect()))
}

/// As [`survey`], with what is in order.
///
/// # Errors
/// What keeps from looking; `ServerVersion`.
pub async fn look(connection: &mut Connection, config: &Config) -> Result<(Checked, Vec<Check>)> {
    let facts = discovery::facts(connection, config).await?;
    if facts.database.version < 140_000 {
        return Err(too_old(connection.address(), facts.database.version));
    }
    let mut checks = server::checks(connection).await?;
    checks.push(("origins", check_origins(connection, config, facts.database.version)));
    let found = discovery::find_tables(connection, config).await?;
    let oids: Vec<u32> = found.captured.iter().map(|entry| entry.oid).collect();
    let mut details = discovery::details(connection, &oids).await?;
    details.tables.sort_by_key(TableDetail::id);
    checks.push(("tables", tables::check_found(config, &found)));
    checks.push(("table privileges", tables::check_privileges(config, &found)));
    checks.push(("row security", tables::check_policies(connection, &details.tables).await?));
    if let Err(error) = check_virtual(&details.tables, config.options.replica_identity) {
        checks.push(("generated columns", Err(error)));
    }
    checks.push(("replica identity", check_identity(&details.tables, config.options.replica_identity)));
    let mut warnings: Vec<String> =
        found.unfit.iter().map(|(id, why)| format!("{id} is not captured: it is {why}")).collect();
    let ids: Vec<TableId> = found.captured.iter().map(|entry| entry.id()).collect();
    for pattern in config.filter.without_match(&ids)? {
        warnings.push(format!("no table matches the pattern `{pattern}`"));
    }
    Ok((Checked { facts, found, details, warnings }, checks))
}

#[cold]
fn too_old(address: &str, version: i32) -> Error {
    Error::new(Code::ServerVersion, format!("{address} runs PostgreSQL {}", version / 10_000))
        .help("upgrade the server: PostgreSQL 14 or newer is needed")
}

fn check_origins(connection: &Connection, config: &Config, version: i32) -> Result<()> {
    if config.options.origin != OriginFilter::None || version >= 160_000 {
        return Ok(());
    }
    let message = format!("{} cannot leave out changes by their origin", connection.address());
    Err(Error::new(Code::ServerVersion, message)
        .fact("found", format!("PostgreSQL {}", version / 10_000))
        .help("`origin: none` needs PostgreSQL 16 or newer: set `origin: any`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_reads_as_written() {
        let error = too_old("db.example:5432", 130_014);
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }
}
