//! A log as this process sees it: one for all loops that use it, whoever opens it first.

use crate::cursor::{Bound, Cursor};
use crate::disk::{Disk, Folder};
use crate::files::CommitRecord;
use crate::found::{Found, Identity};
use crate::store::{Limits, Store};
use dujiang_core::{Code, Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// The logs that are in use in this process, by folder.
static PLACES: Mutex<BTreeMap<PathBuf, Weak<Place>>> = Mutex::new(BTreeMap::new());

/// What readers have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) log: [u8; 16],
    pub(crate) identity: Identity,
    /// Oldest offset that is still there.
    pub(crate) first: u64,
    pub(crate) bound: Bound,
    pub(crate) committed: CommitRecord,
    /// The bases of all segments with the times at which they were begun.
    pub(crate) segments: Vec<(u64, i64)>,
}

/// One folder.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    store: Mutex<Option<Store>>,
    seen: watch::Sender<Option<Arc<Seen>>>,
    /// The instance of this process that captures into it; 0 for none.
    capturing: std::sync::atomic::AtomicU64,
    /// Whether a capture of this process is going to open it.
    expected: std::sync::atomic::AtomicBool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("committed", self.committed()).finish_non_exhaustive()
    }
}

impl Place {
    pub(crate) fn of(path: &Path) -> Arc<Self> {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| place.strong_count() > 0);
        if let Some(place) = places.get(&absolute).and_then(Weak::upgrade) {
            return place;
        }
        let place = Self::on(Arc::new(Folder::new(path)));
        places.insert(absolute, Arc::downgrade(&place));
        place
    }

    pub(crate) fn on(disk: Arc<dyn Disk>) -> Arc<Self> {
        let seen = watch::channel(None).0;
        Arc::new(Self {
            disk,
            store: Mutex::default(),
            seen,
            capturing: Default::default(),
            expected: Default::default(),
        })
    }

    fn store(&self) -> MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the log for writing, or hands it over to a later instance of this process. Blocking.
    pub(crate) fn begin(&self, limits: Limits, pipeline: &str, lineage: &str, generation: u64) -> Result<CommitRecord> {
        let mut store = self.store();
        match store.as_mut() {
            Some(store) => store.begin(pipeline, lineage, generation)?,
            None => *store = Some(Store::open(self.disk.clone(), limits, pipeline, lineage, generation)?),
        }
        let store = store.as_ref().expect("invariant: it has been opened");
        self.capturing.store(generation, std::sync::atomic::Ordering::Release);
        self.show(store)?;
        Ok(store.committed().clone())
    }

    /// Works on the log as the one who writes. Blocking.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Store) -> Result<T>) -> Result<T> {
        let mut store = self.store();
        let store = store.as_mut().ok_or_else(|| Error::new(Code::Bug, "the log is not open for writing"))?;
        let done = work(store)?;
        if self.seen.borrow().as_ref().is_none_or(|seen| seen.bound != store.bound() || seen.first != store.first()) {
            self.show(store)?;
        }
        Ok(done)
    }

    /// Removes what is old and delivered, if this process writes the log. Blocking.
    pub(crate) fn trim(&self, now_micros: i64) -> Result<()> {
        if self.store().is_none() {
            return Ok(());
        }
        self.with(|store| store.trim(now_micros, 0))
    }

    fn show(&self, store: &Store) -> Result<()> {
        let seen = Seen {
            log: store.identity().number()?,
            identity: store.identity().clone(),
            first: store.first(),
            bound: store.bound(),
            committed: store.committed().clone(),
            segments: store.segments().iter().map(|s| (s.base, s.created_micros)).collect(),
        };
        self.seen.send_replace(Some(Arc::new(seen)));
        Ok(())
    }

    /// What can be read at the moment; `None` where there is no log. Blocking.
    pub(crate) fn look(&self) -> Result<Option<Arc<Seen>>> {
        if self.store().is_none() {
            let read = look_at(&self.disk)?.map(Arc::new);
            // The capture of this process may have opened it meanwhile, and knows better.
            let store = self.store();
            if store.is_none() {
                self.seen.send_if_modified(|seen| {
                    let changed = *seen != read;
                    *seen = read;
                    changed
                });
            }
        }
        Ok(self.seen.borrow().clone())
    }

    /// Rings when more can be read.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Arc<Seen>>> {
        self.seen.subscribe()
    }

    /// Whether this process writes the log: then readers are told, and need not look.
    pub(crate) fn is_written_here(&self) -> bool {
        self.capturing.load(std::sync::atomic::Ordering::Acquire) != 0
    }

    /// A capture of this process is going to open the log: milestones of earlier ones are of no interest.
    pub(crate) fn expect_capture(&self) {
        self.expected.store(true, std::sync::atomic::Ordering::Release);
    }

    /// The generation whose milestones count for readers of this process; `None` when none does, because another
    /// process captures, or nobody.
    pub(crate) fn capture(&self) -> Option<u64> {
        let expected = self.expected.load(std::sync::atomic::Ordering::Acquire) || self.is_written_here();
        expected.then(|| self.capturing.load(std::sync::atomic::Ordering::Acquire))
    }
}

/// Reads a log's folder without changing anything; `None` where there is no log. Blocking.
pub(crate) fn look_at(disk: &Arc<dyn Disk>) -> Result<Option<Seen>> {
    let Some(identity) = Identity::read(&**disk)? else { return Ok(None) };
    let log = identity.number()?;
    let found = Found::read(disk, log)?;
    let (segment, committed) = found.last.unwrap_or((0, CommitRecord::nothing()));
    let segments: Vec<(u64, i64)> = found.segments.iter().map(|s| (s.base, s.created_micros)).collect();
    let first = segments.first().map_or(committed.end, |segment| segment.0);
    let bound = Bound { end: committed.end, segment, at: committed.at };
    Ok(Some(Seen { log, identity, first, bound, committed, segments }))
}

impl Seen {
    /// A cursor that stands at `offset`; the nearest place when it is not there.
    pub(crate) fn cursor(&self, disk: &Arc<dyn Disk>, offset: u64) -> Result<Cursor> {
        // At the beginning of a segment the one before is read, if it is there: that one is committed as a whole.
        let base = self.segments.iter().rfind(|(base, _)| *base < offset).map_or(self.first, |segment| segment.0);
        let mut cursor = Cursor::at_segment(disk.clone(), self.log, base);
        cursor.read_shapes(&self.bound)?;
        cursor.skip_to(offset, &self.bound)?;
        Ok(cursor)
    }

    /// The offset of the first entry with a commit time of `micros` or later; the end when there is none yet.
    pub(crate) fn offset_at(&self, disk: &Arc<dyn Disk>, micros: i64) -> Result<u64> {
        // What was appended before a segment was begun had been committed at its source before.
        let begun = self.segments.iter().rfind(|(_, created)| *created <= micros);
        let base = begun.map_or(self.first, |segment| segment.0);
        let mut cursor = Cursor::at_segment(disk.clone(), self.log, base);
        loop {
            let at = cursor.next_offset();
            match cursor.pass(&self.bound)? {
                Some(placed) if placed.header.images > 0 && placed.header.commit_micros >= micros => return Ok(at),
                Some(_) => {}
                None => return Ok(at),
            }
        }
    }
}
