//! A log: the sink of a capture and the source of deliveries. What is committed survives the process; what is not is cut by
//! the next one that captures.

use super::World;
use super::chaos::Fate;
use super::script::Images;
use super::source::decode;
use async_trait::async_trait;
use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity, Standing, Token};
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::{
    CommitRequest, Committer, Detached, Milestone, Sink, SinkClass, SinkContext, SinkFigures, SinkState, Writer,
};
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent, SourceStatus};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Position, Result, TableId, TableSchema};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

enum Entry {
    Batch { batch: ChangeBatch, goes_on: bool },
    Shape(SchemaChange),
    Mark(Milestone),
}

/// An epoch that is visible.
#[derive(Clone, Copy)]
struct Commit {
    epoch: Epoch,
    generation: Generation,
    end: usize,
    /// The source's position.
    position: usize,
}

/// What survives.
#[derive(Default)]
pub(crate) struct Disk {
    owner: Option<PipelineIdentity>,
    generation: Generation,
    /// In order, each with the generation that wrote it.
    entries: Vec<(Generation, Entry)>,
    /// Entries that readers see; the others were never committed.
    end: usize,
    commits: Vec<Commit>,
    /// How far each delivery has come. What all have passed may be gone.
    consumers: BTreeMap<usize, usize>,
}

impl Disk {
    /// The shapes that are told before this entry.
    fn shapes(&self, upto: usize) -> BTreeMap<&TableId, &Arc<TableSchema>> {
        let mut shapes = BTreeMap::new();
        for (_, entry) in &self.entries[..upto] {
            if let Entry::Shape(change) = entry {
                shapes.insert(&change.after.id, &change.after);
            }
        }
        shapes
    }

    /// The first entry that is not the shape of a table as the capture found it.
    fn begins(&self) -> usize {
        let shape =
            |(_, entry): &&(Generation, Entry)| matches!(entry, Entry::Shape(change) if change.before.is_none());
        self.entries[..self.end].iter().take_while(shape).count()
    }

    fn first(&self) -> usize {
        self.consumers.values().copied().min().unwrap_or(0)
    }

    /// Steps of the source that have been made part of the log.
    pub(crate) fn holds_steps(&self) -> Option<usize> {
        self.owner.as_ref().map(|_| self.commits.last().map_or(0, |commit| commit.position))
    }

    /// INV-11: an earlier instance changes nothing.
    fn fence(&self, generation: Generation) -> Result<()> {
        if generation < self.generation {
            return Err(Error::new(Code::Fenced, format!("the log is held by generation {}", self.generation)));
        }
        Ok(())
    }
}

impl World {
    /// The log of this world as the sink of its capture.
    pub fn log(&self) -> MemoryLog {
        MemoryLog { world: self.clone(), process: self.chaos.process() }
    }

    /// The log of this world as the source of a delivery, which is a world of its own.
    pub fn deliver(&self, number: usize, delivery: &World) -> MemoryDelivery {
        self.durable().log.consumers.entry(number).or_insert(0);
        let (log, delivery, process) = (self.clone(), delivery.clone(), self.chaos.process());
        MemoryDelivery { log, delivery, number, process, begins: Mutex::default() }
    }

    /// What a reader of the log sees.
    pub fn logged(&self) -> Images {
        let mut images = Images::new();
        let log = &self.durable().log;
        for (_, entry) in &log.entries[..log.end] {
            if let Entry::Batch { batch, .. } = entry {
                let rows = images.entry(batch.schema.id.clone()).or_default();
                let kinds = batch.kinds.iter();
                rows.extend(
                    batch.ordinals().zip(kinds).map(|((n, origin), kind)| (origin.transaction.to_owned(), n, *kind)),
                );
            }
        }
        images
    }

    /// The numbers in the first column of what a reader of the log sees.
    pub fn logged_ids(&self) -> Vec<i64> {
        let log = &self.durable().log;
        let batches = log.entries[..log.end].iter().filter_map(|(_, entry)| match entry {
            Entry::Batch { batch, .. } => Some(batch),
            _ => None,
        });
        let column =
            |batch: &ChangeBatch| batch.rows.column(0).as_any().downcast_ref::<arrow_array::Int64Array>().cloned();
        batches.filter_map(column).flat_map(|ids| ids.values().to_vec()).collect()
    }
}

/// A [`Sink`] that is a log.
pub struct MemoryLog {
    world: World,
    process: u64,
}

