//! Entries as they are read: what they are, and the place behind each.

use dujiang_core::budget::Held;
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::Milestone;
use dujiang_core::source::SourceEvent;
use dujiang_core::{ChangeBatch, Result};

/// What an entry is; changes that were captured together are one.
#[derive(Debug)]
pub enum Entry {
    /// Changes of one table.
    Batch {
        /// They.
        batch: ChangeBatch,
        /// Whether they are followed by others of their cut.
        goes_on: bool,
    },
    /// A change of a table's shape.
    Schema(SchemaChange),
    /// A milestone of the source, with the instance that captured it.
    Milestone(Milestone, u64),
}

/// An entry, and the place behind it. `P` is what a log needs to find the number again.
#[derive(Debug)]
pub struct Item<P> {
    /// What it is.
    pub entry: Entry,
    /// Number behind it.
    pub number: u64,
    /// From where that number is found.
    pub at: P,
}

impl<P> Item<P> {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        match &self.entry {
            Entry::Batch { batch, .. } => batch.memory(),
            _ => 64,
        }
    }

    /// The number of its first change, and what a reader is told of it.
    pub fn into_event(self) -> (u64, SourceEvent) {
        match self.entry {
            Entry::Batch { batch, .. } => (self.number - batch.changes() as u64, SourceEvent::Batch(batch)),
            Entry::Schema(change) => (self.number - 1, SourceEvent::SchemaChange(change)),
            Entry::Milestone(milestone, _) => (self.number - 1, SourceEvent::from(milestone)),
        }
    }
}

/// Entries in order, as they are read together.
#[derive(Debug)]
pub struct Piece<P> {
    /// They.
    pub items: Vec<Item<P>>,
    /// Number behind the last entry that is known to be committed.
    pub end: u64,
    /// Their memory; given back when they have been handed over.
    pub held: Held,
}

/// Shows entries one by one, as long as `take` says so.
///
/// # Errors
/// The first one of the pieces, or of `take`.
pub fn each<P>(
    pieces: impl IntoIterator<Item = Result<Vec<Item<P>>>>,
    mut take: impl FnMut(Item<P>) -> Result<bool>,
) -> Result<()> {
    for piece in pieces {
        for item in piece? {
            if !take(item)? {
                return Ok(());
            }
        }
    }
    Ok(())
}
