//! The writing side of a log: append, commit, recover, take back. Blocking, under one lock.
//!
//! Entries are appended to segments and are nothing until a commit record says so. A commit record is written only after
//! every entry before its end has been made durable, so whatever lies behind the last commit is a tail that was never
//! acknowledged and is cut, and whatever is wrong before it is damage and is refused.

mod shorten;
mod write;

use crate::consumers;
use crate::cursor::{Bound, Cursor, Entry};
use crate::disk::{Disk, DiskFile};
use crate::errors::{damaged, fenced, in_use, io_error, sync_error};
use crate::files::{CommitRecord, SEGMENT_MAGIC, bases, commits_name, segment_name};
use crate::found::{Found, Identity, SegmentInfo, read_commits};
use crate::frame::{FileIdentity, FrameHeader};
use dujiang_core::schema::Ddl;
use dujiang_core::{Code, Error, Result, TableId, TableSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that are collected before they are written.
const FLUSH_BYTES: usize = 1 << 20;

/// How large a log may become, and how long it keeps what has been delivered.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A segment that would exceed this is followed by another one.
    pub segment_bytes: u64,
    /// All segments together.
    pub max_bytes: u64,
    /// What has been delivered is kept so long, for replay.
    pub retention: Duration,
}

/// A place behind an entry, as a token names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Who wrote up to there.
    pub generation: u64,
    /// First offset after it.
    pub offset: u64,
    /// The segment.
    pub segment: u64,
    /// The place in the segment.
    pub at: u64,
}

/// What is committed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: u64,
    /// The source's position after it.
    pub position: Vec<u8>,
    /// The same for people.
    pub position_text: String,
    /// Its last entry.
    pub end: End,
}

/// The segment that is written, with what has not reached the file yet.
struct Tail {
    file: Arc<dyn DiskFile>,
    name: String,
    identity: FileIdentity,
    /// Where `buffer` belongs.
    written: u64,
    buffer: Vec<u8>,
}

impl Tail {
    fn at(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// What fails stays in the buffer, and goes to the same place again.
    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let failed = |e| io_error("write to the log", &self.name, e);
            self.file.write_at(&self.buffer, self.written).map_err(failed)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// The commits of the segment that ends last.
struct Journal {
    base: u64,
    file: Arc<dyn DiskFile>,
    length: u64,
}

/// The log, held for writing.
pub struct Store {
    disk: Arc<dyn Disk>,
    limits: Limits,
    identity: Identity,
    log: [u8; 16],
    generation: u64,
    committed: CommitRecord,
    /// The segment of the last commit.
    committed_in: u64,
    segments: Vec<SegmentInfo>,
    /// First offset that is still there.
    next: u64,
    tail: Option<Tail>,
    /// Files with writes that are not durable yet.
    unsynced: Vec<(String, Arc<dyn DiskFile>)>,
    folder_unsynced: bool,
    /// Entries up to here are durable.
    synced: u64,
    /// Whatever lies behind the last commit has been cut.
    clean: bool,
    shapes: BTreeMap<TableId, (u64, Arc<TableSchema>)>,
    /// Changes of shapes since the last epoch: one that comes again is the same one.
    since_epoch: Vec<(TableId, u32, Ddl)>,
    journal: Option<Journal>,
    /// Set for good by a failed fsync.
    broken: bool,
    _lock: Box<dyn Send + Sync>,
}

/// An entry ready to be appended.
pub struct Prepared<'a> {
    /// Its header; offset and generation are filled in.
    pub header: FrameHeader,
    /// Its payload, compressed.
    pub payload: &'a [u8],
}

impl Store {
    /// Opens the log for an instance; makes it if it is missing.
    ///
    /// # Errors
    /// `LogInUse` when another process holds it, `SinkTaken` when it is another pipeline's, `Fenced`; `LogRangeDamaged`.
    pub fn open(disk: Arc<dyn Disk>, limits: Limits, pipeline: &str, lineage: &str, generation: u64) -> Result<Self> {
        let folder = disk.describe("");
        disk.make().map_err(|e| io_error("make the log's folder", &folder, e))?;
        let lock = disk.lock().map_err(|e| io_error("lock the log", &folder, e))?;
        let lock = lock.ok_or_else(|| in_use(&folder))?;
        let identity = match Identity::read(&*disk)? {
            Some(identity) => identity,
            None => Identity::create(&*disk, pipeline, lineage)?,
        };
        let log = identity.number()?;
        let mut store = Self {
            disk,
            limits,
            identity,
            log,
            generation,
            committed: CommitRecord::nothing(),
            committed_in: 0,
            segments: Vec::new(),
            next: 0,
            tail: None,
            unsynced: Vec::new(),
            folder_unsynced: false,
            synced: 0,
            clean: false,
            shapes: BTreeMap::new(),
            since_epoch: Vec::new(),
            journal: None,
            broken: false,
            _lock: lock,
        };
        store.begin(pipeline, lineage, generation)?;
        Ok(store)
    }

    /// Another instance of the same process takes over: what the one before has not committed is gone.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn begin(&mut self, pipeline: &str, lineage: &str, generation: u64) -> Result<()> {
        if self.identity.pipeline != pipeline || self.identity.lineage != lineage {
            return Err(Error::new(Code::SinkTaken, "the log belongs to another pipeline")
                .fact("folder", self.disk.describe(""))
                .fact("it belongs to", format!("{} ({})", self.identity.pipeline, self.identity.lineage))
                .fact("this pipeline is", format!("{pipeline} ({lineage})"))
                .help("give each pipeline a log of its own; exactly one pipeline captures into a log"));
        }
        self.recover()?;
        let known = self.generation.max(self.committed.generation);
        if generation < known {
            return Err(fenced(generation, known));
        }
        self.generation = generation;
        Ok(())
    }

