//! The log against a model of it: append, sync, commit, change shapes, crash anywhere, reopen, withdraw, acknowledge, trim,
//! full disks. After every step that a reader could see, the log holds what the model holds.
//!
//! `DUJIANG_SEED` replays one case; `DUJIANG_LOG_CASES` sets how many there are (10,000 by default).

use crate::support::{rows, table};
use crate::virtual_disk::VirtualDisk;
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::{ChangeBatch, Code, Error, Result, TableSchema};
use dujiang_log::inspect::View;
use dujiang_log::{Codec, Disk, Encoder, End, Entry, EpochEnd, Limits, Store};
use dujiang_testkit::memory::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const LINEAGE: &str = "00000000000000aa";
const STEPS: u64 = 28;
/// Kinds of steps; each must have happened many times over all cases.
const KINDS: [&str; 10] =
    ["append", "commit", "schema", "crash", "die", "reopen", "withdraw", "ack", "full", "refused"];

/// What the log must hold.
#[derive(Clone)]
struct Model {
    /// Committed entries, by offset.
    entries: Vec<Entry>,
    /// Offsets before this one may be gone.
    consumer: Option<u64>,
    epoch: u64,
    /// Epoch -> entries committed with it and before.
    epochs: Vec<(u64, usize)>,
    shape: Arc<TableSchema>,
}

struct Case {
    disk: VirtualDisk,
    store: Option<Store>,
    encoder: Encoder,
    rng: Rng,
    model: Model,
    /// Appended and not committed.
    open: Vec<Entry>,
    generation: u64,
    next_id: i64,
    now: i64,
    counts: [u64; KINDS.len()],
}

fn limits() -> Limits {
    Limits { segment_bytes: 4096, max_bytes: 12 << 10, retention: Duration::from_secs(100) }
}

impl Case {
    fn new(seed: u64) -> Result<Self> {
        let disk = VirtualDisk::default();
        let model = Model { entries: Vec::new(), consumer: None, epoch: 0, epochs: vec![(0, 0)], shape: table("t") };
        let mut rng = Rng::new(seed);
        let codec = [Codec::None, Codec::Lz4, Codec::Zstd][rng.below(3) as usize];
        let mut case = Self {
            disk,
            store: None,
            encoder: Encoder::new(codec)?,
            rng,
            model,
            open: Vec::new(),
            generation: 0,
            next_id: 1,
            now: 1_000_000,
            counts: [0; KINDS.len()],
        };
        case.reopen()?;
        Ok(case)
    }

    fn count(&mut self, kind: &str) {
        self.counts[KINDS.iter().position(|known| *known == kind).expect("a known kind")] += 1;
    }

    fn reopen(&mut self) -> Result<()> {
        self.store = None;
        self.open.clear();
        self.generation += 1;
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        self.store = Some(Store::open(disk, limits(), "p", LINEAGE, self.generation)?);
        if self.store().committed().end != 0 || !self.model.entries.is_empty() {
            return Ok(());
        }
        let (after, statement) = (self.model.shape.clone(), String::new());
        let change = SchemaChange { before: None, after, statement, ddl: Ddl::default() };
        self.again(|case| case.change_shape(change.clone())).map(|_| ())
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("the log is open")
    }

    fn batch(&mut self) -> ChangeBatch {
        let most = if self.rng.chance(100) { 300 } else { 6 };
        let count = 1 + self.rng.below(most) as i64;
        let ids: Vec<i64> = (self.next_id..self.next_id + count).collect();
        self.next_id += count;
        rows(&self.model.shape, &ids)
    }

    fn append(&mut self) -> Result<()> {
        let batch = self.batch();
        let (generation, now) = (self.generation, self.now);
        let shape = self.store().shape(&batch.schema.id).expect("the shape has been told").0;
        let entry = self.encoder.batch(shape, &batch, false)?;
        let store = self.store.as_mut().expect("the log is open");
        store.append(generation, &entry, now)?;
        self.open.push(Entry::Batch(batch));
        Ok(())
    }

    fn end(&mut self) -> Result<End> {
        let generation = self.generation;
        self.store().sync(generation)
    }

    fn commit(&mut self, end: End) -> Result<()> {
        let epoch = self.model.epoch + 1;
        let (generation, now) = (self.generation, self.now);
        let position_text = epoch.to_string();
        let end = EpochEnd { epoch, position: position_text.clone().into_bytes(), position_text, end };
        self.store().commit(generation, &end, now)
    }

    fn committed(&mut self, end: End) {
        let taken = end.offset as usize - self.model.entries.len();
        self.model.entries.extend(self.open.drain(..taken));
        self.model.epoch += 1;
        self.model.epochs.push((self.model.epoch, self.model.entries.len()));
    }

    fn next_shape(&mut self) -> SchemaChange {
        let before = self.model.shape.clone();
        let version = before.version + 1;
        let mut fields = before.arrow.fields().to_vec();
        fields.push(Arc::new(Field::new(format!("c{version}"), DataType::Int64, true)));
        let after = Arc::new(TableSchema { version, arrow: Arc::new(Schema::new(fields)), ..(*before).clone() });
        let statement = format!("ALTER TABLE t ADD c{version} BIGINT");
        SchemaChange { before: Some(before), after, statement, ddl: Ddl::default() }
    }

