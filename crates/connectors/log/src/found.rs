//! What a log's folder holds, read without changing anything: whose it is, its segments, its last commit.

use crate::consumers::{read_whole, replace};
use crate::disk::Disk;
use crate::errors::{damaged, io_error, other_version};
use crate::files::{
    COMMITS_MAGIC, CommitRecord, Commits, FILE_HEADER, FileHeader, SEGMENT_MAGIC, bases, commits_name, segment_name,
};
use crate::frame::FileIdentity;
use dujiang_core::{Code, Error, Result, ResultExt};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const IDENTITY: &str = "log.json";

/// Whose log it is; written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    version: u32,
    /// 32 hexadecimal digits, chosen when the log was made; part of every checksum.
    pub log: String,
    /// The pipeline that captures into it.
    pub pipeline: String,
    /// Its lineage.
    pub lineage: String,
}

impl Identity {
    /// Makes it, for a log that is not there yet.
    ///
    /// # Errors
    /// `LogRangeDamaged` when there is a log without it.
    pub(crate) fn create(disk: &dyn Disk, pipeline: &str, lineage: &str) -> Result<Self> {
        let names = disk.names().map_err(|e| io_error("list the log's folder", &disk.describe(""), e))?;
        if let Some(base) = bases(&names, ".seg").first() {
            let why = "the record of the log's identity is missing beside segments";
            return Err(damaged(&disk.describe(IDENTITY), 0..0, why).fact("segment", segment_name(*base)));
        }
        let mut number = [0; 16];
        getrandom::fill(&mut number).map_err(|e| {
            Error::new(Code::SinkNotWritable, "get random bytes for the log").with_source(e.to_string())
        })?;
        let identity = Identity {
            version: 1,
            log: crate::files::to_hex(&number),
            pipeline: pipeline.to_owned(),
            lineage: lineage.to_owned(),
        };
        let json = serde_json::to_vec(&identity).or_code(Code::Bug, || "write the log's identity".to_owned())?;
        replace(disk, IDENTITY, &json)?;
        Ok(identity)
    }

    /// Reads it; `None` where there is no log.
    ///
    /// # Errors
    /// `LogRangeDamaged`, `LogVersion`.
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>> {
        let Some(bytes) = read_whole(disk, IDENTITY)? else { return Ok(None) };
        let identity: Option<Self> = crate::files::unseal(&bytes).and_then(|json| serde_json::from_slice(json).ok());
        let name = disk.describe(IDENTITY);
        let identity =
            identity.ok_or_else(|| damaged(&name, 0..bytes.len() as u64, "the record of the log's identity"))?;
        if identity.version != 1 {
            return Err(other_version(&name, identity.version, 1));
        }
        Ok(Some(identity))
    }

    /// The number that files and frames carry.
    pub(crate) fn number(&self) -> Result<[u8; 16]> {
        let bytes = crate::files::from_hex(&self.log).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| damaged(IDENTITY, 0..0, "the number of the log"))
    }
}

/// One segment as the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Offset of its first entry.
    pub base: u64,
    /// Its bytes.
    pub bytes: u64,
    /// When it was begun, microseconds since 1970-01-01 UTC.
    pub created_micros: i64,
}

/// The commits that end in a segment; `None` when there is no such file.
///
/// # Errors
/// `LogRangeDamaged`.
pub(crate) fn read_commits(disk: &dyn Disk, log: [u8; 16], base: u64) -> Result<Option<Commits>> {
    let name = commits_name(base);
    let described = disk.describe(&name);
    let Some(bytes) = read_whole(disk, &name)? else { return Ok(None) };
    let identity = FileIdentity { log, base, magic: COMMITS_MAGIC };
    if bytes.len() < FILE_HEADER {
        // Begun and never finished.
        return Ok(Some(Commits { records: Vec::new(), good: 0, torn: true }));
    }
    if let Err(error) = FileHeader::read(&bytes, &identity, &described) {
        let anything = (FILE_HEADER..bytes.len()).any(|at| Commits::read_one(&bytes, at, &identity).is_some());
        return if anything { Err(error) } else { Ok(Some(Commits { records: Vec::new(), good: 0, torn: true })) };
    }
    Commits::read(&bytes, &identity, &described).map(Some)
}

/// What a log's folder holds.
pub(crate) struct Found {
    pub(crate) segments: Vec<SegmentInfo>,
    /// The last commit, and the segment in which it ends.
    pub(crate) last: Option<(u64, CommitRecord)>,
}

impl Found {
    /// Reads it without changing anything.
    ///
    /// # Errors
    /// `LogRangeDamaged` when what the last commit says is not there.
    pub(crate) fn read(disk: &Arc<dyn Disk>, log: [u8; 16]) -> Result<Self> {
        let names = disk.names().map_err(|e| io_error("list the log's folder", &disk.describe(""), e))?;
        let mut last = None;
        for base in bases(&names, ".commits").into_iter().rev() {
            let commits = read_commits(&**disk, log, base)?;
            if let Some((_, record)) = commits.and_then(|mut commits| commits.records.pop()) {
                last = Some((base, record));
                break;
            }
        }
        let mut segments = Vec::new();
        for base in bases(&names, ".seg") {
            if last.as_ref().is_some_and(|(in_segment, _)| base <= *in_segment) {
                segments.push(segment_info(&**disk, log, base)?);
            }
        }
        if let Some((base, record)) = &last {
            let name = disk.describe(&segment_name(*base));
            let bytes = segments.last().filter(|segment| segment.base == *base).map_or(0, |segment| segment.bytes);
            if bytes < record.at {
                return Err(damaged(&name, bytes..record.at, "the segment ends before the last commit"));
            }
        }
        Ok(Self { segments, last })
    }
}

fn segment_info(disk: &dyn Disk, log: [u8; 16], base: u64) -> Result<SegmentInfo> {
    let name = segment_name(base);
    let described = disk.describe(&name);
    let failed = |e| io_error("read the log", &described, e);
    let file = disk.open(&name, false).map_err(failed)?;
    let mut header = [0; FILE_HEADER];
    let read = file.read_at(&mut header, 0).map_err(failed)?;
    let identity = FileIdentity { log, base, magic: SEGMENT_MAGIC };
    let header = FileHeader::read(&header[..read], &identity, &described)?;
    Ok(SegmentInfo { base, bytes: file.length().map_err(failed)?, created_micros: header.created_micros })
}
