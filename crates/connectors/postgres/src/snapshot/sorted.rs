//! Tables that the server sorts: in an order of their key that no index has, or of what their rows hold.

use super::handoff::lock;
use super::job::{ChunkRead, Job};
use super::order::{Frontier, KeyOrder};
use super::reader::{CHUNK_BYTES, Worker, append, builder, retry};
use super::whole::interrupted;
use crate::client::{after_header, is_row};
use dujiang_core::{ChangeBatch, Code, Error, Result, fault};

/// The last row of what is full.
struct Full {
    texts: Frontier,
    key: Vec<u8>,
}

impl Full {
    fn new(order: &KeyOrder, row: &[u8]) -> Result<Self> {
        let (texts, mut key) = (order.texts(row)?, Vec::new());
        order.write_row(row, &mut key)?;
        Ok(Self { texts, key })
    }
}

impl Worker {
    /// Reads a table in one pass. Every piece is a chunk of the same view: an interruption costs another sort, of what was not
    /// handed out.
    pub(super) async fn read_sorted(&mut self, mut job: Job) -> Result<()> {
        let (mut failures, mut rows, mut torn) = (0, job.rows, false);
        loop {
            let Err(error) = self.sorted(&mut job, &mut torn).await else {
                self.end_view().await;
                return Ok(());
            };
            if torn {
                return Err(interrupted(&job.shape).with_source(error));
            }
            lock(&job.handoff).abandon();
            self.session = None;
            failures = if job.rows > std::mem::replace(&mut rows, job.rows) { 1 } else { failures + 1 };
            retry(error, failures, &job).await?;
        }
    }

    /// A chunk ends where the key changes. Only when so many rows are equal in it that they are not to be kept in memory, a part of
    /// a chunk is handed out (`torn`).
    async fn sorted(&mut self, job: &mut Job, torn: &mut bool) -> Result<()> {
        let (context, number, sender) = (self.context.clone(), self.number, self.sender.clone());
        let session = self.connected().await?;
        let (view, micros) = session.view_for(job, &context).await?;
        let planned = session.planned(job)?;
        let (shape, queries) = (planned.with.clone(), planned.queries.clone());
        let order = shape.order.clone().ok_or_else(|| Error::new(Code::Bug, "a sorted table has no order"))?;
        let mut builder = builder(&planned.decodable, &context, micros, job.rows)?;
        let at = job.at;
        let chunk = |batches: Vec<ChangeBatch>, frontier, piece| {
            let held = context.budget.hold(batches.iter().map(ChangeBatch::memory).sum());
            ChunkRead { worker: number, at, batches, shape: shape.clone(), frontier, piece, view: view.clone(), held }
        };
        let (mut bytes, mut first) = (0, true);
        let (mut full, mut key): (Option<Full>, Vec<u8>) = (None, Vec::new());
        if order.is_content() {
            // All rows are read: whether in the order of an index or by sorting, the server knows best.
            session.connection.execute("SET LOCAL enable_seqscan = on").await?;
        }
        let mut copy = session.connection.copy_out(&queries.sorted(job.frontier.as_deref())).await?;
        while let Some(data) = copy.next().await? {
            let row = if first { after_header(data)? } else { data };
            if let (Some(last), true) = (&full, is_row(row)) {
                key.clear();
                order.write_row(row, &mut key)?;
                let piece = key == last.key && !fault::removed("chunk-ends-with-its-key");
                if !piece || bytes >= 4 * CHUNK_BYTES {
                    let batches: Vec<ChangeBatch> = builder.finish()?.into_iter().collect();
                    job.rows += batches.iter().map(|batch| batch.images() as u64).sum::<u64>();
                    bytes = 0;
                    *torn = piece;
                    let ready = if piece {
                        chunk(batches, None, true)
                    } else {
                        fault::point("snapshot.chunk-read");
                        lock(&job.handoff).split(last.key.clone());
                        job.frontier = Some(last.texts.clone());
                        full = None;
                        chunk(batches, job.frontier.clone(), false)
                    };
                    if sender.send(Ok(ready)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            bytes += data.len();
            let is_full = |rows: usize| rows >= context.chunk_rows as usize || bytes >= CHUNK_BYTES;
            if append(&mut builder, data, &mut first)? && full.is_none() && is_full(builder.rows()) {
                full = Some(Full::new(&order, row)?);
            }
        }
        let rest = chunk(builder.finish()?.into_iter().collect(), None, false);
        fault::point("snapshot.chunk-read");
        lock(&job.handoff).complete(None);
        *torn = false;
        // The reader is gone if this fails.
        let _ = sender.send(Ok(rest)).await;
        Ok(())
    }
}
