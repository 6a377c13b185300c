//! The connections that read chunks.

use super::handoff::lock;
use super::job::{ChunkRead, Job, ReadUnder, ReadWith, SnapshotContext};
use super::on_disk;
use super::query::{self, Queries};
use super::view::View;
use crate::catalog::read;
use crate::client::{Connection, Rows, worth_another_try};
use crate::discovery;
use crate::evolve::Evolution;
use crate::lsn::Lsn;
use crate::shape::{Decodable, Shape};
use crate::values::TableBuilder;
use dujiang_core::batch::TimePrecision;
use dujiang_core::{Code, Error, Origin, Result, fault};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A chunk holds about so many bytes.
pub(super) const CHUNK_BYTES: usize = 8 << 20;
/// A view serves chunks of a table for so long, as long as the stream has dropped nothing behind it.
pub(super) const VIEW_AGE: Duration = Duration::from_millis(500);
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

    /// The next chunk of a connection of which fewer than `most` are in `held`, `None` when all tables are read. **Cancel-safe.**
    ///
    /// # Errors
    /// What reconnecting does not mend.
    pub async fn next(&mut self, held: &[ChunkRead], most: usize) -> Option<Result<ChunkRead>> {
        std::future::poll_fn(|cx| self.poll_next(cx, held, most)).await
    }

    /// As [`Snapshot::next`], if there is a chunk already.
    ///
    /// # Errors
    /// As [`Snapshot::next`].
    pub fn try_next(&mut self, held: &[ChunkRead], most: usize) -> Option<Result<ChunkRead>> {
        match self.poll_next(&mut Context::from_waker(Waker::noop()), held, most) {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, held: &[ChunkRead], most: usize) -> Poll<Option<Result<ChunkRead>>> {
        let mut open = false;
        for step in 0..self.chunks.len() {
            let worker = (self.turn + step) % self.chunks.len();
            if held.iter().filter(|chunk| chunk.worker == worker).count() >= most {
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
struct Planned {
    at: usize,
    /// The columns in the catalog, as `name type modifier`.
    listed: Vec<String>,
    with: Arc<ReadWith>,
    decodable: Decodable,
    queries: Queries,
}

pub(super) struct OnServer {
    connection: Connection,
    /// Where the rows of a job's table are.
    rows: Option<(usize, String)>,
    view: Option<OpenView>,
    planned: Option<Planned>,
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
                Some(_) => self.read_in_order(job).await,
                None => self.read_whole(&job).await,
            };
            if let Err(error) = read {
                let _ = self.sender.send(Err(error)).await;
                return;
            }
        }
    }

    /// Hands the chunk over; false when the reader is gone. A view is not kept open while nobody takes the chunk: it would hold
    /// back vacuum, and every ALTER of the table.
    pub(super) async fn send(&mut self, chunk: ChunkRead) -> bool {
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

    async fn connected(&mut self) -> Result<&mut OnServer> {
        if self.session.is_none() {
            let connection = self.context.connect().await?;
            self.session = Some(OnServer { connection, rows: None, view: None, planned: None });
        }
        Ok(self.session.as_mut().expect("invariant: just made"))
    }

    /// Opens a view for the next rows, or takes the one that is open.
    pub(super) async fn begin(&mut self, job: &Job) -> Result<Begun<'_>> {
        let (context, worker) = (self.context.clone(), self.number);
        let session = self.connected().await?;
        let (view, micros) = session.view_for(job, &context).await?;
        let planned = session.planned.as_ref().filter(|planned| planned.at == job.at);
        let planned = planned.ok_or_else(|| Error::new(Code::Bug, "a table is read without a plan"))?;
        let builder = builder(&planned.decodable, &context, micros, job.rows)?;
        let budget = context.budget.clone();
        let under = ReadUnder { worker, at: job.at, shape: planned.with.clone(), view, budget };
        Ok(Begun { connection: &mut session.connection, queries: &planned.queries, under, builder })
    }
}

/// What a statement that reads rows needs.
pub(super) struct Begun<'s> {
    pub(super) connection: &'s mut Connection,
    pub(super) queries: &'s Queries,
    pub(super) under: ReadUnder,
    pub(super) builder: TableBuilder,
}

