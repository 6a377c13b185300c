//! The log as the source of a delivery.

use crate::consumers::{self, Consumer};
use crate::cursor::{Cursor, Entry, Placed};
use crate::place::{Place, Seen};
use crate::sink::blocking;
use async_trait::async_trait;
use dujiang_core::budget::Held;
use dujiang_core::checkpoint::Lineage;
use dujiang_core::clock::Clock;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::sink::Milestone;
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent, SourceStatus, Survey, SurveyedTable};
use dujiang_core::{ChangeBatch, Code, Error, Position, Result, ResultExt, Start, TableSchema};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes of batches that are read ahead at once, at most; one larger batch is read alone.
const AHEAD_BYTES: usize = 4 << 20;
/// Longest wait before the reader says that nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a log is looked at that another process writes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A consumer group of a log.
pub(crate) struct LogSource {
    pub(crate) place: Arc<Place>,
    pub(crate) consumer: String,
    pub(crate) start: Start,
    /// Where the first start begins, once that is known.
    begins: Mutex<Option<u64>>,
}

/// A place in the log, as the checkpoints of a delivery hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Spot {
    log: String,
    /// First offset that has not been handed out.
    offset: u64,
}

impl Spot {
    fn of(position: &Position) -> Result<Self> {
        serde_json::from_slice(position.as_bytes()).map_err(|e| {
            Error::new(Code::LogOther, "the checkpoint's position is not one of a log")
                .help("the pipeline has read from another source until now; give this one another `pipeline.name`")
                .with_source(e)
        })
    }
}

impl LogSource {
    pub(crate) fn new(place: Arc<Place>, consumer: String, start: Start) -> Self {
        Self { place, consumer, start, begins: Mutex::default() }
    }

    fn begins(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.begins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a log for which `enough` holds.
    async fn wait(&self, enough: impl Fn(&Seen) -> bool) -> Result<Arc<Seen>> {
        let mut changes = self.place.watch();
        loop {
            let place = self.place.clone();
            if let Some(seen) = blocking(move || place.look()).await?.filter(|seen| enough(seen)) {
                return Ok(seen);
            }
            let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
        }
    }

    /// The cursor at which a first start begins, and the tables known there. Shapes that are told before the first change
    /// count as known.
    fn first_cursor(&self, seen: &Seen) -> Result<Cursor> {
        let disk = &self.place.disk;
        let known = *self.begins();
        let offset = match (known, self.start) {
            (Some(offset), _) => return seen.cursor(disk, offset),
            (None, Start::Earliest) => seen.first,
            (None, Start::Latest) => seen.bound.end,
            (None, Start::Offset(offset)) if offset < seen.first => return Err(trimmed(seen, offset)),
            (None, Start::Offset(offset)) => offset.min(seen.bound.end),
            (None, Start::Time(micros)) => seen.offset_at(disk, micros)?,
        };
        let mut offset = offset;
        let mut ahead = seen.cursor(disk, offset)?;
        while let Some(Placed { entry: Some(Entry::Schema(_)), .. }) = ahead.pass(&seen.bound)? {
            offset = ahead.next_offset();
        }
        *self.begins() = Some(offset);
        seen.cursor(disk, offset)
    }

    async fn register(&self, seen: &Seen, offset: Option<u64>, now_micros: i64) -> Result<()> {
        consumers::check_name(&self.consumer)?;
        let (disk, name, first) = (self.place.disk.clone(), self.consumer.clone(), seen.first);
        blocking(move || {
            let known = consumers::find(&*disk, &name)?.map(|consumer| consumer.offset);
            match (known, offset) {
                (Some(_), None) => Ok(()),
                (known, wanted) if known == wanted => Ok(()),
                (_, wanted) => {
                    let offset = wanted.unwrap_or(first);
                    consumers::write(&*disk, &Consumer { name, offset, written_micros: now_micros })
                }
            }
        })
        .await
    }
}

fn cursor_at(place: &Place, seen: &Seen, spot: &Spot) -> Result<Cursor> {
    if spot.log != seen.identity.log {
        return Err(Error::new(Code::LogOther, "the checkpoint's position belongs to another log")
            .fact("folder", place.disk.describe(""))
            .help("bring the log back, or begin the delivery anew with an empty state directory and sink"));
    }
    if spot.offset < seen.first {
        return Err(trimmed(seen, spot.offset));
    }
    if spot.offset > seen.bound.end {
        return Err(Error::new(Code::LogOther, "the delivery has read what the log no longer has")
            .fact("position", format!("offset {}", spot.offset))
            .fact("the log ends at", format!("offset {}", seen.bound.end))
            .help("bring the log's folder and the delivery's state back to the same moment"));
    }
    seen.cursor(&place.disk, spot.offset)
}

fn trimmed(seen: &Seen, offset: u64) -> Error {
    Error::new(Code::LogTrimmed, "the log no longer holds this position")
        .fact("position", format!("offset {offset}"))
        .fact("the log begins at", format!("offset {}", seen.first))
        .help("begin the delivery anew: empty its state directory and its sink; raise `log.retention.age` for replays")
}

#[async_trait]
impl Source for LogSource {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        let seen = self.wait(|seen| seen.bound.end > 0).await?;
        let place = self.place.clone();
        let source = Self { begins: Mutex::new(*self.begins()), ..Self::new(place, self.consumer.clone(), self.start) };
        let (begins, shapes) = blocking(move || {
            let cursor = source.first_cursor(&seen)?;
            let begins = *source.begins();
            Ok((begins, cursor.shapes()))
        })
        .await?;
        *self.begins() = begins;
        Ok(shapes.into_values().map(|(_, table)| table).collect())
    }

