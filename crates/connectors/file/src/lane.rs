//! The blocking half of a writer: encodes batches and appends to staged files, on a thread of its own, so that the
//! source goes on reading meanwhile.
//!
//! Encoding cannot fail for the disk's sake, so a batch is taken whole or (by a name or type it cannot have) not at all.
//! What the disk refuses stays in memory and is offered again after a pause, or when the engine asks; until it is taken,
//! no new batch is, and the end of an epoch waits. Only tries that lie a pause apart count against the end of an epoch:
//! what waits in the queue says nothing about the disk.

use crate::config::FileConfig;
use crate::encoder::Encoder;
use crate::metadata::{Layout, Part};
use crate::names::{FileName, Partition, partition_folder, table_folder};
use crate::records::{FileRecord, Folders};
use crate::shared::{Counters, Shared};
use crate::staged::{ClosedFile, StagedFile};
use dujiang_core::budget::Held;
use dujiang_core::schema::TableId;
use dujiang_core::sink::SinkContext;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Finished bytes are written when there are this many, so that small row groups share a system call.
const FLUSH_BYTES: usize = 1 << 20;
/// So many closed files may keep their descriptor until the epoch's fsync.
const OPEN_DESCRIPTORS: usize = 32;

/// One batch on its way into files.
pub(crate) struct Job {
    pub(crate) batch: ChangeBatch,
    pub(crate) layout: Arc<Layout>,
    /// Counts the batch against the pipeline's budget while it waits.
    pub(crate) _held: Held,
}

/// The end of an epoch on its way: what was sent before it belongs to the epoch, what comes after does not.
pub(crate) struct Cut {
    pub(crate) epoch: Epoch,
    /// Takes the epoch's files, or why there are none.
    pub(crate) reply: oneshot::Sender<Result<Vec<ClosedFile>>>,
}

enum Work {
    Batch(Job),
    Cut(Cut),
}

/// Where rows go: one file is open per table, schema version and partition.
type Target = (TableId, u32, Partition);

struct OpenFile {
    encoder: Encoder,
    staged: StagedFile,
    opened_micros: i64,
    record: FileRecord,
    partition: Partition,
    /// Bytes as they are part of the lane's sum.
    counted: usize,
}

/// What the disk refused, and since when.
struct Stuck {
    /// The last error, without its source.
    error: Error,
    /// Failed writes that lie a pause apart; a full disk does not count, it is waited out.
    failures: u32,
    /// When the last one that counts was.
    counted: Instant,
    /// When the last try was.
    tried: Instant,
}

/// The state of one lane.
pub(crate) struct Lane {
    config: Arc<FileConfig>,
    folders: Folders,
    context: SinkContext,
    counters: Arc<Counters>,
    shared: Arc<Shared>,
    number: usize,
    /// Not yet done, in the order it was sent.
    backlog: VecDeque<Work>,
    open: BTreeMap<Target, OpenFile>,
    /// What all of them hold: thousands are not asked for every batch.
    open_bytes: usize,
    /// Those whose finished bytes are due to be written.
    due: BTreeSet<Target>,
    /// Encoded to the end, not yet written to the end.
    closing: VecDeque<(StagedFile, FileRecord)>,
    /// Written to the end.
    closed: Vec<ClosedFile>,
    held: Held,
    stuck: Option<Stuck>,
    /// Set for good by a failure that a second try could hide.
    broken: Option<(Code, String)>,
}

impl Lane {
    pub(crate) fn new(number: usize, config: Arc<FileConfig>, context: SinkContext, counters: Arc<Counters>) -> Self {
        let shared = Arc::default();
        let folders = Folders::new(&config.path);
        let held = context.budget.hold(0);
        let (backlog, open, due, closing, closed) = Default::default();
        let (stuck, broken) = (None, None);
        Self {
            config,
            folders,
            context,
            counters,
            shared,
            number,
            backlog,
            open,
            open_bytes: 0,
            due,
            closing,
            closed,
            held,
            stuck,
            broken,
        }
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// What others see of this lane.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Takes a batch. An error means that it waits here, and others before it perhaps, until [`Lane::catch_up`] succeeds.
    pub(crate) fn write(&mut self, job: Job) -> Result<()> {
        self.backlog.push_back(Work::Batch(job));
        self.work_off()
    }

    /// Closes every file and hands all of them over, named for the epoch; on a full disk, when there is space again.
    pub(crate) fn end_epoch(&mut self, cut: Cut) -> Result<()> {
        self.backlog.push_back(Work::Cut(cut));
        self.work_off()
    }

    /// What is left of the pause before the next try; `None` when nothing waits for one.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.stuck.as_ref().map(|stuck| self.context.retries.pause.saturating_sub(stuck.tried.elapsed()))
    }

