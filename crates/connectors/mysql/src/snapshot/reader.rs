//! The connections that read chunks.

use super::chunk_query::{chunk_query, parameters};
use super::context::SnapshotContext;
use super::handoff::{SharedHandoff, lock};
use super::key::{OwnedParam, key_of};
use super::view::{self, View};
use super::weights::ServerOrder;
use crate::client::{Connection, Param, ServerFamily, Statement};
use crate::decode::{KeyPlan, TableBuilder};
use crate::place::Place;
use crate::position::KeyValue;
use crate::server::end_of_log;
use crate::shape::{Decodable, Shape, ShapeColumn, read_columns};
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Held;
use dujiang_core::codes::Retry;
use dujiang_core::{ChangeBatch, Code, Error, Origin, Result, fault};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::mpsc;

mod as_of;
mod rows;
mod waiting;

use as_of::{at_point, origin};
use rows::Rows;
use waiting::{Chunks, MISSING_PAUSE, has_moved_on, retry};

/// A chunk ends early when it holds this many bytes.
const CHUNK_BYTES: usize = 8 << 20;
/// A view serves chunks of a table for so long, as long as the stream has dropped nothing behind it. MySQL's are dear.
const VIEW_AGE: Duration = Duration::from_millis(500);
const VIEW_AGE_MYSQL: Duration = Duration::from_secs(5);
/// A view costs nothing but that old rows are kept, for which `undo_retention` gives half an hour.
const VIEW_AGE_OCEANBASE: Duration = Duration::from_secs(300);
/// How long a view stays open while the chunk read from it is not taken.
const PATIENCE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A table to be read.
#[derive(Clone)]
pub struct Job {
    /// The table's number.
    pub at: usize,
    /// Its columns as the stream knows them; the catalog of each view decides.
    pub shape: Shape,
    /// Where stream and snapshot meet.
    pub handoff: SharedHandoff,
    /// The last key read, if the table was begun.
    pub frontier: Option<Vec<KeyValue>>,
    /// Rows read up to there: ordinals go on from chunk to chunk, since a sink may have thrown the key away and have
    /// nothing else to tell rows of the snapshot apart.
    pub rows: u64,
    /// `snapshot:<id>`, the transaction of its rows.
    pub transaction: Arc<str>,
}

/// A chunk, completely read.
pub struct ChunkRead {
    /// Which of the connections read it.
    pub worker: usize,
    /// The table's number.
    pub at: usize,
    /// The hand-off that it belongs to: the number may be another table's by now.
    pub handoff: SharedHandoff,
    /// Its rows; none when the table has ended.
    pub batch: Option<ChangeBatch>,
    /// The columns it was read with.
    pub shape: Shape,
    /// Its last key; none when the table has ended.
    pub frontier: Option<Vec<KeyValue>>,
    /// Its hand-off point.
    pub point: Place,
    /// Its bytes, until it is handed out.
    pub held: Held,
}

/// A snapshot under way; its connections end when it is dropped.
pub struct Snapshot {
    chunks: Chunks,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    context: Arc<SnapshotContext>,
    queue: SharedQueue,
    /// Connections at a time.
    connections: usize,
}

/// Tables to be read, and how many connections are at work on them.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    working: usize,
}

type SharedQueue = Arc<Mutex<Queue>>;

fn locked(queue: &SharedQueue) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Snapshot {
    /// Begins to read the tables, in order, over so many connections.
    pub fn start(context: Arc<SnapshotContext>, jobs: Vec<Job>, connections: usize) -> Self {
        let mut snapshot = Self {
            chunks: Chunks::default(),
            tasks: Vec::new(),
            context,
            queue: SharedQueue::default(),
            connections: connections.max(1),
        };
        jobs.into_iter().for_each(|job| snapshot.add(job));
        snapshot
    }

    /// One more table to be read, after those before it.
    pub fn add(&mut self, job: Job) {
        let mut queue = locked(&self.queue);
        queue.jobs.push_back(job);
        if queue.working >= self.connections {
            return;
        }
        queue.working += 1;
        let (sender, chunks) = mpsc::channel(1);
        let (context, queue) = (self.context.clone(), self.queue.clone());
        let worker = Worker { number: self.chunks.channels.len(), context, queue, sender, session: None };
        self.chunks.channels.push(chunks);
        self.tasks.push(tokio::spawn(worker.run()));
    }

    /// The next chunk of a connection of which none is in `held`, `None` when all tables are read. **Cancel-safe.**
    ///
    /// # Errors
    /// What reconnecting does not mend.
    pub async fn next(&mut self, held: &[ChunkRead]) -> Option<Result<ChunkRead>> {
        std::future::poll_fn(|cx| self.chunks.poll_next(cx, held)).await
    }

    /// As [`Snapshot::next`], if there is a chunk already.
    ///
    /// # Errors
    /// As [`Snapshot::next`].
    pub fn try_next(&mut self, held: &[ChunkRead]) -> Option<Result<ChunkRead>> {
        match self.chunks.poll_next(&mut Context::from_waker(Waker::noop()), held) {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => None,
        }
    }
}

