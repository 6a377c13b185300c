//! What must hold before anything is read.

use crate::catalog::{Published, TableDetail, check_identity};
use crate::client::{Connection, quote};
use crate::config::{Config, OriginFilter};
use crate::discovery::{self, Details, Facts, Found};
use dujiang_core::{Code, Error, Result, TableId};

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
    let facts = discovery::facts(connection, config).await?;
    let mut refusals = Vec::new();
    if facts.database.version < 140_000 {
        let message = format!("{} runs PostgreSQL {}", connection.address(), facts.database.version / 10_000);
        return Err(Error::new(Code::ServerVersion, message).help("PostgreSQL 14 or newer is needed"));
    }
    if config.options.origin == OriginFilter::None && facts.database.version < 160_000 {
        let message = format!("{} cannot leave out changes by their origin", connection.address());
        refusals.push(
            Error::new(Code::ServerVersion, message)
                .fact("found", format!("PostgreSQL {}", facts.database.version / 10_000))
                .help("`origin: none` needs PostgreSQL 16 or newer: set `origin: any`"),
        );
    }
    server(connection, &mut refusals).await?;
    let found = discovery::find_tables(connection, config).await?;
    let oids: Vec<u32> = found.captured.iter().map(|entry| entry.oid).collect();
    let mut details = discovery::details(connection, &oids).await?;
    details.tables.sort_by_key(TableDetail::id);
    tables(config, &found, &details, &mut refusals)?;
    let mut warnings: Vec<String> =
        found.unfit.iter().map(|(id, why)| format!("{id} is not captured: it is {why}")).collect();
    let ids: Vec<TableId> = found.captured.iter().map(|entry| entry.id()).collect();
    for pattern in config.filter.without_match(&ids)? {
        warnings.push(format!("no table matches the pattern `{pattern}`"));
    }
    Ok((Checked { facts, found, details, warnings }, refusals))
}