    async fn survey(&self) -> Survey {
        let place = self.place.clone();
        let looked = blocking(move || {
            let Some(seen) = place.look()? else { return Ok(None) };
            Ok(Some(seen.cursor(&place.disk, seen.bound.end)?.shapes()))
        });
        match looked.await {
            Ok(Some(shapes)) => {
                let tables = shapes.into_values().map(|(_, table)| SurveyedTable::new(table)).collect();
                Survey { tables, ..Survey::default() }
            }
            Ok(None) => {
                let warning = format!("there is no log yet in {}", self.place.disk.describe(""));
                Survey { warnings: vec![warning], ..Survey::default() }
            }
            Err(error) => Survey { refusals: vec![error], ..Survey::default() },
        }
    }

    async fn examine(&self, _visit: &Visit) -> Examination {
        let mut examination = Examination::of(format!("log in {}", self.place.disk.describe("")));
        let place = self.place.clone();
        let looked = blocking(move || place.look()).await;
        let seen = examination.record("log", looked, |seen| match seen {
            Some(seen) => format!("captured by {}, {} entries so far", seen.identity.pipeline, seen.bound.end),
            None => "is made by the first run of the pipeline that captures into it".to_owned(),
        });
        examination.lineage = seen.flatten().map(|seen| Lineage(seen.identity.lineage.as_str().into()));
        examination
    }

    async fn lineage(&self) -> Result<Option<Lineage>> {
        let seen = self.wait(|_| true).await?;
        // From now on the log keeps what this delivery has not read, also while its sink cannot be opened.
        self.register(&seen, None, seen.committed.written_micros).await?;
        Ok(Some(Lineage(seen.identity.lineage.as_str().into())))
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let seen = self.wait(|_| true).await?;
        let spot = from.as_ref().map(Spot::of).transpose()?;
        let source = Self::new(self.place.clone(), self.consumer.clone(), self.start);
        *source.begins() = *self.begins();
        let at = seen.clone();
        let cursor = blocking(move || match spot {
            Some(spot) => cursor_at(&source.place, &at, &spot),
            None => source.first_cursor(&at),
        })
        .await?;
        let offset = cursor.next_offset();
        self.register(&seen, Some(offset), context.clock.now_micros()).await?;
        let reader = LogReader {
            place: self.place.clone(),
            changes: self.place.watch(),
            log: seen.identity.log.clone(),
            target: seen.bound.end,
            told_caught_up: false,
            cursor: Some(cursor),
            ahead: None,
            failed: None,
            ready: VecDeque::new(),
            held: context.budget.hold(0),
            offset,
            pending: false,
            last_commit: None,
            mid_cut: false,
            clock: context.clock.clone(),
        };
        let acker = LogAcker { place: self.place.clone(), consumer: self.consumer.clone(), clock: context.clock };
        Ok((Box::new(reader), Box::new(acker)))
    }

