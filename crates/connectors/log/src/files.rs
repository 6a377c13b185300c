//! Names and headers of a log's files, and the records of commits. Pure. Layout: `docs/reference/log-segment.md`.

use crate::errors::{damaged, other_version};
use crate::frame::FileIdentity;
use dujiang_core::{Code, Result, ResultExt};
use serde::{Deserialize, Serialize};

/// Bytes of a file's header.
pub(crate) const FILE_HEADER: usize = 64;
const VERSION: u32 = 1;
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"DJLOGSEG";
pub(crate) const COMMITS_MAGIC: [u8; 8] = *b"DJLOGCMT";
const RECORD_HEADER: usize = 8;
/// A record is a few hundred bytes and the source's position; more is damage.
const MAX_RECORD: u32 = 64 << 20;

/// The name of the segment that begins with an offset.
pub(crate) fn segment_name(base: u64) -> String {
    format!("{base:020}.seg")
}

/// The name of the file with the commits that end in that segment.
pub(crate) fn commits_name(base: u64) -> String {
    format!("{base:020}.commits")
}

/// The first offsets of the segments among these names, ascending.
pub(crate) fn bases(names: &[String], suffix: &str) -> Vec<u64> {
    let base = |name: &String| name.strip_suffix(suffix).filter(|n| n.len() == 20)?.parse().ok();
    let mut bases: Vec<u64> = names.iter().filter_map(base).collect();
    bases.sort_unstable();
    bases
}

/// What stands at the beginning of each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) identity: FileIdentity,
    pub(crate) generation: u64,
    /// When the file was begun, microseconds since 1970-01-01 UTC.
    pub(crate) created_micros: i64,
}

impl FileHeader {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FILE_HEADER);
        out.extend_from_slice(&self.identity.magic);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.identity.log);
        out.extend_from_slice(&self.identity.base.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.created_micros.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads a header that must be of this file.
    ///
    /// # Errors
    /// `LogRangeDamaged`; `LogVersion`.
    pub(crate) fn read(bytes: &[u8], expected: &FileIdentity, name: &str) -> Result<Self> {
        let bad = |why: &str| damaged(name, 0..FILE_HEADER as u64, why);
        let bytes = bytes.get(..FILE_HEADER).ok_or_else(|| bad("the file ends inside its header"))?;
        let long = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("invariant: eight bytes"));
        let word = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().expect("invariant: four bytes"));
        if crc32c::crc32c(&bytes[..60]) != word(60) {
            return Err(bad("the header of the file does not match its checksum"));
        }
        if word(8) != VERSION {
            return Err(other_version(name, word(8), VERSION));
        }
        let identity = FileIdentity {
            magic: bytes[..8].try_into().expect("invariant: eight bytes"),
            log: bytes[16..32].try_into().expect("invariant: sixteen bytes"),
            base: long(32),
        };
        if identity != *expected {
            return Err(bad("the file belongs to another log, or to another place in this one"));
        }
        Ok(Self { identity, generation: long(40), created_micros: long(48) as i64 })
    }
}

/// Makes everything before `end` visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// The last epoch that is in the log as a whole; 0 before the first.
    pub epoch: u64,
    /// The instance that committed.
    pub generation: u64,
    /// First offset that is not committed.
    pub end: u64,
    /// The end's place in the segment.
    pub at: u64,
    /// `end` of the commit before.
    pub previous: u64,
    /// `end` of the last commit of an epoch; what follows are changes of shapes.
    pub epoch_end: u64,
    /// The source's position after the epoch, as the source wrote it, in hexadecimal digits.
    pub position: String,
    /// The same for people.
    pub position_text: String,
    /// When it was written, microseconds since 1970-01-01 UTC.
    pub written_micros: i64,
}

impl CommitRecord {
    pub(crate) fn nothing() -> Self {
        Self {
            epoch: 0,
            generation: 0,
            end: 0,
            at: 0,
            previous: 0,
            epoch_end: 0,
            position: String::new(),
            position_text: String::new(),
            written_micros: 0,
        }
    }
}

/// Appends a record; `at` is its place in the file.
pub(crate) fn write_record(record: &CommitRecord, file: &FileIdentity, at: u64, out: &mut Vec<u8>) -> Result<()> {
    let json = serde_json::to_vec(record).or_code(Code::Bug, || "write a commit record".to_owned())?;
    let length = (json.len() as u32).to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(file.seed(at), &length), &json);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&json);
    Ok(())
}

/// What a file of commits holds.
#[derive(Debug)]
pub(crate) struct Commits {
    /// Each with its place in the file.
    pub(crate) records: Vec<(u64, CommitRecord)>,
    /// Bytes up to the end of the last good record.
    pub(crate) good: u64,
    /// Whether something follows that never became a record.
    pub(crate) torn: bool,
}

impl Commits {
    /// Reads a whole file. A tail that is no record was never acknowledged, and is no damage.
    ///
    /// # Errors
    /// `LogRangeDamaged` when a good record follows one that is not.
    pub(crate) fn read(bytes: &[u8], file: &FileIdentity, name: &str) -> Result<Self> {
        let (mut records, mut at) = (Vec::new(), FILE_HEADER);
        while at < bytes.len() {
            let Some((record, length)) = read_record(bytes, at, file) else {
                let next = (at + 1..bytes.len()).find(|&later| read_record(bytes, later, file).is_some());
                if let Some(next) = next {
                    return Err(damaged(name, at as u64..next as u64, "a commit record does not match its checksum"));
                }
                return Ok(Self { records, good: at as u64, torn: true });
            };
            records.push((at as u64, record));
            at += length;
        }
        Ok(Self { records, good: at as u64, torn: false })
    }

    /// The record at a place, if there is one.
    pub(crate) fn read_one(bytes: &[u8], at: usize, file: &FileIdentity) -> Option<CommitRecord> {
        read_record(bytes, at, file).map(|(record, _)| record)
    }
}

fn read_record(bytes: &[u8], at: usize, file: &FileIdentity) -> Option<(CommitRecord, usize)> {
    let head = bytes.get(at..at + RECORD_HEADER)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?);
    if length == 0 || length > MAX_RECORD {
        return None;
    }
    let json = bytes.get(at + RECORD_HEADER..at + RECORD_HEADER + length as usize)?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(file.seed(at as u64), &head[..4]), json);
    if checksum != u32::from_le_bytes(head[4..].try_into().ok()?) {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, RECORD_HEADER + length as usize))
}

/// Puts length and checksum behind a small JSON record that is replaced as a whole.
pub(crate) fn seal(json: &[u8]) -> Vec<u8> {
    let mut out = json.to_vec();
    out.extend_from_slice(trailer(json).as_bytes());
    out
}

/// The JSON of a sealed record.
pub(crate) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&b| b == b'\n')?;
    (bytes[end..] == *trailer(&bytes[..end]).as_bytes()).then_some(&bytes[..end])
}

fn trailer(json: &[u8]) -> String {
    format!("\n{{\"bytes\":{},\"crc32c\":\"{:08x}\"}}\n", json.len(), crc32c::crc32c(json))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
