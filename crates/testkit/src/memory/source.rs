//! A source that hands out a script. Its position is the number of steps read.

use super::World;
use super::script::{Change, Script, Step, TABLES, batch, schema_at};
use async_trait::async_trait;
use dujiang_core::checkpoint::Standing;
use dujiang_core::schema::SchemaChange;
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent, SourceStatus, TableProgress};
use dujiang_core::{ChangeBatch, Code, Error, Position, Result, TableSchema};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A [`Source`] that tells a [`Script`].
pub struct MemorySource {
    world: World,
    process: u64,
    pace: Duration,
    read_ahead: u64,
    ends: bool,
}

impl MemorySource {
    pub(super) fn new(world: World) -> Self {
        let process = world.chaos.process();
        Self { world, process, pace: Duration::from_millis(1), read_ahead: 8, ends: true }
    }

    /// The time between two events.
    #[must_use]
    pub fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// Steps read into open builders at a time, at most; at least 1.
    #[must_use]
    pub fn read_ahead(mut self, steps: u64) -> Self {
        self.read_ahead = steps.max(1);
        self
    }

    /// Stays idle after the script instead of ending.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.ends = false;
        self
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        Ok((0..TABLES).map(|table| schema_at(table, 0)).collect())
    }

    async fn open(&self, from: Option<Position>, _: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let from = from.as_ref().map_or(0, decode);
        {
            let mut durable = self.world.durable();
            if from < durable.acked {
                let gone = format!("INV-1: the source was acked at {} and is asked for {from}", durable.acked);
                durable.violations.push(gone.clone());
                return Err(Error::new(Code::PositionLost, gone));
            }
        }
        let reader = MemoryReader {
            world: self.world.clone(),
            process: self.process,
            pace: self.pace,
            read_ahead: self.read_ahead,
            ends: self.ends,
            next: from,
            builders: BTreeMap::new(),
            cut: VecDeque::new(),
            altering: false,
            caught_up: false,
            wake_at: None,
        };
        let acker = MemoryAcker { world: self.world.clone(), process: self.process };
        Ok((Box::new(reader), Box::new(acker)))
    }

    fn describe(&self, position: &Position) -> String {
        format!("step {}", decode(position))
    }

    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        let upto = decode(position);
        Ok((0..TABLES).map(|table| schema_at(table, self.world.script.alters_before(table, upto))).collect())
    }
}

struct MemoryReader {
    world: World,
    process: u64,
    pace: Duration,
    read_ahead: u64,
    ends: bool,
    /// Steps read.
    next: usize,
    /// Steps read and not handed out, by table.
    builders: BTreeMap<usize, Vec<usize>>,
    /// The rest of a cut; only where the order across tables counts.
    cut: VecDeque<ChangeBatch>,
    /// The step at `next` is a change of shape that has been told.
    altering: bool,
    caught_up: bool,
    wake_at: Option<Instant>,
}

impl MemoryReader {
    fn script(&self) -> Arc<Script> {
        self.world.script.clone()
    }

    /// Reads changes into builders, up to the next step that is something else.
    fn read_ahead(&mut self) {
        let script = self.script();
        let many = 1 + self.world.chaos.draw(|rng| rng.below(self.read_ahead));
        for _ in 0..many {
            let Some(Step::Change(change)) = script.steps.get(self.next) else {
                return;
            };
            self.builders.entry(change.table).or_default().push(self.next);
            self.next += 1;
        }
    }

    /// Closes one builder, any of them: tables are interleaved freely.
    fn close_one(&mut self) -> Option<ChangeBatch> {
        let tables: Vec<usize> = self.builders.keys().copied().collect();
        if tables.is_empty() {
            return None;
        }
        let table = tables[self.world.chaos.draw(|rng| rng.below(tables.len() as u64)) as usize];
        let steps = self.builders.remove(&table)?;
        Some(self.build(table, &steps))
    }

    fn build(&self, table: usize, steps: &[usize]) -> ChangeBatch {
        let script = self.script();
        let schema = schema_at(table, script.alters_before(table, self.next));
        let changes: Vec<(usize, &Change)> = steps
            .iter()
            .filter_map(|&step| match &script.steps[step] {
                Step::Change(change) => Some((step, change)),
                _ => None,
            })
            .collect();
        batch(&schema, &changes)
    }

