//! The asynchronous half of a writer: hands batches to its lane's thread through a queue bounded by bytes.

use crate::config::{FileConfig, Format};
use crate::durable::sync_folder;
use crate::lane::{Cut, Job, Lane};
use crate::metadata::Layout;
use crate::records::Folders;
use crate::shared::{Counters, Shared};
use crate::staged::ClosedFile;
use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::schema::TableId;
use dujiang_core::sink::{Detached, SinkContext, SinkFigures, Writer};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Kind, Result, ResultExt, TableSchema, fault};
use dujiang_format_text::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Bytes of batches that may wait for the lane's thread.
const QUEUE_BYTES: usize = 8 << 20;
/// Unit of the queue's accounting; a smaller batch counts as one, which bounds the number of batches.
const QUEUE_UNIT: usize = 16 << 10;
/// Pause between two tries of what the disk refused.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
const QUEUE_UNITS: usize = QUEUE_BYTES / QUEUE_UNIT;

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
    commands: mpsc::Sender<Command>,
    layouts: HashMap<TableId, Arc<Layout>>,
}

impl FileWriter {
    pub(crate) fn start(lane: usize, config: Arc<FileConfig>, context: SinkContext, counters: Arc<Counters>) -> Self {
        let shared = Arc::new(Shared::default());
        let state = Lane::new(lane, config.clone(), context.clone(), counters, shared.clone());
        // Twice the queue's units: writes can never fill it, so there is always room for the other commands.
        let (commands, inbox) = mpsc::channel(2 * QUEUE_UNITS);
        let (figures, runtime) = (shared.clone(), Handle::current());
        tokio::task::spawn_blocking(move || run(state, inbox, &figures, &runtime));
        let queue = Arc::new(Semaphore::new(QUEUE_UNITS));
        Self { config, context, shared, queue, commands, layouts: HashMap::new() }
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

fn gone() -> Error {
    Error::new(Code::Bug, "the thread of a file writer has ended")
}

/// Serves commands until the writer is dropped. Files that no epoch ended stay behind as staged, for the next start to
/// remove.
fn run(mut lane: Lane, mut inbox: mpsc::Receiver<Command>, shared: &Shared, runtime: &Handle) {
    loop {
        let command = if shared.is_stuck() {
            match runtime.block_on(async { tokio::time::timeout(RETRY_PAUSE, inbox.recv()).await }) {
                Ok(command) => command,
                Err(_) => {
                    note(lane.catch_up(), shared, None);
                    continue;
                }
            }
        } else {
            inbox.blocking_recv()
        };
        let Some(command) = command else { return };
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
}

/// Remembers whether the disk refuses rows, tells of it once, and answers who asked.
fn note(result: Result<()>, shared: &Shared, reply: Option<oneshot::Sender<Result<()>>>) {
    let was_stuck = shared.set_stuck(result.is_err());
    match &result {
        Err(error) if !was_stuck => tracing::warn!(%error, "rows wait in memory: a staged file cannot be written"),
        Ok(()) if was_stuck => tracing::info!("staged files can be written again"),
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
        if self.shared.is_stuck() {
            self.ask(Command::Retry).await?;
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
        let units = bytes.div_ceil(QUEUE_UNIT).clamp(1, QUEUE_UNITS) as u32;
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
        self.ask(Command::Spill).await
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
        let row = if batch.kinds[row] == Kind::UpdateAfter { row - 1 } else { row };
        if bad.last().is_none_or(|last| last.row != row) {
            bad.push(RowError { row, error });
        }
    }
    Ok(bad)
}

fn without(batch: &ChangeBatch, bad: &[RowError]) -> Result<ChangeBatch> {
    let is_bad = |row: usize| {
        let first = if batch.kinds[row] == Kind::UpdateAfter { row - 1 } else { row };
        bad.binary_search_by_key(&first, |error| error.row).is_ok()
    };
    let good: Vec<u32> = (0..batch.images()).filter(|&row| !is_bad(row)).map(|row| row as u32).collect();
    batch.take(&good)
}
