//! Changes of one table, in Arrow columns.

use crate::schema::{TableId, TableSchema};
use crate::{Code, Error, Result};
use arrow_array::{RecordBatch, UInt32Array};
use std::sync::Arc;

/// What one row of a batch is.
///
/// An update is two neighbouring rows, [`Kind::UpdateBefore`] then [`Kind::UpdateAfter`]; they are never separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The row as inserted.
    Insert,
    /// The row before an update.
    UpdateBefore,
    /// The row after an update.
    UpdateAfter,
    /// The row before a delete.
    Delete,
    /// The row as a snapshot read it.
    Read,
}

impl Kind {
    /// The letter of the `__op` column: `c`, `u` (both images), `d`, `r`.
    pub fn letter(self) -> &'static str {
        match self {
            Kind::Insert => "c",
            Kind::UpdateBefore | Kind::UpdateAfter => "u",
            Kind::Delete => "d",
            Kind::Read => "r",
        }
    }
}

/// Precision of a commit time as the source recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimePrecision {
    /// Whole seconds (MariaDB, MySQL 5.7).
    Seconds,
    /// Microseconds (MySQL 8.0 and later, PostgreSQL).
    Micros,
}

/// Where a run of rows comes from. Text parts point into [`Origins`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginSpan {
    /// First row after this run; runs follow each other without gaps, the last one ends at the batch's row count.
    pub end_row: u32,
    /// Commit time, microseconds since 1970-01-01 UTC. For snapshot rows: when the snapshot was opened.
    pub commit_micros: i64,
    /// What of `commit_micros` the source really knows.
    pub precision: TimePrecision,
    /// Ordinal, within (transaction, table), of the run's first **change**. Insert, delete and read count one, the two
    /// images of an update share one.
    pub first_ordinal: u64,
    /// Orders rows of different tables; see [`Origins::push_in_turn`].
    turn: u64,
    transaction: (u32, u32),
    position: (u32, u32),
}

/// The origin of a run, with its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The transaction's id, unique and stable within the pipeline's lineage (a GTID), or `snapshot:<id>`.
    pub transaction: &'a str,
    /// The transaction's place in the source's log, for people (`bin.000003:4711`).
    pub position: &'a str,
    /// Commit time, microseconds since 1970-01-01 UTC.
    pub commit_micros: i64,
    /// Precision of the commit time.
    pub precision: TimePrecision,
    /// Ordinal of the run's first change within (transaction, table).
    pub first_ordinal: u64,
}

/// Run-length spans of rows -> origin; the texts of all spans share one buffer, so that a batch of many small
/// transactions allocates nothing per transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    spans: Vec<OriginSpan>,
    text: String,
    /// The table the rows were read from, where a route gave the batch another name.
    table: Option<TableId>,
}

impl Origins {
    /// Keeps the name of the table the rows were read from, because a route gives the batch another one. Event ids go by
    /// this name; the first one stays.
    pub fn keep_table(&mut self, table: &TableId) {
        self.table.get_or_insert_with(|| table.clone());
    }

    /// Appends a run that ends before `end_row`.
    ///
    /// # Panics
    /// If `end_row` does not lie after the last run (a programming error of the source).
    pub fn push(&mut self, end_row: usize, origin: Origin<'_>) {
        self.push_in_turn(end_row, origin, 0);
    }

    /// Appends a run that ends before `end_row` and says where it stands among the rows of other tables: of two runs of
    /// one cut ([`crate::source::Reader::is_mid_cut`]) the one with the lower turn comes first at the source. Turns never fall
    /// while a reader reads, and mean nothing beyond it. A source that gives none has turn 0 everywhere.
    ///
    /// # Panics
    /// As [`Origins::push`].
    pub fn push_in_turn(&mut self, end_row: usize, origin: Origin<'_>, turn: u64) {
        let end_row = u32::try_from(end_row).expect("invariant: a batch has fewer than 2^32 rows");
        assert!(self.spans.last().is_none_or(|last| last.end_row < end_row), "invariant: origin runs are not empty");
        let transaction = self.intern(origin.transaction, |s| s.transaction);
        let position = self.intern(origin.position, |s| s.position);
        self.spans.push(OriginSpan {
            end_row,
            commit_micros: origin.commit_micros,
            precision: origin.precision,
            first_ordinal: origin.first_ordinal,
            turn,
            transaction,
            position,
        });
    }

