//! Entries and commits on their way to the disk.

use super::{End, EpochEnd, FLUSH_BYTES, Journal, Prepared, Store, Tail};
use crate::consumers;
use crate::disk::DiskFile;
use crate::errors::{io_error, sync_error};
use crate::files::{COMMITS_MAGIC, CommitRecord, FileHeader, SEGMENT_MAGIC, commits_name, segment_name, write_record};
use crate::found::SegmentInfo;
use crate::frame::{self, Codec, FileIdentity, FrameHeader, FrameKind, HEADER};
use crate::payload;
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::{Code, Error, Result, fault};
use std::sync::Arc;

impl Store {
    /// Appends an entry to the open epoch; an error means that nothing has been taken.
    ///
    /// # Errors
    /// `LogFull`; `Fenced`; `SinkFull` and the like.
    pub fn append(&mut self, generation: u64, entry: &Prepared<'_>, now_micros: i64) -> Result<()> {
        self.check(generation)?;
        self.cut_tail(generation)?;
        let length = (HEADER + entry.payload.len()) as u64;
        self.make_room(length, now_micros)?;
        let header = FrameHeader { offset: self.next, generation, ..entry.header };
        let tail = self.tail.as_mut().expect("invariant: room has been made in a segment");
        let at = tail.at();
        frame::write(header, entry.payload, &tail.identity, at, &mut tail.buffer);
        self.next += 1;
        Ok(())
    }

    fn make_room(&mut self, length: u64, now_micros: i64) -> Result<()> {
        if self.bytes() + length > self.limits.max_bytes {
            self.trim(now_micros, length)?;
            // A log with one segment takes at least one entry, whatever the limit says.
            if self.bytes() + length > self.limits.max_bytes && self.next > self.first() {
                return Err(self.full(length));
            }
        }
        if let Some(tail) = &mut self.tail {
            if tail.buffer.len() >= FLUSH_BYTES {
                tail.flush()?;
            }
            let base = self.segments.last().map_or(0, |segment| segment.base);
            if tail.at() + length <= self.limits.segment_bytes || self.next == base {
                return Ok(());
            }
        }
        self.new_segment(now_micros)
    }

    fn full(&self, length: u64) -> Error {
        let consumers = consumers::read_all(&*self.disk).unwrap_or_default();
        let behind = consumers.iter().min_by_key(|consumer| consumer.offset);
        let waiting = match behind {
            Some(slowest) => format!("{} at offset {} of {}", slowest.name, slowest.offset, self.committed.end),
            None => "no delivery has read the log yet".to_owned(),
        };
        Error::new(Code::LogFull, "the log has reached `log.max-bytes`; capture waits for its deliveries")
            .fact("folder", self.disk.describe(""))
            .fact("bytes", (self.bytes() + length).to_string())
            .fact("slowest delivery", waiting)
            .help("see why the delivery does not go on, or raise `log.max-bytes`; nothing is lost")
    }

