//! The asynchronous half of a writer: hands batches to its lane's thread through a queue bounded by bytes.

use crate::config::{FileConfig, Format};
use crate::durable::sync_folder;
use crate::lane::{Cut, Job, Lane};
use crate::metadata::Layout;
use crate::records::Folders;
use crate::shared::Shared;
use crate::staged::ClosedFile;
use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::schema::TableId;
use dujiang_core::sink::{Detached, SinkContext, SinkFigures, Writer};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Result, ResultExt, TableSchema, fault};
use dujiang_format_text::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes of batches that may wait for the lane's thread at most.
pub(crate) const QUEUE_BYTES: usize = 8 << 20;
/// Commands besides writes that may be under way: ends of epochs and questions are few.
const OTHER_COMMANDS: usize = 16;
/// Unit of the queue's accounting; a smaller batch counts as one, which bounds the number of batches.
const QUEUE_UNIT: usize = 16 << 10;

enum Command {
    Write(Box<Job>, OwnedSemaphorePermit),
    Retry(oneshot::Sender<Result<()>>),
    Spill(oneshot::Sender<Result<()>>),
    EndEpoch(Cut),
}

/// Takes the batches of one lane.
pub(crate) struct FileWriter {
    config: Arc<FileConfig>,
    context: SinkContext,
    shared: Arc<Shared>,
    queue: Arc<Semaphore>,
    /// Units of the whole queue: a batch that is larger takes all of it.
    units: usize,
    commands: mpsc::SyncSender<Command>,
    layouts: HashMap<TableId, Arc<Layout>>,
}

impl FileWriter {
    /// A writer whose lane works on a thread of its own: it lives as long as the pipeline, and the runtime's threads
    /// for blocking work are for what ends soon.
    ///
    /// # Errors
    /// `SinkNotWritable` when the system gives no thread.
    pub(crate) fn start(lane: Lane, config: Arc<FileConfig>, context: SinkContext, queue_bytes: usize) -> Result<Self> {
        let shared = lane.shared();
        let units = (queue_bytes / QUEUE_UNIT).max(1);
        // Twice the queue's units: writes can never fill it, so there is always room for the other commands.
        let (commands, inbox) = mpsc::sync_channel(2 * units + OTHER_COMMANDS);
        let thread = std::thread::Builder::new().name(format!("file-lane-{}", lane.number()));
        let figures = shared.clone();
        thread.spawn(move || run(lane, &inbox, &figures)).map_err(|error| {
            Error::new(Code::SinkNotWritable, "the system gives no thread for a lane of the sink")
                .help("lower `pipeline.parallelism`, or raise the limit of threads of this user")
                .with_source(error)
        })?;
        let queue = Arc::new(Semaphore::new(units));
        Ok(Self { config, context, shared, queue, units, commands, layouts: HashMap::new() })
    }

    fn layout(&mut self, table: &Arc<TableSchema>) -> Result<Arc<Layout>> {
        match self.layouts.get(&table.id) {
            Some(layout) if Arc::ptr_eq(&layout.table, table) || layout.table == *table => Ok(layout.clone()),
            _ => {
                let layout = Arc::new(Layout::new(table, &self.config)?);
                self.layouts.insert(table.id.clone(), layout.clone());
                Ok(layout)
            }
        }
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.try_send(command).map_err(|_| gone())
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Result<()>>) -> Command) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// A lane that cannot write is in trouble with rows it has taken before: the batch at hand is innocent.
fn of_earlier_rows(error: Error) -> Error {
    if error.code() != Code::SinkWrite {
        return error;
    }
    let earlier = Error::new(Code::SinkUnwritten, "rows taken earlier cannot be written");
    let facts = error.facts().iter().cloned();
    facts
        .fold(earlier, |earlier, (name, value)| earlier.fact(name, value))
        .help("mend the disk or the folder; nothing is lost: a new start reads everything since the last checkpoint again")
        .with_source(error)
}

fn gone() -> Error {
    Error::new(Code::Bug, "the thread of a file writer has ended")
}

/// Serves commands until the writer is dropped. Files that no epoch ended stay behind as staged, for the next start to
/// remove.
fn run(mut lane: Lane, inbox: &mpsc::Receiver<Command>, shared: &Shared) {
    loop {
        let received = match lane.pause() {
            Some(left) => inbox.recv_timeout(left),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => note(lane.catch_up(), shared, None),
            Ok(command) => obey(command, &mut lane, shared),
        }
    }
}