struct Session {
    connection: Connection,
    view: Option<View>,
    /// A chunk of the view has been read and confirmed: its table cannot be altered until it is closed, and its place is
    /// what it is.
    proven: bool,
    prepared: Option<Prepared>,
    /// The catalog before the view was opened.
    expected: Option<Vec<ShapeColumn>>,
    /// What is prepared belongs to a connection that is gone.
    stale: bool,
}

struct Prepared {
    /// Of the job that it is for: the same table may be read anew, by another key.
    handoff: SharedHandoff,
    shape: Shape,
    decodable: Decodable,
    keys: Option<KeyPlan>,
    /// The snapshot that the statements name (OceanBase).
    as_of: Option<u64>,
    from_begin: Statement,
    after: Statement,
}

struct Worker {
    number: usize,
    context: Arc<SnapshotContext>,
    queue: SharedQueue,
    sender: mpsc::Sender<Result<ChunkRead>>,
    session: Option<Session>,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let next = {
                let mut queue = locked(&self.queue);
                let next = queue.jobs.pop_front();
                queue.working -= usize::from(next.is_none());
                next
            };
            let Some(job) = next else { return };
            if let Err(error) = self.read_table(job).await {
                let _ = self.sender.send(Err(error)).await;
                locked(&self.queue).working -= 1;
                return;
            }
        }
    }

    async fn read_table(&mut self, mut job: Job) -> Result<()> {
        let mut rows = self.context.chunk_rows;
        let mut failures = 0;
        loop {
            if lock(&job.handoff).is_cancelled() {
                self.end_view().await;
                return Ok(());
            }
            let chunk = match self.chunk(&job, &mut rows).await {
                Ok(chunk) => chunk,
                Err(error) => {
                    lock(&job.handoff).abandon();
                    self.session = None;
                    failures += 1;
                    // Of one that is read no more nobody asks where it is missing, which OceanBase is told by a marker.
                    if lock(&job.handoff).is_cancelled() {
                        continue;
                    }
                    if has_moved_on(&error) {
                        self.miss(&job).await;
                        continue;
                    }
                    retry(error, failures, &job).await?;
                    continue;
                }
            };
            lock(&job.handoff).found();
            failures = 0;
            fault::point("snapshot.chunk-read");
            job.frontier.clone_from(&chunk.frontier);
            job.rows += chunk.batch.as_ref().map_or(0, |batch| batch.images() as u64);
            let more = job.frontier.is_some();
            if !self.send(chunk).await || !more {
                self.end_view().await;
                return Ok(());
            }
        }
    }

    /// Hands the chunk over; false when the reader is gone. A view is not kept open while nobody takes the chunk: it would
    /// hold back the server's purge, and every ALTER of the table.
    async fn send(&mut self, chunk: ChunkRead) -> bool {
        let sender = self.sender.clone();
        if let Ok(permit) = tokio::time::timeout(PATIENCE, sender.reserve()).await {
            return permit.map(|p| p.send(Ok(chunk))).is_ok();
        }
        if !self.session.as_ref().is_some_and(Session::reads_as_of) {
            self.end_view().await;
        }
        sender.send(Ok(chunk)).await.is_ok()
    }

    /// The table cannot be read any more, and the stream will meet the statement that says why.
    async fn miss(&mut self, job: &Job) {
        if lock(&job.handoff).missing().is_none() {
            let lagging = self.context.lagging.clone();
            let place = match (self.connected().await, lagging) {
                (Ok(session), Some(log)) => log.end(&mut session.connection).await,
                (Ok(session), None) => end_of_log(&mut session.connection).await,
                (Err(error), _) => Err(error),
            };
            if let Ok(place) = place {
                tracing::info!(table = %job.shape.id(), "the table has been changed: its snapshot waits for the stream");
                lock(&job.handoff).miss(place);
            }
        }
        tokio::time::sleep(MISSING_PAUSE).await;
    }

    async fn end_view(&mut self) {
        if let Some(session) = &mut self.session
            && session.close_view().await.is_err()
        {
            self.session = None;
        }
    }

    async fn chunk(&mut self, job: &Job, rows: &mut u32) -> Result<ChunkRead> {
        let context = self.context.clone();
        let session = self.connected().await?;
        let (view, fetched) = session.confirmed(job, &context, *rows).await?;
        let limit = *rows;
        if let Some(adapted) = (fetched.bytes * limit as usize).checked_div(fetched.rows.max(1)).filter(|b| *b > 0) {
            let fitting = (u64::from(limit) * CHUNK_BYTES as u64 / adapted as u64).max(1);
            *rows = u32::try_from(fitting).unwrap_or(u32::MAX).min(context.chunk_rows);
        }
        if fetched.truncated {
            // The rest of the answer is still on its way: the next chunk gets a connection of its own.
            session.renew(&context).await?;
        }
        if view.as_of.is_some() {
            // Nothing keeps the table from being altered.
            session.check_columns(job).await?;
        }
        let mut chunk = session.finish(job, fetched, &view, limit, &context).await?;
        chunk.worker = self.number;
        if view.locks {
            // The chunk is whole, and the hand-off counts on it, even if the session is lost now.
            self.end_view().await;
        }
        Ok(chunk)
    }

    async fn connected(&mut self) -> Result<&mut Session> {
        if self.session.is_none() {
            let connection = self.context.connect().await?;
            self.session = Some(Session::on(connection));
        }
        Ok(self.session.as_mut().expect("invariant: just made"))
    }
}

