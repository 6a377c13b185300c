//! Looking for tables that have come, and for rows that came without being logged.

use crate::catalog::{TableDetail, TableEntry, check_identity};
use crate::client::{Connection, quote};
use crate::config::Config;
use crate::discovery::{self, Facts};
use crate::preflight;
use crate::shape::Shape;
use crate::snapshot::{KeyOrder, current_view};
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::{HashMap, HashSet};

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

/// What is known of tables beside those that are captured.
#[derive(Default)]
pub struct Arrivals {
    /// Why a table is not taken in, as it was told.
    told: HashMap<TableId, String>,
    /// Bytes of tables that were handed to the reader, by their name.
    handed: HashMap<TableId, u64>,
    /// The partitions of captured tables.
    partitions: Option<HashSet<u32>>,
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
        for entry in new {
            let details = discovery::details(connection, &[entry.oid]).await?;
            let Some(detail) = details.tables.first() else { continue };
            if let Some(why) = self.obstacle(connection, config, facts, entry, detail).await? {
                let id = entry.id();
                if self.told.get(&id) != Some(&why) {
                    tracing::warn!(table = %id, "a table has come that cannot be captured yet: {why}");
                    self.told.insert(id, why);
                }
                continue;
            }
            // As it is now that nothing stands in the way: it may just have been mended.
            let details = discovery::details(connection, &[entry.oid]).await?;
            let Some(detail) = details.tables.first() else { continue };
            let published = discovery::published(connection, config, facts.database.version).await?.unwrap_or_default();
            let columns = published.iter().find(|p| p.id() == entry.id()).and_then(|p| p.columns.clone());
            let shape =
                Shape::of_catalog(detail, columns.as_deref(), &details.types, &facts.settings, config.key_images())?;
            let order = KeyOrder::new(&shape, &discovery::collations(connection, &shape).await?);
            self.handed.insert(entry.id(), u64::try_from(detail.bytes).unwrap_or(0));
            return Ok(Some(Arrival { shape, order, rows: detail.rows.max(0.0) as u64 }));
        }
        Ok(None)
    }

    /// Why a table cannot be taken in now, if it cannot, with what to do.
    async fn obstacle(
        &self,
        connection: &mut Connection,
        config: &Config,
        facts: &Facts,
        entry: &TableEntry,
        detail: &TableDetail,
    ) -> Result<Option<String>> {
        if !entry.readable {
            let user = quote::identifier(&config.endpoint.user);
            return Ok(Some(format!("run GRANT SELECT ON {} TO {user}", quote::table(&entry.id()))));
        }
        // To publish a table without identity would make its updates fail at the source.
        if let Err(error) = check_identity(std::slice::from_ref(detail), config.options.replica_identity) {
            return Ok(Some(error.help_text().unwrap_or_default().to_owned()));
        }
        let published = discovery::published(connection, config, facts.database.version).await?.unwrap_or_default();
        if published.iter().any(|p| p.id() == entry.id()) {
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

    /// Publishes a table that the reader has taken in, and tells what was under way then.
    ///
    /// # Errors
    /// What keeps from it.
    pub async fn publish(
        &mut self,
        connection: &mut Connection,
        config: &Config,
        facts: &Facts,
        table: &TableId,
    ) -> Result<Published> {
        preflight::publish_one(connection, config, facts, table).await?;
        let under_way = current_view(connection).await?.running().collect();
        let published = discovery::published(connection, config, facts.database.version).await?.unwrap_or_default();
        let filter = published.into_iter().find(|p| p.id() == *table).and_then(|p| p.filter);
        let bytes = self.handed.get(table).copied().unwrap_or(0);
        Ok(Published { table: table.clone(), under_way, filter, bytes })
    }

    /// Looks at the partitions of captured tables: one that was attached with rows brings rows of which the log says nothing.
    ///
    /// # Errors
    /// `UnloggedRows`; what keeps from looking.
    pub async fn partitions(&mut self, connection: &mut Connection, known: &[TableId]) -> Result<()> {
        let roots: Vec<String> = known.iter().map(|id| quote::literal(&quote::table(id))).collect();
        if roots.is_empty() {
            return Ok(());
        }
        // A partition that was made as one has its row here from the transaction that made its type.
        let sql = format!(
            "SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), i.xmin::text <> t.xmin::text, r.name,
               pg_catalog.age(i.xmin)
             FROM (SELECT name, pg_catalog.to_regclass(name) AS oid FROM pg_catalog.unnest(ARRAY[{}]) name) r
               JOIN pg_catalog.pg_class rc ON rc.oid = r.oid AND rc.relkind = 'p'
               CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.oid) p
               JOIN pg_catalog.pg_class c ON c.oid = p.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid JOIN pg_catalog.pg_type t ON t.typrelid = c.oid
             WHERE p.level > 0",
            roots.join(", ")
        );
        let rows = connection.simple(&sql).await?;
        let mut now = HashSet::new();
        let before = self.partitions.take();
        for row in rows.iter() {
            let oid: u32 = row.parse(0)?;
            now.insert(oid);
            let new = before.as_ref().is_some_and(|before| !before.contains(&oid));
            if new && row.flag(2)? {
                let root = known.iter().find(|id| row.text(3).is_ok_and(|name| name == quote::table(id)));
                let root = root.map_or_else(|| row.text(3).map(str::to_owned), |id| Ok(id.to_string()))?;
                attached(connection, row.text(1)?, &root, row.parse(4)?).await?;
            }
        }
        let gone = before.iter().flatten().filter(|oid| !now.contains(oid)).count();
        if gone > 0 {
            tracing::warn!(
                partitions = gone,
                "partitions of captured tables were detached or dropped: their rows left without being logged, and stay in the sink"
            );
        }
        self.partitions = Some(now);
        Ok(())
    }
}

/// # Errors
/// `UnloggedRows` when it has rows from before it was attached.
async fn attached(connection: &mut Connection, partition: &str, root: &str, age: i64) -> Result<()> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {partition} p WHERE pg_catalog.age(p.xmin) > {age})");
    let older = match connection.simple(&sql).await {
        Ok(rows) => rows.first().map_or(Ok(false), |row| row.flag(0))?,
        Err(error) if error.code() == Code::MissingPrivilege => true,
        Err(error) => return Err(error),
    };
    if !older {
        return Ok(());
    }
    let message =
        format!("rows of captured table {root} came without being logged: {partition} was attached with rows in it");
    Err(Error::new(Code::UnloggedRows, message).fact("table", root.to_owned()).help(
        "start a new pipeline with a new snapshot; or start this one again to go on without the rows that the partition had",
    ))
}
