//! What the parts of one sink tell each other without waiting.

use dujiang_core::sink::SinkFigures;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What all lanes and the committer of one sink share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The time in the last file's name.
    last_name: AtomicI64,
    /// Staged files so far.
    staged: AtomicU64,
}

impl Counters {
    /// A time for a file's name: now, but always later than every one before, also across a restart and a clock that
    /// goes back.
    pub(crate) fn name_time(&self, now: i64) -> i64 {
        let step = |last: i64| Some(now.max(last + 1));
        let before = self.last_name.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        now.max(before.unwrap_or_else(|last| last) + 1)
    }

    /// A number for a staged file.
    pub(crate) fn next_staged(&self) -> u64 {
        self.staged.fetch_add(1, Ordering::Relaxed)
    }

    /// Names from now on are later than this.
    pub(crate) fn not_before(&self, micros: i64) {
        self.last_name.fetch_max(micros, Ordering::Relaxed);
    }
}

/// Figures that the lane's thread publishes.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    buffered: AtomicUsize,
    files: AtomicU64,
    bytes: AtomicU64,
    /// Why the lane holds something that the disk refused, if it does.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    /// Bytes in open files.
    pub(crate) fn buffered(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Files closed so far, and their bytes.
    pub(crate) fn figures(&self) -> SinkFigures {
        SinkFigures { units: self.files.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Why the lane holds something that the disk refused, if it does.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.lock_trouble().clone()
    }

    /// Notes it; returns what was noted before.
    pub(crate) fn set_trouble(&self, why: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.lock_trouble(), why)
    }

    fn lock_trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_buffered(&self, bytes: usize) {
        self.buffered.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_file(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
