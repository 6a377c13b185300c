//! A sink of any class whose committed rows survive the process.

use super::World;
use super::chaos::Fate;
use super::script::{Effect, Flag};
use async_trait::async_trait;
use bytes::Bytes;
use dujiang_core::checkpoint::{Generation, PipelineIdentity, Token};
use dujiang_core::sink::{
    CommitRequest, Committer, Detached, Retries, Sink, SinkClass, SinkContext, SinkFigures, SinkState, Writer,
};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Kind, Result, TableId, TableSchema};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One row as the sink keeps it.
#[derive(Debug, Clone)]
struct Row {
    table: TableId,
    key: String,
    effect: Effect,
    /// Order of arrival, over all lanes.
    arrival: u64,
}

/// What survives.
#[derive(Default)]
pub(crate) struct Disk {
    owner: Option<PipelineIdentity>,
    generation: Generation,
    holds: Epoch,
    /// By token; of which generation, and the rows.
    staged: BTreeMap<Bytes, (Generation, Vec<Row>)>,
    taken: BTreeSet<Bytes>,
    visible: Vec<(Epoch, Vec<Row>)>,
    /// The shapes of each table, oldest first, and the epoch that was published last when each was applied.
    schemas: BTreeMap<TableId, Vec<(Epoch, Arc<TableSchema>)>>,
    made: u64,
    /// What the last sink was told.
    pub(crate) retries: Option<Retries>,
    arrivals: u64,
}

impl Disk {
    fn schema(&self, table: &TableId) -> Option<&Arc<TableSchema>> {
        self.schemas.get(table)?.last().map(|(_, schema)| schema)
    }

    pub(crate) fn visible(&self) -> super::Effects {
        let mut effects = super::Effects::new();
        for (_, rows) in &self.visible {
            let mut rows: Vec<&Row> = rows.iter().collect();
            rows.sort_by_key(|row| row.arrival);
            for row in rows {
                effects.entry((row.table.clone(), row.key.clone())).or_default().push(row.effect);
            }
        }
        effects
    }
}

/// A [`Sink`] in memory, of the class its [`World`] says.
pub struct MemorySink {
    world: World,
    process: u64,
}

impl MemorySink {
    pub(super) fn new(world: World) -> Self {
        let process = world.chaos.process();
        Self { world, process }
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn class(&self) -> SinkClass {
        self.world.class
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        self.world.durable().sink.retries = Some(context.retries);
        Ok(Box::new(MemoryCommitter { world: self.world.clone(), process: self.process, context }))
    }

    async fn writer(&self, _: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        let held = context.budget.hold(0);
        let (world, process, generation) = (self.world.clone(), self.process, context.generation);
        let figures = SinkFigures::default();
        Ok(Box::new(MemoryWriter { world, process, generation, held, rows: Vec::new(), open: 0, figures }))
    }
}

struct MemoryWriter {
    world: World,
    process: u64,
    generation: Generation,
    held: dujiang_core::budget::Held,
    rows: Vec<Row>,
    /// Rows in the open buffer; the others are spilled.
    open: usize,
    figures: SinkFigures,
}

const ROW_BYTES: usize = 64;

impl MemoryWriter {
    fn take(world: &World, batch: &ChangeBatch) -> (Vec<Row>, Vec<RowError>) {
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        let durable = &mut *world.durable();
        let id = &batch.schema.id;
        let known = durable.sink.schema(id);
        if known.is_none_or(|known| known.version != batch.schema.version) {
            durable.violations.push(format!(
                "a row of {id} has shape {}, but the sink has {:?}",
                batch.schema.version,
                known.map(|k| k.version)
            ));
        }
        let cells = Cells::new(batch);
        for row in (0..batch.images()).filter(|&row| batch.kinds[row] != Kind::UpdateBefore) {
            if cells.flag(row) == Flag::BadAtSink as i64 {
                let error = Error::new(Code::BadRecord, "the record is bad on purpose");
                failed.push(RowError { row: batch.first_image(row), error });
                continue;
            }
            durable.sink.arrivals += 1;
            rows.push(Row {
                table: id.clone(),
                key: cells.key(row),
                effect: Effect { op: batch.kinds[row].letter(), version: cells.version(row) },
                arrival: durable.sink.arrivals,
            });
        }
        (rows, failed)
    }