    /// Gives all runs one turn.
    pub fn set_turn(&mut self, turn: u64) {
        self.spans.iter_mut().for_each(|span| span.turn = turn);
    }

    /// The runs in row order: (row range, turn).
    pub fn turns(&self) -> impl Iterator<Item = (std::ops::Range<usize>, u64)> {
        let mut start = 0;
        self.spans.iter().map(move |span| {
            let rows = start..span.end_row as usize;
            start = span.end_row as usize;
            (rows, span.turn)
        })
    }

    /// Adds rows to the last run.
    pub fn extend_last(&mut self, end_row: usize) {
        let end_row = u32::try_from(end_row).expect("invariant: a batch has fewer than 2^32 rows");
        self.spans.last_mut().expect("invariant: there is a run to extend").end_row = end_row;
    }

    fn intern(&mut self, text: &str, of: impl Fn(&OriginSpan) -> (u32, u32)) -> (u32, u32) {
        if let Some(last) = self.spans.last().map(of)
            && &self.text[last.0 as usize..last.1 as usize] == text
        {
            return last;
        }
        let start = self.text.len() as u32;
        self.text.push_str(text);
        (start, self.text.len() as u32)
    }

    /// The runs in row order: (row range, origin).
    pub fn iter(&self) -> impl Iterator<Item = (std::ops::Range<usize>, Origin<'_>)> {
        let mut start = 0;
        self.spans.iter().map(move |span| {
            let rows = start..span.end_row as usize;
            start = span.end_row as usize;
            (rows, self.resolve(span))
        })
    }

    fn resolve<'a>(&'a self, span: &OriginSpan) -> Origin<'a> {
        Origin {
            transaction: &self.text[span.transaction.0 as usize..span.transaction.1 as usize],
            position: &self.text[span.position.0 as usize..span.position.1 as usize],
            commit_micros: span.commit_micros,
            precision: span.precision,
            first_ordinal: span.first_ordinal,
        }
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no run.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<OriginSpan>() + self.text.capacity()
    }

    /// Forgets the rows behind the first `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.spans.truncate(self.spans.partition_point(|span| (span.end_row as usize) < rows) + 1);
        let begin = self.spans.len().checked_sub(2).map_or(0, |before| self.spans[before].end_row as usize);
        match self.spans.last_mut() {
            Some(last) if begin < rows => last.end_row = last.end_row.min(rows as u32),
            _ => {
                self.spans.pop();
            }
        }
    }

    pub(crate) fn end(&self) -> usize {
        self.spans.last().map_or(0, |s| s.end_row as usize)
    }
}

/// A value that the source holds and Arrow's type cannot: its cell in the batch has a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfitCell {
    /// Row of the batch.
    pub row: u32,
    /// Column of the batch.
    pub column: u32,
    /// The value as the source shows it, or its bytes in hexadecimal digits.
    pub text: Box<str>,
    /// Why it cannot be carried.
    pub why: Box<str>,
}

/// Changes of **one table at one schema version**, in source order.
///
/// `rows` holds one row per image; `kinds` and `origins` say what each row is and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeBatch {
    /// The table and its shape.
    pub schema: Arc<TableSchema>,
    /// One row per image, columns as in `schema.arrow`.
    pub rows: RecordBatch,
    /// One per row.
    pub kinds: Arc<[Kind]>,
    /// Runs of rows with one origin.
    pub origins: Arc<Origins>,
    /// Cells whose value could not be carried, by row and column. Only between a source and the engine's first hop, which
    /// makes their records dead letters: transforms and sinks never see any.
    pub unfit: Arc<[UnfitCell]>,
}

