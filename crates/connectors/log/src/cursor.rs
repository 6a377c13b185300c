//! Reads entries one after the other, up to what is committed. Blocking.

use crate::arrange;
use crate::codec::Decompressor;
use crate::disk::{Disk, DiskFile};
use crate::errors::{damaged, io_error};
use crate::files::{FILE_HEADER, FileHeader, SEGMENT_MAGIC, segment_name};
use crate::frame::{FileIdentity, FrameHeader, FrameKind, HEADER};
use crate::payload::{self, ToldShape};
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::sink::Milestone;
use dujiang_core::{ChangeBatch, Code, Error, Result, TableId, TableSchema};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Bytes that are read at once.
const WINDOW: usize = 1 << 20;

/// Up to where entries may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bound {
    /// First offset that may not be read.
    pub end: u64,
    /// The segment in which that lies.
    pub segment: u64,
    /// And its place there.
    pub at: u64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Changes of one table.
    Batch(ChangeBatch),
    /// A change of a table's shape.
    Schema(SchemaChange),
    /// A milestone of the source.
    Marker(Milestone),
}

/// An entry with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Its header.
    pub header: FrameHeader,
    /// The segment it lies in.
    pub segment: u64,
    /// The place of its frame in the segment.
    pub at: u64,
    /// What it is; `None` for one that was skipped.
    pub entry: Option<Entry>,
}

struct Segment {
    file: Arc<dyn DiskFile>,
    identity: FileIdentity,
    name: String,
    /// Bytes from `window_at` on.
    window: Vec<u8>,
    window_at: u64,
}

/// A place between two entries.
pub struct Cursor {
    disk: Arc<dyn Disk>,
    log: [u8; 16],
    segment: Option<Segment>,
    base: u64,
    at: u64,
    next: u64,
    shapes: HashMap<u64, ToldShape>,
    /// The shape of each table at this place.
    current: BTreeMap<TableId, u64>,
    decompressor: Decompressor,
    scratch: Vec<u8>,
}

impl Cursor {
    /// A cursor at the beginning of a segment.
    pub fn at_segment(disk: Arc<dyn Disk>, log: [u8; 16], base: u64) -> Self {
        let (shapes, current, decompressor, scratch) = Default::default();
        let at = FILE_HEADER as u64;
        Self { disk, log, segment: None, base, at, next: base, shapes, current, decompressor, scratch }
    }

    /// The offset of the entry that comes next.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The shapes of all tables at this place, with the entries that told them.
    pub fn shapes(&self) -> BTreeMap<TableId, (u64, Arc<TableSchema>)> {
        let shape = |(id, shape): (&TableId, &u64)| Some((id.clone(), (*shape, self.shapes.get(shape)?.table.clone())));
        self.current.iter().filter_map(shape).collect()
    }

    /// The shape of a table at this place.
    pub fn shape(&self, id: &TableId) -> Option<&Arc<TableSchema>> {
        self.current.get(id).and_then(|shape| self.shapes.get(shape)).map(|told| &told.table)
    }

    /// At the beginning of a segment with entries: reads the shapes that it tells first.
    ///
    /// # Errors
    /// As [`Cursor::read`].
    pub fn read_shapes(&mut self, bound: &Bound) -> Result<()> {
        while self.next < bound.end
            && let Some((header, name)) = self.header(bound)?
            && header.kind == FrameKind::Shape
        {
            self.entry(&header, bound, &name)?;
            self.at += header.frame_bytes();
        }
        Ok(())
    }

