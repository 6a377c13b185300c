//! Looking for tables that have come.

use super::partitions::Partitions;
use crate::catalog::{TableDetail, TableEntry, check_identity, check_virtual};
use crate::client::{Connection, quote};
use crate::config::Config;
use crate::discovery::{self, Facts};
use crate::preflight::{self, Agreement};
use crate::server;
use crate::shape::Shape;
use crate::snapshot::{KeyOrder, current_view};
use dujiang_core::{Error, Result, TableId};
use std::collections::HashMap;

/// A table that has come while the pipeline runs.
pub struct Arrival {
    /// Its columns.
    pub shape: Shape,
    /// How its keys are ordered.
    pub order: Option<KeyOrder>,
    /// Rows it is believed to have.
    pub rows: u64,
}

/// A table that was taken in and is published.
pub struct Published {
    /// The table.
    pub table: TableId,
    /// Transactions that every view of it must show.
    pub under_way: Vec<u64>,
    /// The publication's condition.
    pub filter: Option<String>,
    /// Bytes as the server tells.
    pub bytes: u64,
}

const CANNOT_CAPTURE: &str = "a table has come that cannot be captured yet";

/// What is known of tables beside those that are captured.
#[derive(Default)]
pub struct Arrivals {
    /// Why a table is not taken in, as it was told.
    told: HashMap<TableId, String>,
    /// Bytes of tables that were handed to the reader, by their name.
    handed: HashMap<TableId, u64>,
}

impl Arrivals {
    /// A table that has come and can be taken in; one at a time.
    ///
    /// # Errors
    /// What keeps from looking.
    pub async fn look(
        &mut self,
        connection: &mut Connection,
        config: &Config,
        facts: &Facts,
        known: &[TableId],
    ) -> Result<Option<Arrival>> {
        let found = discovery::find_tables(connection, config).await?;
        let new = |entry: &&TableEntry| !known.contains(&entry.id()) && !self.handed.contains_key(&entry.id());
        let new: Vec<&TableEntry> = found.captured.iter().filter(new).collect();
        if new.is_empty() {
            return Ok(None);
        }
        if server::is_standby(connection).await? {
            let why = "the source is a standby, which tables cannot join: start a new pipeline";
            new.iter().for_each(|entry| self.tell(&entry.id(), CANNOT_CAPTURE, why.to_owned()));
            return Ok(None);
        }
        let oids: Vec<u32> = new.iter().map(|entry| entry.oid).collect();
        let details = discovery::details(connection, &oids).await?;
        let published = discovery::published(connection, config, facts.database.version).await?.unwrap_or_default();
        for entry in new {
            let Some(detail) = details.tables.iter().find(|detail| detail.oid == entry.oid) else { continue };
            let is_published = published.iter().any(|p| p.id() == entry.id());
            if let Some(why) = obstacle(connection, config, facts, entry, detail, is_published).await? {
                self.tell(&entry.id(), CANNOT_CAPTURE, why);
                continue;
            }
            // As it is now that nothing stands in the way: it may just have been mended.
            let details = discovery::details(connection, &[entry.oid]).await?;
            let Some(detail) = details.tables.first() else { continue };
            let published = discovery::published(connection, config, facts.database.version).await?.unwrap_or_default();
            let columns = published.iter().find(|p| p.id() == entry.id()).and_then(|p| p.columns.clone());
            let shape =
                Shape::of_catalog(detail, columns.as_deref(), &details.types, &facts.settings, config.key_images())?;
            let bytes = u64::try_from(detail.bytes).unwrap_or(0);
            let order = KeyOrder::new(&shape, &discovery::collations(connection, &shape).await?, Some(detail));
            self.handed.insert(entry.id(), bytes);
            return Ok(Some(Arrival { shape, order, rows: detail.rows.max(0.0) as u64 }));
        }
        Ok(None)
    }

    /// Tells why a table is not taken in, once.
    fn tell(&mut self, table: &TableId, what: &str, why: String) {
        if self.told.get(table) != Some(&why) {
            tracing::warn!(%table, "{what}: {why}");
            self.told.insert(table.clone(), why);
        }
    }

    /// Tells why a table that the reader has taken in is not published yet, once.
    pub fn tell_unpublished(&mut self, table: &TableId, error: &Error) {
        self.tell(table, "a table has come that cannot be published yet", error.to_string());
    }

    /// Publishes a table that the reader has taken in, and tells what was under way then.
    ///
    /// # Errors
    /// What keeps from it.
    pub async fn publish(
        &self,
        connection: &mut Connection,
        config: &Config,
        facts: &Facts,
        table: &TableId,
        partitions: &Partitions,
        agreement: &Agreement,
    ) -> Result<Published> {
        preflight::publish_one(connection, config, facts, table).await?;
        // What is written while it is not published after this is missing; what was before, every view shows.
        agreement.take_in(connection, config, facts, std::slice::from_ref(table)).await?;
        let under_way = current_view(connection).await?.running().collect();
        let published = discovery::published(connection, config, facts.database.version).await?.unwrap_or_default();
        let filter = published.into_iter().find(|p| p.id() == *table).and_then(|p| p.filter);
        let bytes = self.handed.get(table).copied().unwrap_or(0);
        // Before its snapshot begins: what is attached later may be missing in it.
        partitions.look(connection, std::slice::from_ref(table)).await?;
        Ok(Published { table: table.clone(), under_way, filter, bytes })
    }
}

/// Why a table cannot be taken in now, if it cannot, with what to do.
async fn obstacle(
    connection: &mut Connection,
    config: &Config,
    facts: &Facts,
    entry: &TableEntry,
    detail: &TableDetail,
    is_published: bool,
) -> Result<Option<String>> {
    if !entry.readable {
        let user = quote::identifier(&config.endpoint.user);
        return Ok(Some(format!("run GRANT SELECT ON {} TO {user}", quote::table(&entry.id()))));
    }
    // To publish a table without identity would make its updates fail at the source.
    let (table, demand) = (std::slice::from_ref(detail), config.options.replica_identity);
    if let Err(error) = check_virtual(table, demand).and_then(|()| check_identity(table, demand)) {
        return Ok(Some(error.help_text().unwrap_or_default().to_owned()));
    }
    if let Some(statement) = preflight::add_generated(connection, config, facts, &entry.id()).await? {
        return Ok(Some(format!(
            "run {statement}, and start the pipeline with `publication.changed: pass-over` for once: without, the server would refuse to update and delete rows of the table"
        )));
    }
    if is_published {
        return Ok(None);
    }
    let name = quote::identifier(&config.publication);
    let add = format!("run ALTER PUBLICATION {name} ADD TABLE {}", quote::table(&entry.id()));
    if !config.owns_publication() {
        return Ok(Some(add));
    }
    let sql = format!(
        "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') AND pg_catalog.pg_has_role(p.pubowner, 'USAGE')
         FROM pg_catalog.pg_class c, pg_catalog.pg_publication p WHERE c.oid = {} AND p.pubname = {}",
        entry.oid,
        quote::literal(&config.publication)
    );
    let may = connection.simple(&sql).await?.first().is_some_and(|row| row.flag(0).unwrap_or(false));
    Ok((!may).then(|| format!("the role does not own it; {add}")))
}