#[async_trait]
impl Sink for MemoryLog {
    fn class(&self) -> SinkClass {
        SinkClass::Transactional
    }

    fn is_log(&self) -> bool {
        true
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(LogCommitter { world: self.world.clone(), process: self.process, context }))
    }

    async fn writer(&self, _: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        let (world, process, generation) = (self.world.clone(), self.process, context.generation);
        let cut_at = world.durable().log.end;
        Ok(Box::new(LogWriter { world, process, generation, cut_at, goes_on: false, figures: SinkFigures::default() }))
    }
}

fn refused(what: &'static str) -> impl FnOnce(Fate) -> Error {
    move |_| Error::new(Code::SinkWrite, format!("the log refused to {what}"))
}

struct LogWriter {
    world: World,
    process: u64,
    generation: Generation,
    /// Where the epoch before ended.
    cut_at: usize,
    goes_on: bool,
    figures: SinkFigures,
}

impl LogWriter {
    fn append(&self, entry: Entry) -> Result<()> {
        let durable = &mut *self.world.durable();
        durable.log.fence(self.generation)?;
        if let Entry::Batch { batch, .. } = &entry {
            let id = &batch.schema.id;
            let known = durable.log.shapes(durable.log.entries.len()).get(id).map(|shape| shape.version);
            if known != Some(batch.schema.version) {
                let has = format!("a row of {id} has shape {}, but the log has {known:?}", batch.schema.version);
                durable.violations.push(has);
            }
        }
        durable.log.entries.push((self.generation, entry));
        Ok(())
    }
}

#[async_trait]
impl Writer for LogWriter {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        let work = |_| self.append(Entry::Batch { batch: batch.clone(), goes_on: self.goes_on });
        self.world.chaos.call(self.process, "log.write", refused("take a batch"), work).await?;
        Ok(Vec::new())
    }

    fn cut_goes_on(&mut self, goes_on: bool) {
        self.goes_on = goes_on;
    }

    async fn mark(&mut self, milestone: Milestone) -> Result<()> {
        let work = |_| self.append(Entry::Mark(milestone));
        self.world.chaos.call(self.process, "log.mark", refused("take a milestone"), work).await
    }

    fn prepare(&mut self, _: Epoch) -> Detached<Vec<Token>> {
        let (world, process, generation) = (self.world.clone(), self.process, self.generation);
        let end = world.durable().log.entries.len();
        let before = std::mem::replace(&mut self.cut_at, end).max(world.durable().log.end);
        Box::pin(async move {
            if end <= before {
                return Ok(Vec::new());
            }
            let work = |_| world.durable().log.fence(generation);
            world.chaos.call(process, "log.prepare", refused("prepare"), work).await?;
            // Offsets are given again after a cut; with the generation a token names one end only.
            Ok(vec![Token(format!("{}:{end}", generation.0).into())])
        })
    }

    fn buffered(&self) -> usize {
        0
    }

    async fn spill(&mut self) -> Result<()> {
        Ok(())
    }

    fn figures(&self) -> SinkFigures {
        self.figures
    }
}

struct LogCommitter {
    world: World,
    process: u64,
    context: SinkContext,
}

impl LogCommitter {
    fn open_now(&self) -> Result<SinkState> {
        let log = &mut self.world.durable().log;
        if log.owner.as_ref().is_some_and(|owner| *owner != self.context.identity) {
            return Err(Error::new(Code::SinkTaken, "the log belongs to another pipeline"));
        }
        log.fence(self.context.generation)?;
        log.owner = Some(self.context.identity.clone());
        log.generation = self.context.generation;
        log.entries.truncate(log.end);
        Ok(match log.commits.last() {
            None => SinkState::Empty,
            Some(commit) => SinkState::Holds { generation: commit.generation, epoch: commit.epoch },
        })
    }

