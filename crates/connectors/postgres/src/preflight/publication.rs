//! The publication: which tables' changes the server sends.

use super::generated;
use crate::catalog::{Published, TableDetail};
use crate::client::{Connection, quote, sqlstate};
use crate::config::Config;
use crate::discovery::{self, Facts};
use dujiang_core::{Code, Error, Result, TableId};

/// How a publication of ours publishes.
const HOW: &str = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";

/// When it is asked what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Before anything was read: what is missing can be added.
    Before,
    /// Later: what is missing is lost from the log's side.
    Later,
}

/// The publication names all captured tables: it is made, or brought up to date, if it is the pipeline's own. True if it was.
///
/// # Errors
/// `Publication`, `MissingPrivilege`.
pub async fn publish(
    connection: &mut Connection,
    config: &Config,
    facts: &Facts,
    tables: &[TableDetail],
) -> Result<bool> {
    let there = discovery::published(connection, config, facts.database.version).await?;
    if there.is_some() && !config.owns_publication() {
        return Ok(false);
    }
    let ids: Vec<TableId> = tables.iter().map(TableDetail::id).collect();
    // Somebody who owns the tables may have made it: the role then must not change it, and need not.
    if let Some(there) = &there
        && there.len() == ids.len()
        && there.iter().all(|p| ids.contains(&p.id()) && p.filter.is_none())
        && kinds_left_out(connection, config).await?.is_empty()
        && generated::unpublished(connection, config, facts, &ids).await?.is_empty()
    {
        return Ok(false);
    }
    let (create, name) = (creation(config, facts, &ids), quote::identifier(&config.publication));
    let sql = match there {
        // What it says of generated columns has to hold before it names a table that has some.
        Some(_) => {
            format!("ALTER PUBLICATION {name} SET ({}); ALTER PUBLICATION {name} SET TABLE {}", how(facts), list(&ids))
        }
        None => create.clone(),
    };
    connection.execute(&sql).await.map_err(|e| {
        let drop = if there.is_some() { format!("DROP PUBLICATION {name}; ") } else { String::new() };
        if sqlstate(&e) == Some(READ_ONLY) {
            return on_a_standby(&config.publication, &format!("{drop}{create}"));
        }
        e.fact("publication", config.publication.clone())
            .help(format!("let a role that owns the tables run: {drop}{create}"))
    })?;
    Ok(true)
}

/// Adds a table that came later to the publication, if it is the pipeline's own and lacks it.
///
/// # Errors
/// `Publication`, `MissingPrivilege`.
pub async fn publish_one(connection: &mut Connection, config: &Config, facts: &Facts, table: &TableId) -> Result<()> {
    let there = discovery::published(connection, config, facts.database.version).await?.unwrap_or_default();
    if !config.owns_publication() || there.iter().any(|published| published.id() == *table) {
        return Ok(());
    }
    let name = quote::identifier(&config.publication);
    connection.execute(&format!("ALTER PUBLICATION {name} ADD TABLE {}", quote::table(table))).await
}

/// `read_only_sql_transaction`.
const READ_ONLY: &str = "25006";

/// A standby takes no statements of its own.
fn on_a_standby(publication: &str, statements: &str) -> Error {
    Error::new(Code::Publication, "the source is a standby, and the publication has to be made at its primary server")
        .fact("publication", publication.to_owned())
        .help(format!("let a role that owns the tables run at the primary server: {statements}"))
}

/// The statement that makes the publication.
pub(super) fn creation(config: &Config, facts: &Facts, tables: &[TableId]) -> String {
    let name = quote::identifier(&config.publication);
    format!("CREATE PUBLICATION {name} FOR TABLE {} WITH ({})", list(tables), how(facts))
}

fn how(facts: &Facts) -> String {
    format!("{HOW}{}", generated::how(facts))
}

fn list(tables: &[TableId]) -> String {
    tables.iter().map(quote::table).collect::<Vec<_>>().join(", ")
}