fn obey(command: Command, lane: &mut Lane, shared: &Shared) {
    match command {
        Command::Write(job, permit) => {
            note(lane.write(*job), shared, None);
            drop(permit);
        }
        Command::Retry(reply) => note(lane.catch_up(), shared, Some(reply)),
        Command::Spill(reply) => note(lane.spill(), shared, Some(reply)),
        Command::EndEpoch(cut) => note(lane.end_epoch(cut), shared, None),
    }
}

/// Remembers whether the disk refuses rows, tells of it once, and answers who asked.
fn note(result: Result<()>, shared: &Shared, reply: Option<oneshot::Sender<Result<()>>>) {
    let why = result.as_ref().err().map(|error| format!("{error:?}"));
    let before = shared.set_trouble(why);
    match &result {
        Err(error) if before.is_none() => {
            tracing::warn!(%error, "rows wait in memory: a staged file cannot be written")
        }
        Ok(()) if before.is_some() => tracing::info!("staged files can be written again"),
        _ => {}
    }
    if let Some(reply) = reply {
        // A caller that has gone away does not want the answer.
        let _ = reply.send(result);
    }
}

#[async_trait]
impl Writer for FileWriter {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        if self.shared.trouble().is_some() {
            self.ask(Command::Retry).await.map_err(of_earlier_rows)?;
        }
        let layout = self.layout(&batch.schema)?;
        let bad = match self.config.format {
            Format::Json => bad_rows(batch)?,
            Format::Csv | Format::Parquet => Vec::new(),
        };
        let batch = if bad.is_empty() { batch.clone() } else { without(batch, &bad)? };
        if batch.images() == 0 {
            return Ok(bad);
        }
        let bytes = batch.memory();
        let units = bytes.div_ceil(QUEUE_UNIT).clamp(1, self.units) as u32;
        let permit = self.queue.clone().acquire_many_owned(units).await.or_code(Code::Bug, || "queue".to_owned())?;
        let held = self.context.budget.hold(bytes);
        self.send(Command::Write(Box::new(Job { batch, layout, _held: held }), permit))?;
        Ok(bad)
    }

    fn prepare(&mut self, epoch: Epoch) -> Detached<Vec<Token>> {
        let (reply, answer) = oneshot::channel();
        // Sent before anything is awaited: what is written later belongs to the next epoch.
        let sent = self.send(Command::EndEpoch(Cut { epoch, reply }));
        let folders = Folders::new(&self.config.path);
        Box::pin(async move {
            sent?;
            let files = answer.await.unwrap_or_else(|_| Err(gone()))?;
            let synced = tokio::task::spawn_blocking(move || make_durable(files, &folders));
            synced.await.or_code(Code::Bug, || "make staged files durable".to_owned())?
        })
    }

    fn buffered(&self) -> usize {
        self.shared.buffered()
    }

    async fn spill(&mut self) -> Result<()> {
        self.ask(Command::Spill).await.map_err(of_earlier_rows)
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble()
    }

    fn figures(&self) -> SinkFigures {
        self.shared.figures()
    }
}

fn make_durable(files: Vec<ClosedFile>, folders: &Folders) -> Result<Vec<Token>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mut tokens = Vec::with_capacity(files.len());
    for mut file in files {
        file.sync()?;
        tokens.push(file.record.to_token());
    }
    sync_folder(&folders.staged())?;
    fault::point("file.staged");
    Ok(tokens)
}

/// Changes that JSON cannot carry; an update counts as one, by its before image.
fn bad_rows(batch: &ChangeBatch) -> Result<Vec<RowError>> {
    let mut bad: Vec<RowError> = Vec::new();
    for (row, error) in json::bad_rows(&batch.rows)? {
        let row = batch.first_image(row);
        if bad.last().is_none_or(|last| last.row != row) {
            bad.push(RowError { row, error });
        }
    }
    Ok(bad)
}

fn without(batch: &ChangeBatch, bad: &[RowError]) -> Result<ChangeBatch> {
    let is_bad = |row: usize| bad.binary_search_by_key(&batch.first_image(row), |error| error.row).is_ok();
    let good: Vec<u32> = (0..batch.images()).filter(|&row| !is_bad(row)).map(|row| row as u32).collect();
    batch.take(&good)
}
