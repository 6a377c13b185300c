//! A batch on its way into the log: messages in the order of its rows, each with its number.

use super::head::{Head, Heads};
use super::numbers::Entries;
use dujiang_core::key::changed_keys;
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Kind, Result};
use dujiang_format_text::messages::Messages;

/// What of a batch is encoded at once.
pub enum Piece {
    /// A run of rows that starts at this row of the batch.
    Run(usize, ChangeBatch),
    /// An update of the key of the record at this row: a delete of the old key and an insert of the new one, each of which
    /// belongs into the partition of its key.
    Moved(usize, ChangeBatch, ChangeBatch),
}

/// The pieces of a batch, in order.
///
/// # Errors
/// `Bug`.
pub fn pieces(batch: &ChangeBatch) -> Result<Vec<Piece>> {
    let changed = changed_keys(batch);
    if changed.is_empty() {
        return Ok(vec![Piece::Run(0, batch.clone())]);
    }
    let (mut pieces, mut done) = (Vec::new(), 0);
    let run = |from: usize, to: usize| Ok::<_, dujiang_core::Error>(Piece::Run(from, batch.slice(from..to)?));
    for row in changed {
        if done < row {
            pieces.push(run(done, row)?);
        }
        let delete = batch.take(&[row as u32])?.with_kinds(vec![Kind::Delete]);
        let insert = batch.take(&[row as u32 + 1])?.with_kinds(vec![Kind::Insert]);
        pieces.push(Piece::Moved(row, delete, insert));
        done = row + 2;
    }
    if done < batch.images() {
        pieces.push(run(done, batch.images())?);
    }
    Ok(pieces)
}

/// Numbers the entries of one batch.
pub struct Numbering<'a> {
    entries: &'a Entries,
    shape: u64,
    goes_on: bool,
    first: Option<u64>,
}

impl<'a> Numbering<'a> {
    /// Of a batch of a shape; whether it is followed by another one of its cut.
    pub fn new(entries: &'a Entries, shape: u64, goes_on: bool) -> Self {
        Self { entries, shape, goes_on, first: None }
    }

    /// The headers of the messages of a piece, which take the next numbers.
    ///
    /// # Errors
    /// Never.
    pub fn heads(&mut self, piece: &ChangeBatch, messages: &Messages) -> Result<Heads> {
        let mut heads = Heads::default();
        let start = self.entries.take(messages.len() as u64);
        let first = *self.first.get_or_insert(start);
        let mut turns = piece.origins.turns().peekable();
        for (number, message) in (start..).zip(messages.iter()) {
            while turns.next_if(|(rows, _)| rows.end <= message.row).is_some() {}
            let turn = turns.peek().map_or(0, |(_, turn)| *turn);
            heads.push(&Head { n: number, first, shape: self.shape, turn, goes_on: self.goes_on })?;
        }
        Ok(heads)
    }
}

/// Errors of a run's rows, as those of the batch that it starts in at `start`.
pub fn moved_to(start: usize, failed: Vec<RowError>) -> impl Iterator<Item = RowError> {
    failed.into_iter().map(move |failure| RowError { row: failure.row + start, ..failure })
}