    /// INV-2: a checkpoint that names the end must be published, as a candidate at least.
    fn commit_now(&self, request: &CommitRequest) -> Result<()> {
        let durable = &mut *self.world.durable();
        durable.log.fence(request.generation)?;
        if request.tokens.is_empty() || durable.log.commits.last().is_some_and(|last| last.epoch >= request.epoch) {
            return Ok(());
        }
        let mut end = durable.log.end;
        for token in &request.tokens {
            let named = durable.store.checkpoints.iter().flat_map(|c| &c.tokens).any(|t| t.tokens.contains(token));
            if !named && !durable.unpublished {
                durable.violations.push(format!("INV-2: {token:?} commits, but no checkpoint names it"));
            }
            let text = String::from_utf8_lossy(&token.0);
            let told =
                text.split_once(':').and_then(|(of, end)| Some((of.parse::<u64>().ok()?, end.parse::<usize>().ok()?)));
            match told {
                Some((of, at)) if of == durable.log.generation.0 && at <= durable.log.entries.len() => {
                    end = end.max(at)
                }
                _ => durable.violations.push(format!("{token:?} is to be committed, but the log does not hold it")),
            }
        }
        let (epoch, generation, position) = (request.epoch, request.generation, decode(&request.position));
        durable.log.end = end;
        durable.log.commits.push(Commit { epoch, generation, end, position });
        Ok(())
    }

    /// What is told of a shape is visible at once. What it is known by already is nothing new.
    fn change_now(&self, change: &SchemaChange) -> Result<()> {
        let durable = &mut *self.world.durable();
        let log = &mut durable.log;
        log.fence(self.context.generation)?;
        if log.entries.len() > log.end {
            durable.violations.push("INV-2: the open epoch would become visible with a change of shape".to_owned());
        }
        let known = log.shapes(log.end).get(&change.after.id).map(|known| Arc::clone(known));
        if known.as_ref() == Some(&change.after) {
            return Ok(());
        }
        let change = SchemaChange { before: change.before.as_ref().and(known), ..change.clone() };
        log.entries.push((self.context.generation, Entry::Shape(change)));
        log.end = log.entries.len();
        Ok(())
    }
}

#[async_trait]
impl Committer for LogCommitter {
    async fn open(&mut self) -> Result<SinkState> {
        self.world.chaos.call(self.process, "log.open", refused("open"), |_| self.open_now()).await
    }

    async fn commit(&mut self, epoch: &CommitRequest) -> Result<()> {
        self.world.chaos.call(self.process, "log.commit", refused("commit"), |_| self.commit_now(epoch)).await
    }

    async fn abort_except(&mut self, _: &[Token]) -> Result<()> {
        let work = |_| {
            let log = &mut self.world.durable().log;
            log.fence(self.context.generation)?;
            log.entries.truncate(log.end);
            Ok(())
        };
        self.world.chaos.call(self.process, "log.abort", refused("cut its tail"), work).await
    }

    async fn apply_schema(&mut self, expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        self.apply_change(&SchemaChange::of_shapes(expected, next)).await
    }

    /// All at once: a delivery that begins meanwhile knows all tables or none.
    async fn apply_shapes(&mut self, shapes: &[Arc<TableSchema>]) -> Result<()> {
        let work = |_| shapes.iter().try_for_each(|shape| self.change_now(&SchemaChange::of_shapes(None, shape)));
        self.world.chaos.call(self.process, "log.schema", refused("take shapes"), work).await
    }

    async fn apply_change(&mut self, change: &SchemaChange) -> Result<()> {
        let work = |_| self.change_now(change);
        self.world.chaos.call(self.process, "log.schema", refused("take a shape"), work).await
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        let work = |_| {
            let log = &mut self.world.durable().log;
            log.fence(self.context.generation)?;
            log.commits.retain(|commit| commit.epoch <= epoch);
            log.end = log.commits.last().map_or(0, |commit| commit.end);
            log.entries.truncate(log.end);
            Ok(())
        };
        self.world.chaos.call(self.process, "log.withdraw", refused("withdraw"), work).await
    }
}

/// A [`Source`] that reads a log. Its position is the number of entries read.
pub struct MemoryDelivery {
    log: World,
    delivery: World,
    number: usize,
    process: u64,
    /// Where a first start begins, once the tables that are known there have been told.
    begins: Mutex<Option<usize>>,
}