    /// Does what is left to do, unless the disk has just refused some of it.
    fn work_off(&mut self) -> Result<()> {
        match (&self.stuck, self.pause()) {
            (Some(stuck), Some(left)) if !left.is_zero() => Err(again(&stuck.error)),
            _ => self.catch_up(),
        }
    }

    /// Does what is left to do.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        let result = self.guard(Self::try_catch_up);
        match &result {
            Ok(()) => self.stuck = None,
            Err(error) => {
                self.note_failure(error);
                if self.must_give_up(error) {
                    self.refuse_cuts(error);
                }
            }
        }
        result
    }

    fn note_failure(&mut self, error: &Error) {
        let now = Instant::now();
        let mut next = Stuck { error: again(error), failures: 0, counted: now, tried: now };
        if error.code() == Code::SinkWrite {
            let before = self.stuck.as_ref().filter(|stuck| stuck.failures > 0);
            let counts = before.is_none_or(|stuck| now.duration_since(stuck.counted) >= self.context.retries.pause);
            (next.failures, next.counted) = match before {
                Some(stuck) if !counts => (stuck.failures, stuck.counted),
                before => (before.map_or(0, |stuck| stuck.failures) + 1, now),
            };
        }
        self.stuck = Some(next);
    }

    /// A full disk is waited out; another write that fails is tried again as often as the
    /// pipeline says (R3.7); all else is final.
    fn must_give_up(&self, error: &Error) -> bool {
        match error.code() {
            Code::SinkFull => false,
            Code::SinkWrite => self.stuck.as_ref().is_some_and(|stuck| stuck.failures > self.context.retries.attempts),
            _ => true,
        }
    }

    /// Tells those who wait for the end of an epoch why there is none. What is written stays for a later try.
    fn refuse_cuts(&mut self, error: &Error) {
        for work in std::mem::take(&mut self.backlog) {
            match work {
                Work::Batch(job) => self.backlog.push_back(Work::Batch(job)),
                // Whoever asked may be gone.
                Work::Cut(cut) => drop(cut.reply.send(Err(again(error)))),
            }
        }
    }

    /// Only what the disk refused to take may be tried again. After any other failure (a row half encoded, an fsync)
    /// a second try could succeed without the data, so the lane never works again.
    fn guard<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if let Some((code, message)) = &self.broken {
            return Err(Error::new(*code, message.clone()));
        }
        let result = work(self);
        if let Err(error) = &result
            && !matches!(error.code(), Code::SinkFull | Code::SinkWrite | Code::SinkNotWritable)
        {
            self.broken = Some((error.code(), error.message().to_owned()));
        }
        self.publish_figures();
        result
    }

    fn try_catch_up(&mut self) -> Result<()> {
        self.flush()?;
        while let Some(work) = self.backlog.pop_front() {
            match work {
                Work::Batch(job) => {
                    self.take(job)?;
                    self.flush()?;
                }
                Work::Cut(cut) => match self.cut(cut.epoch) {
                    Ok(files) => {
                        // Before the answer: whoever gets it finds the epoch's bytes given back.
                        self.publish_figures();
                        // Whoever asked may be gone.
                        drop(cut.reply.send(Ok(files)));
                    }
                    Err(error) => {
                        self.backlog.push_front(Work::Cut(cut));
                        return Err(error);
                    }
                },
            }
        }
        Ok(())
    }

    fn take(&mut self, job: Job) -> Result<()> {
        let Job { batch, layout, _held } = job;
        let parts = layout.parts(&batch, &self.config, &self.context.identity.lineage)?;
        // An encoder may let go of a column as soon as it is done with it.
        drop(batch);
        for (partition, part) in parts {
            let target = (layout.table.id.clone(), layout.table.version, partition);
            self.append(target, &layout, part)?;
        }
        Ok(())
    }

    fn append(&mut self, target: Target, layout: &Layout, part: Part) -> Result<()> {
        let now = self.context.clock.now_micros();
        let too_old = self.config.roll_age.as_micros() as i64;
        if self.open.get(&target).is_some_and(|file| now.saturating_sub(file.opened_micros) >= too_old) {
            self.close(&target)?;
        }
        if !self.open.contains_key(&target) {
            let file = self.begin(&target, layout, now, &part)?;
            self.open.insert(target.clone(), file);
        }
        let Some(file) = self.open.get_mut(&target) else { return Ok(()) };
        file.record.rows += part.rows.num_rows() as u64;
        file.record.first_commit_micros = file.record.first_commit_micros.min(part.first_commit_micros);
        file.record.last_commit_micros = file.record.last_commit_micros.max(part.last_commit_micros);
        file.encoder.write(part.rows)?;
        file.encoder.drain(&mut file.staged.pending);
        file.recount(&mut self.open_bytes);
        if file.encoder.size() >= self.config.roll_size {
            self.close(&target)?;
        } else if file.staged.waiting() >= FLUSH_BYTES {
            self.due.insert(target);
        }
        Ok(())
    }

    fn begin(&self, target: &Target, layout: &Layout, now: i64, part: &Part) -> Result<OpenFile> {
        let (table, version, partition) = target;
        let number = self.counters.next_staged();
        let name_micros = self.counters.name_time(now);
        let generation = self.context.generation.0;
        let name = format!("g{generation:010}-l{:02}-{name_micros:016}-{number:08}.staged", self.number);
        let record = FileRecord {
            staged: format!(".dujiang/staged/{name}"),
            file: String::new(),
            database: table.database.to_string(),
            table: table.table.to_string(),
            version: *version,
            rows: 0,
            bytes: 0,
            crc32c: String::new(),
            first_commit_micros: part.first_commit_micros,
            last_commit_micros: part.last_commit_micros,
            name_micros,
        };
        Ok(OpenFile {
            encoder: Encoder::new(&self.config, &layout.arrow)?,
            staged: StagedFile::new(&self.folders.staged(), &name),
            opened_micros: now,
            record,
            partition: *partition,
            counted: 0,
        })
    }

    /// Ends a file's encoding; its bytes may still have to be written.
    fn close(&mut self, target: &Target) -> Result<()> {
        let Some(OpenFile { encoder, mut staged, mut record, partition, counted, .. }) = self.open.remove(target)
        else {
            return Ok(());
        };
        self.open_bytes -= counted;
        self.due.remove(target);
        encoder.finish(&mut staged.pending)?;
        // The folder for now; the name's other parts are known when the epoch ends.
        record.file = format!("{}/{}", table_folder(&target.0), partition_folder(self.config.partition_by, partition));
        self.closing.push_back((staged, record));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        while let Some((staged, _)) = self.closing.front_mut() {
            staged.flush()?;
            let Some((staged, record)) = self.closing.pop_front() else { break };
            let mut file = ClosedFile::new(staged, record);
            if self.closed.len() >= OPEN_DESCRIPTORS {
                file.sync()?;
            }
            self.shared.add_file(file.record.bytes);
            self.closed.push(file);
        }
        while let Some(target) = self.due.first() {
            if let Some(file) = self.open.get_mut(target) {
                file.staged.flush()?;
                file.recount(&mut self.open_bytes);
            }
            self.due.pop_first();
        }
        Ok(())
    }

    /// After an error everything is still here, for the next call.
    fn cut(&mut self, epoch: Epoch) -> Result<Vec<ClosedFile>> {
        // One after the other: the ends of thousands of files are not in memory at once.
        while let Some(target) = self.open.keys().next().cloned() {
            self.close(&target)?;
            self.flush()?;
        }
        self.flush()?;
        let mut files = std::mem::take(&mut self.closed);
        files.sort_by_key(|file| file.record.name_micros);
        for (index, file) in files.iter_mut().enumerate() {
            let record = &mut file.record;
            let name = FileName {
                micros: record.name_micros,
                epoch,
                lane: self.number,
                sequence: index + 1,
                version: record.version,
            };
            record.file.push_str(&name.render(self.config.extension()));
        }
        Ok(files)
    }

    /// Closes the files that hold most memory, until an eighth of it is free: one, or hundreds of thousands.
    pub(crate) fn spill(&mut self) -> Result<()> {
        self.guard(|lane| {
            let mut files: Vec<_> = lane.open.iter().map(|(target, file)| (file.counted, target.clone())).collect();
            files.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            let enough = lane.open_bytes - lane.open_bytes / 8;
            for (_, target) in files {
                if lane.open_bytes <= enough && lane.open_bytes > 0 {
                    break;
                }
                lane.close(&target)?;
            }
            Ok(())
        })?;
        self.catch_up()
    }

    fn publish_figures(&mut self) {
        let open = self.open_bytes;
        let closing: usize = self.closing.iter().map(|(staged, _)| staged.pending.memory()).sum();
        self.held.resize(open + closing);
        self.shared.set_buffered(open);
    }
}