    fn change_shape(&mut self, change: SchemaChange) -> Result<()> {
        let (generation, now) = (self.generation, self.now);
        self.store().change_shapes(generation, std::slice::from_ref(&change), now)?;
        self.shape_changed(change);
        Ok(())
    }

    fn shape_changed(&mut self, change: SchemaChange) {
        self.model.shape = change.after.clone();
        self.model.entries.push(Entry::Schema(change));
        if let Some(last) = self.model.epochs.last_mut() {
            last.1 = self.model.entries.len();
        }
    }

    /// Whatever happens in one step; an error means that the power failed.
    fn step(&mut self) -> Result<()> {
        self.now += self.rng.below(50_000_000) as i64;
        if self.rng.chance(40) {
            let writes = self.rng.below(3);
            self.disk.full_in(writes);
            self.count("full");
        }
        match self.rng.below(100) {
            0..45 => self.again(|case| case.append()).map(|done| {
                if done.is_some() {
                    self.count("append");
                }
            }),
            45..65 => self.commit_step(),
            65..72 if self.open.is_empty() => self.schema_step(),
            72..80 => {
                self.count("reopen");
                self.reopen()?;
                self.compare("reopened")
            }
            80..90 => self.ack_step(),
            90..96 => self.withdraw_step(),
            _ => Ok(()),
        }
    }