impl MemoryDelivery {
    fn begins(&self, log: &Disk) -> usize {
        *self.begins.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| log.begins())
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(20);

#[async_trait]
impl Source for MemoryDelivery {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        loop {
            {
                let log = &self.log.durable().log;
                if log.end > 0 {
                    return Ok(log.shapes(self.begins(log)).into_values().cloned().collect());
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn lineage(&self) -> Result<Option<Lineage>> {
        loop {
            if let Some(owner) = &self.log.durable().log.owner {
                return Ok(Some(owner.lineage.clone()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn open(&self, from: Option<Position>, _: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let durable = &mut *self.log.durable();
        let at = from.as_ref().map_or_else(|| self.begins(&durable.log), decode);
        if at < durable.log.first() {
            let gone = format!("INV-1: the log was acked at {} and is asked for {at}", durable.log.first());
            durable.violations.push(gone.clone());
            return Err(Error::new(Code::PositionLost, gone));
        }
        if at > durable.log.end {
            let lost = format!("INV-2: a delivery has read {at} entries of a log that has {}", durable.log.end);
            durable.violations.push(lost.clone());
            return Err(Error::new(Code::PositionLost, lost));
        }
        let (log, delivery, process) = (self.log.clone(), self.delivery.clone(), self.process);
        let reader = LogReader { log, process, at, pending: false, mid_cut: false, wake_at: None };
        let acker = LogAcker { log: self.log.clone(), delivery, number: self.number, process };
        Ok((Box::new(reader), Box::new(acker)))
    }

    fn describe(&self, position: &Position) -> String {
        format!("offset {}", decode(position))
    }

    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        let log = &self.log.durable().log;
        Ok(log.shapes(decode(position).min(log.end)).into_values().cloned().collect())
    }
}

struct LogReader {
    log: World,
    process: u64,
    /// Entries handed out.
    at: usize,
    /// The change of a shape that was handed out last passes with the next call.
    pending: bool,
    mid_cut: bool,
    wake_at: Option<Instant>,
}

impl LogReader {
    fn event(&mut self) -> Option<SourceEvent> {
        if std::mem::take(&mut self.pending) {
            self.at += 1;
        }
        let log = &self.log.durable().log;
        while let Some((generation, entry)) = log.entries[..log.end].get(self.at) {
            // Others were told by a capture that has died: this one tells its own.
            let of_this_run = *generation == log.generation;
            match entry {
                Entry::Shape(change) => {
                    self.pending = true;
                    return Some(SourceEvent::SchemaChange(change.clone()));
                }
                Entry::Batch { batch, goes_on } => {
                    self.at += 1;
                    self.mid_cut = *goes_on;
                    return Some(SourceEvent::Batch(batch.clone()));
                }
                Entry::Mark(milestone) => {
                    self.at += 1;
                    if let Some(event) = SourceEvent::of_milestone(*milestone, of_this_run) {
                        return Some(event);
                    }
                }
            }
        }
        None
    }
}

#[async_trait]
impl Reader for LogReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        // Kept over a cancelled call, so that a caller who cancels often does not wait for ever.
        let chaos = self.log.chaos.clone();
        let wake_at = *self.wake_at.get_or_insert_with(|| Instant::now() + chaos.slowness());
        tokio::time::sleep_until(wake_at).await;
        self.wake_at = None;
        let failed = |_| Error::new(Code::LogDamaged, "the log cannot be read");
        let event = chaos.call(self.process, "log.next", failed, |_| Ok(self.event())).await?;
        if event.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(event.unwrap_or(SourceEvent::Idle))
    }

    fn barrier(&mut self, _: &mut Vec<ChangeBatch>) -> Result<Position> {
        Ok(Position::new(self.at.to_string().into_bytes()))
    }

    fn is_mid_cut(&self) -> bool {
        self.mid_cut
    }

    fn status(&self) -> SourceStatus {
        SourceStatus { position: format!("offset {}", self.at), ..SourceStatus::default() }
    }
}

struct LogAcker {
    log: World,
    delivery: World,
    number: usize,
    process: u64,
}

#[async_trait]
impl Acker for LogAcker {
    async fn ack(&mut self, position: &Position) -> Result<()> {
        let failed = |_| Error::new(Code::ConnectionLost, "the ack was lost");
        let work = |_| {
            let at = decode(position);
            {
                let mut delivery = self.delivery.durable();
                let stands = delivery.store.checkpoints.iter().rev().find(|c| c.standing == Standing::Final);
                let named = stands.map_or(0, |c| decode(&c.position));
                if at > named {
                    let early = format!("INV-1: ack of entry {at}, but the last final checkpoint is at {named}");
                    delivery.violations.push(early);
                }
                if at < delivery.acked {
                    let backwards = format!("INV-3: ack of entry {at} after {}", delivery.acked);
                    delivery.violations.push(backwards);
                }
                delivery.acked = delivery.acked.max(at);
            }
            self.log.durable().log.consumers.insert(self.number, at);
            Ok(())
        };
        self.log.chaos.call(self.process, "log.ack", failed, work).await
    }
}
