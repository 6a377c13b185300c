//! Looking at a log without changing it, for people and scripts. Blocking.

use crate::consumers;
pub use crate::consumers::{Consumer, read_all as consumers, write as acknowledge};
use crate::cursor::{Cursor, Placed};
use crate::disk::{Disk, Folder};
use crate::files::{CommitRecord, commits_name};
use crate::found::{Found, SegmentInfo, read_commits};
use crate::place::{Seen, look_at};
use dujiang_core::{Code, Error, Result};
use std::path::Path;
use std::sync::Arc;

/// A log that is looked at. What is committed later is not seen.
pub struct View {
    disk: Arc<dyn Disk>,
    seen: Seen,
}

/// What a log holds, in figures.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The pipeline that captures into it.
    pub pipeline: String,
    /// Its lineage.
    pub lineage: String,
    /// Oldest offset that is still there.
    pub first: u64,
    /// First offset that is not committed.
    pub end: u64,
    /// The last commit.
    pub committed: CommitRecord,
    /// The segments, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// Who reads it.
    pub consumers: Vec<Consumer>,
}

/// What a whole reading found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Entries read.
    pub entries: u64,
    /// Images in them.
    pub images: u64,
    /// Commit records read.
    pub commits: u64,
    /// Everything that is damaged, with its range.
    pub problems: Vec<Error>,
}

impl View {
    /// Opens a log's folder.
    ///
    /// # Errors
    /// `LogMissing`; `LogRangeDamaged` when not even its end is known.
    pub fn open(path: &Path) -> Result<Self> {
        Self::on(Arc::new(Folder::new(path)))
    }

    /// As [`View::open`], on any disk.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn on(disk: Arc<dyn Disk>) -> Result<Self> {
        let seen = look_at(&disk)?.ok_or_else(|| {
            Error::new(Code::LogMissing, "there is no log in this folder")
                .fact("folder", disk.describe(""))
                .help("check `log.path`; the log is made by the pipeline that captures into it")
        })?;
        Ok(Self { disk, seen })
    }

    /// Figures.
    ///
    /// # Errors
    /// `LogRangeDamaged`.
    pub fn summary(&self) -> Result<Summary> {
        let found = Found::read(&self.disk, self.seen.log)?;
        Ok(Summary {
            pipeline: self.seen.identity.pipeline.clone(),
            lineage: self.seen.identity.lineage.clone(),
            first: self.seen.first,
            end: self.seen.bound.end,
            committed: self.seen.committed.clone(),
            segments: found.segments,
            consumers: consumers::read_all(&*self.disk)?,
        })
    }

    /// Entries from `offset` on, one by one, as long as `take` says so.
    ///
    /// # Errors
    /// `LogTrimmed`; `LogRangeDamaged`; what `take` returns.
    pub fn each(&self, offset: u64, mut take: impl FnMut(Placed) -> Result<bool>) -> Result<()> {
        if offset < self.seen.first {
            return Err(Error::new(Code::LogTrimmed, "the log no longer holds this offset")
                .fact("the log begins at", self.seen.first.to_string())
                .help("name an offset from there on; `log.retention.age` says how long it keeps what is delivered"));
        }
        let mut cursor = self.seen.cursor(&self.disk, offset)?;
        while let Some(placed) = cursor.read(&self.seen.bound)? {
            if !take(placed)? {
                break;
            }
        }
        Ok(())
    }

    /// The first offset that is still there, and the first that is not committed.
    pub fn offsets(&self) -> std::ops::Range<u64> {
        self.seen.first..self.seen.bound.end
    }

    /// The offset of the first entry with changes committed at `micros` or later; the end when there is none.
    ///
    /// # Errors
    /// `LogRangeDamaged`.
    pub fn offset_at(&self, micros: i64) -> Result<u64> {
        self.seen.offset_at(&self.disk, micros)
    }

    /// Reads everything and compares it with its checksums and with the commits.
    pub fn verify(&self) -> Verified {
        let mut verified = Verified::default();
        let mut last_end = None;
        let bases: Vec<u64> = self.seen.segments.iter().map(|segment| segment.0).collect();
        for (index, base) in bases.iter().enumerate() {
            let end = bases.get(index + 1).copied();
            if let Err(problem) = self.verify_segment(*base, end, &mut verified) {
                verified.problems.push(problem);
            }
            if let Err(problem) = self.verify_commits(*base, &mut last_end, &mut verified) {
                verified.problems.push(problem);
            }
        }
        if let Err(problem) = consumers::read_all(&*self.disk) {
            verified.problems.push(problem);
        }
        verified
    }

    /// Forgets a consumer; what only it had not passed may then be removed.
    ///
    /// # Errors
    /// `BadValue` when there is no such consumer; as the file system says.
    pub fn forget(&self, consumer: &str) -> Result<()> {
        if consumers::find(&*self.disk, consumer)?.is_none() {
            return Err(Error::new(Code::BadValue, "the log has no such consumer")
                .fact("name", consumer.to_owned())
                .help("`dujiang log ls FILE` lists those it has"));
        }
        consumers::forget(&*self.disk, consumer)
    }

    fn verify_segment(&self, base: u64, end: Option<u64>, verified: &mut Verified) -> Result<()> {
        let mut cursor = Cursor::at_segment(self.disk.clone(), self.seen.log, base);
        let last = end.unwrap_or(self.seen.bound.end);
        while cursor.next_offset() < last {
            let Some(placed) = cursor.read(&self.seen.bound)? else { break };
            verified.entries += 1;
            verified.images += u64::from(placed.header.images);
            if placed.segment != base {
                let why = "the segment lacks entries at its end";
                return Err(crate::errors::damaged(&crate::files::segment_name(base), placed.at..placed.at, why));
            }
        }
        Ok(())
    }

    /// Commits follow each other without a gap, and only the last file may end with a record that never was one.
    fn verify_commits(&self, base: u64, last_end: &mut Option<u64>, verified: &mut Verified) -> Result<()> {
        let Some(commits) = read_commits(&*self.disk, self.seen.log, base)? else { return Ok(()) };
        let name = self.disk.describe(&commits_name(base));
        verified.commits += commits.records.len() as u64;
        for (at, record) in &commits.records {
            if last_end.is_some_and(|end| end != record.previous) {
                let why = "a commit does not follow the one before it";
                return Err(crate::errors::damaged(&name, *at..*at, why));
            }
            *last_end = Some(record.end);
        }
        if commits.torn && base != self.seen.bound.segment {
            let why = "a commit record does not match its checksum";
            return Err(crate::errors::damaged(&name, commits.good..commits.good, why));
        }
        Ok(())
    }
}
