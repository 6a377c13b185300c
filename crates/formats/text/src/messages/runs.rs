//! The rows of a batch by their origin.

use dujiang_core::{ChangeBatch, Kind, Origin};
use std::ops::Range;

/// One change: its images and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) kind: Kind,
    /// The row as it was, of an update and a delete.
    pub(super) before: Option<usize>,
    /// The row as it is.
    pub(super) after: Option<usize>,
    pub(super) ordinal: u64,
}

impl Change {
    /// The row that tells the key: the new one, if there is any.
    pub(super) fn row(&self) -> usize {
        self.after.or(self.before).expect("invariant: a change has an image")
    }

    /// Its first image, by which row errors name it.
    pub(super) fn first(&self) -> usize {
        self.before.or(self.after).expect("invariant: a change has an image")
    }
}

/// Rows of one origin within a range of a batch's rows.
pub(super) struct Run<'a> {
    batch: &'a ChangeBatch,
    rows: Range<usize>,
    pub(super) origin: Origin<'a>,
    /// Ordinal of the first change of the run within the range.
    first_ordinal: u64,
}

/// The runs within a range, which must not part the images of an update.
pub(super) fn runs(batch: &ChangeBatch, range: Range<usize>) -> impl Iterator<Item = Run<'_>> {
    batch.origins.iter().filter_map(move |(rows, origin)| {
        let wanted = rows.start.max(range.start)..rows.end.min(range.end);
        if wanted.is_empty() {
            return None;
        }
        let skipped = batch.kinds[rows.start..wanted.start].iter().filter(|kind| **kind != Kind::UpdateBefore).count();
        Some(Run { batch, rows: wanted, origin, first_ordinal: origin.first_ordinal + skipped as u64 })
    })
}

impl Run<'_> {
    pub(super) fn changes(&self) -> impl Iterator<Item = Change> {
        let kinds = self.rows.clone().filter(|&row| self.batch.kinds[row] != Kind::UpdateBefore);
        kinds.zip(self.first_ordinal..).map(|(row, ordinal)| {
            let kind = self.batch.kinds[row];
            let (before, after) = match kind {
                Kind::UpdateAfter => (Some(row - 1), Some(row)),
                Kind::Delete => (Some(row), None),
                _ => (None, Some(row)),
            };
            Change { kind, before, after, ordinal }
        })
    }
}