    fn describe(&self, position: &Position) -> String {
        Spot::of(position).map_or_else(|error| error.message().to_owned(), |spot| format!("offset {}", spot.offset))
    }

    /// Reads the shapes of one segment.
    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        let (place, spot) = (self.place.clone(), Spot::of(position)?);
        let shapes = blocking(move || {
            let Some(seen) = place.look()? else { return Ok(BTreeMap::new()) };
            Ok(cursor_at(&place, &seen, &spot)?.shapes())
        })
        .await?;
        Ok(shapes.into_values().map(|(_, table)| table).collect())
    }
}

/// What a piece of reading ahead has brought.
type Ahead = (Cursor, Vec<Placed>, Option<Error>);

struct LogReader {
    place: Arc<Place>,
    changes: watch::Receiver<Option<Arc<Seen>>>,
    log: String,
    /// Where the log ended when the reader was opened.
    target: u64,
    told_caught_up: bool,
    /// `None` while a thread reads ahead.
    cursor: Option<Cursor>,
    ahead: Option<JoinHandle<Ahead>>,
    /// Why nothing can be read after what is ready.
    failed: Option<Error>,
    ready: VecDeque<Placed>,
    held: Held,
    /// First offset that has not been handed out.
    offset: u64,
    /// The change of a shape that was handed out last passes with the next call.
    pending: bool,
    last_commit: Option<i64>,
    /// The batch handed out last is followed by another one of its cut.
    mid_cut: bool,
    clock: Arc<dyn Clock>,
}

/// Reads entries up to a number of bytes. Blocking.
fn read_ahead(mut cursor: Cursor, seen: &Seen) -> Ahead {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while bytes < AHEAD_BYTES {
        match cursor.read(&seen.bound) {
            Ok(Some(placed)) => {
                bytes += memory(&placed);
                entries.push(placed);
            }
            Ok(None) => break,
            Err(error) => return (cursor, entries, Some(error)),
        }
    }
    (cursor, entries, None)
}

fn memory(placed: &Placed) -> usize {
    match &placed.entry {
        Some(Entry::Batch(batch)) => batch.memory(),
        _ => 64,
    }
}

impl LogReader {
    /// Begins to read ahead if there is something to read and nobody does.
    fn begin_reading(&mut self) {
        let Some(seen) = self.changes.borrow_and_update().clone() else { return };
        let can = self.failed.is_none() && self.cursor.as_ref().is_some_and(|c| c.next_offset() < seen.bound.end);
        if let (true, Some(cursor)) = (can, self.cursor.take_if(|_| can)) {
            self.ahead = Some(tokio::task::spawn_blocking(move || read_ahead(cursor, &seen)));
        }
    }

    /// Waits for what is read ahead. Cancel-safe.
    async fn finish_reading(&mut self) -> Result<()> {
        let Some(handle) = &mut self.ahead else { return Ok(()) };
        let done = handle.await;
        self.ahead = None;
        let (cursor, entries, failed) = done.or_code(Code::Bug, || "reading the log broke off".to_owned())?;
        self.cursor = Some(cursor);
        self.ready.extend(entries);
        self.failed = failed;
        self.count();
        Ok(())
    }

    fn count(&mut self) {
        self.held.resize(self.ready.iter().map(memory).sum());
    }