    /// Offset of the oldest entry that is still there.
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(self.committed.end, |segment| segment.base)
    }

    fn new_segment(&mut self, now_micros: i64) -> Result<()> {
        if let Some(tail) = &mut self.tail {
            tail.flush()?;
            let (name, file, bytes) = (tail.name.clone(), tail.file.clone(), tail.written);
            self.note_unsynced(name, file);
            if let Some(last) = self.segments.last_mut() {
                last.bytes = bytes;
            }
        }
        let base = self.next;
        let name = segment_name(base);
        let described = self.disk.describe(&name);
        let failed = |e| io_error("begin a segment of the log", &described, e);
        let file = self.disk.open(&name, true).map_err(failed)?;
        file.set_length(0).map_err(failed)?;
        let identity = FileIdentity { log: self.log, base, magic: SEGMENT_MAGIC };
        let buffer = FileHeader { identity, generation: self.generation, created_micros: now_micros }.write();
        let mut tail = Tail { file, name: described, identity, written: 0, buffer };
        self.tell_shapes(&mut tail)?;
        self.tail = Some(tail);
        self.folder_unsynced = true;
        self.segments.push(SegmentInfo { base, bytes: 0, created_micros: now_micros });
        Ok(())
    }

    /// A segment begins with all shapes, so that it can be read alone and the one before it can be removed.
    fn tell_shapes(&self, tail: &mut Tail) -> Result<()> {
        let mut payload = Vec::new();
        for (shape, table) in self.shapes.values() {
            let change = SchemaChange::of_shapes(None, table);
            payload::write_shape(*shape, &change, &mut payload)?;
            let header = FrameHeader::new(FrameKind::Shape, Codec::None, payload.len(), payload.len())?;
            let header = FrameHeader { offset: self.next, generation: self.generation, ..header };
            let at = tail.at();
            frame::write(header, &payload, &tail.identity, at, &mut tail.buffer);
        }
        Ok(())
    }

    fn note_unsynced(&mut self, name: String, file: Arc<dyn DiskFile>) {
        if !self.unsynced.iter().any(|(known, _)| *known == name) {
            self.unsynced.push((name, file));
        }
    }

    /// Where the log ends at the moment.
    pub fn end(&self) -> End {
        let (segment, at) = match (&self.tail, self.segments.last()) {
            (Some(tail), Some(segment)) => (segment.base, tail.at()),
            _ => (self.committed_in, self.committed.at),
        };
        End { generation: self.generation, offset: self.next, segment, at }
    }

    /// Makes everything appended so far durable; still invisible.
    ///
    /// # Errors
    /// `SinkFull` and the like: may be tried again; `SyncFailed` ends the process.
    pub fn sync(&mut self, generation: u64) -> Result<End> {
        self.check(generation)?;
        if self.synced < self.next
            && let Some(tail) = &mut self.tail
        {
            tail.flush()?;
            let (name, file) = (tail.name.clone(), tail.file.clone());
            self.note_unsynced(name, file);
        }
        for (name, file) in std::mem::take(&mut self.unsynced) {
            fault::point("log.sync");
            file.sync().map_err(|e| self.broke(sync_error(&name, e)))?;
        }
        if self.folder_unsynced {
            self.sync_folder()?;
            self.folder_unsynced = false;
        }
        self.synced = self.next;
        Ok(self.end())
    }

    pub(super) fn broke(&mut self, error: Error) -> Error {
        self.broken = true;
        error
    }

    pub(super) fn sync_folder(&mut self) -> Result<()> {
        let folder = self.disk.describe("");
        let done = self.disk.sync().map_err(|e| sync_error(&folder, e));
        done.map_err(|e| self.broke(e))
    }

    /// Makes an epoch visible. The commit point of the capture: entries, position, epoch and generation in one record.
    ///
    /// # Errors
    /// `Fenced`; `SinkFull` and the like: may be tried again; `SyncFailed`.
    pub fn commit(&mut self, generation: u64, epoch: &EpochEnd, now_micros: i64) -> Result<()> {
        self.check(generation)?;
        if epoch.epoch <= self.committed.epoch {
            return Ok(());
        }
        let end = epoch.end;
        if end.generation != generation || end.offset > self.synced || end.offset < self.committed.end {
            return Err(Error::new(Code::SinkMismatch, "an epoch is to be committed that the log does not hold")
                .fact("epoch", epoch.epoch.to_string())
                .fact("its end", format!("offset {} of generation {}", end.offset, end.generation)));
        }
        let record = CommitRecord {
            epoch: epoch.epoch,
            generation,
            end: end.offset,
            at: end.at,
            previous: self.committed.end,
            epoch_end: end.offset,
            position: crate::files::to_hex(&epoch.position),
            position_text: epoch.position_text.clone(),
            written_micros: now_micros,
        };
        self.write_commit(record, end.segment, now_micros)?;
        self.since_epoch.clear();
        Ok(())
    }

    fn write_commit(&mut self, record: CommitRecord, segment: u64, now_micros: i64) -> Result<()> {
        self.cut_tail(self.generation)?;
        fault::point("log.commit");
        let known = self.journal.as_ref().filter(|journal| journal.base == segment);
        let begins = known.is_none();
        let identity = FileIdentity { log: self.log, base: segment, magic: COMMITS_MAGIC };
        let name = commits_name(segment);
        let described = self.disk.describe(&name);
        let failed = |e| io_error("commit to the log", &described, e);
        let (file, at) = match known {
            Some(journal) => (journal.file.clone(), journal.length),
            None => (self.disk.open(&name, true).map_err(failed)?, 0),
        };
        let mut bytes = Vec::new();
        if begins {
            file.set_length(0).map_err(failed)?;
            bytes = FileHeader { identity, generation: self.generation, created_micros: now_micros }.write();
        }
        let record_at = at + bytes.len() as u64;
        write_record(&record, &identity, record_at, &mut bytes)?;
        file.write_at(&bytes, at).map_err(failed)?;
        file.sync().map_err(|e| self.broke(sync_error(&described, e)))?;
        if begins {
            self.sync_folder()?;
        }
        fault::point("log.committed");
        self.journal = Some(Journal { base: segment, file, length: at + bytes.len() as u64 });
        (self.committed, self.committed_in) = (record, segment);
        Ok(())
    }

    /// Takes changes of shapes and makes them visible at once; those that the log has already are nothing new. Between
    /// two epochs.
    ///
    /// # Errors
    /// As [`Store::append`] and [`Store::commit`].
    pub fn change_shapes(&mut self, generation: u64, changes: &[SchemaChange], now_micros: i64) -> Result<()> {
        self.check(generation)?;
        self.cut_tail(generation)?;
        let fresh: Vec<&SchemaChange> = changes.iter().filter(|change| !self.has(change)).collect();
        if fresh.is_empty() && self.next == self.committed.end {
            return Ok(());
        }
        for change in fresh {
            self.append_shape(generation, change, now_micros)?;
        }
        let end = self.sync(generation)?;
        let record = CommitRecord {
            generation,
            end: end.offset,
            at: end.at,
            previous: self.committed.end,
            written_micros: now_micros,
            ..self.committed.clone()
        };
        self.write_commit(record, end.segment, now_micros)
    }

    fn has(&self, change: &SchemaChange) -> bool {
        let after = &change.after;
        let known = self.shapes.get(&after.id).map(|(_, known)| known);
        match &change.ddl {
            Ddl::Columns { .. } => known.is_some_and(|known| known == after),
            ddl => self
                .since_epoch
                .iter()
                .any(|(id, version, of)| *id == after.id && *version == after.version && of == ddl),
        }
    }

    fn append_shape(&mut self, generation: u64, change: &SchemaChange, now_micros: i64) -> Result<()> {
        let known = self.shapes.get(&change.after.id).map(|(_, known)| known.clone());
        // Readers have the shape before at hand; it is only told that there is one.
        let change = SchemaChange { before: change.before.as_ref().and(known), ..change.clone() };
        let mut payload = Vec::new();
        let shape = self.next;
        payload::write_shape(shape, &change, &mut payload)?;
        let header = FrameHeader::new(FrameKind::Schema, Codec::None, payload.len(), payload.len())?;
        self.append(generation, &Prepared { header, payload: &payload }, now_micros)?;
        let id = change.after.id.clone();
        self.since_epoch.push((id.clone(), change.after.version, change.ddl.clone()));
        if change.ddl == Ddl::Drop {
            self.shapes.remove(&id);
        } else {
            self.shapes.insert(id, (shape, change.after));
        }
        Ok(())
    }
}
