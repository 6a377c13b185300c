//! What is told of a log that is looked at.

use dujiang_core::Error;
use dujiang_core::source::SourceEvent;

/// What a log holds, in figures. `P` is what it consists of.
#[derive(Debug, Clone)]
pub struct Summary<P> {
    /// The pipeline that captures into it.
    pub pipeline: String,
    /// Its lineage.
    pub lineage: String,
    /// Number of the oldest entry that can be read.
    pub first: u64,
    /// Number behind the last one.
    pub end: u64,
    /// The last epoch.
    pub epoch: u64,
    /// The instance that wrote it.
    pub generation: u64,
    /// The source's position behind it, for people.
    pub position: String,
    /// What it consists of.
    pub parts: P,
    /// Consumers, with the first entry that each has not confirmed.
    pub consumers: Vec<(String, u64)>,
}

/// What a whole reading found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Entries read.
    pub entries: u64,
    /// Images in them.
    pub images: u64,
    /// Epochs read.
    pub epochs: u64,
    /// What stands in the way of reading all of it.
    pub problem: Option<Error>,
}

impl Verified {
    /// Counts what was read.
    pub fn count(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Batch(batch) => {
                self.images += batch.images() as u64;
                self.entries += batch.changes() as u64;
            }
            _ => self.entries += 1,
        }
    }
}