    /// Finds the last commit and what it makes of the log. Changes nothing on the disk.
    fn recover(&mut self) -> Result<()> {
        (self.tail, self.journal, self.clean, self.broken) = (None, None, false, false);
        (self.unsynced, self.folder_unsynced) = (Vec::new(), false);
        let found = Found::read(&self.disk, self.log)?;
        self.segments = found.segments;
        (self.committed, self.committed_in) = match found.last {
            Some((base, record)) => (record, base),
            None => (CommitRecord::nothing(), 0),
        };
        (self.next, self.synced) = (self.committed.end, self.committed.end);
        self.read_shapes()
    }

    fn read_shapes(&mut self) -> Result<()> {
        self.since_epoch.clear();
        self.shapes.clear();
        let bound = self.bound();
        if bound.at == 0 {
            return Ok(());
        }
        let mut cursor = Cursor::at_segment(self.disk.clone(), self.log, bound.segment);
        while let Some(placed) = cursor.pass(&bound)? {
            if let Some(Entry::Schema(change)) = placed.entry
                && placed.header.offset >= self.committed.epoch_end
            {
                self.since_epoch.push((change.after.id.clone(), change.after.version, change.ddl));
            }
        }
        if cursor.next_offset() != self.committed.end {
            return Err(Error::new(Code::Bug, "the log ends elsewhere than its last commit says"));
        }
        self.shapes = cursor.shapes();
        Ok(())
    }

    /// What readers may read.
    pub fn bound(&self) -> Bound {
        Bound { end: self.committed.end, segment: self.committed_in, at: self.committed.at }
    }

    /// The last commit.
    pub fn committed(&self) -> &CommitRecord {
        &self.committed
    }

    /// Whose log it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// Bytes of all segments, the open one as far as it is written.
    pub fn bytes(&self) -> u64 {
        let sealed: u64 = self.segments.iter().map(|s| s.bytes).sum();
        match (&self.tail, self.segments.last()) {
            (Some(tail), Some(last)) => sealed - last.bytes + tail.at(),
            _ => sealed,
        }
    }

    /// The shape of a table at the end of the log, and the entry that told it.
    pub fn shape(&self, id: &TableId) -> Option<&(u64, Arc<TableSchema>)> {
        self.shapes.get(id)
    }

    fn check(&self, generation: u64) -> Result<()> {
        if generation != self.generation {
            return Err(fenced(generation, self.generation));
        }
        if self.broken {
            return Err(Error::new(Code::SyncFailed, "an fsync of the log has failed before")
                .help("check the disk; after the restart everything since the last commit is captured again"));
        }
        Ok(())
    }

    /// Cuts what lies behind the last commit: it was never acknowledged.
    ///
    /// # Errors
    /// As the file system says; `SyncFailed`.
    pub fn cut_tail(&mut self, generation: u64) -> Result<()> {
        self.check(generation)?;
        if self.clean {
            return Ok(());
        }
        let names = self.names()?;
        // Those of consumers belong to the consumers, who may be writing them at this moment.
        for name in names.iter().filter(|name| name.ends_with(".tmp") && !consumers::owns(name)) {
            self.remove(name)?;
        }
        let nothing = self.committed.at == 0;
        let behind = |base: &u64| nothing || *base > self.committed_in;
        for base in bases(&names, ".commits").into_iter().rev().filter(behind) {
            self.remove(&commits_name(base))?;
        }
        for base in bases(&names, ".seg").into_iter().rev().filter(behind) {
            self.remove(&segment_name(base))?;
        }
        self.segments.retain(|segment| !behind(&segment.base));
        if !nothing {
            self.cut_to_commit()?;
        }
        self.sync_folder()?;
        self.clean = true;
        Ok(())
    }

    fn cut_to_commit(&mut self) -> Result<()> {
        let name = segment_name(self.committed_in);
        let described = self.disk.describe(&name);
        let failed = |e| io_error("cut the log's tail", &described, e);
        let file = self.disk.open(&name, false).map_err(failed)?;
        if file.length().map_err(failed)? != self.committed.at {
            file.set_length(self.committed.at).map_err(failed)?;
            file.sync().map_err(|e| self.broke(sync_error(&described, e)))?;
        }
        if let Some(last) = self.segments.last_mut() {
            last.bytes = self.committed.at;
        }
        let identity = FileIdentity { log: self.log, base: self.committed_in, magic: SEGMENT_MAGIC };
        self.tail = Some(Tail { file, name: described, identity, written: self.committed.at, buffer: Vec::new() });
        self.open_journal()
    }

    fn open_journal(&mut self) -> Result<()> {
        let name = commits_name(self.committed_in);
        let described = self.disk.describe(&name);
        let failed = |e| io_error("cut the log's tail", &described, e);
        let commits = read_commits(&*self.disk, self.log, self.committed_in)?
            .ok_or_else(|| damaged(&described, 0..0, "the file with the last commit is gone while the log is open"))?;
        let file = self.disk.open(&name, false).map_err(failed)?;
        if commits.torn {
            file.set_length(commits.good).map_err(failed)?;
            file.sync().map_err(|e| self.broke(sync_error(&described, e)))?;
        }
        self.journal = Some(Journal { base: self.committed_in, file, length: commits.good });
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        self.disk.names().map_err(|e| io_error("list the log's folder", &self.disk.describe(""), e))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.disk.remove(name).map_err(|e| io_error("remove a file of the log", &self.disk.describe(name), e))
    }
}
