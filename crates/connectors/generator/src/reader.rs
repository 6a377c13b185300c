//! Reading the shop: first what is there, then what happens.

use crate::columns::Open;
use crate::place::Place;
use crate::shop::{Change, Shop};
use crate::tables::{ALTER, Table};
use async_trait::async_trait;
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Held;
use dujiang_core::schema::SchemaChange;
use dujiang_core::source::{Reader, SourceContext, SourceEvent, SourceStatus, TableProgress};
use dujiang_core::{ChangeBatch, Kind, Origin, Position, Result};
use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

/// Rows of a snapshot chunk, and changes that are made at one go.
const PIECE: u64 = 4_096;
/// Bytes that an image takes, about; what is open counts against the budget.
const IMAGE_BYTES: usize = 120;
/// Longest wait before the reader says that nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);
/// The snapshot's transaction id.
const SNAPSHOT: &str = "snapshot:1";

pub(crate) struct ShopReader {
    shop: Shop,
    tables: Vec<Table>,
    limit: Option<u64>,
    place: Place,
    context: SourceContext,
    open: Vec<Open>,
    ready: VecDeque<ChangeBatch>,
    held: Held,
    /// The transaction that was next when the reader was opened.
    target: u64,
    /// Whether the schema change has been told, and passes with the next call.
    announced: bool,
    told_snapshot_done: bool,
    told_caught_up: bool,
    text: String,
}

impl ShopReader {
    pub(crate) fn new(
        shop: Shop,
        tables: Vec<Table>,
        limit: Option<u64>,
        place: Place,
        context: SourceContext,
    ) -> Self {
        let open = tables.iter().map(|table| Open::new(table.schema(place.altered))).collect();
        let mut reader = Self {
            target: 0,
            told_snapshot_done: place.table >= tables.len(),
            shop,
            tables,
            limit,
            place,
            open,
            ready: VecDeque::new(),
            held: context.budget.hold(0),
            announced: false,
            told_caught_up: false,
            text: String::new(),
            context,
        };
        reader.target = reader.due();
        reader
    }

    /// The first transaction that has not happened yet; without a rate: none has, and none ever will.
    fn due(&self) -> u64 {
        if self.shop.rate == 0 {
            return self.place.step;
        }
        let now = self.context.clock.now_micros() - self.place.opened_micros;
        let (mut low, mut high) = (0u64, 1u64 << 56);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.shop.micros_after_opening(middle) > now { high = middle } else { low = middle + 1 }
        }
        low
    }

    fn has_ended(&self) -> bool {
        self.limit.is_some_and(|limit| self.place.changes >= limit)
    }

    /// Reads a chunk of the snapshot.
    fn read_chunk(&mut self) -> Result<()> {
        let table = self.tables[self.place.table];
        let end = self.shop.initial_rows(table).min(self.place.row + PIECE);
        let opened = self.place.opened_micros;
        for index in self.place.row..end {
            let row = self.shop.initial(table, index);
            let origin = Origin {
                transaction: SNAPSHOT,
                position: "0:0",
                commit_micros: opened,
                precision: TimePrecision::Micros,
                first_ordinal: index,
            };
            self.open[self.place.table].push(&[(Kind::Read, &row)], origin);
        }
        self.place.changes += end - self.place.row;
        self.place.row = end;
        self.close_all()?;
        if end == self.shop.initial_rows(table) {
            (self.place.table, self.place.row) = (self.place.table + 1, 0);
        }
        Ok(())
    }

    /// Whether the `ALTER TABLE` comes before the next transaction.
    fn alter_is_next(&self) -> bool {
        !self.place.altered && self.shop.is_altered(self.place.step) && self.tables.contains(&Table::Customers)
    }

    /// Makes transactions up to `due`, a piece at most.
    fn make(&mut self, due: u64) -> Result<()> {
        let end = self.place.changes.saturating_add(PIECE).min(self.limit.unwrap_or(u64::MAX));
        while self.place.step < due && self.place.changes < end && !self.alter_is_next() {
            let step = self.place.step;
            let changes = self.shop.transaction(step);
            self.push(step, &changes);
            self.place.step += 1;
        }
        self.close_all()
    }

    fn push(&mut self, step: u64, changes: &[Change]) {
        self.text.clear();
        let _ = write!(self.text, "shop-{step}");
        let split = self.text.len();
        let _ = write!(self.text, "1:{step}");
        let (transaction, position) = self.text.split_at(split);
        let commit_micros = self.place.opened_micros + self.shop.micros_after_opening(step);
        let mut ordinals = [0u64; Table::ALL.len()];
        for change in changes {
            let ordinal = &mut ordinals[change.table as usize];
            let first_ordinal = *ordinal;
            *ordinal += 1;
            let Some(index) = self.tables.iter().position(|table| *table == change.table) else { continue };
            let origin =
                Origin { transaction, position, commit_micros, precision: TimePrecision::Micros, first_ordinal };
            self.place.changes += 1;
            match (&change.before, &change.after) {
                (Some(before), Some(after)) => {
                    self.open[index].push(&[(Kind::UpdateBefore, before), (Kind::UpdateAfter, after)], origin);
                }
                (None, Some(after)) => self.open[index].push(&[(Kind::Insert, after)], origin),
                (Some(before), None) => self.open[index].push(&[(Kind::Delete, before)], origin),
                (None, None) => {}
            }
        }
    }

    fn close_all(&mut self) -> Result<()> {
        for open in self.open.iter_mut().filter(|open| !open.is_empty()) {
            self.ready.push_back(open.finish()?);
        }
        self.count();
        Ok(())
    }

    fn count(&mut self) {
        let images: usize = self.ready.iter().map(ChangeBatch::images).sum();
        let open: usize = self.open.iter().map(Open::images).sum();
        self.held.resize((images + open) * IMAGE_BYTES);
    }

    fn announce(&mut self) -> SourceEvent {
        self.announced = true;
        SourceEvent::SchemaChange(SchemaChange {
            before: Some(Table::Customers.schema(false)),
            after: Table::Customers.schema(true),
            statement: ALTER.to_owned(),
            ddl: Default::default(),
        })
    }

    /// The change that was told has been carried through.
    fn pass_alter(&mut self) {
        self.announced = false;
        self.place.altered = true;
        self.open = self.tables.iter().map(|table| Open::new(table.schema(true))).collect();
    }

    /// What can be told without waiting.
    fn at_once(&mut self) -> Result<Option<SourceEvent>> {
        if let Some(batch) = self.ready.pop_front() {
            self.count();
            return Ok(Some(SourceEvent::Batch(batch)));
        }
        if self.place.table >= self.tables.len() && !std::mem::replace(&mut self.told_snapshot_done, true) {
            return Ok(Some(SourceEvent::SnapshotDone));
        }
        let snapshot_done = self.place.table >= self.tables.len();
        let caught_up = snapshot_done && (self.place.step >= self.target || self.has_ended());
        if caught_up && !std::mem::replace(&mut self.told_caught_up, true) {
            return Ok(Some(SourceEvent::CaughtUp));
        }
        if self.has_ended() && snapshot_done {
            return Ok(Some(SourceEvent::End));
        }
        if snapshot_done && self.alter_is_next() {
            return Ok(Some(self.announce()));
        }
        Ok(None)
    }
}

