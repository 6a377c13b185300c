//! The connections that read chunks.

use super::handoff::lock;
use super::job::{ChunkRead, Job, ReadWith, SnapshotContext};
use super::order::Frontier;
use super::query::{self, Queries};
use super::view::View;
use crate::catalog::read;
use crate::client::{Connection, Rows, after_header};
use crate::discovery;
use crate::evolve::Evolution;
use crate::lsn::Lsn;
use crate::shape::{Decodable, Shape};
use crate::values::TableBuilder;
use dujiang_core::batch::TimePrecision;
use dujiang_core::codes::Retry;
use dujiang_core::{ChangeBatch, Code, Error, Origin, Result, fault};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A chunk holds about so many bytes; it is given up and read again smaller at four times as many.
pub(super) const CHUNK_BYTES: usize = 8 << 20;
/// A view serves chunks of a table for so long, as long as the stream has dropped nothing behind it.
const VIEW_AGE: Duration = Duration::from_millis(500);
/// How long a view stays open while the chunk read from it is not taken.
const PATIENCE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A view that waits so long for a commit to become visible says so.
const WAITS_LONG: Duration = Duration::from_secs(10);

/// A snapshot under way; its connections end when it is dropped.
pub struct Snapshot {
    /// One channel per connection: a chunk that cannot be handed out yet holds up no other table's.
    chunks: Vec<mpsc::Receiver<Result<ChunkRead>>>,
    /// Whose turn it is.
    turn: usize,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Snapshot {
    /// Begins to read the tables, in order, over so many connections.
    pub fn start(context: Arc<SnapshotContext>, jobs: Vec<Job>, connections: usize) -> Self {
        let connections = connections.min(jobs.len());
        let jobs = Arc::new(Mutex::new(VecDeque::from(jobs)));
        let worker = |number| {
            let (sender, chunks) = mpsc::channel(1);
            let (context, jobs) = (context.clone(), jobs.clone());
            let worker = Worker { number, context, jobs, sender, session: None };
            (chunks, tokio::spawn(worker.run()))
        };
        let (chunks, tasks) = (0..connections).map(worker).unzip();
        Self { chunks, turn: 0, tasks }
    }

    /// One more table, read over a connection of its own.
    pub fn add(&mut self, context: Arc<SnapshotContext>, job: Job) {
        let (sender, chunks) = mpsc::channel(1);
        let jobs = Arc::new(Mutex::new(VecDeque::from([job])));
        let worker = Worker { number: self.chunks.len(), context, jobs, sender, session: None };
        self.chunks.push(chunks);
        self.tasks.push(tokio::spawn(worker.run()));
    }

    /// The next chunk of a connection of which none is in `held`, `None` when all tables are read. **Cancel-safe.**
    ///
    /// # Errors
    /// What reconnecting does not mend.
    pub async fn next(&mut self, held: &[ChunkRead]) -> Option<Result<ChunkRead>> {
        std::future::poll_fn(|cx| self.poll_next(cx, held)).await
    }

    /// As [`Snapshot::next`], if there is a chunk already.
    ///
    /// # Errors
    /// As [`Snapshot::next`].
    pub fn try_next(&mut self, held: &[ChunkRead]) -> Option<Result<ChunkRead>> {
        match self.poll_next(&mut Context::from_waker(Waker::noop()), held) {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, held: &[ChunkRead]) -> Poll<Option<Result<ChunkRead>>> {
        let mut open = false;
        for step in 0..self.chunks.len() {
            let worker = (self.turn + step) % self.chunks.len();
            if held.iter().any(|chunk| chunk.worker == worker) {
                open = true;
                continue;
            }
            match self.chunks[worker].poll_recv(cx) {
                Poll::Ready(Some(chunk)) => {
                    self.turn = worker + 1;
                    return Poll::Ready(Some(chunk));
                }
                Poll::Ready(None) => {}
                Poll::Pending => open = true,
            }
        }
        if open { Poll::Pending } else { Poll::Ready(None) }
    }
}

struct OpenView {
    view: View,
    at: usize,
    opened: Instant,
    /// When the snapshot was taken, microseconds.
    micros: i64,
}

/// How a table is read, as long as its columns in the catalog stay the same.
pub(super) struct Planned {
    at: usize,
    /// The columns in the catalog, as `name type modifier`.
    listed: Vec<String>,
    pub(super) with: Arc<ReadWith>,
    pub(super) decodable: Decodable,
    pub(super) queries: Queries,
}

pub(super) struct OnServer {
    pub(super) connection: Connection,
    view: Option<OpenView>,
    planned: Option<Planned>,
    next: Option<NextChunk>,
}

/// Where the chunk behind a key ends, as it was found out together with the chunk before. Under a later view it may hold more rows
/// or fewer, which is no matter.
struct NextChunk {
    after: Frontier,
    upper: Option<Frontier>,
}

pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) context: Arc<SnapshotContext>,
    jobs: Arc<Mutex<VecDeque<Job>>>,
    pub(super) sender: mpsc::Sender<Result<ChunkRead>>,
    pub(super) session: Option<OnServer>,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(job) = job else { return };
            let read = match &job.order {
                Some(order) if order.is_sorted() => self.read_sorted(job).await,
                Some(_) => self.read_chunks(job).await,
                None => self.read_whole(&job).await,
            };
            if let Err(error) = read {
                let _ = self.sender.send(Err(error)).await;
                return;
            }
        }
    }

    /// Reads a table chunk by chunk in the order of its key.
    async fn read_chunks(&mut self, mut job: Job) -> Result<()> {
        let mut rows = self.context.chunk_rows;
        let mut failures = 0;
        loop {
            let (chunk, bytes) = match self.chunk(&job, &mut rows).await {
                Ok(Some(chunk)) => chunk,
                // Too large: once more, with fewer rows.
                Ok(None) => continue,
                Err(error) => {
                    lock(&job.handoff).abandon();
                    self.session = None;
                    failures += 1;
                    retry(error, failures, &job).await?;
                    continue;
                }
            };
            failures = 0;
            fault::point("snapshot.chunk-read");
            let read: u64 = chunk.batches.iter().map(|batch| batch.images() as u64).sum();
            if let Some(per_row) = (bytes as u64).checked_div(read) {
                let fitting = (CHUNK_BYTES as u64 / per_row.max(1)).max(1);
                rows = u32::try_from(fitting).unwrap_or(u32::MAX).min(self.context.chunk_rows);
            }
            job.frontier.clone_from(&chunk.frontier);
            job.rows += read;
            let more = job.frontier.is_some();
            if !self.send(chunk).await || !more {
                self.end_view().await;
                return Ok(());
            }
        }
    }

    /// Hands the chunk over; false when the reader is gone. A view is not kept open while nobody takes the chunk: it would hold
    /// back vacuum, and every ALTER of the table.
    async fn send(&mut self, chunk: ChunkRead) -> bool {
        let sender = self.sender.clone();
        if let Ok(permit) = tokio::time::timeout(PATIENCE, sender.reserve()).await {
            return permit.map(|p| p.send(Ok(chunk))).is_ok();
        }
        self.end_view().await;
        sender.send(Ok(chunk)).await.is_ok()
    }

    pub(super) async fn end_view(&mut self) {
        if let Some(session) = &mut self.session
            && session.close_view().await.is_err()
        {
            self.session = None;
        }
    }

    pub(super) async fn connected(&mut self) -> Result<&mut OnServer> {
        if self.session.is_none() {
            let connection = self.context.connect().await?;
            self.session = Some(OnServer { connection, view: None, planned: None, next: None });
        }
        Ok(self.session.as_mut().expect("invariant: just made"))
    }

    async fn chunk(&mut self, job: &Job, rows: &mut u32) -> Result<Option<(ChunkRead, usize)>> {
        let (context, number) = (self.context.clone(), self.number);
        let session = self.connected().await?;
        let (view, micros) = session.view_for(job, &context).await?;
        let planned = session.planned(job)?;
        let (shape, queries) = (planned.with.clone(), planned.queries.clone());
        let mut builder = builder(&planned.decodable, &context, micros, job.rows)?;
        let upper = session.upper(job, &queries, *rows).await?;
        let mut bytes = 0;
        let mut batches = Vec::new();
        let mut sql = queries.copy(job.frontier.as_deref(), upper.as_deref());
        if let Some(upper) = &upper {
            // The server finds the end of the next chunk while the rows of this one are decoded.
            sql = format!("{sql}; {}", queries.upper(Some(upper), *rows));
        }
        let mut copy = session.connection.copy_out(&sql).await?;
        let mut first = true;
        while let Some(data) = copy.next().await? {
            bytes += data.len();
            if !append(&mut builder, data, &mut first)? {
                continue;
            }
            if bytes > 4 * CHUNK_BYTES && builder.rows() > 1 {
                *rows = ((builder.rows() as u64 / 8) as u32).max(1);
                // The rest of the answer is on its way: the next chunk gets a session of its own.
                lock(&job.handoff).abandon();
                self.session = None;
                return Ok(None);
            }
        }
        let behind = copy.behind();
        session.next = match upper.clone() {
            Some(after) => Some(NextChunk { after, upper: frontier(&behind)? }),
            None => None,
        };
        batches.extend(builder.finish()?);
        let key = match (&shape.order, &upper) {
            (Some(order), Some(upper)) => {
                let mut key = Vec::new();
                order.write_texts(upper, &mut key)?;
                Some(key)
            }
            _ => None,
        };
        let held = context.budget.hold(batches.iter().map(ChangeBatch::memory).sum());
        lock(&job.handoff).complete(key);
        let chunk = ChunkRead { worker: number, at: job.at, batches, shape, frontier: upper, piece: false, view, held };
        Ok(Some((chunk, bytes)))
    }
}