    fn show(world: &World, epoch: Epoch, rows: Vec<Row>) {
        world.durable().sink.visible.push((epoch, rows));
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        let failed = |fate| match fate {
            Fate::FailForEarlier => Error::new(Code::SinkUnwritten, "the sink cannot write what it took before"),
            _ => Error::new(Code::SinkWrite, "the sink refused a write"),
        };
        let world = self.world.clone();
        let work = |_| Ok(Self::take(&world, batch));
        let (rows, failed) = self.world.chaos.call(self.process, "sink.write", failed, work).await?;
        self.open += rows.len();
        self.rows.extend(rows);
        self.held.resize(self.open * ROW_BYTES);
        Ok(failed)
    }

    async fn flush(&mut self) -> Result<()> {
        let failed = |_| Error::new(Code::SinkWrite, "the sink refused a flush");
        let world = self.world.clone();
        let rows = self.rows.clone();
        let work = |_| {
            if !rows.is_empty() {
                Self::show(&world, Epoch::NONE, rows);
            }
            Ok(())
        };
        self.world.chaos.call(self.process, "sink.flush", failed, work).await?;
        self.rows.clear();
        self.open = 0;
        self.held.resize(0);
        Ok(())
    }

    fn prepare(&mut self, _: Epoch) -> Detached<Vec<Token>> {
        let rows = std::mem::take(&mut self.rows);
        self.open = 0;
        self.held.resize(0);
        self.figures.units += u64::from(!rows.is_empty());
        self.figures.bytes += (rows.len() * ROW_BYTES) as u64;
        let (world, process, generation) = (self.world.clone(), self.process, self.generation);
        Box::pin(async move {
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let failed = |_| Error::new(Code::SinkWrite, "the sink refused to prepare");
            let inside = world.clone();
            let work = |_| {
                let disk = &mut inside.durable().sink;
                disk.made += 1;
                let token = Bytes::from(format!("part-{}", disk.made));
                disk.staged.insert(token.clone(), (generation, rows));
                Ok(vec![Token(token)])
            };
            world.chaos.call(process, "sink.prepare", failed, work).await
        })
    }

    fn buffered(&self) -> usize {
        self.open * ROW_BYTES
    }

    async fn spill(&mut self) -> Result<()> {
        let failed = |_| Error::new(Code::SinkWrite, "the sink refused to spill");
        self.world.chaos.call(self.process, "sink.spill", failed, |_| Ok(())).await?;
        self.open = 0;
        self.held.resize(0);
        Ok(())
    }

    fn figures(&self) -> SinkFigures {
        self.figures
    }
}

struct MemoryCommitter {
    world: World,
    process: u64,
    context: SinkContext,
}

impl MemoryCommitter {
    fn open_now(&self) -> Result<SinkState> {
        let class = self.world.class;
        let disk = &mut self.world.durable().sink;
        if disk.owner.as_ref().is_some_and(|owner| *owner != self.context.identity) {
            return Err(Error::new(Code::SinkTaken, "the sink belongs to another pipeline"));
        }
        fence(disk, self.context.generation)?;
        disk.owner = Some(self.context.identity.clone());
        disk.generation = self.context.generation;
        if class == SinkClass::Transactional {
            // The open transactions of earlier processes are rolled back.
            disk.staged.clear();
        }
        Ok(match (class, disk.holds) {
            (SinkClass::AtLeastOnce, _) => SinkState::Unknown,
            (_, Epoch::NONE) => SinkState::Empty,
            (_, epoch) => SinkState::Holds { generation: disk.generation, epoch },
        })
    }

    /// INV-2: a checkpoint that names the token must be published.
    fn commit_now(&self, request: &CommitRequest) -> Result<()> {
        let durable = &mut *self.world.durable();
        fence(&durable.sink, request.generation)?;
        let mut rows = Vec::new();
        for token in &request.tokens {
            let Some((_, part)) = durable.sink.staged.remove(&token.0) else {
                if !durable.sink.taken.contains(&token.0) {
                    durable.violations.push(format!("{token:?} is to be committed but was never staged, or is lost"));
                }
                continue;
            };
            let named = durable.store.checkpoints.iter().flat_map(|c| &c.tokens).any(|t| t.tokens.contains(token));
            if !named && !durable.unpublished {
                durable.violations.push(format!("INV-2: {token:?} commits, but no checkpoint names it"));
            }
            durable.sink.taken.insert(token.0.clone());
            rows.extend(part);
        }
        if !rows.is_empty() {
            durable.sink.visible.push((request.epoch, rows));
        }
        durable.sink.holds = durable.sink.holds.max(request.epoch);
        Ok(())
    }