struct Fetched {
    batch: Option<ChangeBatch>,
    rows: usize,
    bytes: usize,
    truncated: bool,
}

impl Session {
    /// A session without a view.
    fn on(connection: Connection) -> Self {
        Self { connection, view: None, proven: false, prepared: None, expected: None, stale: false }
    }

    /// A view, and statements for the columns that it shows. A column added or dropped in an instant between opening the
    /// view and touching the table would be in the catalog and not in the view: such a view is not used.
    async fn prepared_view(&mut self, job: &Job, context: &SnapshotContext) -> Result<View> {
        loop {
            let view = self.usable_view(job, context).await?;
            self.prepare(job).await?;
            let shown = self.prepared.as_ref().map(|p| &p.shape.columns);
            if view.locks || self.expected.as_ref().is_none_or(|expected| Some(expected) == shown) {
                self.expected = None;
                return Ok(view);
            }
            lock(&job.handoff).abandon();
            self.close_view().await?;
        }
    }

    /// The view that is open, if the hand-off takes it once more.
    fn proven_view(&self, job: &Job) -> Option<View> {
        let view = self.view.as_ref().filter(|view| self.proven && !view.locks)?;
        let usable = self.prepared.as_ref().is_some_and(|p| Arc::ptr_eq(&p.handoff, &job.handoff))
            && view.opened.elapsed() < self.view_age()
            && lock(&job.handoff).open(view.point.clone());
        usable.then(|| view.clone())
    }

