//! A source, a sink, a log, a checkpoint store and a dead-letter store in memory: real implementations of their traits, whose
//! "disk" survives a crash of the pipeline, and whose calls can be slow, fail, lose their reply, or kill the process.
//!
//! A [`World`] holds everything durable and watches the invariants from outside: whatever breaks one is noted in
//! [`World::violations`].

mod chaos;
mod letters;
mod log;
mod script;
mod sink;
mod source;
mod store;

pub use chaos::{Chaos, Fate, Rates, Rng};
pub use letters::MemoryLetters;
pub use log::{MemoryDelivery, MemoryLog};
pub use script::{Change, Effect, Flag, Images, Script, ScriptOptions, Step, TABLES, schema_at};
pub use sink::MemorySink;
pub use source::MemorySource;
pub use store::MemoryStore;

use dujiang_core::sink::{Retries, SinkClass};
use dujiang_core::{Epoch, TableId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Effects per (table, key), in the order in which the sink shows them.
pub type Effects = BTreeMap<(TableId, String), Vec<Effect>>;

/// Everything that survives a crash, and the watch over it.
#[derive(Clone)]
pub struct World {
    /// What goes wrong.
    pub chaos: Chaos,
    /// What the source has to tell.
    pub script: Arc<Script>,
    /// What the sink promises.
    pub class: SinkClass,
    durable: Arc<Mutex<Durable>>,
}

#[derive(Default)]
pub(crate) struct Durable {
    pub(crate) store: store::Disk,
    pub(crate) sink: sink::Disk,
    pub(crate) letters: letters::Disk,
    pub(crate) log: log::Disk,
    /// The source serves no position before this one any more.
    pub(crate) acked: usize,
    /// Whether tokens may be committed that no checkpoint names: for suites that drive a sink alone.
    pub(crate) unpublished: bool,
    pub(crate) violations: Vec<String>,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(script: Script, class: SinkClass, chaos: Chaos) -> Self {
        Self { chaos, script: Arc::new(script), class, durable: Arc::default() }
    }

    /// A source of this process.
    pub fn source(&self) -> MemorySource {
        MemorySource::new(self.clone())
    }

    /// A sink of this process.
    pub fn sink(&self) -> MemorySink {
        MemorySink::new(self.clone())
    }

    /// A checkpoint store of this process.
    pub fn store(&self) -> MemoryStore {
        MemoryStore::new(self.clone())
    }

    /// A dead-letter store of this process.
    pub fn letters(&self) -> MemoryLetters {
        MemoryLetters::new(self.clone())
    }

    /// What has broken an invariant so far.
    pub fn violations(&self) -> Vec<String> {
        self.durable().violations.clone()
    }

    /// What a reader of the sink sees, per key.
    pub fn visible(&self) -> Effects {
        self.durable().sink.visible()
    }

    /// How often a sink is to try again, as the last one was told.
    pub fn retries(&self) -> Option<Retries> {
        self.durable().sink.retries
    }

    /// What a reader of the dead letters sees: (table, transaction, ordinal), sorted.
    pub fn visible_letters(&self) -> Vec<(String, String, u64)> {
        self.durable().letters.visible()
    }

    /// The epochs of the checkpoints that are kept, oldest first.
    pub fn checkpoints(&self) -> Vec<Epoch> {
        self.durable().store.checkpoints.iter().map(|c| c.epoch).collect()
    }

    /// Checkpoints published so far, by all processes.
    pub fn published(&self) -> u64 {
        self.durable().store.published
    }

    /// Where the source has been acked.
    pub fn acked(&self) -> usize {
        self.durable().acked
    }

    /// From now on the sink is driven without a store: it takes commits that no checkpoint names.
    pub fn allow_unpublished(&self) {
        self.durable().unpublished = true;
    }

    /// Loses what the store holds, as a deleted state folder does.
    pub fn lose_state(&self) {
        self.durable().store = store::Disk::default();
    }

    pub(crate) fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
