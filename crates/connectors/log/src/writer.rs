//! The writing lane: encodes and appends on a thread of its own, so that the source goes on reading meanwhile.

use crate::encoder::Encoder;
use crate::errors::in_one_line;
use crate::frame::Codec;
use crate::place::Place;
use crate::store::{End, Prepared};
use async_trait::async_trait;
use dujiang_core::budget::Held;
use dujiang_core::checkpoint::Token;
use dujiang_core::sink::{Detached, Milestone, Retries, SinkContext, SinkFigures, Writer};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Result, ResultExt};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes of batches that may wait for the thread, and the unit in which they are counted.
const QUEUE_BYTES: usize = 8 << 20;
const QUEUE_UNIT: usize = 16 << 10;
/// Commands besides batches that may be under way.
const OTHER_COMMANDS: usize = 64;
/// How long a batch waits for a full log before that is told as an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a full log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

enum Command {
    Batch { batch: Box<ChangeBatch>, goes_on: bool, _room: OwnedSemaphorePermit, _held: Held },
    Mark(Milestone),
    Cut(oneshot::Sender<Result<Option<End>>>),
    Retry(oneshot::Sender<Result<()>>),
}

/// What the thread lets others see.
#[derive(Default)]
struct Shared {
    frames: AtomicU64,
    bytes: AtomicU64,
    /// Why nothing is written at the moment.
    trouble: Mutex<Option<(Code, String)>>,
}

impl Shared {
    fn trouble(&self) -> Option<(Code, String)> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<(Code, String)>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Takes the batches of the one lane.
pub(crate) struct LogWriter {
    commands: mpsc::SyncSender<Command>,
    queue: Arc<Semaphore>,
    units: usize,
    shared: Arc<Shared>,
    context: SinkContext,
    /// The next batch is followed by another one of its cut.
    goes_on: bool,
}

impl LogWriter {
    pub(crate) fn start(place: Arc<Place>, codec: Codec, context: SinkContext) -> Result<Self> {
        let units = (context.budget.limit() / 8).min(QUEUE_BYTES) / QUEUE_UNIT;
        let units = units.max(1);
        let (commands, inbox) = mpsc::sync_channel(units + OTHER_COMMANDS);
        let shared: Arc<Shared> = Arc::default();
        let thread = Appender {
            place,
            encoder: Encoder::new(codec)?,
            generation: context.generation.0,
            clock: context.clock.clone(),
            shared: shared.clone(),
            backlog: VecDeque::new(),
            cut_at: None,
            retries: context.retries,
            failures: 0,
            tried: None,
        };
        std::thread::Builder::new().name("log-writer".into()).spawn(move || thread.run(&inbox)).map_err(|error| {
            Error::new(Code::SinkNotWritable, "the system gives no thread for the log").with_source(error)
        })?;
        Ok(Self { commands, queue: Arc::new(Semaphore::new(units)), units, shared, context, goes_on: false })
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.try_send(command).map_err(|_| gone())
    }

    /// Nothing is taken while earlier rows cannot be written; a full log is waited for with patience.
    async fn check(&self) -> Result<()> {
        let Some((code, _)) = self.shared.trouble().filter(|(code, _)| *code != Code::LogFull) else { return Ok(()) };
        let (reply, answer) = oneshot::channel();
        self.send(Command::Retry(reply))?;
        answer.await.unwrap_or_else(|_| Err(gone())).map_err(|error| match code {
            Code::SinkWrite => error.with_code(Code::SinkUnwritten),
            _ => error,
        })
    }

    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let units = (bytes / QUEUE_UNIT + 1).min(self.units) as u32;
        let acquired = tokio::time::timeout(PATIENCE, self.queue.clone().acquire_many_owned(units)).await;
        match acquired {
            Ok(permit) => permit.map_err(|_| gone()),
            Err(_) => match self.shared.trouble() {
                Some((code, why)) => Err(Error::new(code, why)),
                None => Err(Error::new(Code::LogFull, "the log is written too slowly")
                    .help("see whether the disk of the log is busy; nothing is lost, the rows are offered again")),
            },
        }
    }
}

fn gone() -> Error {
    Error::new(Code::Bug, "the thread of the log's writer has ended")
}

#[async_trait]
impl Writer for LogWriter {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        self.check().await?;
        let bytes = batch.memory();
        let room = self.room(bytes).await?;
        let held = self.context.budget.hold(bytes);
        self.send(Command::Batch { batch: Box::new(batch.clone()), goes_on: self.goes_on, _room: room, _held: held })?;
        Ok(Vec::new())
    }

    fn cut_goes_on(&mut self, goes_on: bool) {
        self.goes_on = goes_on;
    }

    async fn mark(&mut self, milestone: Milestone) -> Result<()> {
        self.check().await?;
        self.send(Command::Mark(milestone))
    }

    fn prepare(&mut self, _epoch: Epoch) -> Detached<Vec<Token>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Command::Cut(reply));
        Box::pin(async move {
            sent?;
            match answer.await.unwrap_or_else(|_| Err(gone()))? {
                None => Ok(Vec::new()),
                Some(end) => {
                    let token = serde_json::to_vec(&end).or_code(Code::Bug, || "write a token".to_owned())?;
                    Ok(vec![Token(token.into())])
                }
            }
        })
    }

    fn buffered(&self) -> usize {
        0
    }

    async fn spill(&mut self) -> Result<()> {
        Ok(())
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble().map(|(_, why)| why)
    }

    fn figures(&self) -> SinkFigures {
        let figure = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SinkFigures { units: figure(&self.shared.frames), bytes: figure(&self.shared.bytes) }
    }
}