/// What the publication publishes of the captured tables.
///
/// # Errors
/// `Publication` when it is gone, or does not publish all of them, or not every kind of change; `TableGone`.
pub async fn published(
    connection: &mut Connection,
    config: &Config,
    facts: &Facts,
    tables: &[TableId],
    asked: Asked,
) -> Result<Vec<Published>> {
    let name = &config.publication;
    let Some(published) = discovery::published(connection, config, facts.database.version).await? else {
        let error = Error::new(Code::Publication, format!("there is no publication `{name}`"))
            .fact("publication", name.clone());
        return Err(match asked {
            Asked::Before => mended(error, vec![creation(config, facts, tables)]),
            Asked::Later => error.help(
                "it was dropped: what was written since cannot be read; start a new pipeline with a new snapshot",
            ),
        });
    };
    let missing: Vec<&TableId> = tables.iter().filter(|id| !published.iter().any(|p| p.id() == **id)).collect();
    if !missing.is_empty() {
        gone(connection, config, &missing).await?;
    }
    let kinds = kinds_left_out(connection, config).await?;
    let hidden = match asked {
        Asked::Before => generated::unpublished(connection, config, facts, tables).await?,
        // Writes fail then, and none is lost.
        Asked::Later => Vec::new(),
    };
    if missing.is_empty() && kinds.is_empty() && hidden.is_empty() {
        return Ok(published.into_iter().filter(|p| tables.contains(&p.id())).collect());
    }
    let mut error = match (missing.as_slice(), kinds.as_slice()) {
        ([], []) => generated::lacking(name),
        _ => lacking(name, &missing, &kinds),
    };
    if !hidden.is_empty() {
        error = error.fact("generated columns", hidden.join(", "));
    }
    if asked == Asked::Later {
        return Err(error.help(taken_out(&kinds)));
    }
    let mut statements = if missing.is_empty() { Vec::new() } else { additions(connection, config, &missing).await? };
    if !kinds.is_empty() {
        let name = quote::identifier(name);
        statements.push(format!("ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate')"));
    }
    if !hidden.is_empty() {
        statements.insert(0, generated::statement(config));
    }
    Err(mended(error, statements))
}

/// What helps where a table is not the one any more that was captured.
pub const READ_ANEW: &str = "leave it out of `tables` (`tables.exclude`) for one run and name it again, which reads it anew; if it is the \
     only one, start a new pipeline with a new snapshot";

/// If only tables are missing they can be begun anew by themselves.
fn taken_out(kinds: &[String]) -> String {
    let remedy = if kinds.is_empty() { READ_ANEW } else { "start a new pipeline with a new snapshot" };
    format!("what was written meanwhile cannot be read any more, also if the publication is mended: {remedy}")
}

fn lacking(name: &str, missing: &[&TableId], kinds: &[String]) -> Error {
    let what = if missing.is_empty() { "every kind of change" } else { "all captured tables" };
    let mut error = Error::new(Code::Publication, format!("the publication `{name}` does not publish {what}"))
        .fact("publication", name.to_owned());
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(|id| id.to_string()).collect();
        error = error.fact("missing", missing.join(", "));
    }
    if !kinds.is_empty() {
        error = error.fact("left out", kinds.join(", "));
    }
    error
}

fn mended(error: Error, statements: Vec<String>) -> Error {
    let error = error.help(format!("run {}", statements.join("; ")));
    statements.into_iter().fold(error, Error::remedy)
}

/// # Errors
/// `TableGone`.
async fn gone(connection: &mut Connection, config: &Config, missing: &[&TableId]) -> Result<()> {
    let there = discovery::find_tables(connection, config).await?;
    let is_there = |id: &TableId| there.captured.iter().any(|entry| entry.id() == *id);
    let Some(gone) = missing.iter().find(|id| !is_there(id)) else { return Ok(()) };
    Err(Error::new(Code::TableGone, format!("captured table {gone} was dropped or renamed"))
        .fact("table", gone.to_string())
        .help(format!("rename it back, or {READ_ANEW}")))
}

/// A partitioned table that is published by its partitions is named already, and published under the wrong names.
async fn additions(connection: &mut Connection, config: &Config, missing: &[&TableId]) -> Result<Vec<String>> {
    let name = quote::identifier(&config.publication);
    let sql = format!(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), r.prrelid IS NOT NULL OR p.puballtables, c.relkind = 'p'
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           CROSS JOIN pg_catalog.pg_publication p
           LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
         WHERE p.pubname = {} AND (n.nspname, c.relname) IN ({})",
        quote::literal(&config.publication),
        missing
            .iter()
            .map(|id| format!("({}, {})", quote::literal(&id.database), quote::literal(&id.table)))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let (mut statements, mut by_root) = (Vec::new(), false);
    for row in connection.simple(&sql).await?.iter() {
        if !row.flag(1)? {
            statements.push(format!("ALTER PUBLICATION {name} ADD TABLE {}", row.text(0)?));
        }
        by_root |= row.flag(2)?;
    }
    if by_root {
        statements.push(format!("ALTER PUBLICATION {name} SET (publish_via_partition_root = true)"));
    }
    Ok(statements)
}

/// Kinds of changes that the publication does not publish.
async fn kinds_left_out(connection: &mut Connection, config: &Config) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT k.kind FROM pg_catalog.pg_publication p, LATERAL (VALUES ('insert', p.pubinsert), ('update', p.pubupdate),
           ('delete', p.pubdelete), ('truncate', p.pubtruncate)) k (kind, published)
         WHERE p.pubname = {} AND NOT k.published",
        quote::literal(&config.publication)
    );
    connection.simple(&sql).await?.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_not_published_reads_as_written() {
        let error = lacking("dujiang_shop", &[&TableId::new("public", "orders")], &[]).help(taken_out(&[]));
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }
}