fn builder(decodable: &Decodable, context: &SnapshotContext, micros: i64, first_ordinal: u64) -> Result<TableBuilder> {
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

/// Appends one row of a copy.
pub(super) fn append(builder: &mut TableBuilder, row: &[u8]) -> Result<()> {
    builder.append_copy(row).map_err(|refused| refused.into_error(builder.schema()))
}

/// Waits before the next attempt, or says that there is none.
pub(super) async fn retry(error: Error, failures: u32, job: &Job) -> Result<()> {
    if !worth_another_try(&error, failures - 1) {
        return Err(error.fact("table", job.shape.id().to_string()));
    }
    tracing::warn!(table = %job.shape.id(), %error, "a chunk of the snapshot is read again");
    let pause = Duration::from_millis(100) * 2u32.pow(failures.min(10) - 1);
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    Ok(())
}

impl OnServer {
    /// The view that is open, if the hand-off takes it once more, or a new one. With the time it was opened.
    async fn view_for(&mut self, job: &Job, context: &SnapshotContext) -> Result<(View, i64)> {
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
            let rows = self.rows_of(job).await?;
            lock(&job.handoff).opening();
            let opened = self.open_view(&rows, context).await?;
            if let Some((view, micros)) = opened
                && lock(&job.handoff).open(&view)
            {
                self.view = Some(OpenView { view: view.clone(), at: job.at, opened: Instant::now(), micros });
                on_disk::reaches(&mut self.connection, context, &view).await?;
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

    /// Where the rows of its table are.
    async fn rows_of(&mut self, job: &Job) -> Result<String> {
        if let Some((_, rows)) = self.rows.as_ref().filter(|(at, _)| *at == job.at) {
            return Ok(rows.clone());
        }
        let found = self.connection.simple(&query::is_partitioned(job.shape.relation)).await?;
        // One that is gone is told when it is locked.
        let partitioned = found.first().is_some_and(|row| row.flag(0).unwrap_or(false));
        let rows = query::rows_of(&job.shape.id(), partitioned);
        self.rows = Some((job.at, rows.clone()));
        Ok(rows)
    }

    async fn open_view(&mut self, rows: &str, context: &SnapshotContext) -> Result<Option<(View, i64)>> {
        let replayed = self.connection.simple(query::REPLAYED).await?;
        if let Some(replayed) = replayed.first().map(|row| row.opt(0)).transpose()?.flatten() {
            let replayed = Lsn::parse(replayed)?;
            let view = self.open_replayed_view(rows, replayed, context).await?;
            return Ok(view.map(|view| (view, context.clock.now_micros())));
        }
        let opened = self.connection.simple(&query::open_view(rows)).await?;
        let row = opened.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell its snapshot"))?;
        let high = Lsn::parse(row.text(1)?)?.end_of_record(context.wal_page);
        let timeline = row.text(2)?.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let timeline =
            timeline.ok_or_else(|| Error::new(Code::Protocol, "the name of a file of the log cannot be read"))?;
        context.followed.is_followed_on(timeline)?;
        let view = View::parse(row.text(0)?, high)?.on_timeline(timeline);
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
    async fn open_replayed_view(&mut self, rows: &str, before: Lsn, context: &SnapshotContext) -> Result<Option<View>> {
        let opened = self.connection.simple(&query::open_replayed_view(rows)).await?;
        let row = opened
            .first()
            .ok_or_else(|| Error::new(Code::Protocol, "the standby does not tell what it has replayed"))?;
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
        let shape = self.shape_now(job, context).await.map_err(of_table)?;
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
        let from = self.rows_of(job).await?;
        let queries = Queries::new(&shape, &decodable, order.as_ref(), job.filter.as_deref(), from);
        let with = Arc::new(ReadWith { shape, order });
        self.planned = Some(Planned { at: job.at, listed, with, decodable, queries });
        Ok(())
    }

    /// What has become of the shape that the stream had.
    async fn shape_now(&mut self, job: &Job, context: &SnapshotContext) -> Result<Shape> {
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
            Evolution::Same => Ok(job.shape.clone()),
            Evolution::Columns { shape, .. } => Ok(shape),
            Evolution::Moved(_) | Evolution::Recreated => Err(gone()),
        }
    }

    async fn close_view(&mut self) -> Result<()> {
        match self.view.take() {
            Some(_) => self.connection.execute("COMMIT").await,
            // A view that was refused, or none.
            None => self.connection.execute("ROLLBACK").await,
        }
    }
}

/// The columns of a catalog as a job has them.
fn listed(rows: &Rows) -> Result<Vec<String>> {
    rows.iter().map(|row| Ok(format!("{} {} {}", row.text(0)?, row.text(1)?, row.text(2)?))).collect()
}