    /// The event of an entry; `None` for one that says nothing to this reader.
    fn event(&mut self, placed: Placed) -> Option<SourceEvent> {
        let event = match placed.entry? {
            Entry::Schema(change) => {
                self.pending = true;
                return Some(SourceEvent::SchemaChange(change));
            }
            Entry::Batch(batch) => {
                self.last_commit = Some(placed.header.commit_micros);
                self.mid_cut = placed.header.goes_on;
                Some(SourceEvent::Batch(batch))
            }
            Entry::Marker(milestone) => self.milestone(milestone, placed.header.generation),
        };
        self.offset += 1;
        event
    }

    fn milestone(&mut self, milestone: Milestone, generation: u64) -> Option<SourceEvent> {
        let event = SourceEvent::of_milestone(milestone, self.place.capture() == Some(generation));
        self.told_caught_up |= matches!(event, Some(SourceEvent::CaughtUp));
        event
    }

    /// Where nobody of this process captures, a delivery has caught up at what was there when it began.
    fn caught_up(&mut self) -> bool {
        let reached = self.place.capture().is_none() && self.offset >= self.target;
        reached && !std::mem::replace(&mut self.told_caught_up, true)
    }

    /// Waits until more can be read, for a second at most; says whether there is hope.
    async fn wait(&mut self) -> Result<bool> {
        if self.place.is_written_here() {
            return Ok(tokio::time::timeout(PATIENCE, self.changes.changed()).await.is_ok());
        }
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            let _ = tokio::time::timeout(LOOK_EVERY, self.changes.changed()).await;
            let place = self.place.clone();
            let seen = blocking(move || place.look()).await?;
            let next = self.cursor.as_ref().map_or(0, Cursor::next_offset);
            if seen.is_some_and(|seen| seen.bound.end > next) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[async_trait]
impl Reader for LogReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        if std::mem::take(&mut self.pending) {
            self.offset += 1;
        }
        loop {
            self.begin_reading();
            if let Some(placed) = self.ready.pop_front() {
                self.count();
                match self.event(placed) {
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            if self.ahead.is_some() {
                self.finish_reading().await?;
                continue;
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.caught_up() {
                return Ok(SourceEvent::CaughtUp);
            }
            if !self.wait().await? {
                return Ok(SourceEvent::Idle);
            }
        }
    }

    fn barrier(&mut self, _out: &mut Vec<ChangeBatch>) -> Result<Position> {
        let spot = Spot { log: self.log.clone(), offset: self.offset };
        let bytes = serde_json::to_vec(&spot).or_code(Code::Bug, || "write a position".to_owned())?;
        Ok(Position::new(bytes))
    }

    fn is_mid_cut(&self) -> bool {
        self.mid_cut
    }

    fn status(&self) -> SourceStatus {
        let end = self.changes.borrow().as_ref().map_or(0, |seen| seen.bound.end);
        let lag = match self.last_commit {
            Some(commit) if self.offset < end => (self.clock.now_micros() - commit).max(0),
            _ => 0,
        };
        SourceStatus {
            snapshot: Vec::new(),
            disconnected: None,
            last_commit_micros: self.last_commit,
            lag_micros: Some(lag),
            position: format!("offset {} of {end}", self.offset),
            kept: None,
            not_understood: None,
        }
    }
}

struct LogAcker {
    place: Arc<Place>,
    consumer: String,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Acker for LogAcker {
    /// First the consumer's progress becomes durable, then what it frees is removed (R13).
    async fn ack(&mut self, position: &Position) -> Result<()> {
        let offset = Spot::of(position)?.offset;
        let (place, name, now) = (self.place.clone(), self.consumer.clone(), self.clock.now_micros());
        blocking(move || {
            consumers::write(&*place.disk, &Consumer { name, offset, written_micros: now })?;
            dujiang_core::fault::point("log.acked");
            place.trim(now)
        })
        .await
    }
}
