//! Whether the publication fits, or can be made.

use crate::client::{Connection, quote};
use crate::config::Config;
use crate::discovery;
use crate::position;
use crate::preflight::{self, Asked, Checked};
use crate::server;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::{Code, Error, Result, TableId};

/// # Errors
/// What ends the session.
pub(super) async fn examine(
    connection: &mut Connection,
    config: &Config,
    checked: &Checked,
    visit: &Visit,
    examination: &mut Examination,
) -> Result<()> {
    const NAME: &str = "publication";
    let (facts, name) = (&checked.facts, &config.publication);
    let mut ids: Vec<TableId> = checked.details.tables.iter().map(|table| table.id()).collect();
    if let Some(position) = &visit.position
        && let Ok((_, shapes)) = position::decode(position)
    {
        // Those that the pipeline goes on with: tables that came since are taken in by it, and those that went halt it.
        ids = shapes.iter().map(|shape| shape.id()).collect();
        let captured = ids.iter().map(|id| config.filter.captures(id)).collect::<Result<Vec<bool>>>()?;
        let mut captured = captured.into_iter();
        ids.retain(|_| captured.next().unwrap_or_default());
    }
    if ids.is_empty() {
        return Ok(());
    }
    let oids: Vec<String> = checked.details.tables.iter().map(|table| table.oid.to_string()).collect();
    let there = discovery::published(connection, config, facts.database.version).await?.is_some();
    let asked = if visit.position.is_some() { Asked::Later } else { Asked::Before };
    let fits = preflight::published(connection, config, facts, &ids, asked).await.map(drop);
    let may_make = config.owns_publication() && visit.position.is_none();
    let outcome = match fits {
        Ok(()) => Ok(format!("`{name}` publishes every captured table")),
        Err(error) if error.code() != Code::Publication => Err(error),
        // It is made, or brought up to date, at the start.
        Err(error) if may_make => match who_may_not(connection, config, &oids, there).await? {
            None => Ok(format!("`{name}` is made when the pipeline starts")),
            Some(why) => Err(error.fact("why it is not made by the pipeline", why)),
        },
        Err(error) => Err(error),
    };
    examination.record(NAME, outcome, Clone::clone);
    Ok(())
}

/// Why the role cannot make or change the publication itself, if it cannot.
async fn who_may_not(
    connection: &mut Connection,
    config: &Config,
    oids: &[String],
    there: bool,
) -> Result<Option<String>> {
    if server::is_standby(connection).await? {
        return Ok(Some("the source is a standby: run it at the primary server".into()));
    }
    let sql = format!(
        "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
           coalesce((SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE') FROM pg_catalog.pg_publication p WHERE p.pubname = {}), true),
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
    Ok(match (there, row.flag(0)?, row.flag(1)?) {
        (true, _, false) => Some("the role does not own the publication".into()),
        (false, false, _) => Some("the role may not CREATE in the database".into()),
        _ => None,
    })
}
