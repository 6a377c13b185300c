//! The blocking half of a writer: encodes batches and appends to staged files, on a thread of its own, so that the
//! source goes on reading meanwhile.
//!
//! Encoding cannot fail for the disk's sake, so a batch is taken whole or (by a name or type it cannot have) not at all.
//! What the disk refuses stays in memory and is offered again with the next command, or after a pause; until it is
//! taken, no new batch is, and the end of an epoch waits.

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
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Finished bytes are written when there are this many, so that small row groups share a system call.
const FLUSH_BYTES: usize = 1 << 20;
/// So many closed files may keep their descriptor until the epoch's fsync.
const OPEN_DESCRIPTORS: usize = 32;
/// So often a write is tried again before the end of an epoch fails (R3.7).
const WRITE_RETRIES: u32 = 3;

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
    /// Encoded to the end, not yet written to the end.
    closing: VecDeque<(StagedFile, FileRecord)>,
    /// Written to the end.
    closed: Vec<ClosedFile>,
    held: Held,
    /// Failures in a row of what was tried last.
    failures: u32,
    /// Set for good by a failure that a second try could hide.
    broken: Option<(Code, String)>,
}

impl Lane {
    pub(crate) fn new(
        number: usize,
        config: Arc<FileConfig>,
        context: SinkContext,
        counters: Arc<Counters>,
        shared: Arc<Shared>,
    ) -> Self {
        let folders = Folders::new(&config.path);
        let held = context.budget.hold(0);
        let (backlog, open, closing, closed) = Default::default();
        let (failures, broken) = (0, None);
        Self {
            config,
            folders,
            context,
            counters,
            shared,
            number,
            backlog,
            open,
            closing,
            closed,
            held,
            failures,
            broken,
        }
    }

    /// Takes a batch. An error means that it waits here, and others before it perhaps, until [`Lane::catch_up`] succeeds.
    pub(crate) fn write(&mut self, job: Job) -> Result<()> {
        self.backlog.push_back(Work::Batch(job));
        self.catch_up()
    }

    /// Closes every file and hands all of them over, named for the epoch; on a full disk, when there is space again.
    pub(crate) fn end_epoch(&mut self, cut: Cut) -> Result<()> {
        self.backlog.push_back(Work::Cut(cut));
        self.catch_up()
    }

    /// Does what is left to do.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        let result = self.guard(Self::try_catch_up);
        self.failures = if result.is_err() { self.failures + 1 } else { 0 };
        if let Err(error) = &result
            && self.must_give_up(error)
        {
            self.refuse_cuts(error);
        }
        result
    }

    /// A full disk is waited out; another write that fails is tried again three times; all else is final.
    fn must_give_up(&self, error: &Error) -> bool {
        match error.code() {
            Code::SinkFull => false,
            Code::SinkWrite => self.failures > WRITE_RETRIES,
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
                    self.take(&job)?;
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

    fn take(&mut self, job: &Job) -> Result<()> {
        let lineage = &self.context.identity.lineage;
        for (partition, part) in job.layout.parts(&job.batch, &self.config, lineage)? {
            let table = &job.layout.table;
            let target = (table.id.clone(), table.version, partition);
            self.append(target, &job.layout, part)?;
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
        file.encoder.write(&part.rows)?;
        file.encoder.drain(&mut file.staged.pending);
        file.record.rows += part.rows.num_rows() as u64;
        file.record.first_commit_micros = file.record.first_commit_micros.min(part.first_commit_micros);
        file.record.last_commit_micros = file.record.last_commit_micros.max(part.last_commit_micros);
        if file.encoder.size() >= self.config.roll_size {
            self.close(&target)?;
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
        })
    }

    /// Ends a file's encoding; its bytes may still have to be written.
    fn close(&mut self, target: &Target) -> Result<()> {
        let Some(OpenFile { encoder, mut staged, mut record, partition, .. }) = self.open.remove(target) else {
            return Ok(());
        };
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
        let full = self.open.values_mut().filter(|file| file.staged.waiting() >= FLUSH_BYTES);
        for file in full {
            file.staged.flush()?;
        }
        Ok(())
    }

    /// After an error everything is still here, for the next call.
    fn cut(&mut self, epoch: Epoch) -> Result<Vec<ClosedFile>> {
        let targets: Vec<Target> = self.open.keys().cloned().collect();
        for target in &targets {
            self.close(target)?;
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

    /// Closes the file that holds most memory.
    pub(crate) fn spill(&mut self) -> Result<()> {
        self.guard(|lane| {
            let largest = lane.open.iter().max_by_key(|(_, file)| file.memory());
            largest.map(|(target, _)| target.clone()).map_or(Ok(()), |target| lane.close(&target))
        })?;
        self.catch_up()
    }

    fn publish_figures(&mut self) {
        let open: usize = self.open.values().map(OpenFile::memory).sum();
        let closing: usize = self.closing.iter().map(|(staged, _)| staged.pending.capacity()).sum();
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
        self.encoder.memory() + self.staged.pending.capacity()
    }
}
