//! Tables that are read as a whole: small ones, and those of which nothing has an order that is known here.

use super::handoff::lock;
use super::job::Job;
use super::order::SMALL_TABLE;
use super::reader::{Begun, CHUNK_BYTES, Worker, append, retry};
use crate::shape::Shape;
use dujiang_core::{ChangeBatch, Code, Error, Result, fault};

impl Worker {
    /// Reads a table in one go, as it lies on disk. Until a row has been handed over it can be begun anew.
    pub(super) async fn read_whole(&mut self, job: &Job) -> Result<()> {
        let mut failures = 0;
        loop {
            let mut sent = false;
            match self.whole(job, &mut sent).await {
                Ok(()) => {
                    self.end_view().await;
                    return Ok(());
                }
                Err(error) if sent => return Err(interrupted(&job.shape).with_source(error)),
                Err(error) => {
                    lock(&job.handoff).abandon();
                    self.session = None;
                    failures += 1;
                    retry(error, failures, job).await?;
                }
            }
        }
    }

    async fn whole(&mut self, job: &Job, sent: &mut bool) -> Result<()> {
        let (context, sender) = (self.context.clone(), self.sender.clone());
        let Begun { connection, queries, under, mut builder } = self.begin(job).await?;
        let at_once = job.bytes <= SMALL_TABLE;
        let mut batches = Vec::new();
        let mut bytes = 0;
        let mut copy = connection.copy_out(&queries.all()).await?;
        while let Some(row) = copy.next().await? {
            bytes += row.len();
            append(&mut builder, row)?;
            if builder.rows() < context.chunk_rows as usize && bytes < CHUNK_BYTES {
                continue;
            }
            bytes = 0;
            batches.extend(builder.finish()?);
            // A table that has grown beyond all expectation is not kept in memory.
            let kept: usize = batches.iter().map(ChangeBatch::memory).sum();
            if !at_once || kept as u64 > 4 * SMALL_TABLE {
                *sent = true;
                if sender.send(Ok(under.piece(std::mem::take(&mut batches)))).await.is_err() {
                    return Ok(());
                }
            }
        }
        batches.extend(builder.finish()?);
        fault::point("snapshot.chunk-read");
        *sent = true;
        lock(&job.handoff).complete(None);
        // The reader is gone if this fails.
        let _ = sender.send(Ok(under.chunk(batches, None))).await;
        Ok(())
    }
}

/// A table that is read as a whole was begun and not ended.
pub fn interrupted(shape: &Shape) -> Error {
    was_interrupted(shape.id().to_string())
}

fn was_interrupted(id: String) -> Error {
    Error::new(Code::SnapshotInterrupted, format!("the snapshot of {id} was interrupted and cannot be resumed"))
        .fact("table", id)
        .help(
            "neither its key nor what its rows hold tells here which of them are missing: start a new pipeline, or give the table a \
             primary key of numbers, dates, uuids, bytea or text",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_snapshot_reads_as_written() {
        let error = was_interrupted("public.k".into());
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }
}
