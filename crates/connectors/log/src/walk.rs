//! Looks at all that the bytes of a log say, however they are damaged: for fuzzing.
//!
//! Checksums keep nearly every damage from being looked at. Here they are made to match first, as if the bytes had been written
//! so, and lengths are kept small enough that a decompressor may believe them.

use crate::cursor::{Bound, Cursor};
use crate::disk::{Disk, DiskFile};
use crate::files::{COMMITS_MAGIC, Commits, FILE_HEADER, FileHeader, SEGMENT_MAGIC};
use crate::frame::{self, Codec, FileIdentity, FrameHeader, FrameKind, HEADER};
use crate::payload;
use dujiang_core::schema::SchemaChange;
use dujiang_core::{Result, TableSchema};
use std::io;
use std::sync::Arc;

/// No payload claims to be longer.
const MOST_RAW: u32 = 1 << 20;
const IDENTITY: FileIdentity = FileIdentity { log: [7; 16], base: 0, magic: SEGMENT_MAGIC };

/// A segment from its header to its end: how many entries could be read.
pub fn walk_segment(bytes: &[u8]) -> usize {
    if bytes.len() < FILE_HEADER {
        return 0;
    }
    let mut bytes = bytes.to_vec();
    let identity = mend_header(&mut bytes, SEGMENT_MAGIC);
    mend_frames(&mut bytes, &identity);
    entries(bytes, &identity)
}

/// One frame behind one that tells the shape of `table`: kind, compression, length and payload are in the bytes. How many
/// entries could be read.
///
/// # Errors
/// When that shape cannot be written.
pub fn walk_frame(table: &Arc<TableSchema>, bytes: &[u8]) -> Result<usize> {
    let [kind, codec, raw_low, raw_high, content @ ..] = bytes else { return Ok(0) };
    let kinds = [FrameKind::Batch, FrameKind::Marker, FrameKind::Schema, FrameKind::Shape];
    let kind = kinds[usize::from(*kind) % 4];
    let codecs = [Codec::None, Codec::Lz4, Codec::Zstd];
    let (codec, arranged) = (codecs[usize::from(codec & 0x7f) % 3], codec & 0x80 != 0);
    let mut file = FileHeader { identity: IDENTITY, generation: 1, created_micros: 0 }.write();
    let first = SchemaChange::of_shapes(None, table);
    let mut shape = Vec::new();
    payload::write_shape(0, &first, &mut shape)?;
    let header = FrameHeader::new(FrameKind::Shape, Codec::None, shape.len(), shape.len())?;
    let at = file.len() as u64;
    frame::write(header, &shape, &IDENTITY, at, &mut file);
    let raw = match codec {
        Codec::None => content.len(),
        _ => usize::from(u16::from_le_bytes([*raw_low, *raw_high])),
    };
    let header = FrameHeader { arranged, ..FrameHeader::new(kind, codec, content.len(), raw)? };
    let at = file.len() as u64;
    frame::write(header, content, &IDENTITY, at, &mut file);
    Ok(entries(file, &IDENTITY))
}

/// A file of commits: how many records it holds.
pub fn walk_commits(bytes: &[u8]) -> usize {
    if bytes.len() < FILE_HEADER {
        return 0;
    }
    let mut bytes = bytes.to_vec();
    let identity = mend_header(&mut bytes, COMMITS_MAGIC);
    mend_records(&mut bytes, &identity);
    Commits::read(&bytes, &identity, "commits").map_or(0, |commits| commits.records.len())
}

fn entries(bytes: Vec<u8>, identity: &FileIdentity) -> usize {
    let bound = Bound { end: u64::MAX, segment: identity.base, at: bytes.len() as u64 };
    let mut cursor = Cursor::at_segment(Arc::new(OneFile(Arc::new(Bytes(bytes)))), identity.log, identity.base);
    let mut entries = 0;
    while let Ok(Some(_)) = cursor.read(&bound) {
        entries += 1;
    }
    entries
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Whose file it is by its header, which matches its checksum afterwards.
fn mend_header(bytes: &mut [u8], magic: [u8; 8]) -> FileIdentity {
    put(bytes, 0, &magic);
    put(bytes, 8, &1u32.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..60]);
    put(bytes, 60, &checksum.to_le_bytes());
    let log = bytes[16..32].try_into().expect("invariant: sixteen bytes");
    FileIdentity { log, base: u64::from_le_bytes(bytes[32..40].try_into().expect("invariant: eight bytes")), magic }
}

/// Frame by frame: lengths that fit, the number that comes next, checksums.
fn mend_frames(bytes: &mut [u8], identity: &FileIdentity) {
    let (mut at, mut next) = (FILE_HEADER, identity.base);
    while at + HEADER <= bytes.len() {
        let seed = identity.seed(at as u64);
        let stored = word(bytes, at + 8).min((bytes.len() - at - HEADER) as u32);
        let raw = word(bytes, at + 12).min(MOST_RAW);
        let payload = at + HEADER..at + HEADER + stored as usize;
        put(bytes, at, b"DJLF");
        put(bytes, at + 8, &stored.to_le_bytes());
        put(bytes, at + 12, &raw.to_le_bytes());
        let checksum = crc32c::crc32c_append(seed, &bytes[payload.clone()]);
        put(bytes, at + 20, &checksum.to_le_bytes());
        put(bytes, at + 24, &next.to_le_bytes());
        let checksum = crc32c::crc32c_append(seed, &bytes[at..at + 52]);
        put(bytes, at + 52, &checksum.to_le_bytes());
        next = next.wrapping_add(u64::from(bytes[at + 4] != FrameKind::Shape as u8));
        at = payload.end;
    }
}

fn mend_records(bytes: &mut [u8], identity: &FileIdentity) {
    let mut at = FILE_HEADER;
    while at + 8 < bytes.len() {
        let length = word(bytes, at).clamp(1, (bytes.len() - at - 8) as u32);
        put(bytes, at, &length.to_le_bytes());
        let seed = crc32c::crc32c_append(identity.seed(at as u64), &bytes[at..at + 4]);
        let checksum = crc32c::crc32c_append(seed, &bytes[at + 8..at + 8 + length as usize]);
        put(bytes, at + 4, &checksum.to_le_bytes());
        at += 8 + length as usize;
    }
}

/// A folder that has one file, whatever its name; nothing of it can be changed.
#[derive(Debug)]
struct OneFile(Arc<Bytes>);

#[derive(Debug)]
struct Bytes(Vec<u8>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for OneFile {
    fn make(&self) -> io::Result<()> {
        refused()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        refused()
    }

    fn open(&self, _name: &str, _create: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.0.clone())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        refused()
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl DiskFile for Bytes {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, _bytes: &[u8], _at: u64) -> io::Result<()> {
        refused()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }
}