pub(super) fn builder(
    decodable: &Decodable,
    context: &SnapshotContext,
    micros: i64,
    first_ordinal: u64,
) -> Result<TableBuilder> {
    let Decodable { schema, columns, key_images } = decodable.clone();
    let mut builder = TableBuilder::new(schema, columns, key_images, &context.settings)?;
    builder.begin_span(Origin {
        transaction: &context.transaction,
        position: "",
        commit_micros: micros,
        precision: TimePrecision::Micros,
        first_ordinal,
    });
    Ok(builder)
}

/// Appends one message of a copy; false for one without a row.
pub(super) fn append(builder: &mut TableBuilder, data: &[u8], first: &mut bool) -> Result<bool> {
    let row = if std::mem::take(first) { after_header(data)? } else { data };
    if row.is_empty() {
        return Ok(false);
    }
    builder.append_copy(row).map_err(|refused| refused.into_error(builder.schema()))
}

/// Waits before the next attempt, or says that there is none.
pub(super) async fn retry(error: Error, failures: u32, job: &Job) -> Result<()> {
    let again = match error.retry() {
        Retry::Endless => true,
        // A connection that is closed before the greeting: something between us and the server is down.
        Retry::Never if error.code() == Code::NotADatabase => true,
        Retry::Bounded => failures <= 5,
        Retry::Never => false,
    };
    if !again {
        return Err(error.fact("table", job.shape.id().to_string()));
    }
    tracing::warn!(table = %job.shape.id(), %error, "a chunk of the snapshot is read again");
    let pause = Duration::from_millis(100) * 2u32.pow(failures.min(10) - 1);
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    Ok(())
}