impl ChangeBatch {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`Code::Bug`] when lengths disagree or an update's images are not neighbours.
    pub fn new(schema: Arc<TableSchema>, rows: RecordBatch, kinds: Vec<Kind>, origins: Origins) -> Result<Self> {
        let bad = |why: &str| Error::new(Code::Bug, format!("a batch of {} is inconsistent: {why}", schema.id));
        if kinds.len() != rows.num_rows() || origins.end() != rows.num_rows() {
            return Err(bad(&format!(
                "{} rows, {} kinds, origins up to {}",
                rows.num_rows(),
                kinds.len(),
                origins.end()
            )));
        }
        if !updates_are_pairs(&kinds) {
            return Err(bad("an update's before and after image are not neighbours"));
        }
        Ok(Self { schema, rows, kinds: kinds.into(), origins: Arc::new(origins), unfit: Arc::new([]) })
    }

    /// The same rows; the values of these cells could not be carried.
    #[must_use]
    pub fn with_unfit(mut self, mut cells: Vec<UnfitCell>) -> Self {
        cells.sort_unstable_by_key(|cell| (cell.row, cell.column));
        self.unfit = cells.into();
        self
    }

    /// What the source shows in a cell whose value could not be carried.
    pub fn unfit_cell(&self, row: usize, column: usize) -> Option<&UnfitCell> {
        self.unfit.iter().find(|cell| (cell.row as usize, cell.column as usize) == (row, column))
    }

    /// The row that stands for a record: of an update, its before image.
    pub fn first_image(&self, row: usize) -> usize {
        row - usize::from(self.kinds[row] == Kind::UpdateAfter)
    }

    /// Records with values that could not be carried, in order: (row of the record's first image, why). Empty for nearly
    /// every batch.
    pub fn unfit_records(&self) -> Vec<(usize, Error)> {
        let mut out: Vec<(usize, Error)> = Vec::new();
        for cell in self.unfit.iter() {
            let row = cell.row as usize;
            let first = self.first_image(row);
            if out.last().is_none_or(|(last, _)| *last != first) {
                out.push((first, self.unfit_error(cell)));
            }
        }
        out
    }

    fn unfit_error(&self, cell: &UnfitCell) -> Error {
        let column = self.schema.arrow.field(cell.column as usize).name();
        let sentence = format!("{}, column {column}: {} cannot be carried: {}", self.schema.id, cell.text, cell.why);
        Error::new(Code::BadRecord, sentence)
            .fact("column", column.as_str())
            .fact("value", &*cell.text)
            .help("correct the value at the source, or leave the table out of `tables`")
    }

    /// The table the rows were read from; routes give a batch another name, but events keep their ids.
    pub fn source_table(&self) -> &TableId {
        self.origins.table.as_ref().unwrap_or(&self.schema.id)
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.kinds.len()
    }

    /// Number of changes: an update's two images count once.
    pub fn changes(&self) -> usize {
        self.kinds.iter().filter(|k| !matches!(k, Kind::UpdateBefore)).count()
    }

    /// Bytes held, as counted against the pipeline's budget.
    pub fn memory(&self) -> usize {
        self.rows.get_array_memory_size() + self.kinds.len() + self.origins.memory()
    }

    /// For every row the ordinal of its change within (transaction, table); see [`OriginSpan::first_ordinal`].
    pub fn ordinals(&self) -> impl Iterator<Item = (u64, Origin<'_>)> {
        self.origins.iter().flat_map(move |(rows, origin)| {
            let mut next = origin.first_ordinal;
            rows.map(move |row| {
                let this = next;
                if !matches!(self.kinds[row], Kind::UpdateBefore) {
                    next += 1;
                }
                (this, origin)
            })
        })
    }

    /// The rows at `indices` (ascending), as a batch of their own with their original ordinals.
    ///
    /// # Errors
    /// [`Code::Bug`] when Arrow refuses, e.g. for an index out of range.
    pub fn take(&self, indices: &[u32]) -> Result<Self> {
        let wanted = UInt32Array::from(indices.to_vec());
        let rows = arrow_select::take::take_record_batch(&self.rows, &wanted)
            .map_err(|e| Error::new(Code::Bug, "pick rows of a batch").with_source(e))?;
        let kinds: Vec<Kind> = indices.iter().map(|&i| self.kinds[i as usize]).collect();
        Ok(Self {
            schema: self.schema.clone(),
            rows,
            kinds: kinds.into(),
            origins: Arc::new(self.take_origins(indices)),
            unfit: self.take_unfit(indices),
        })
    }

    fn take_unfit(&self, indices: &[u32]) -> Arc<[UnfitCell]> {
        let place = |cell: &UnfitCell| indices.binary_search(&cell.row).ok();
        let taken = |cell: &UnfitCell| place(cell).map(|row| UnfitCell { row: row as u32, ..cell.clone() });
        self.unfit.iter().filter_map(taken).collect()
    }

    fn take_origins(&self, indices: &[u32]) -> Origins {
        let mut out = Origins { table: self.origins.table.clone(), ..Origins::default() };
        let mut wanted = indices.iter().copied().peekable();
        let mut taken = 0;
        let mut expected: Option<(usize, u64)> = None;
        for (row, ((ordinal, origin), span)) in self.ordinals().zip(self.span_of_rows()).enumerate() {
            if wanted.next_if_eq(&(row as u32)).is_none() {
                continue;
            }
            taken += 1;
            if expected == Some((span, ordinal)) {
                out.extend_last(taken);
            } else {
                out.push_in_turn(taken, Origin { first_ordinal: ordinal, ..origin }, self.origins.spans[span].turn);
            }
            let step = u64::from(!matches!(self.kinds[row], Kind::UpdateBefore));
            expected = Some((span, ordinal + step));
        }
        out
    }

    fn span_of_rows(&self) -> impl Iterator<Item = usize> {
        self.origins.iter().enumerate().flat_map(|(span, (rows, _))| rows.map(move |_| span))
    }

    /// A contiguous part of the batch.
    ///
    /// # Errors
    /// As [`ChangeBatch::take`].
    pub fn slice(&self, range: std::ops::Range<usize>) -> Result<Self> {
        let indices: Vec<u32> = range.map(|i| i as u32).collect();
        self.take(&indices)
    }

    /// The same rows with other kinds (a key update that became delete and insert).
    #[must_use]
    pub fn with_kinds(&self, kinds: Vec<Kind>) -> Self {
        assert_eq!(kinds.len(), self.kinds.len(), "invariant: one kind per row");
        Self { kinds: kinds.into(), ..self.clone() }
    }
}