/// The thread's state.
struct Appender {
    place: Arc<Place>,
    encoder: Encoder,
    generation: u64,
    clock: Arc<dyn dujiang_core::clock::Clock>,
    shared: Arc<Shared>,
    /// Not yet done, in the order it was sent.
    backlog: VecDeque<Command>,
    /// Where the epoch before ended.
    cut_at: Option<End>,
    /// How often what the disk refused is tried again before an epoch fails (R3.7).
    retries: Retries,
    failures: u32,
    tried: Option<Instant>,
}

impl Appender {
    /// Serves commands until the writer is dropped. What no epoch ended is cut by the next start.
    fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        loop {
            let received = if self.backlog.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(LOOK_EVERY)
            };
            match received {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
                // The engine has made its pause: now is the time to try again.
                Ok(Command::Retry(reply)) => {
                    self.tried = None;
                    let worked = self.work_off();
                    let _ = reply.send(worked);
                    continue;
                }
                Ok(command) => self.backlog.push_back(command),
            }
            // Told through the trouble that others see.
            let _ = self.work_off();
        }
    }

    fn work_off(&mut self) -> Result<()> {
        while let Some(command) = self.backlog.pop_front() {
            let waits = self.tried.is_some_and(|at| at.elapsed() < self.retries.pause);
            let done = if waits { None } else { Some(self.obey(&command)) };
            match done {
                Some(Ok(end)) => {
                    (self.failures, self.tried) = (0, None);
                    self.shared.set_trouble(None);
                    if let Command::Cut(reply) = command {
                        let _ = reply.send(Ok(end));
                    }
                }
                Some(Err(error)) => return self.failed(command, error),
                None => {
                    self.backlog.push_front(command);
                    let (code, why) = self.shared.trouble().unwrap_or((Code::SinkUnwritten, String::new()));
                    return Err(Error::new(code, why));
                }
            }
        }
        Ok(())
    }

    fn failed(&mut self, command: Command, error: Error) -> Result<()> {
        let (code, why) = (error.code(), in_one_line(&error));
        let copy = Error::new(code, why.clone());
        self.shared.set_trouble(Some((code, why)));
        let waited_out = matches!(error.code(), Code::LogFull | Code::SinkFull);
        if error.code() != Code::LogFull {
            self.tried = Some(Instant::now());
        }
        self.failures += u32::from(!waited_out);
        let last = matches!(error.code(), Code::SyncFailed | Code::Fenced | Code::Bug)
            || self.failures > self.retries.attempts;
        match command {
            Command::Cut(reply) if last => {
                let _ = reply.send(Err(error));
            }
            command => self.backlog.push_front(command),
        }
        Err(copy)
    }

    fn obey(&mut self, command: &Command) -> Result<Option<End>> {
        match command {
            Command::Batch { batch, goes_on, .. } => self.append_batch(batch, *goes_on).map(|()| None),
            Command::Mark(milestone) => self.append_marker(*milestone).map(|()| None),
            Command::Cut(_) => self.cut(),
            Command::Retry(_) => Ok(None),
        }
    }

    fn append_batch(&mut self, batch: &ChangeBatch, goes_on: bool) -> Result<()> {
        let id = &batch.schema.id;
        let known = self.place.with(|store| Ok(store.shape(id).cloned()))?;
        let shape = match known {
            Some((shape, table)) if Arc::ptr_eq(&table, &batch.schema) || table == batch.schema => shape,
            _ => {
                return Err(Error::new(Code::Bug, "rows come in a shape that the log has not been told")
                    .fact("table", id.to_string()));
            }
        };
        let entry = self.encoder.batch(shape, batch, goes_on)?;
        append(&self.place, &self.shared, self.generation, &entry, self.clock.now_micros())
    }

    fn append_marker(&mut self, milestone: Milestone) -> Result<()> {
        let now = self.clock.now_micros();
        let entry = self.encoder.marker(milestone, now)?;
        append(&self.place, &self.shared, self.generation, &entry, now)
    }

    fn cut(&mut self) -> Result<Option<End>> {
        let generation = self.generation;
        let (end, committed) = self.place.with(|store| Ok((store.sync(generation)?, store.committed().end)))?;
        let before = self.cut_at.map_or(committed, |end| end.offset).max(committed);
        if end.offset == before {
            return Ok(None);
        }
        self.cut_at = Some(end);
        Ok(Some(end))
    }
}

fn append(place: &Place, shared: &Shared, generation: u64, entry: &Prepared<'_>, now_micros: i64) -> Result<()> {
    place.with(|store| store.append(generation, entry, now_micros))?;
    shared.frames.fetch_add(1, Ordering::Relaxed);
    shared.bytes.fetch_add(entry.header.frame_bytes(), Ordering::Relaxed);
    Ok(())
}