    /// A new view that the hand-off takes.
    async fn usable_view(&mut self, job: &Job, context: &SnapshotContext) -> Result<View> {
        let mut pause = Duration::from_millis(2);
        loop {
            self.close_view().await?;
            let table = job.shape.id();
            let view = if self.connection.server().family == ServerFamily::OceanBase {
                self.view_as_of(job, context).await?
            } else if view::has_versions(&mut self.connection, &table).await? {
                self.expected = Some(read_columns(&mut self.connection, &table).await?);
                view::open(&mut self.connection, context, &table, &job.handoff).await?
            } else {
                view::lock(&mut self.connection, &table, &*context.clock, &job.handoff).await?
            };
            self.view = Some(view.clone());
            if lock(&job.handoff).open(view.point.clone()) {
                return Ok(view);
            }
            // What the stream has seen is not visible yet: a commit waits for a replica.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    fn view_age(&self) -> Duration {
        match self.connection.server().family {
            ServerFamily::MariaDb => VIEW_AGE,
            ServerFamily::MySql => VIEW_AGE_MYSQL,
            ServerFamily::OceanBase => VIEW_AGE_OCEANBASE,
        }
    }

    async fn close_view(&mut self) -> Result<()> {
        self.proven = false;
        match self.view.take() {
            Some(view) => view.close(&mut self.connection).await,
            None => Ok(()),
        }
    }

    /// Another connection, without a view. What was prepared still tells how the rows at hand were read.
    async fn renew(&mut self, context: &SnapshotContext) -> Result<()> {
        self.connection = context.connect().await?;
        self.view = None;
        self.proven = false;
        self.stale = true;
        Ok(())
    }

    /// Statements for the table's columns as the catalog has them while the view is open. Touching the table first keeps
    /// it from being altered until the view is closed. Rebuilt before that, the SELECT is refused by the server.
    async fn prepare(&mut self, job: &Job) -> Result<()> {
        let table = crate::client::quote::table(&job.shape.id())?;
        self.connection.query(&format!("SELECT 1 FROM {table} LIMIT 0")).await?;
        let columns = read_columns(&mut self.connection, &job.shape.id()).await?;
        let as_of = self.view.as_ref().and_then(|view| view.as_of.as_ref()).map(|(number, _)| *number);
        let fits =
            |p: &Prepared| Arc::ptr_eq(&p.handoff, &job.handoff) && p.shape.columns == columns && p.as_of == as_of;
        if !self.stale && self.prepared.as_ref().is_some_and(fits) {
            return Ok(());
        }
        if let Some(old) = self.prepared.take_if(|_| !self.stale) {
            self.connection.close_statement(old.from_begin).await?;
            self.connection.close_statement(old.after).await?;
        }
        let shape = job.shape.with_columns(columns)?;
        let decodable = shape.decodable()?;
        let from_begin = self.connection.prepare(&chunk_query(&shape, true, as_of)?).await?;
        let after = self.connection.prepare(&chunk_query(&shape, false, as_of)?).await?;
        let keys = KeyPlan::new(decodable.columns.clone(), &shape.key);
        self.stale = false;
        let handoff = job.handoff.clone();
        self.prepared = Some(Prepared { handoff, shape, decodable, keys, as_of, from_begin, after });
        Ok(())
    }

    /// A chunk's rows, and the view that they are of.
    async fn confirmed(&mut self, job: &Job, context: &SnapshotContext, limit: u32) -> Result<(View, Fetched)> {
        if let Some(view) = self.proven_view(job) {
            let fetched = self.fetch(job, &view, limit).await?;
            return Ok((view, fetched));
        }
        loop {
            let view = self.prepared_view(job, context).await?;
            let fetched = self.fetch(job, &view, limit).await?;
            // The rest of a truncated answer is still on its way: nothing can be asked.
            if fetched.truncated {
                return Ok((view, fetched));
            }
            if view.is_confirmed(&mut self.connection).await? {
                self.proven = true;
                return Ok((view, fetched));
            }
            tracing::warn!(table = %job.shape.id(), place = %view.point, "the place of a view was not its own; the chunk is read again");
            lock(&job.handoff).abandon();
            self.close_view().await?;
        }
    }

    async fn fetch(&mut self, job: &Job, view: &View, limit: u32) -> Result<Fetched> {
        let prepared = self.prepared.as_ref().expect("invariant: prepared before");
        let mut builder = TableBuilder::new(prepared.decodable.schema.clone(), prepared.decodable.columns.clone())?;
        builder.begin_span(origin(job, view, &view.point.to_string()));
        let values: Vec<OwnedParam> = job.frontier.iter().flatten().map(OwnedParam::new).collect::<Result<_>>()?;
        let mut params: Vec<Param<'_>> = Vec::new();
        let statement = if values.is_empty() {
            &prepared.from_begin
        } else {
            params.extend(parameters(values.len()).into_iter().map(|n| values[n].param()));
            &prepared.after
        };
        params.push(Param::UInt(limit.into()));
        self.connection.start_rows(statement, &params).await?;
        let mut rows = Rows::default();
        let mut fetched = Fetched { batch: None, rows: 0, bytes: 0, truncated: false };
        while !fetched.truncated && rows.fill(&mut self.connection).await? {
            fetched.rows += rows.packets.len();
            fetched.bytes += rows.buffer.len();
            builder.append_binary_rows(&rows.buffer, &rows.packets)?;
            if let Some(row) = rows.large.take() {
                fetched.rows += 1;
                fetched.bytes += row.len();
                builder.append_binary_rows(&row, &[(0, row.len())])?;
            }
            fetched.truncated = fetched.bytes > 2 * CHUNK_BYTES;
        }
        fetched.batch = builder.finish()?;
        Ok(fetched)
    }

    /// The chunk, with its upper end told to the hand-off.
    async fn finish(
        &mut self,
        job: &Job,
        fetched: Fetched,
        view: &View,
        limit: u32,
        context: &SnapshotContext,
    ) -> Result<ChunkRead> {
        let Session { connection, prepared, .. } = self;
        let prepared = prepared.as_ref().expect("invariant: prepared before");
        let ended = !fetched.truncated && (fetched.rows as u64) < u64::from(limit);
        let last = fetched.batch.as_ref().filter(|_| !ended).map(|b| (&b.rows, b.rows.num_rows() - 1));
        let (mut upper, mut frontier) = (None, None);
        if let Some((rows, row)) = last {
            let key = key_of(rows, row, &prepared.decodable.columns, &prepared.shape.key)?;
            let mut sort_key = Vec::new();
            match &prepared.keys {
                Some(keys) => keys.write_row(rows, row, &mut sort_key)?,
                None => {
                    let order = ServerOrder::new(&prepared.decodable.columns, &prepared.shape.key)?;
                    let open = order.of_row(rows, row, &key)?;
                    sort_key = order.weigh(connection, &[open]).await?.swap_remove(0);
                }
            }
            (upper, frontier) = (Some(sort_key), Some(key));
        }
        let batch = at_point(connection, prepared, job, view, fetched.batch, upper.as_deref()).await?;
        let held = context.budget.hold(batch.as_ref().map_or(0, ChangeBatch::memory));
        {
            let mut handoff = lock(&job.handoff);
            // Cancelled while the chunk was read: it will be thrown away.
            if !handoff.is_cancelled() {
                handoff.complete(upper);
            }
        }
        Ok(ChunkRead {
            worker: 0,
            at: job.at,
            handoff: job.handoff.clone(),
            batch,
            shape: prepared.shape.clone(),
            frontier,
            point: view.point.clone(),
            held,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::handoff::Handoff;
    use super::*;
    use dujiang_core::budget::Budget;

    fn chunk(worker: usize, at: usize, budget: &Budget) -> ChunkRead {
        let (database, table) = ("shop".to_owned(), format!("t{at}"));
        let shape = Shape {
            database,
            table,
            version: 1,
            columns: Vec::new(),
            key: Vec::new(),
            zero_dates: Default::default(),
            key_name: None,
            collation: None,
        };
        let point = Place::parse("bin.000001:4").unwrap();
        let handoff = Arc::new(Mutex::new(Handoff::new(point.clone())));
        ChunkRead { worker, at, handoff, batch: None, shape, frontier: None, point, held: budget.hold(0) }
    }

    #[test]
    fn a_chunk_that_is_held_stops_only_its_own_connection() {
        let budget = Budget::new(1 << 20);
        let (senders, channels): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel(1)).unzip();
        let mut chunks = Chunks { channels, turn: 0 };
        let send = |worker: usize, at| assert!(senders[worker].try_send(Ok(chunk(worker, at, &budget))).is_ok());
        let mut next = |held: &[ChunkRead]| chunks.poll_next(&mut Context::from_waker(Waker::noop()), held);
        let at = |polled: &Poll<Option<Result<ChunkRead>>>| match polled {
            Poll::Ready(Some(Ok(chunk))) => chunk.at,
            _ => panic!("no chunk"),
        };
        send(0, 7);
        let Poll::Ready(Some(Ok(first))) = next(&[]) else { panic!("no chunk") };
        let held = vec![first];
        send(0, 8);
        assert!(next(&held).is_pending());
        send(1, 9);
        assert_eq!(at(&next(&held)), 9);
        assert_eq!(at(&next(&[])), 8);
        drop(senders);
        assert!(matches!(next(&[]), Poll::Ready(None)));
    }
}