/// The same error once more; its source stays with the first.
fn again(error: &Error) -> Error {
    let facts = error.facts().iter().cloned();
    let copy = facts.fold(Error::new(error.code(), error.message()), |copy, (name, value)| copy.fact(name, value));
    match error.help_text() {
        Some(help) => copy.help(help),
        None => copy,
    }
}

impl OpenFile {
    fn memory(&self) -> usize {
        self.encoder.memory() + self.staged.pending.memory()
    }

    /// Counts its bytes anew as a part of the lane's `sum`.
    fn recount(&mut self, sum: &mut usize) {
        *sum -= self.counted;
        self.counted = self.memory();
        *sum += self.counted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field};
    use dujiang_core::batch::TimePrecision;
    use dujiang_core::budget::Budget;
    use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity};
    use dujiang_core::clock::Standing;
    use dujiang_core::options::{Place, RawOption};
    use dujiang_core::sink::Retries;
    use dujiang_core::{Kind, Origin, Origins, TableSchema};
    use std::path::Path;

    fn lane(path: &Path, retries: Retries) -> Lane {
        let raw = [("path", path.display().to_string()), ("format", "json".to_owned())]
            .map(|(key, value)| RawOption::new(key, value, Place::CommandLine));
        let config = Arc::new(FileConfig::parse(&raw).unwrap());
        let context = SinkContext {
            identity: PipelineIdentity { name: "orders".into(), lineage: Lineage("aa".into()) },
            generation: Generation(1),
            clock: Arc::new(Standing(1_700_000_000_000_000)),
            budget: Budget::new(1 << 20),
            retries,
        };
        Lane::new(0, config, context, Arc::default())
    }

    fn job(lane: &Lane, id: i64) -> Job {
        let table =
            TableSchema::by_value(TableId::new("shop", "t"), vec![Field::new("id", DataType::Int64, false)], vec![0]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![id]))];
        let rows = RecordBatch::try_new(table.arrow.clone(), columns).unwrap();
        let origin = Origin {
            transaction: "0-1-99",
            position: "bin.000001:4",
            commit_micros: 1_700_000_000_000_000,
            precision: TimePrecision::Seconds,
            first_ordinal: 0,
        };
        let mut origins = Origins::default();
        origins.push(1, origin);
        let batch = ChangeBatch::new(table.clone(), rows, vec![Kind::Insert], origins).unwrap();
        let layout = Arc::new(Layout::new(&table, &lane.config).unwrap());
        Job { batch, layout, _held: lane.context.budget.hold(0) }
    }

    /// A lane whose folder is away, asked to end an epoch of one row.
    fn stuck(path: &Path, retries: Retries) -> (Lane, oneshot::Receiver<Result<Vec<ClosedFile>>>) {
        let mut lane = lane(path, retries);
        let first = job(&lane, 1);
        lane.write(first).expect("one row stays in memory");
        let (reply, answer) = oneshot::channel();
        let refused = lane.end_epoch(Cut { epoch: Epoch(1), reply }).unwrap_err();
        assert_eq!(refused.code(), Code::SinkWrite);
        let hide = path.display().to_string();
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &refused, &[(&hide, "<folder>")]);
        (lane, answer)
    }

    #[test]
    fn what_waits_in_the_queue_is_no_try() {
        let folder = tempfile::tempdir().unwrap();
        let (mut lane, mut answer) =
            stuck(folder.path(), Retries { pause: Duration::from_secs(3600), ..Retries::default() });
        for id in 2..50 {
            let next = job(&lane, id);
            assert_eq!(lane.write(next).unwrap_err().code(), Code::SinkWrite);
            // Whoever asks gets a real try, but none that counts.
            assert_eq!(lane.catch_up().unwrap_err().code(), Code::SinkWrite);
        }
        assert!(answer.try_recv().is_err(), "the end of the epoch still waits");
        std::fs::create_dir_all(folder.path().join(".dujiang/staged")).unwrap();
        lane.catch_up().unwrap();
        let files = answer.try_recv().unwrap().unwrap();
        assert_eq!((files.len(), files[0].record.rows), (1, 1), "the epoch has its row and no later one");
    }

    #[test]
    fn as_many_tries_as_were_asked_for_end_the_wait() {
        for attempts in [1, 3, 7] {
            let folder = tempfile::tempdir().unwrap();
            let (mut lane, mut answer) = stuck(folder.path(), Retries { attempts, pause: Duration::ZERO });
            for _ in 1..attempts {
                lane.catch_up().unwrap_err();
                assert!(answer.try_recv().is_err(), "fewer than {attempts} more tries are not enough");
            }
            lane.catch_up().unwrap_err();
            assert_eq!(answer.try_recv().unwrap().err().map(|e| e.code()), Some(Code::SinkWrite));
        }
    }

    #[test]
    fn a_full_disk_never_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut lane = lane(folder.path(), Retries { pause: Duration::ZERO, ..Retries::default() });
        for _ in 0..20 {
            lane.note_failure(&Error::new(Code::SinkFull, "cannot write a file"));
            assert!(!lane.must_give_up(&Error::new(Code::SinkFull, "cannot write a file")));
        }
        lane.note_failure(&Error::new(Code::SinkWrite, "cannot write a file"));
        assert!(
            !lane.must_give_up(&Error::new(Code::SinkWrite, "cannot write a file")),
            "this is the first that counts"
        );
    }
}