    fn apply_now(&self, expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        let durable = &mut *self.world.durable();
        let known = durable.sink.schema(&next.id).map(|s| s.version);
        let fits = match (known, expected) {
            // A first shape for a table that is there already: a start tells it again.
            (Some(_), None) => return Ok(()),
            (None, None) => true,
            (known, Some(expected)) => known == Some(expected.version) || known == Some(next.version),
        };
        if !fits {
            let what = format!("{} is to go to shape {}, but has {known:?}", next.id, next.version);
            durable.violations.push(what.clone());
            return Err(Error::new(Code::SchemaChange, what));
        }
        if known != Some(next.version) {
            let published = durable.store.checkpoints.last().map_or(Epoch::NONE, |c| c.epoch);
            let applied = (published, next.clone());
            durable.sink.schemas.entry(next.id.clone()).or_default().push(applied);
        }
        Ok(())
    }
}

/// INV-11: an earlier instance changes nothing.
fn fence(disk: &Disk, generation: Generation) -> Result<()> {
    if generation < disk.generation {
        return Err(Error::new(Code::Fenced, format!("the sink is held by generation {}", disk.generation)));
    }
    Ok(())
}

fn refused(what: &'static str) -> impl FnOnce(Fate) -> Error {
    move |_| Error::new(Code::SinkWrite, format!("the sink refused to {what}"))
}

#[async_trait]
impl Committer for MemoryCommitter {
    async fn open(&mut self) -> Result<SinkState> {
        self.world.chaos.call(self.process, "sink.open", refused("open"), |_| self.open_now()).await
    }

    async fn commit(&mut self, epoch: &CommitRequest) -> Result<()> {
        self.world
            .chaos
            .call(self.process, "sink.commit", refused("commit"), |fate| match fate {
                Fate::Late => Ok(()),
                _ => self.commit_now(epoch),
            })
            .await
    }

    async fn abort_except(&mut self, keep: &[Token]) -> Result<()> {
        let work = |_| {
            let disk = &mut self.world.durable().sink;
            fence(disk, self.context.generation)?;
            disk.staged.retain(|token, _| keep.iter().any(|k| k.0 == token));
            Ok(())
        };
        self.world.chaos.call(self.process, "sink.abort", refused("discard what is staged"), work).await
    }

    async fn apply_schema(&mut self, expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        let work = |_| self.apply_now(expected, next);
        self.world.chaos.call(self.process, "sink.schema", refused("change a table"), work).await
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        let work = |_| {
            let disk = &mut self.world.durable().sink;
            fence(disk, self.context.generation)?;
            disk.visible.retain(|(of, _)| *of <= epoch);
            // A shape applied once `epoch` was published comes after it; a first shape stays.
            for shapes in disk.schemas.values_mut() {
                let kept = shapes.iter().filter(|(published, _)| *published < epoch).count();
                shapes.truncate(kept.max(1));
            }
            disk.holds = disk.visible.last().map_or(Epoch::NONE, |(of, _)| *of);
            Ok(())
        };
        self.world.chaos.call(self.process, "sink.withdraw", refused("withdraw"), work).await
    }
}

/// The columns of a batch of the script.
struct Cells<'a> {
    batch: &'a ChangeBatch,
}

impl<'a> Cells<'a> {
    fn new(batch: &'a ChangeBatch) -> Self {
        Self { batch }
    }

    fn number(&self, column: usize, row: usize) -> Option<i64> {
        let column = self.batch.rows.column(column).as_any();
        column.downcast_ref::<arrow_array::Int64Array>().map(|values| values.value(row))
    }

    /// The key as the server compares it.
    fn key(&self, row: usize) -> String {
        if let Some(number) = self.number(0, row) {
            return number.to_string();
        }
        let texts = self.batch.rows.column(0).as_any().downcast_ref::<arrow_array::StringArray>();
        texts.expect("invariant: keys are numbers or texts").value(row).to_lowercase()
    }

    fn version(&self, row: usize) -> i64 {
        self.number(1, row).expect("invariant: versions are numbers")
    }

    /// Batches that are not of a script have no flags: their rows are good.
    fn flag(&self, row: usize) -> i64 {
        let column = self.batch.schema.arrow.index_of("flag").ok();
        column.and_then(|column| self.number(column, row)).unwrap_or(Flag::Good as i64)
    }
}
