//! Whether the publication fits, or can be made, for those who only look.

use super::Checked;
use super::publication::{Asked, published};
use crate::catalog::{Published, TableDetail};
use crate::client::{Connection, quote};
use crate::config::Config;
use crate::server;
use dujiang_core::{Code, Error, Result, TableId};

/// What a publication is to the pipeline.
#[derive(Debug)]
pub enum Fit {
    /// It publishes this of the captured tables.
    Publishes(Vec<Published>),
    /// It is made, or brought up to date, at the start.
    IsMade,
}

/// Whether the publication publishes these tables, or is going to.
///
/// # Errors
/// `Publication`, with the statements that mend it, and why the pipeline does not run them itself; `TableGone`; what ends the session.
pub async fn fits(
    connection: &mut Connection,
    config: &Config,
    checked: &Checked,
    tables: &[TableId],
    asked: Asked,
) -> Result<Fit> {
    match published(connection, config, &checked.facts, tables, asked).await {
        Ok(published) => Ok(Fit::Publishes(published)),
        Err(error) if error.code() == Code::Publication && config.owns_publication() && asked == Asked::Before => {
            match who_may_not(connection, config, &checked.details.tables).await? {
                None => Ok(Fit::IsMade),
                Some(why) => Err(error.fact("why it is not made by the pipeline", why)),
            }
        }
        Err(error) => Err(error),
    }
}

/// Why the role cannot make or change the publication itself, if it cannot.
async fn who_may_not(connection: &mut Connection, config: &Config, tables: &[TableDetail]) -> Result<Option<String>> {
    if server::is_standby(connection).await? {
        return Ok(Some("the source is a standby: run it at the primary server".into()));
    }
    let oids: Vec<String> = tables.iter().map(|table| table.oid.to_string()).collect();
    let sql = format!(
        "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
           (SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE') FROM pg_catalog.pg_publication p WHERE p.pubname = {}),
           (SELECT pg_catalog.min(pg_catalog.format('%I.%I', n.nspname, c.relname)) FROM pg_catalog.pg_class c
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid IN ({}) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE'))",
        quote::literal(&config.publication),
        oids.join(", ")
    );
    let rows = connection.simple(&sql).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell privileges"))?;
    if let Some(table) = row.opt(2)? {
        return Ok(Some(format!("the role does not own {table}")));
    }
    // There is none where the server does not say whose it is.
    Ok(match (row.opt(1)?, row.flag(0)?) {
        (Some("t"), _) | (None, true) => None,
        (Some(_), _) => Some("the role does not own the publication".into()),
        (None, false) => Some("the role may not CREATE in the database".into()),
    })
}

/// What a publication leaves out of tables that it publishes, for people: nothing of it is in the snapshot or in the stream.
pub fn left_out(config: &Config, published: &[Published], tables: &[TableDetail]) -> Vec<String> {
    let mut told = Vec::new();
    for published in published {
        let id = published.id();
        if let Some(filter) = &published.filter {
            told.push(format!("`{}` publishes only rows of {id} where {filter}", config.publication));
        }
        let table = tables.iter().find(|table| table.id() == id);
        let (Some(table), Some(listed)) = (table, &published.columns) else { continue };
        let missing = table.columns.iter().filter(|column| !column.generated && !listed.contains(&column.name));
        let missing: Vec<&str> = missing.map(|column| column.name.as_str()).collect();
        if !missing.is_empty() {
            told.push(format!("`{}` does not publish of {id}: {}", config.publication, missing.join(", ")));
        }
    }
    told
}