fn updates_are_pairs(kinds: &[Kind]) -> bool {
    let mut rest = kinds.iter();
    while let Some(kind) = rest.next() {
        match kind {
            Kind::UpdateBefore if rest.next() != Some(&Kind::UpdateAfter) => return false,
            Kind::UpdateAfter => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableId;
    use arrow_array::{ArrayRef, Int64Array};
    use arrow_schema::{DataType, Field};

    fn origin(transaction: &str, first_ordinal: u64) -> Origin<'_> {
        Origin { transaction, position: "bin.1:4", commit_micros: 7, precision: TimePrecision::Seconds, first_ordinal }
    }

    fn batch() -> ChangeBatch {
        let schema =
            TableSchema::by_value(TableId::new("d", "t"), vec![Field::new("id", DataType::Int64, false)], vec![0]);
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 2, 3, 4]));
        let rows = RecordBatch::try_new(schema.arrow.clone(), vec![ids]).unwrap();
        let kinds = vec![Kind::Insert, Kind::UpdateBefore, Kind::UpdateAfter, Kind::Delete, Kind::Insert];
        let mut origins = Origins::default();
        origins.push(4, origin("tx-a", 0));
        origins.push(5, origin("tx-b", 0));
        ChangeBatch::new(schema, rows, kinds, origins).unwrap()
    }

    fn ids(batch: &ChangeBatch) -> Vec<(String, u64)> {
        batch.ordinals().map(|(n, o)| (o.transaction.to_owned(), n)).collect()
    }

    #[test]
    fn an_updates_images_share_their_ordinal() {
        let expected: Vec<_> =
            [("tx-a", 0), ("tx-a", 1), ("tx-a", 1), ("tx-a", 2), ("tx-b", 0)].map(|(t, n)| (t.to_owned(), n)).into();
        assert_eq!(ids(&batch()), expected);
        assert_eq!(batch().changes(), 4);
    }

    #[test]
    fn picked_rows_keep_their_ordinals() {
        let all = ids(&batch());
        for picked in [vec![0, 3, 4], vec![1, 2], vec![3, 4], vec![0, 1, 2, 3, 4], vec![4]] {
            let part = batch().take(&picked).unwrap();
            let expected: Vec<_> = picked.iter().map(|&i| all[i as usize].clone()).collect();
            assert_eq!(ids(&part), expected, "{picked:?}");
        }
        assert_eq!(batch().slice(0..5).unwrap().origins.len(), 2);
    }

    #[test]
    fn a_routed_batch_remembers_where_it_was_read() {
        let mut routed = batch();
        Arc::make_mut(&mut routed.origins).keep_table(&TableId::new("d", "t"));
        routed.schema = Arc::new(TableSchema { id: TableId::new("ods", "all"), ..(*routed.schema).clone() });
        assert_eq!(routed.take(&[0, 3]).unwrap().source_table(), &TableId::new("d", "t"));
        assert_eq!(batch().source_table(), &TableId::new("d", "t"));
    }

    #[test]
    fn cells_that_could_not_be_carried_stay_with_their_rows() {
        let cell = |row, text: &str| UnfitCell { row, column: 0, text: text.into(), why: "it is odd".into() };
        let batch = batch().with_unfit(vec![cell(4, "b"), cell(2, "a")]);
        let records = batch.unfit_records();
        assert_eq!(records.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 4], "an update by its first image");
        assert_eq!(records[0].1.message(), "d.t, column id: a cannot be carried: it is odd");
        assert_eq!(*batch.take(&[0, 4]).unwrap().unfit, [cell(1, "b")]);
    }

    #[test]
    fn picked_rows_keep_their_turns() {
        let mut batch = batch();
        let mut origins = Origins::default();
        origins.push_in_turn(4, origin("tx-a", 0), 3);
        origins.push_in_turn(5, origin("tx-b", 0), 8);
        batch.origins = Arc::new(origins);
        let turns = |batch: &ChangeBatch| batch.origins.turns().collect::<Vec<_>>();
        assert_eq!(turns(&batch), [(0..4, 3), (4..5, 8)]);
        assert_eq!(turns(&batch.take(&[3, 4]).unwrap()), [(0..1, 3), (1..2, 8)]);
        Arc::make_mut(&mut batch.origins).set_turn(9);
        assert_eq!(turns(&batch), [(0..4, 9), (4..5, 9)]);
    }

    #[test]
    fn a_torn_update_is_refused() {
        let b = batch();
        let torn = vec![Kind::UpdateBefore, Kind::Insert, Kind::Insert, Kind::Delete, Kind::Insert];
        let error = ChangeBatch::new(b.schema, b.rows, torn, (*b.origins).clone()).unwrap_err();
        assert_eq!(error.code(), Code::Bug);
    }
}
