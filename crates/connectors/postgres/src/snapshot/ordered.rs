//! Tables that are read in an order: that of their key, statement by statement, or one that no index has (of their key, or of what
//! their rows hold), in which the server sorts all of it for one statement.

use super::gather::{Gathering, REST};
use super::handoff::lock;
use super::job::{ChunkRead, Job, ReadUnder};
use super::order::{Frontier, KeyOrder};
use super::reader::{Begun, CHUNK_BYTES, VIEW_AGE, Worker, append, retry};
use super::size::StatementSize;
use super::whole::interrupted;
use crate::values::TableBuilder;
use dujiang_core::{ChangeBatch, Code, Error, Result, fault};
use std::time::Instant;

/// What follows a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another one.
    Statement,
    /// Nothing: the table is read, or nobody wants it any more.
    Nothing,
}

/// Whether a row begins something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    None,
    /// What came before is a chunk.
    Chunk,
    /// What came before is a part of a chunk.
    Piece,
}

/// A row that a chunk can end with.
struct Last {
    texts: Frontier,
    key: Vec<u8>,
}

/// Rows on their way into chunks. A chunk ends where the key changes. Only when so many rows are equal in it that they are not to be
/// kept in memory, a part of a chunk is handed out.
struct Chunks {
    builder: TableBuilder,
    order: KeyOrder,
    rows_at_most: usize,
    /// Bytes since the last cut.
    bytes: usize,
    /// The row with which the chunk was full.
    full: Option<Last>,
    key: Vec<u8>,
}

impl Chunks {
    fn before(&mut self, row: &[u8]) -> Result<Cut> {
        let Some(last) = &self.full else { return Ok(Cut::None) };
        self.key.clear();
        self.order.write_row(row, &mut self.key)?;
        let same = self.key == last.key && !fault::removed("chunk-ends-with-its-key");
        Ok(match same {
            false => Cut::Chunk,
            true if self.bytes >= 4 * CHUNK_BYTES => Cut::Piece,
            true => Cut::None,
        })
    }

    /// `ends` says that the chunk ends with this row.
    fn append(&mut self, row: &[u8], ends: bool) -> Result<()> {
        append(&mut self.builder, row)?;
        self.bytes += row.len();
        let full = self.builder.rows() >= self.rows_at_most || self.bytes >= CHUNK_BYTES;
        if ends || (full && self.full.is_none()) {
            let (texts, mut key) = (self.order.texts(row)?, Vec::new());
            self.order.write_row(row, &mut key)?;
            self.full = Some(Last { texts, key });
        }
        Ok(())
    }

    /// The rows so far.
    fn finish(&mut self, job: &mut Job) -> Result<Vec<ChangeBatch>> {
        let batches: Vec<ChangeBatch> = self.builder.finish()?.into_iter().collect();
        job.rows += batches.iter().map(|batch| batch.images() as u64).sum::<u64>();
        self.bytes = 0;
        Ok(batches)
    }

    /// What ends before the row at hand, under a view under which the next chunk is read, too.
    fn cut(&mut self, cut: Cut, under: &ReadUnder, job: &mut Job) -> Result<ChunkRead> {
        let batches = self.finish(job)?;
        match self.full.take_if(|_| cut == Cut::Chunk) {
            Some(last) => {
                fault::point("snapshot.chunk-read");
                lock(&job.handoff).split(last.key);
                job.frontier = Some(last.texts);
                Ok(under.chunk(batches, job.frontier.clone()))
            }
            None => Ok(under.piece(batches)),
        }
    }
}

