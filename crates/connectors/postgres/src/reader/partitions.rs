//! Partitions of captured tables that come and go: the log says nothing of the rows that they bring or take away.

use super::PostgresReader;
use super::emptied::{Emptied, Files};
use crate::client::{Connection, quote};
use crate::config::{Config, Gap};
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The partitions that were seen, by the ids of partitioned tables; each names the table itself too. They are kept in positions, so that
/// what comes while the pipeline is off is noticed at the next start.
pub type Seen = BTreeMap<u32, BTreeSet<u32>>;

/// The partitions of captured tables.
#[derive(Clone)]
pub struct Partitions {
    seen: Arc<Mutex<Seen>>,
    attached_rows: Gap,
    /// Those that are emptied.
    pub emptied: Emptied,
}

/// A partition, or a partitioned table itself.
struct Found<'a> {
    root: u32,
    oid: u32,
    name: String,
    of: &'a TableId,
    /// It is the partition of something.
    is_below: bool,
    /// It was made by the transaction that made it a partition, by one statement or by several.
    made_so: bool,
}

impl Partitions {
    /// Those that were seen when the position was written.
    pub fn new(seen: Seen, files: Files, config: &Config) -> Self {
        let attached_rows = config.options.attached_rows;
        Self { seen: Arc::new(Mutex::new(seen)), attached_rows, emptied: Emptied::new(files, attached_rows) }
    }

    /// Those that were seen until now.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the partitions of these tables: one that was attached with rows since the last look brings rows of which the log
    /// says nothing. A table that is looked at for the first time has those that it has.
    ///
    /// # Errors
    /// `UnloggedRows`; what keeps from looking.
    pub async fn look(&self, connection: &mut Connection, tables: &[TableId]) -> Result<()> {
        if tables.is_empty() {
            return Ok(());
        }
        let (before, mut now) = (self.seen(), Seen::new());
        for found in find(connection, tables).await? {
            let new = before.get(&found.root).is_some_and(|before| !before.contains(&found.oid));
            if new && found.is_below && has_older_rows(connection, &found).await? {
                let error = attached_with_rows(&found);
                match self.attached_rows {
                    Gap::Halt => return Err(error),
                    Gap::PassOver => tracing::warn!("{}; they are passed over", error.message()),
                }
            }
            now.entry(found.root).or_default().insert(found.oid);
        }
        let left = |(root, now): (&u32, &BTreeSet<u32>)| before.get(root).map_or(0, |b| b.difference(now).count());
        let gone: usize = now.iter().map(left).sum();
        if gone > 0 {
            tracing::warn!(
                partitions = gone,
                "partitions of captured tables were detached or dropped: their rows left without being logged, and stay in the sink"
            );
        }
        self.lock().extend(now);
        self.emptied.look(connection, tables).await
    }
}

impl PostgresReader {
    /// What the stream tells of tables that were emptied, and what it does not tell of partitions.
    pub(super) fn partitions(&mut self) -> Result<()> {
        let emptied = &self.start.partitions.emptied;
        self.start.machine.emptied().into_iter().for_each(|relation| emptied.whole(relation));
        let boundary = self.start.machine.boundary();
        emptied.certain(boundary).map_or(Ok(()), |error| Err(error.fact("position", boundary.to_string())))
    }
}

async fn find<'a>(connection: &mut Connection, tables: &'a [TableId]) -> Result<Vec<Found<'a>>> {
    let root = |(at, id): (usize, &TableId)| format!("({at}, {})", quote::literal(&quote::table(id)));
    let roots: Vec<String> = tables.iter().enumerate().map(root).collect();
    // The rows of foreign tables are elsewhere, and never in the log.
    let sql = format!(
        "SELECT rc.oid, c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), r.at, p.level > 0,
           coalesce(i.xmin::text = t.xmin::text, false)
         FROM (VALUES {}) r (at, name)
           JOIN pg_catalog.pg_class rc ON rc.oid = pg_catalog.to_regclass(r.name) AND rc.relkind = 'p'
           CROSS JOIN LATERAL pg_catalog.pg_partition_tree(rc.oid) p
           JOIN pg_catalog.pg_class c ON c.oid = p.relid AND c.relkind <> 'f' JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_type t ON t.typrelid = c.oid LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid",
        roots.join(", ")
    );
    let rows = connection.simple(&sql).await?;
    let found = |row: crate::client::Row<'_>| {
        let of = tables
            .get(row.parse::<usize>(3)?)
            .ok_or_else(|| Error::new(Code::Bug, "a table that was not asked for"))?;
        let name = row.text(2)?.to_owned();
        Ok(Found { root: row.parse(0)?, oid: row.parse(1)?, name, of, is_below: row.flag(4)?, made_so: row.flag(5)? })
    };
    rows.iter().map(found).collect()
}

/// Whether a partition has rows from before it was attached. Ages grow with every transaction of the server: both are told by one
/// statement.
async fn has_older_rows(connection: &mut Connection, partition: &Found<'_>) -> Result<bool> {
    let Found { oid, name, .. } = partition;
    // Made, filled and attached by one transaction: such rows are the first of the table. Most often there are none, and not all of
    // a large partition is to be read for that.
    let older = if partition.made_so {
        "p.ctid < '(128,0)' AND p.xmin = i.xmin AND p.cmin::text::bigint < i.cmin::text::bigint"
    } else {
        "(pg_catalog.age(p.xmin) > pg_catalog.age(i.xmin)
          OR p.xmin = i.xmin AND p.cmin::text::bigint < i.cmin::text::bigint)"
    };
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {name} p, pg_catalog.pg_inherits i WHERE i.inhrelid = {oid} AND {older})"
    );
    match connection.simple(&sql).await {
        Ok(rows) => rows.first().map_or(Ok(false), |row| row.flag(0)),
        // It cannot be seen: only what came as a table of its own is taken for one with rows.
        Err(error) if error.code() == Code::MissingPrivilege => Ok(!partition.made_so),
        // Dropped meanwhile: the next look says so.
        Err(error) if error.code() == Code::TableGone => Ok(false),
        Err(error) => Err(error),
    }
}

#[cold]
fn attached_with_rows(partition: &Found<'_>) -> Error {
    let (root, name) = (partition.of, &partition.name);
    let message =
        format!("rows of captured table {root} came without being logged: {name} was attached with rows in it");
    Error::new(Code::UnloggedRows, message).fact("table", root.to_string()).help(
        "start a new pipeline with a new snapshot; or go on without the rows that it had: set `partitions.attached-rows: pass-over`",
    )
}
