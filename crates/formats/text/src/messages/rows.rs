//! Rows that were read from messages, until they make a batch.

use super::growing::Column;
use arrow_array::{RecordBatch, RecordBatchOptions};
use dujiang_core::batch::TimePrecision;
use dujiang_core::{ChangeBatch, Code, Kind, Origin, Origins, Result, ResultExt, TableSchema};
use std::sync::Arc;

/// Rows of one table, decoded from messages. One is used again and again.
#[derive(Debug)]
pub struct DecodedRows {
    table: Arc<TableSchema>,
    pub(super) columns: Vec<Column>,
    pub(super) kinds: Vec<Kind>,
    origins: Origins,
    /// What the last run says, to see whether a change belongs to it: transaction, position, time, next ordinal.
    last: (String, String, i64, TimePrecision, u64),
    /// Turn of what is appended, and of the last run.
    turn: (u64, u64),
}

impl DecodedRows {
    pub(super) fn new(table: &Arc<TableSchema>, columns: Vec<Column>) -> Self {
        let last = (String::new(), String::new(), 0, TimePrecision::Seconds, 0);
        Self { table: table.clone(), columns, kinds: Vec::new(), origins: Origins::default(), last, turn: (0, 0) }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.columns.iter().map(Column::memory).sum::<usize>() + self.kinds.capacity() + self.origins.memory()
    }

    /// What is appended from now on has this turn among the rows of other tables
    /// ([`push_in_turn`](dujiang_core::Origins::push_in_turn)).
    pub fn in_turn(&mut self, turn: u64) {
        self.turn.0 = turn;
    }

    /// Makes a batch of the rows and begins anew.
    ///
    /// # Errors
    /// [`Code::Bug`] when they do not make one.
    pub fn take(&mut self) -> Result<ChangeBatch> {
        let images = self.kinds.len();
        let columns = self.columns.iter_mut().map(Column::take).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(images));
        let rows = RecordBatch::try_new_with_options(self.table.arrow.clone(), columns, &options)
            .or_code(Code::Bug, || format!("decoded rows of {} make no batch", self.table.id))?;
        let origins = std::mem::take(&mut self.origins);
        ChangeBatch::new(self.table.clone(), rows, std::mem::take(&mut self.kinds), origins)
    }

    /// Forgets the images behind the first `images`; they have no origin yet.
    pub(super) fn truncate(&mut self, images: usize) {
        self.kinds.truncate(images);
        self.columns.iter_mut().for_each(|column| column.truncate(images));
    }

    /// Gives the images without origin theirs: `changes` changes from its first ordinal on.
    pub(super) fn end(&mut self, origin: &Origin<'_>, changes: u64) {
        let (transaction, position, time, precision, next) = &self.last;
        let goes_on = !self.origins.is_empty()
            && self.turn.0 == self.turn.1
            && transaction == origin.transaction
            && position == origin.position
            && (*time, *precision, *next) == (origin.commit_micros, origin.precision, origin.first_ordinal);
        if goes_on {
            self.origins.extend_last(self.kinds.len());
        } else {
            self.origins.push_in_turn(self.kinds.len(), *origin, self.turn.0);
            self.turn.1 = self.turn.0;
            self.last.0.clear();
            self.last.0.push_str(origin.transaction);
            self.last.1.clear();
            self.last.1.push_str(origin.position);
            (self.last.2, self.last.3) = (origin.commit_micros, origin.precision);
        }
        self.last.4 = origin.first_ordinal + changes;
    }
}