impl OnServer {
    /// The view that is open, if the hand-off takes it once more, or a new one. With the time it was opened.
    pub(super) async fn view_for(&mut self, job: &Job, context: &SnapshotContext) -> Result<(View, i64)> {
        let young = self.view.as_ref().filter(|open| open.at == job.at && open.opened.elapsed() < VIEW_AGE);
        if let Some(open) = young
            && lock(&job.handoff).open(&open.view)
        {
            return Ok((open.view.clone(), open.micros));
        }
        let began = Instant::now();
        let mut pause = Duration::from_millis(2);
        let mut told = false;
        loop {
            self.close_view().await?;
            lock(&job.handoff).opening();
            let opened = self.open_view(job, context).await?;
            if let Some((view, micros)) = opened
                && lock(&job.handoff).open(&view)
            {
                self.view = Some(OpenView { view: view.clone(), at: job.at, opened: Instant::now(), micros });
                self.plan(job, context).await?;
                return Ok((view, micros));
            }
            lock(&job.handoff).abandon();
            if !told && began.elapsed() > WAITS_LONG {
                told = true;
                tracing::warn!(
                    table = %job.shape.id(),
                    "the snapshot waits for a commit that is logged and not visible yet: it waits for a standby \
                     (synchronous_standby_names); or the source is a standby that does not come to replay all that it receives"
                );
            }
            // What the stream has seen is not visible yet: a commit waits for a standby. Or this is one, and it is replaying.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    async fn open_view(&mut self, job: &Job, context: &SnapshotContext) -> Result<Option<(View, i64)>> {
        let replayed = self.connection.simple(query::REPLAYED).await?;
        if let Some(replayed) = replayed.first().map(|row| row.opt(0)).transpose()?.flatten() {
            let replayed = Lsn::parse(replayed)?;
            let view = self.open_replayed_view(job, replayed, context).await?;
            return Ok(view.map(|view| (view, context.clock.now_micros())));
        }
        let rows = self.connection.simple(&query::open_view(&job.shape.id())).await?;
        let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell its snapshot"))?;
        let high = Lsn::parse(row.text(1)?)?.end_of_record(context.wal_page);
        let view = View::parse(row.text(0)?, high)?;
        let micros = context.clock.now_micros();
        if fault::removed("hand-off-in-snapshot") {
            // As if the place beside the SELECT were that of the snapshot.
            let next = view.next_xid() + 1_000;
            return Ok(Some((View::parse(&format!("{next}:{next}:"), high)?, micros)));
        }
        Ok(Some((view, micros)))
    }

    /// The view of a standby, if it is known to the record what it shows: nothing was replayed while it was taken, and there was
    /// nothing to replay. A record is visible a moment before it counts as replayed.
    async fn open_replayed_view(&mut self, job: &Job, before: Lsn, context: &SnapshotContext) -> Result<Option<View>> {
        let rows = self.connection.simple(&query::open_replayed_view(&job.shape.id())).await?;
        let row =
            rows.first().ok_or_else(|| Error::new(Code::Protocol, "the standby does not tell what it has replayed"))?;
        // All is compared with the one place of before: each call may tell another.
        let nothing_more = row.opt(2)?.map(Lsn::parse).transpose()?.is_some_and(|received| received <= before);
        // Promoted meanwhile: the next view is one of a primary server.
        let known = row.flag(0)? && Lsn::parse(row.text(1)?)? == before && nothing_more && row.flag(3)?;
        Ok(known.then(|| View::replayed(before.end_of_record(context.wal_page))))
    }

    /// How the table is read with the columns that the view shows; while it is open they cannot be altered.
    async fn plan(&mut self, job: &Job, context: &SnapshotContext) -> Result<()> {
        let rows = self.connection.simple(&query::columns(job.shape.relation)).await?;
        let listed = listed(&rows)?;
        if self.planned.as_ref().is_some_and(|planned| planned.at == job.at && planned.listed == listed) {
            return Ok(());
        }
        let of_table = |e: Error| e.fact("table", job.shape.id().to_string());
        let (shape, renamed) = self.shape_now(job, context).await.map_err(of_table)?;
        let order = match &job.order {
            Some(order) => {
                let collations = discovery::collations(&mut self.connection, &shape).await?;
                let gone = || {
                    let message = format!("the order in which {} is read is gone with its columns", job.shape.id());
                    of_table(Error::new(Code::SchemaChange, message))
                        .help("its key, or what its rows were ordered by, was changed: start a new pipeline")
                };
                Some(order.followed(&job.shape, &shape, &collations).ok_or_else(gone)?)
            }
            None => None,
        };
        let decodable = shape.decodable();
        let queries = Queries::new(&shape, &decodable, order.as_ref(), job.filter.as_deref());
        let with = Arc::new(ReadWith { shape, renamed, order });
        self.next = None;
        self.planned = Some(Planned { at: job.at, listed, with, decodable, queries });
        Ok(())
    }

    /// What has become of the shape that the stream had.
    async fn shape_now(&mut self, job: &Job, context: &SnapshotContext) -> Result<(Shape, Vec<(String, String)>)> {
        let details = discovery::details(&mut self.connection, &[job.shape.relation]).await?;
        let gone = || {
            Error::new(Code::TableGone, "a captured table is gone before its snapshot was complete")
                .help("leave it out of `tables`, or start a new pipeline")
        };
        let detail = details.tables.first().ok_or_else(gone)?;
        let published = read::published(&mut self.connection, &context.publication, context.version).await?;
        let published = published.iter().find(|p| p.id() == detail.id());
        let columns = published.and_then(|p| p.columns.as_deref());
        let now = Shape::of_catalog(detail, columns, &details.types, &context.settings, job.shape.key_images)?;
        match job.shape.follow(&now.as_relation(), Some(detail), &details.types, &context.settings)? {
            Evolution::Same => Ok((job.shape.clone(), Vec::new())),
            Evolution::Columns { shape, renamed } => Ok((shape, renamed)),
            Evolution::Moved(_) | Evolution::Recreated => Err(gone()),
        }
    }

    pub(super) fn planned(&self, job: &Job) -> Result<&Planned> {
        let planned = self.planned.as_ref().filter(|planned| planned.at == job.at);
        planned.ok_or_else(|| Error::new(Code::Bug, "a chunk is read without a plan"))
    }

    async fn close_view(&mut self) -> Result<()> {
        match self.view.take() {
            Some(_) => self.connection.execute("COMMIT").await,
            // A view that was refused, or none.
            None => self.connection.execute("ROLLBACK").await,
        }
    }

    /// The last key of the chunk; none when it is the table's last one.
    async fn upper(&mut self, job: &Job, queries: &Queries, rows: u32) -> Result<Option<Frontier>> {
        if let Some(next) = self.next.take()
            && job.frontier.as_ref() == Some(&next.after)
        {
            return Ok(next.upper);
        }
        frontier(&self.connection.simple(&queries.upper(job.frontier.as_deref(), rows)).await?)
    }
}

/// A key as texts; none if no row was found.
fn frontier(found: &Rows) -> Result<Option<Frontier>> {
    let Some(row) = found.first() else { return Ok(None) };
    let text = |at| row.text(at).map(|text| Some(text.to_owned()));
    (0..found.columns.len()).map(text).collect::<Result<Frontier>>().map(Some)
}

/// The columns of a catalog as a job has them.
fn listed(rows: &Rows) -> Result<Vec<String>> {
    rows.iter().map(|row| Ok(format!("{} {} {}", row.text(0)?, row.text(1)?, row.text(2)?))).collect()
}
