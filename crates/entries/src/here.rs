//! Who of this process captures into a log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The logs that are in use in this process, by service and name.
static KNOWN: Mutex<BTreeMap<(String, String), Weak<Here>>> = Mutex::new(BTreeMap::new());

/// What this process knows of a log because it captures into it.
#[derive(Debug, Default)]
pub struct Here {
    /// Whether a capture of this process is going to open it.
    expected: AtomicBool,
    /// The instance that captures; 0 for none.
    capturing: AtomicU64,
}

impl Here {
    /// Of the log with this name in this service.
    pub fn of(service: &str, name: &str) -> Arc<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, here| here.strong_count() > 0);
        let key = (service.to_owned(), name.to_owned());
        if let Some(here) = known.get(&key).and_then(Weak::upgrade) {
            return here;
        }
        let here = Arc::new(Self::default());
        known.insert(key, Arc::downgrade(&here));
        here
    }

    /// A capture of this process is going to open the log: milestones of earlier ones are of no interest.
    pub fn expect_capture(&self) {
        self.expected.store(true, Ordering::Release);
    }

    /// It has opened it.
    pub fn captures(&self, generation: u64) {
        self.capturing.store(generation, Ordering::Release);
    }

    /// The generation whose milestones count for readers of this process; `None` when none does, because another process
    /// captures, or nobody.
    pub fn capture(&self) -> Option<u64> {
        let capturing = self.capturing.load(Ordering::Acquire);
        (self.expected.load(Ordering::Acquire) || capturing != 0).then_some(capturing)
    }
}
