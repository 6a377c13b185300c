//! A batch on its way into the log: messages in the order of its rows, each with its number.

use super::head::{Head, Heads};
use super::numbers::Entries;
use dujiang_core::key::changed_keys;
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Error, Kind, Result};
use dujiang_format_text::messages::{Message, Messages};

/// What of a batch is encoded at once.
enum Piece {
    /// A run of rows that starts at this row of the batch.
    Run(usize, ChangeBatch),
    /// An update of the key of the record at this row: a delete of the old key and an insert of the new one, each of which
    /// belongs into the partition of its key.
    Moved(usize, ChangeBatch, ChangeBatch),
}

/// The pieces of a batch, in order.
fn pieces(batch: &ChangeBatch) -> Result<Vec<Piece>> {
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

/// A piece of a batch with its messages.
pub type Encoded = (ChangeBatch, Messages);

/// The messages of a batch, piece by piece, and the records that have none. Nothing is numbered yet: a call that fails has
/// taken nothing.
///
/// # Errors
/// As `encode`.
pub fn encoded(
    batch: &ChangeBatch,
    mut buffer: impl FnMut() -> Messages,
    mut encode: impl FnMut(&ChangeBatch, &mut Messages) -> Result<Vec<RowError>>,
) -> Result<(Vec<Encoded>, Vec<RowError>)> {
    let (mut encoded, mut failed) = (Vec::new(), Vec::new());
    for piece in pieces(batch)? {
        match piece {
            Piece::Run(start, rows) => {
                let mut messages = buffer();
                failed.extend(moved_to(start, encode(&rows, &mut messages)?));
                encoded.push((rows, messages));
            }
            Piece::Moved(row, delete, insert) => {
                let (mut gone, mut come) = (buffer(), buffer());
                let wrong = encode(&delete, &mut gone)?.into_iter();
                let wrong = wrong.chain(encode(&insert, &mut come)?).next();
                match wrong {
                    // Both or none.
                    Some(failure) => failed.push(RowError { row, ..failure }),
                    None => encoded.extend([(delete, gone), (insert, come)]),
                }
            }
        }
    }
    Ok((encoded, failed))
}

/// Leaves out the messages that are too large; those records come back with the others that failed, in order.
pub fn without_large(
    batch: &ChangeBatch,
    out: &mut Messages,
    mut failed: Vec<RowError>,
    limit: usize,
    error: impl Fn(usize) -> Error,
) -> Vec<RowError> {
    let mut large: Vec<(usize, usize)> =
        out.iter().map(|message| (message.row, size(&message))).filter(|(_, bytes)| *bytes > limit).collect();
    if large.is_empty() {
        return failed;
    }
    large.dedup_by_key(|(row, _)| *row);
    out.forget(|row| large.binary_search_by_key(&row, |(row, _)| *row).is_ok());
    failed.extend(large.into_iter().map(|(row, bytes)| RowError { row: batch.first_image(row), error: error(bytes) }));
    failed.sort_by_key(|failure| failure.row);
    failed
}

/// Bytes of a message.
pub fn size(message: &Message<'_>) -> usize {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    length(message.key) + length(message.value) + length(message.event_id)
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
fn moved_to(start: usize, failed: Vec<RowError>) -> impl Iterator<Item = RowError> {
    failed.into_iter().map(move |failure| RowError { row: failure.row + start, ..failure })
}