    fn event(&mut self) -> Option<SourceEvent> {
        if let Some(batch) = self.cut.pop_front() {
            return Some(SourceEvent::Batch(batch));
        }
        if std::mem::take(&mut self.altering) {
            self.next += 1;
        }
        let script = self.script();
        match script.steps.get(self.next) {
            Some(Step::Change(_)) => self.read_ahead(),
            Some(_) | None if !self.builders.is_empty() => {}
            Some(Step::Alter(table)) => {
                self.altering = true;
                let alters = script.alters_before(*table, self.next);
                return Some(SourceEvent::SchemaChange(SchemaChange {
                    before: Some(schema_at(*table, alters)),
                    after: schema_at(*table, alters + 1),
                    statement: format!("ALTER TABLE t{table} ADD c{}", alters + 1),
                    ddl: Default::default(),
                }));
            }
            Some(Step::SnapshotDone) => {
                self.next += 1;
                return Some(SourceEvent::SnapshotDone);
            }
            None if !std::mem::replace(&mut self.caught_up, true) => return Some(SourceEvent::CaughtUp),
            None if self.ends => return Some(SourceEvent::End),
            None => return None,
        }
        let first = self.close_one();
        if script.merged {
            while let Some(batch) = self.close_one() {
                self.cut.push_back(batch);
            }
        }
        Some(first.map_or(SourceEvent::Idle, SourceEvent::Batch))
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        // Kept over a cancelled call, so that a caller who cancels often does not wait for ever.
        let chaos = self.world.chaos.clone();
        let wake_at = *self.wake_at.get_or_insert_with(|| Instant::now() + self.pace + chaos.slowness());
        tokio::time::sleep_until(wake_at).await;
        self.wake_at = None;
        let failed = |_| Error::new(Code::LogDamaged, "the source's log cannot be read");
        let event = chaos.call(self.process, "source.next", failed, |_| Ok(self.event())).await?;
        match event {
            Some(event) => Ok(event),
            None => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(SourceEvent::Idle)
            }
        }
    }

    fn barrier(&mut self, out: &mut Vec<ChangeBatch>) -> Result<Position> {
        out.extend(self.cut.drain(..));
        while let Some(batch) = self.close_one() {
            out.push(batch);
        }
        Ok(Position::new(self.next.to_string().into_bytes()))
    }

    fn is_mid_cut(&self) -> bool {
        !self.cut.is_empty()
    }

    fn status(&self) -> SourceStatus {
        let script = self.script();
        let snapshot_end = script.steps.iter().position(|step| *step == Step::SnapshotDone);
        let snapshot = snapshot_end.filter(|&end| self.next <= end).map(|end| TableProgress {
            table: super::script::table_id(0),
            rows: self.next as u64,
            estimated: end as u64,
            done: false,
        });
        let (snapshot, position) = (snapshot.into_iter().collect(), format!("step {}", self.next));
        SourceStatus { snapshot, position, ..SourceStatus::default() }
    }
}

struct MemoryAcker {
    world: World,
    process: u64,
}

#[async_trait]
impl Acker for MemoryAcker {
    async fn ack(&mut self, position: &Position) -> Result<()> {
        let failed = |_| Error::new(Code::ConnectionLost, "the ack was lost");
        let world = self.world.clone();
        let work = |_| {
            let at = decode(position);
            let mut durable = world.durable();
            let stands = durable.store.checkpoints.iter().rev().find(|c| c.standing == Standing::Final);
            let named = stands.map_or(0, |c| decode(&c.position));
            if at > named {
                durable.violations.push(format!("INV-1: ack {at}, but the last final checkpoint is at {named}"));
            }
            // Of what is captured into a log.
            let logged = durable.log.holds_steps().unwrap_or(at).min(at);
            if world.script.steps[logged..at].iter().any(|step| matches!(step, Step::Change(_))) {
                durable.violations.push(format!("INV-1: ack {at}, but the log holds the changes up to {logged} only"));
            }
            if at < durable.acked {
                let backwards = format!("INV-3: ack {at} after {}", durable.acked);
                durable.violations.push(backwards);
            }
            durable.acked = durable.acked.max(at);
            Ok(())
        };
        self.world.chaos.call(self.process, "source.ack", failed, work).await
    }
}

pub(super) fn decode(position: &Position) -> usize {
    let text = std::str::from_utf8(position.as_bytes()).ok();
    text.and_then(|t| t.parse().ok()).expect("invariant: the position is one of ours")
}