    /// Goes on to `offset`, reading no batch on the way.
    ///
    /// # Errors
    /// As [`Cursor::read`].
    pub fn skip_to(&mut self, offset: u64, bound: &Bound) -> Result<()> {
        while self.next < offset {
            if self.step(bound, false)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The next entry; `None` when there is none within the bound.
    ///
    /// # Errors
    /// `LogRangeDamaged` with file and bytes; `LogMissing` when a segment is gone.
    pub fn read(&mut self, bound: &Bound) -> Result<Option<Placed>> {
        self.step(bound, true)
    }

    /// The header of the next entry; batches are passed over unread and unchecked.
    ///
    /// # Errors
    /// As [`Cursor::read`].
    pub fn pass(&mut self, bound: &Bound) -> Result<Option<Placed>> {
        self.step(bound, false)
    }

    fn step(&mut self, bound: &Bound, whole: bool) -> Result<Option<Placed>> {
        while self.next < bound.end {
            let Some((header, name)) = self.header(bound)? else {
                self.next_segment()?;
                continue;
            };
            let at = self.at;
            let range = at..at + header.frame_bytes();
            if header.offset != self.next {
                return Err(damaged(&name, range, "an entry stands where another one belongs"));
            }
            let wanted = whole || header.kind != FrameKind::Batch;
            let entry = if wanted { self.entry(&header, bound, &name)? } else { None };
            self.at += header.frame_bytes();
            if header.kind.is_entry() {
                self.next += 1;
                return Ok(Some(Placed { header, segment: self.base, at, entry }));
            }
        }
        Ok(None)
    }

    /// The header at this place, with the file's name; `None` at the end of the segment.
    fn header(&mut self, bound: &Bound) -> Result<Option<(FrameHeader, String)>> {
        if self.segment.is_none() {
            self.open_segment()?;
        }
        let at = self.at;
        let bytes = self.bytes(at, HEADER, bound)?.to_vec();
        let segment = self.segment.as_ref().expect("invariant: it has been opened");
        if bytes.is_empty() {
            if self.base == bound.segment {
                let why = "the segment ends before the last commit";
                return Err(damaged(&segment.name, at..bound.at.max(at), why));
            }
            return Ok(None);
        }
        let name = segment.name.clone();
        Ok(Some((FrameHeader::read(&bytes, &segment.identity, at, &name)?, name)))
    }

    fn entry(&mut self, header: &FrameHeader, bound: &Bound, name: &str) -> Result<Option<Entry>> {
        let at = self.at;
        let identity = self.segment.as_ref().expect("invariant: a header has been read").identity;
        let mut decompressor = std::mem::take(&mut self.decompressor);
        let payload = self.bytes(at, header.frame_bytes() as usize, bound)?.get(HEADER..).unwrap_or_default();
        header.check(payload, &identity, at, name)?;
        let raw = decompressor.decompress(header.codec, payload, header.raw as usize);
        self.decompressor = decompressor;
        let unreadable = || damaged(name, at..at + header.frame_bytes(), "the content of a frame cannot be read");
        let mut raw = raw.ok_or_else(unreadable)?;
        if header.arranged {
            arrange::restore(&mut raw, &mut self.scratch).ok_or_else(unreadable)?;
        }
        let entry = match header.kind {
            FrameKind::Shape => {
                let told = payload::read_shape(&raw).ok_or_else(unreadable)?;
                self.current.insert(told.table.id.clone(), told.shape);
                self.shapes.entry(told.shape).or_insert(told);
                return Ok(None);
            }
            FrameKind::Schema => Entry::Schema(self.schema_change(&raw).ok_or_else(unreadable)?),
            FrameKind::Marker => Entry::Marker(payload::read_marker(&raw).ok_or_else(unreadable)?),
            FrameKind::Batch => {
                let told = payload::shape_of(&raw).and_then(|shape| self.shapes.get_mut(&shape));
                let told = told.ok_or_else(unreadable)?;
                let table = told.table.clone();
                Entry::Batch(payload::read_batch(raw, &table, &mut told.batches).ok_or_else(unreadable)?)
            }
        };
        Ok(Some(entry))
    }

    fn schema_change(&mut self, raw: &[u8]) -> Option<SchemaChange> {
        let told = payload::read_shape(raw)?;
        let known = self.shape(&told.table.id).cloned();
        let before = match told.before {
            Some(version) => Some(known.filter(|known| known.version == version)?),
            None => None,
        };
        let change = SchemaChange {
            before,
            after: told.table.clone(),
            statement: told.statement.clone(),
            ddl: told.ddl.clone(),
        };
        self.take_over(told);
        Some(change)
    }

    fn take_over(&mut self, told: ToldShape) {
        let id = told.table.id.clone();
        if told.ddl == Ddl::Drop {
            self.current.remove(&id);
        } else if let Some(old) = self.current.insert(id, told.shape) {
            // Whatever still comes has the new shape.
            self.shapes.remove(&old);
        }
        self.shapes.insert(told.shape, told);
    }

    fn open_segment(&mut self) -> Result<()> {
        let name = segment_name(self.base);
        let described = self.disk.describe(&name);
        let identity = FileIdentity { log: self.log, base: self.base, magic: SEGMENT_MAGIC };
        let file = self.disk.open(&name, false).map_err(|e| io_error("open a segment of the log", &described, e))?;
        let mut header = [0; FILE_HEADER];
        let read = file.read_at(&mut header, 0).map_err(|e| io_error("read the log", &described, e))?;
        FileHeader::read(&header[..read], &identity, &described)?;
        self.segment = Some(Segment { file, identity, name: described, window: Vec::new(), window_at: 0 });
        Ok(())
    }

    /// The entries go on in the segment that is named by the next offset.
    fn next_segment(&mut self) -> Result<()> {
        if self.base == self.next {
            return Err(Error::new(Code::Bug, "an empty segment lies before the end of the log"));
        }
        (self.base, self.at, self.segment) = (self.next, FILE_HEADER as u64, None);
        // The segment tells the shapes anew.
        self.current.clear();
        self.shapes.clear();
        Ok(())
    }

    /// Bytes of the segment from `at` on: `length` of them, or fewer at its end or at the bound.
    fn bytes(&mut self, at: u64, length: usize, bound: &Bound) -> Result<&[u8]> {
        let limit = if self.base == bound.segment { bound.at } else { u64::MAX };
        let segment = self.segment.as_mut().expect("invariant: the segment is open");
        let from = at.checked_sub(segment.window_at).map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let has = segment.window.len().saturating_sub(from);
        if has < length {
            let wanted = WINDOW.max(length) as u64;
            let wanted = usize::try_from(wanted.min(limit.saturating_sub(at))).unwrap_or(usize::MAX);
            segment.window.resize(wanted, 0);
            let failed = |e| io_error("read the log", &segment.name, e);
            let read = segment.file.read_at(&mut segment.window, at).map_err(failed)?;
            segment.window.truncate(read);
            segment.window_at = at;
            return Ok(&segment.window[..length.min(read)]);
        }
        Ok(&segment.window[from..from + length])
    }
}
