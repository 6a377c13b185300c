//! Chunks of a database whose log lags behind it (OceanBase): rows as of a snapshot, brought to a place in the log.
//!
//! Of no snapshot is it known which transactions of the log it shows. But those that the log held before the snapshot was
//! taken are in it, and those after a marker that was written later are not. What lies between is folded into the chunk by
//! key: where the log has a change of a key, its last image is the row at the marker, whatever the snapshot shows; where it
//! has none, the snapshot's row is. So the chunk is exactly the table at the marker, and the stream takes over there.

use super::context::SnapshotContext;
use super::key::key_of;
use super::lagging::Window;
use super::weights::ServerOrder;
use crate::client::Connection;
use crate::decode::{Column, KeyPlan};
use crate::place::Place;
use crate::shape::Shape;
use arrow_select::concat::concat_batches;
use dujiang_core::batch::{Kind, Origins, UnfitCell};
use dujiang_core::{ChangeBatch, Code, Error, Origin, Result};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// The last image of a row: batch and row; none when it was deleted.
type Image = Option<(usize, u32)>;

/// A window, by key.
pub struct Folding {
    window: Window,
    last: BTreeMap<Vec<u8>, Image>,
}

/// How the keys of a table are told apart.
pub struct Keys<'a> {
    pub columns: &'a Arc<[Column]>,
    pub key: &'a [usize],
    pub plan: Option<&'a KeyPlan>,
}

impl Keys<'_> {
    /// The sort key of every row.
    async fn of(&self, batch: &ChangeBatch, connection: &mut Connection) -> Result<Vec<Vec<u8>>> {
        let rows = 0..batch.rows.num_rows();
        if let Some(plan) = self.plan {
            let of = |row| {
                let mut key = Vec::new();
                plan.write_row(&batch.rows, row, &mut key).map(|()| key)
            };
            return rows.map(of).collect();
        }
        let order = ServerOrder::new(self.columns, self.key)?;
        let open = |row| order.of_row(&batch.rows, row, &key_of(&batch.rows, row, self.columns, self.key)?);
        let open: Vec<_> = rows.map(open).collect::<Result<_>>()?;
        order.weigh(connection, &open).await
    }
}

impl Folding {
    /// Finds the last image of every key.
    ///
    /// # Errors
    /// `ConnectionLost`, `SourceQuery` where the server is asked for keys.
    pub async fn new(window: Window, keys: &Keys<'_>, connection: &mut Connection) -> Result<Self> {
        let mut last = BTreeMap::new();
        for (at, batch) in window.changes.iter().enumerate() {
            for (row, key) in keys.of(batch, connection).await?.into_iter().enumerate() {
                let gone = matches!(batch.kinds[row], Kind::UpdateBefore | Kind::Delete);
                last.insert(key, (!gone).then_some((at, row as u32)));
            }
        }
        Ok(Self { window, last })
    }

    /// The place in the log that chunks are brought to.
    pub fn point(&self) -> &Place {
        &self.window.point
    }

    /// The rows of a chunk, with keys after the one and up to the other, as they are at the point.
    ///
    /// # Errors
    /// As [`Folding::new`]; `Bug`.
    pub async fn apply(
        &self,
        chunk: Option<ChangeBatch>,
        range: (Option<&[u8]>, Option<&[u8]>),
        origin: Origin<'_>,
        keys: &Keys<'_>,
        connection: &mut Connection,
    ) -> Result<Option<ChangeBatch>> {
        let bounds =
            (range.0.map_or(Bound::Unbounded, Bound::Excluded), range.1.map_or(Bound::Unbounded, Bound::Included));
        let images: HashMap<&[u8], Image> =
            self.last.range::<[u8], _>(bounds).map(|(key, image)| (key.as_slice(), *image)).collect();
        if images.is_empty() {
            return Ok(chunk);
        }
        let mut parts = Vec::new();
        if let Some(chunk) = chunk {
            let of_rows = keys.of(&chunk, connection).await?;
            let kept = of_rows.iter().enumerate().filter(|(_, key)| !images.contains_key(key.as_slice()));
            parts.push(chunk.take(&kept.map(|(row, _)| row as u32).collect::<Vec<_>>())?);
        }
        for (at, batch) in self.window.changes.iter().enumerate() {
            let mut rows: Vec<u32> =
                images.values().flatten().filter(|(of, _)| *of == at).map(|(_, row)| *row).collect();
            rows.sort_unstable();
            parts.push(batch.take(&rows)?);
        }
        joined(&parts, origin)
    }
}

/// All rows as rows of one chunk.
fn joined(parts: &[ChangeBatch], origin: Origin<'_>) -> Result<Option<ChangeBatch>> {
    let Some(first) = parts.iter().find(|part| part.images() > 0) else { return Ok(None) };
    let bug = |error| Error::new(Code::Bug, "rows of a chunk and of its window differ").with_source(error);
    let rows = concat_batches(first.rows.schema_ref(), parts.iter().map(|part| &part.rows)).map_err(bug)?;
    let (mut unfit, mut before) = (Vec::new(), 0);
    for part in parts {
        unfit.extend(part.unfit.iter().map(|cell| UnfitCell { row: cell.row + before, ..cell.clone() }));
        before += part.images() as u32;
    }
    let mut origins = Origins::default();
    origins.push(rows.num_rows(), origin);
    let kinds = vec![Kind::Read; rows.num_rows()];
    Ok(Some(ChangeBatch::new(first.schema.clone(), rows, kinds, origins)?.with_unfit(unfit)))
}

/// What is visible in a snapshot that is taken after this is asked, the snapshot, and the table at a marker after both.
///
/// # Errors
/// As [`LaggingLog::window`].
pub async fn snapshot(
    connection: &mut Connection,
    context: &SnapshotContext,
    shape: &Shape,
) -> Result<Option<(u64, Folding)>> {
    let log = context.lagging.as_ref().ok_or_else(|| Error::new(Code::Bug, "a snapshot without a lagging log"))?;
    let known = log.known(connection).await?;
    let number = crate::oceanbase::snapshot_number(connection).await?;
    let window = log.window(&known, shape).await?;
    if window.altered {
        return Ok(None);
    }
    let decodable = shape.decodable()?;
    let plan = KeyPlan::new(decodable.columns.clone(), &shape.key);
    let keys = Keys { columns: &decodable.columns, key: &shape.key, plan: plan.as_ref() };
    Ok(Some((number, Folding::new(window, &keys, connection).await?)))
}