#[async_trait]
impl Reader for ShopReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        if self.announced {
            self.pass_alter();
        }
        loop {
            if let Some(event) = self.at_once()? {
                return Ok(event);
            }
            if self.place.table < self.tables.len() {
                self.read_chunk()?;
                continue;
            }
            let due = if self.shop.rate == 0 { u64::MAX } else { self.due() };
            if self.place.step < due {
                self.make(due)?;
                continue;
            }
            let next = self.place.opened_micros + self.shop.micros_after_opening(self.place.step);
            let wait = u64::try_from(next - self.context.clock.now_micros()).unwrap_or(0);
            let wait = Duration::from_micros(wait).clamp(Duration::from_millis(2), PATIENCE);
            // The only place that waits, and nothing is taken out before it: dropping the future loses nothing.
            tokio::time::sleep(wait).await;
            if self.due() <= self.place.step {
                return Ok(SourceEvent::Idle);
            }
        }
    }

    fn barrier(&mut self, out: &mut Vec<ChangeBatch>) -> Result<Position> {
        self.close_all()?;
        out.extend(self.ready.drain(..));
        self.count();
        Ok(self.place.write(&self.shop))
    }

    fn status(&self) -> SourceStatus {
        let snapshot = self.tables.iter().enumerate().map(|(index, table)| {
            let estimated = self.shop.initial_rows(*table);
            let done = index < self.place.table;
            let rows = if done { estimated } else { self.place.row * u64::from(index == self.place.table) };
            TableProgress { table: table.id(), rows, estimated, done }
        });
        let commit = |step| self.place.opened_micros + self.shop.micros_after_opening(step);
        let last = self.place.step.checked_sub(1).map(commit);
        let late = self.context.clock.now_micros() - commit(self.place.step);
        SourceStatus {
            snapshot: snapshot.collect(),
            disconnected: None,
            last_commit_micros: last,
            lag_micros: Some(if self.shop.rate == 0 { 0 } else { late.max(0) }),
            position: self.place.describe(),
            kept: None,
            not_understood: None,
        }
    }
}