impl Worker {
    /// Reads a table. An interruption costs another statement, and where the server sorts another sort, of what was not handed out.
    pub(super) async fn read_in_order(&mut self, mut job: Job) -> Result<()> {
        let sorted = job.order.as_ref().is_some_and(KeyOrder::is_sorted);
        let mut size = (!sorted).then(|| StatementSize::new(self.context.chunk_rows));
        let (mut failures, mut rows, mut torn) = (0, job.rows, false);
        loop {
            let error = match self.statement(&mut job, size.as_mut(), &mut torn).await {
                Ok(Next::Statement) => {
                    failures = 0;
                    continue;
                }
                Ok(Next::Nothing) => {
                    self.end_view().await;
                    return Ok(());
                }
                Err(error) => error,
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

    /// Reads rows behind those that were read, all under one view; all that are left if there is no `size`. `torn` says that a part
    /// of a chunk was handed out.
    async fn statement(
        &mut self,
        job: &mut Job,
        mut size: Option<&mut StatementSize>,
        torn: &mut bool,
    ) -> Result<Next> {
        let (began, sender, rows_at_most) = (Instant::now(), self.sender.clone(), self.context.chunk_rows as usize);
        let Begun { connection, queries, under, builder } = self.begin(job).await?;
        let order = under.shape.order.clone();
        let order = order.ok_or_else(|| Error::new(Code::Bug, "a table that is read in an order has none"))?;
        if order.is_content() {
            // All rows are read: whether in the order of an index or by sorting, the server knows best.
            connection.execute("SET LOCAL enable_seqscan = on").await?;
        }
        let most = size.as_ref().map(|size| size.rows());
        let mut chunks = Chunks { builder, order, rows_at_most, bytes: 0, full: None, key: Vec::new() };
        let (mut rows, mut bytes) = (0, 0);
        let mut copy = connection.copy_out(&queries.in_order(job.frontier.as_deref(), most)).await?;
        let gathering = Gathering::new(most, Instant::now());
        loop {
            if copy.is_drained() && gathering.is_rest_due(rows, Instant::now()) {
                copy.rest(REST).await?;
            }
            let Some(row) = copy.next().await? else { break };
            let cut = chunks.before(row)?;
            if cut != Cut::None {
                let chunk = chunks.cut(cut, &under, job)?;
                *torn = cut == Cut::Piece;
                let permit = match (&size, VIEW_AGE.checked_sub(began.elapsed())) {
                    // Sorting once more would take longer than whatever waits for the end of this view.
                    (None, _) => Some(sender.reserve().await),
                    (Some(_), None) => None,
                    (Some(_), Some(left)) => tokio::time::timeout(left, sender.reserve()).await.ok(),
                };
                match (permit, &mut size) {
                    (Some(Ok(permit)), _) => permit.send(Ok(chunk)),
                    (None, Some(size)) => {
                        size.read(rows, bytes, began.elapsed());
                        return Ok(self.given_up(chunk, job).await);
                    }
                    _ => return Ok(Next::Nothing),
                }
            }
            (rows, bytes) = (rows + 1, bytes + row.len());
            chunks.append(row, most == Some(rows))?;
        }
        // A statement that has as many rows as it may ends with one that a chunk ends with.
        let last = chunks.full.take().filter(|_| most == Some(rows));
        let batches = chunks.finish(job)?;
        fault::point("snapshot.chunk-read");
        let (texts, key) = last.map(|last| (last.texts, last.key)).unzip();
        lock(&job.handoff).complete(key);
        job.frontier.clone_from(&texts);
        *torn = false;
        let chunk = under.chunk(batches, texts);
        let sent = self.send(chunk).await;
        if let Some(size) = size {
            size.read(rows, bytes, began.elapsed());
        }
        Ok(if sent && job.frontier.is_some() { Next::Statement } else { Next::Nothing })
    }

    /// The view is old, and perhaps nobody takes this chunk: what is behind it is read again under another.
    async fn given_up(&mut self, chunk: ChunkRead, job: &Job) -> Next {
        // The rest of the answer is on its way: what comes next gets a session of its own.
        lock(&job.handoff).abandon();
        self.session = None;
        if self.sender.clone().send(Ok(chunk)).await.is_ok() { Next::Statement } else { Next::Nothing }
    }
}
