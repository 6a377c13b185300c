//! Places in the log, and who of this process captures into it.

use crate::entries::ReadConfig;
use dujiang_core::{Code, Error, Position, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A place in the log, as the checkpoints of a delivery hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spot {
    /// Which log.
    pub(crate) log: String,
    /// Number of the next entry.
    pub(crate) number: u64,
    /// Offset, in the topic of the epochs, from which the epoch of that entry is found.
    pub(crate) epochs: i64,
}

impl Spot {
    pub(crate) fn of(position: &Position) -> Result<Self> {
        serde_json::from_slice(position.as_bytes()).map_err(|error| {
            Error::new(Code::LogOther, "the checkpoint's position is not one of a log in Kafka")
                .help("the pipeline has read from another source until now; give this one another `pipeline.name`")
                .with_source(error)
        })
    }

    pub(crate) fn write(&self) -> Result<Position> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Position::new).map_err(|e| Error::new(Code::Bug, "a position cannot be written").with_source(e))
    }
}

/// The logs that are in use in this process, by brokers and prefix.
static KNOWN: Mutex<BTreeMap<(String, String), Weak<Here>>> = Mutex::new(BTreeMap::new());

/// What this process knows of a log because it captures into it.
#[derive(Debug, Default)]
pub(crate) struct Here {
    /// Whether a capture of this process is going to open it.
    expected: AtomicBool,
    /// The instance that captures; 0 for none.
    capturing: AtomicU64,
}

impl Here {
    pub(crate) fn of(config: &ReadConfig) -> Arc<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, here| here.strong_count() > 0);
        let key = (config.bootstrap.clone(), config.prefix.clone());
        if let Some(here) = known.get(&key).and_then(Weak::upgrade) {
            return here;
        }
        let here = Arc::new(Self::default());
        known.insert(key, Arc::downgrade(&here));
        here
    }

    /// A capture of this process is going to open the log: milestones of earlier ones are of no interest.
    pub(crate) fn expect_capture(&self) {
        self.expected.store(true, Ordering::Release);
    }

    /// It has opened it.
    pub(crate) fn captures(&self, generation: u64) {
        self.capturing.store(generation, Ordering::Release);
    }

    /// The generation whose milestones count for readers of this process; `None` when none does, because another process
    /// captures, or nobody.
    pub(crate) fn capture(&self) -> Option<u64> {
        let capturing = self.capturing.load(Ordering::Acquire);
        (self.expected.load(Ordering::Acquire) || capturing != 0).then_some(capturing)
    }
}