    /// Tries again what a full disk refused; `None` when the log itself is full.
    fn again<T>(&mut self, mut work: impl FnMut(&mut Self) -> Result<T>) -> Result<Option<T>> {
        loop {
            match work(self) {
                Ok(done) => return Ok(Some(done)),
                Err(error) if error.code() == Code::SinkFull && !self.disk.is_dead() => {}
                Err(error) if error.code() == Code::LogFull => {
                    self.count("refused");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn commit_step(&mut self) -> Result<()> {
        let Some(end) = self.again(Self::end)? else { return Ok(()) };
        if self.open.is_empty() {
            return Ok(());
        }
        // What comes after the end belongs to the next epoch.
        if self.rng.chance(500) {
            self.again(|case| case.append())?;
        }
        if let Err(error) = self.again(|case| case.commit(end)) {
            // The outcome is unknown: the log says which it was.
            self.lost_in(Lost::Commit(end), error)?;
            return Ok(());
        }
        self.committed(end);
        self.count("commit");
        if self.rng.chance(200) {
            self.commit_again(end)?;
        }
        self.compare("committed")
    }

    fn commit_again(&mut self, end: End) -> Result<()> {
        self.model.epoch -= 1;
        let again = self.commit(end);
        self.model.epoch += 1;
        again
    }

    fn schema_step(&mut self) -> Result<()> {
        let change = self.next_shape();
        let repeated = change.clone();
        let (generation, now) = (self.generation, self.now);
        let told = |case: &mut Self| case.store().change_shapes(generation, std::slice::from_ref(&change), now);
        match self.again(told) {
            Ok(None) => {}
            Ok(Some(())) => {
                self.shape_changed(repeated.clone());
                // Idempotent: a crash between two epochs brings the same change again.
                self.store().change_shapes(generation, &[repeated], now)?;
                self.count("schema");
            }
            Err(error) => self.lost_in(Lost::Schema(repeated), error)?,
        }
        self.compare("changed its shape")
    }

    fn ack_step(&mut self) -> Result<()> {
        self.count("ack");
        let end = self.model.entries.len() as u64;
        let from = self.model.consumer.unwrap_or(0);
        let offset = from + self.rng.below(end - from + 1);
        let disk = self.disk.clone();
        self.again(|case| crate::support::acknowledge(&disk, offset, case.now))?;
        self.model.consumer = Some(offset);
        let now = self.now;
        let trimmed = self.again(|case| case.store().trim(now, 0));
        trimmed?;
        self.compare("trimmed")
    }

    fn withdraw_step(&mut self) -> Result<()> {
        let back = self.rng.below(4);
        let epoch = self.model.epoch.saturating_sub(back);
        let generation = self.generation;
        match self.again(|case| case.store().withdraw_after(generation, epoch)) {
            Err(error) if error.code() == Code::NotSupported => return self.compare("refused to go back"),
            other => other?,
        };
        self.count("withdraw");
        let known = self.model.epochs.iter().rposition(|(known, _)| *known <= epoch).expect("epoch 0 is known");
        if epoch < self.model.epoch {
            self.model.epochs.truncate(known + 1);
            let (epoch, entries) = self.model.epochs[known];
            self.model.epoch = epoch;
            self.model.entries.truncate(entries);
            self.open.clear();
            let shapes = self.model.entries.iter().rev();
            let last =
                shapes.filter_map(|e| if let Entry::Schema(change) = e { Some(&change.after) } else { None }).next();
            self.model.shape = last.cloned().unwrap_or_else(|| table("t"));
        }
        self.compare("went back")
    }

    /// The power failed during a step whose outcome only the log knows.
    fn lost_in(&mut self, lost: Lost, error: Error) -> Result<()> {
        if !self.disk.is_dead() {
            return Err(error);
        }
        self.count("die");
        self.store = None;
        self.disk.crash(&mut self.rng);
        let open = std::mem::take(&mut self.open);
        self.generation += 1;
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let store = Store::open(disk, limits(), "p", LINEAGE, self.generation)?;
        let committed = store.committed().clone();
        self.store = Some(store);
        match lost {
            Lost::Commit(end) if committed.epoch == self.model.epoch + 1 => {
                self.open = open;
                self.committed(end);
                self.open.clear();
            }
            Lost::Schema(change) if committed.end as usize > self.model.entries.len() => self.shape_changed(change),
            _ => {}
        }
        self.compare("came back")
    }

    /// What a reader finds is what the model holds, from the first entry that may still be there.
    fn compare(&mut self, when: &str) -> Result<()> {
        let wrong = |what: String| Err(Error::new(Code::Bug, format!("{when}: {what}")));
        let view = View::on(Arc::new(self.disk.clone()))?;
        let offsets = view.offsets();
        if offsets.end != self.model.entries.len() as u64 {
            return wrong(format!("it ends at {}, not at {}", offsets.end, self.model.entries.len()));
        }
        if offsets.start > self.model.consumer.unwrap_or(0) {
            return wrong(format!("it begins at {}, but somebody is at {:?}", offsets.start, self.model.consumer));
        }
        let mut next = offsets.start;
        view.each(offsets.start, |placed| {
            let expected = &self.model.entries[next as usize];
            if placed.header.offset != next || placed.entry.as_ref() != Some(expected) {
                return Err(Error::new(Code::Bug, format!("{when}: offset {next} differs")));
            }
            next += 1;
            Ok(true)
        })?;
        if next != offsets.end {
            return wrong(format!("entries end at {next}"));
        }
        Ok(())
    }

    fn crash(&mut self) -> Result<()> {
        self.count("crash");
        self.store = None;
        self.disk.crash(&mut self.rng);
        self.reopen()?;
        self.compare("crashed")
    }
}

enum Lost {
    Commit(End),
    Schema(SchemaChange),
}

fn play(seed: u64) -> Result<[u64; KINDS.len()]> {
    let mut case = Case::new(seed)?;
    for _ in 0..STEPS {
        if case.rng.chance(60) {
            case.crash()?;
        }
        if case.rng.chance(80) {
            let changes = case.rng.below(12);
            case.disk.die_in(changes);
        }
        if let Err(error) = case.step() {
            if !case.disk.is_dead() {
                return Err(error);
            }
            case.count("die");
            // Not in a commit, so nothing that readers see has changed, unless a withdrawal was on its way.
            case.settle_after_death()?;
        }
    }
    let problems = View::on(Arc::new(case.disk.clone()))?.verify().problems;
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(case.counts),
    }
}

impl Case {
    /// After a power failure in a step other than a commit: the log is where it was, or where a withdrawal led.
    fn settle_after_death(&mut self) -> Result<()> {
        self.store = None;
        self.disk.crash(&mut self.rng);
        self.generation += 1;
        self.open.clear();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let store = Store::open(disk, limits(), "p", LINEAGE, self.generation)?;
        let (end, epoch) = (store.committed().end as usize, store.committed().epoch);
        self.store = Some(store);
        self.model.consumer = crate::support::acknowledged(&self.disk)?;
        if end < self.model.entries.len() {
            // A withdrawal that was under way; its epoch is a known one.
            let known = self.model.epochs.iter().rposition(|(known, n)| *known == epoch && *n >= end);
            let Some(known) = known else {
                return Err(Error::new(Code::Bug, format!("a crash left epoch {epoch} with {end} entries")));
            };
            self.model.epochs.truncate(known + 1);
            self.model.entries.truncate(end);
            self.model.epochs[known].1 = end;
            self.model.epoch = epoch;
            let shapes = self.model.entries.iter().rev();
            let last =
                shapes.filter_map(|e| if let Entry::Schema(change) = e { Some(&change.after) } else { None }).next();
            self.model.shape = last.cloned().unwrap_or_else(|| table("t"));
        }
        if self.model.entries.is_empty() {
            return self.reopen();
        }
        self.compare("came back")
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn p03_the_log_is_its_model_under_crashes_and_faults() {
    let seeds = match number("DUJIANG_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DUJIANG_LOG_CASES").unwrap_or(10_000),
    };
    let one = seeds.end - seeds.start == 1;
    let next = AtomicU64::new(seeds.start);
    let totals: Vec<AtomicU64> = KINDS.iter().map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let counts = play(seed).unwrap_or_else(|error| panic!("DUJIANG_SEED={seed}: {error:?}"));
                    totals.iter().zip(counts).for_each(|(total, count)| {
                        total.fetch_add(count, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    let totals: Vec<(&str, u64)> = KINDS.into_iter().zip(totals.iter().map(|t| t.load(Ordering::Relaxed))).collect();
    println!("{totals:?}");
    assert!(one || totals.iter().all(|(_, count)| *count > 100), "a kind of step is too rare: {totals:?}");
}