async fn server(connection: &mut Connection, refusals: &mut Vec<Error>) -> Result<()> {
    let sql = "SELECT pg_catalog.current_setting('wal_level'), pg_catalog.pg_is_in_recovery(),
        (SELECT r.rolsuper OR r.rolreplication FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
          OR EXISTS (SELECT 1 FROM pg_catalog.pg_roles m WHERE m.rolname IN ('rds_replication', 'rds_superuser')
            AND pg_catalog.pg_has_role(current_user, m.oid, 'MEMBER')), current_user,
        pg_catalog.current_setting('max_replication_slots')::int, pg_catalog.current_setting('max_wal_senders')::int";
    let rows = connection.simple(sql).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell its settings"))?;
    let address = connection.address();
    if row.flag(1)? {
        refusals.push(crate::snapshot::standby(address));
    }
    let level = row.text(0)?;
    if level != "logical" {
        refusals.push(
            Error::new(Code::WalLevel, format!("{address} does not log what logical replication needs"))
                .fact("found", format!("wal_level = {level}"))
                .help("run ALTER SYSTEM SET wal_level = logical, and restart the server"),
        );
    }
    if row.opt(2)? != Some("t") {
        let user = row.text(3)?;
        refusals.push(
            Error::new(Code::ReplicationRole, format!("`{user}` may not replicate from {address}"))
                .help(format!("run ALTER ROLE {} WITH REPLICATION", quote::identifier(user))),
        );
    }
    for (at, name) in [(4, "max_replication_slots"), (5, "max_wal_senders")] {
        if row.parse::<i32>(at)? == 0 {
            let message = format!("{address} allows no replication");
            refusals.push(
                Error::new(Code::NoSlotsLeft, message)
                    .fact("found", format!("{name} = 0"))
                    .help(format!("run ALTER SYSTEM SET {name} = 10, and restart the server")),
            );
        }
    }
    Ok(())
}

fn tables(config: &Config, found: &Found, details: &Details, refusals: &mut Vec<Error>) -> Result<()> {
    if found.captured.is_empty() {
        let near: Vec<String> = found.others.iter().take(10).map(TableId::to_string).collect();
        let unfit: Vec<String> = found.unfit.iter().map(|(id, why)| format!("{id}: {why}")).collect();
        let mut error = Error::new(Code::NoTable, format!("no table matches `{}`", config.options.tables))
            .help("check `tables`: each pattern is `database.schema.table`");
        if !near.is_empty() {
            error = error.fact("there are", near.join(", "));
        }
        for text in unfit {
            error = error.fact("matches", text);
        }
        refusals.push(error);
    }
    for entry in found.captured.iter().filter(|entry| !entry.readable) {
        let id = entry.id();
        let (schema, table) = (quote::identifier(&id.database), quote::table(&id));
        let user = quote::identifier(&config.endpoint.user);
        refusals.push(
            Error::new(Code::MissingPrivilege, format!("the role may not read {id}"))
                .fact("table", id.to_string())
                .help(format!("run GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON {table} TO {user}")),
        );
    }
    for table in details.tables.iter().filter(|table| table.row_security) {
        tracing::debug!(table = %table.id(), "the table has row security policies");
    }
    if let Err(error) = check_identity(&details.tables, config.options.replica_identity) {
        refusals.push(error);
    }
    Ok(())
}

/// The publication names all captured tables: it is made, or brought up to date, if it is the pipeline's own.
///
/// # Errors
/// `Publication`, `MissingPrivilege`.
pub async fn publish(connection: &mut Connection, config: &Config, tables: &[TableDetail]) -> Result<()> {
    let sql =
        format!("SELECT 1 FROM pg_catalog.pg_publication p WHERE p.pubname = {}", quote::literal(&config.publication));
    let there = !connection.simple(&sql).await?.is_empty();
    if there && !config.owns_publication() {
        return Ok(());
    }
    let list: Vec<String> = tables.iter().map(|table| quote::table(&table.id())).collect();
    let (name, list) = (quote::identifier(&config.publication), list.join(", "));
    let how = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
    let sql = if there {
        format!("ALTER PUBLICATION {name} SET TABLE {list}; ALTER PUBLICATION {name} SET ({how})")
    } else {
        format!("CREATE PUBLICATION {name} FOR TABLE {list} WITH ({how})")
    };
    connection.execute(&sql).await.map_err(|e| {
        e.fact("publication", config.publication.clone()).help(format!(
            "let a role that owns the tables run: CREATE PUBLICATION {name} FOR TABLE {list} WITH ({how}) -- and name it with \
             `publication.name: {}`",
            config.publication
        ))
    })
}

/// What the publication publishes of the captured tables.
///
/// # Errors
/// `Publication` when it is gone, or does not publish all of them, or not every kind of change.
pub async fn published(
    connection: &mut Connection,
    config: &Config,
    facts: &Facts,
    tables: &[TableId],
) -> Result<Vec<Published>> {
    let name = &config.publication;
    let wrong = |message: String| Error::new(Code::Publication, message).fact("publication", name.clone());
    let Some(published) = discovery::published(connection, config, facts.database.version).await? else {
        return Err(wrong(format!("there is no publication `{name}`"))
            .help("it was dropped: what was written since cannot be read; start a new pipeline with a new snapshot"));
    };
    let missing: Vec<String> =
        tables.iter().filter(|id| !published.iter().any(|p| p.id() == **id)).map(TableId::to_string).collect();
    if !missing.is_empty() {
        let there = discovery::find_tables(connection, config).await?;
        let is_there = |name: &&String| there.captured.iter().any(|entry| entry.id().to_string() == **name);
        if let Some(gone) = missing.iter().find(|name| !is_there(name)) {
            return Err(Error::new(Code::TableGone, format!("captured table {gone} was dropped or renamed"))
                .fact("table", gone.clone())
                .help("leave it out with `tables.exclude`, or start a new pipeline"));
        }
        return Err(wrong(format!("the publication `{name}` does not publish all captured tables"))
            .fact("missing", missing.join(", "))
            .help(
                "before a pipeline is started: ALTER PUBLICATION ... ADD TABLE, and publish_via_partition_root = true for \
                 partitioned tables; later, what was written meanwhile cannot be read: start a new pipeline with a new snapshot",
            ));
    }
    let sql = format!(
        "SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate FROM pg_catalog.pg_publication p \
         WHERE p.pubname = {}",
        quote::literal(name)
    );
    let rows = connection.simple(&sql).await?;
    if rows.first().is_some_and(|row| row.text(0).is_ok_and(|all| all != "t")) {
        return Err(wrong(format!("the publication `{name}` does not publish every kind of change")).help(format!(
            "run ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')",
            quote::identifier(name)
        )));
    }
    Ok(published.into_iter().filter(|p| tables.contains(&p.id())).collect())
}
