//! Reading a whole log, to see whether all of it can be read.

use dujiang_core::Error;
use dujiang_core::source::SourceEvent;

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
