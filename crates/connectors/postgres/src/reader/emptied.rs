//! Partitions that are emptied: of a table that is published as a whole the log tells only when all of it is.
//!
//! The sign is the file that a partition's rows are in: TRUNCATE gives it another one, and so do VACUUM FULL, CLUSTER and some ALTER
//! TABLE, which keep the rows. TRUNCATE of the whole table does the same to each partition; the stream tells of that, if later.

use crate::client::{Connection, quote};
use crate::config::Gap;
use crate::lsn::Lsn;
use crate::server;
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// In which file (`pg_class.relfilenode`) the rows of partitions are that have some, by the ids of partitioned tables and partitions.
/// They are kept in positions, so that what is emptied while the pipeline is off is noticed at the next start.
pub type Files = BTreeMap<u32, BTreeMap<u32, u32>>;

/// The rows of partitions, as far as they were seen.
#[derive(Clone)]
pub struct Emptied {
    state: Arc<Mutex<State>>,
    policy: Gap,
}

struct State {
    files: Files,
    /// How often the stream has told that a whole table was emptied.
    wholes: u64,
    /// Partitions whose rows are in another file, of which the stream may still tell. They keep their file until it is clear.
    suspects: BTreeMap<u32, Suspect>,
}

struct Suspect {
    root: u32,
    file: u32,
    table: TableId,
    name: String,
    /// It has no rows, and nobody has counted that there are none.
    is_empty: bool,
    /// It got the file before this place.
    before: Lsn,
}

struct Leaf {
    root: u32,
    oid: u32,
    at: usize,
    name: String,
    file: u32,
    /// Its rows were counted since it has this file, which TRUNCATE does not do.
    counted: bool,
    /// `None` while it gets another file.
    bytes: Option<i64>,
}

impl Emptied {
    /// Those that were seen when the position was written.
    pub fn new(files: Files, policy: Gap) -> Self {
        Self { state: Arc::new(Mutex::new(State { files, wholes: 0, suspects: BTreeMap::new() })), policy }
    }

    /// For positions.
    pub fn files(&self) -> Files {
        self.lock().files.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the partitions of these tables. What it finds is told when the stream is there: [`Emptied::certain`].
    ///
    /// # Errors
    /// What keeps from looking.
    pub async fn look(&self, connection: &mut Connection, tables: &[TableId]) -> Result<()> {
        let wholes = self.lock().wholes;
        let leaves = find(connection, tables).await?;
        if leaves.is_empty() {
            return Ok(());
        }
        let end = server::log_end(connection).await?;
        let mut state = self.lock();
        if state.wholes != wholes {
            // What was found may be of before what the stream has told meanwhile: the next look sees it.
            return Ok(());
        }
        let mut files = Files::new();
        for leaf in leaves {
            let of_root = files.entry(leaf.root).or_default();
            let before = state.files.get(&leaf.root).and_then(|files| files.get(&leaf.oid)).copied();
            match (before, leaf.bytes) {
                (before, None) => of_root.extend(before.map(|file| (leaf.oid, file))),
                (Some(file), Some(bytes)) if file != leaf.file => {
                    of_root.insert(leaf.oid, file);
                    if state.suspects.contains_key(&leaf.oid) {
                        continue;
                    }
                    let Some(table) = tables.get(leaf.at).cloned() else { continue };
                    let Leaf { root, file, name, .. } = leaf;
                    let is_empty = bytes == 0 && !leaf.counted;
                    state.suspects.insert(leaf.oid, Suspect { root, file, table, name, is_empty, before: end });
                }
                (_, Some(0)) => {}
                (_, Some(_)) => drop(of_root.insert(leaf.oid, leaf.file)),
            }
        }
        state.files.extend(files);
        Ok(())
    }

    /// The stream tells that the whole table was emptied: which files its partitions have now is seen by the next look.
    pub fn whole(&self, root: u32) {
        let mut state = self.lock();
        state.wholes += 1;
        state.files.remove(&root);
        state.suspects.retain(|_, suspect| suspect.root != root);
    }

    /// A partition that was emptied and of which the stream, which has told everything before `boundary`, says nothing.
    pub fn certain(&self, boundary: Lsn) -> Option<Error> {
        let mut state = self.lock();
        if state.suspects.is_empty() {
            return None;
        }
        while let Some(oid) = state.suspects.iter().find(|(_, s)| s.before <= boundary).map(|(oid, _)| *oid) {
            let suspect = state.suspects.remove(&oid)?;
            let error = emptied(&suspect);
            match self.policy {
                _ if !suspect.is_empty => tracing::warn!(
                    partition = suspect.name,
                    "a partition of a captured table was written anew: if that was TRUNCATE, the rows that it had stay in the sink, and a \
                     new pipeline with a new snapshot is needed; if it was VACUUM FULL, CLUSTER or ALTER TABLE, nothing is amiss"
                ),
                // It keeps its file: the next start says the same.
                Gap::Halt => return Some(error),
                Gap::PassOver => tracing::warn!("{}; they stay in the sink", error.message()),
            }
            if let Some(files) = state.files.get_mut(&suspect.root) {
                files.insert(oid, suspect.file);
            }
        }
        None
    }
}

async fn find(connection: &mut Connection, tables: &[TableId]) -> Result<Vec<Leaf>> {
    let root = |(at, id): (usize, &TableId)| format!("({at}, {})", quote::literal(&quote::table(id)));
    let roots: Vec<String> = tables.iter().enumerate().map(root).collect();
    if roots.is_empty() {
        return Ok(Vec::new());
    }
    // The catalog is that of before if the statement had to wait for a lock, and the server's functions tell what is.
    let sql = format!(
        "SELECT rc.oid, c.oid, r.at, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relfilenode, c.reltuples >= 0,
           CASE WHEN pg_catalog.pg_relation_filenode(c.oid) = c.relfilenode THEN pg_catalog.pg_relation_size(c.oid) END
         FROM (VALUES {}) r (at, name)
           JOIN pg_catalog.pg_class rc ON rc.oid = pg_catalog.to_regclass(r.name) AND rc.relkind = 'p'
           CROSS JOIN LATERAL pg_catalog.pg_partition_tree(rc.oid) p
           JOIN pg_catalog.pg_class c ON c.oid = p.relid AND c.relkind = 'r' JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        roots.join(", ")
    );
    let rows = connection.simple(&sql).await?;
    let leaf = |row: crate::client::Row<'_>| {
        Ok(Leaf {
            root: row.parse(0)?,
            oid: row.parse(1)?,
            at: row.parse(2)?,
            name: row.text(3)?.to_owned(),
            file: row.parse(4)?,
            counted: row.flag(5)?,
            bytes: row.opt(6)?.map(|_| row.parse(6)).transpose()?,
        })
    };
    rows.iter().map(leaf).collect()
}

#[cold]
fn emptied(partition: &Suspect) -> Error {
    let Suspect { table, name, .. } = partition;
    let message = format!(
        "rows of captured table {table} went without being logged: its partition {name} was emptied by TRUNCATE"
    );
    Error::new(Code::UnloggedRows, message).fact("table", table.to_string()).help(
        "start a new pipeline with a new snapshot; or go on and keep the rows in the sink: set `partitions.attached-rows: pass-over`. \
         What a DELETE takes away, or a TRUNCATE of the whole table, is logged",
    )
}
