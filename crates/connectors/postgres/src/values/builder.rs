//! One open builder per table: images of rows in, [`ChangeBatch`]es out.

use super::bad::BadValue;
use super::cells::{self, Reading};
use super::column::Column;
use super::open::OpenColumn;
use super::types::ValueSettings;
use crate::pgoutput::{Cell, OldKind, Tuple};
use arrow_array::RecordBatch;
use dujiang_core::span::OpenSpan;
use dujiang_core::{ChangeBatch, Code, Error, Kind, Origin, Result, ResultExt, TableSchema, UnfitCell};
use std::sync::Arc;

/// A change of one row, as the stream tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowChange<'a> {
    /// A row was inserted.
    Insert(Tuple<'a>),
    /// A row was updated.
    Update {
        /// The whole old row (identity full), or the old key if it changed.
        old: Option<(OldKind, Tuple<'a>)>,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was deleted.
    Delete((OldKind, Tuple<'a>)),
}

impl RowChange<'_> {
    /// Whether it takes a row away, or the old image of one.
    pub fn takes_away(&self) -> bool {
        matches!(self, Self::Delete(_) | Self::Update { old: Some(_), .. })
    }
}

/// What of a change is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Whole,
    /// Of an update its old image, as a delete (its new key belongs to a chunk not yet read).
    Before,
    /// Of an update its new image, as an insert.
    After,
}

/// The new image of an update. A large value of the key that the update does not touch is in the old key, and only there: the
/// server logs the old key because of it, changed or not.
pub fn with_key<'a>(
    old: Option<(OldKind, Tuple<'a>)>,
    new: Tuple<'a>,
    columns: &'a [Column],
) -> impl Iterator<Item = Cell<'a>> {
    let mut key = old.filter(|(kind, _)| *kind == OldKind::Key).map(|(_, key)| key.cells());
    let in_identity = columns.iter().map(|column| column.in_identity).chain(std::iter::repeat(false));
    new.cells().zip(in_identity).map(move |(cell, in_identity)| {
        let before = key.as_mut().and_then(Iterator::next);
        before.filter(|_| in_identity && cell == Cell::Unchanged).unwrap_or(cell)
    })
}

/// Why a change was not appended. The builder then holds what it held before.
#[derive(Debug)]
pub enum Refused {
    /// NULL in this column, which the shape declares NOT NULL: it was declared so later than this row was written. The caller
    /// goes on with the shape's `relaxed`.
    Null(usize),
    /// Anything else: damaged bytes, an image of another shape.
    Other(Error),
}

impl Refused {
    /// The error that says so, for callers without another way out.
    pub fn into_error(self, schema: &TableSchema) -> Error {
        let name = |column: usize| schema.arrow.field(column).name().clone();
        match self {
            Refused::Other(error) => error,
            Refused::Null(column) => {
                let message = format!("{} column {} holds a NULL although it is NOT NULL", schema.id, name(column));
                Error::new(Code::SchemaMismatch, message)
            }
        }
    }
}

/// What stands for a value that is not in the log.
const NOT_LOGGED: &str = "(unchanged)";
const NOT_LOGGED_WHY: &str = "the log holds neither a large value that an update does not touch, nor the old row; with \
    ALTER TABLE ... REPLICA IDENTITY FULL it holds the old row";

/// Decodes the rows of one table at one schema version.
#[derive(Debug)]
pub struct TableBuilder {
    schema: Arc<TableSchema>,
    columns: Arc<[Column]>,
    unchecked_text: bool,
    /// Whether old images may hold the key alone.
    key_images: bool,
    open: Vec<OpenColumn>,
    kinds: Vec<Kind>,
    /// Cells whose value their column cannot hold, by row.
    unfit: Vec<UnfitCell>,
    span: OpenSpan,
}

impl TableBuilder {
    /// A builder of `schema`, whose columns are `columns`. `key_images`: whether old images may hold the key alone.
    ///
    /// # Errors
    /// `Bug` when the two do not fit.
    pub fn new(
        schema: Arc<TableSchema>,
        columns: Arc<[Column]>,
        key_images: bool,
        settings: &ValueSettings,
    ) -> Result<Self> {
        let fields = schema.arrow.fields();
        let fits = fields.len() == columns.len()
            && fields.iter().zip(columns.iter()).all(|(f, c)| f.data_type() == c.field.data_type());
        let open: Option<Vec<_>> = fields.iter().map(|f| OpenColumn::new(f.data_type())).collect();
        let Some(open) = open.filter(|_| fits) else {
            return Err(Error::new(Code::Bug, format!("columns and schema of {} do not fit", schema.id)));
        };
        let unchecked_text = settings.unchecked_text;
        Ok(Self {
            schema,
            columns,
            unchecked_text,
            key_images,
            open,
            kinds: Vec::new(),
            unfit: Vec::new(),
            span: OpenSpan::default(),
        })
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// The columns.
    pub fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// Says where the rows appended next come from. `origin.first_ordinal` is the ordinal of the next change within
    /// (transaction, table); the builder counts on from there.
    pub fn begin_span(&mut self, origin: Origin<'_>) {
        self.span.begin(origin);
    }

    /// Says where the rows appended next stand among those of other tables.
    pub fn begin_turn(&mut self, turn: u64) {
        self.span.turn(turn);
    }

    /// Counts a change that is not wanted: it has an ordinal like every other.
    pub fn skip(&mut self) {
        self.span.change(self.kinds.len());
    }

    /// Appends a change of the stream. `known` are texts (or NULL) of columns that the change does not touch and that the
    /// caller has found out.
    ///
    /// A value that its column cannot hold is no error: its cell is among the batch's [`ChangeBatch::unfit`], and so is a large
    /// value that the change does not touch, when it is neither in the old row nor `known`.
    ///
    /// An update's old image has every column if the log does (identity full); otherwise the key alone, and NULL in all other
    /// columns, which the shape then declares nullable.
    ///
    /// # Errors
    /// [`Refused`]; nothing is appended then, and no ordinal is used.
    pub fn append(
        &mut self,
        change: RowChange<'_>,
        keep: Keep,
        known: &[(usize, Option<&[u8]>)],
    ) -> std::result::Result<(), Refused> {
        let before = self.begin_append();
        let done = match change {
            RowChange::Insert(new) => self.image(Kind::Insert, new.cells(), new.len()),
            RowChange::Delete((kind, old)) => self.old_image(Kind::Delete, kind, old),
            RowChange::Update { old, new } => self.update(old, new, keep, known),
        };
        if done.is_err() {
            self.truncate(before);
        } else {
            self.span.change(self.kinds.len());
        }
        done
    }

    fn update(
        &mut self,
        old: Option<(OldKind, Tuple<'_>)>,
        new: Tuple<'_>,
        keep: Keep,
        known: &[(usize, Option<&[u8]>)],
    ) -> std::result::Result<(), Refused> {
        if keep != Keep::After {
            let kind = if keep == Keep::Before { Kind::Delete } else { Kind::UpdateBefore };
            match old {
                Some((is, old)) => self.old_image(kind, is, old)?,
                // The key did not change: it is that of the new image.
                None => self.old_image(kind, OldKind::Key, new)?,
            }
        }
        if keep == Keep::Before {
            return Ok(());
        }
        let kind = if keep == Keep::After { Kind::Insert } else { Kind::UpdateAfter };
        match old {
            // What the change did not touch is in the whole old row; the server takes large values out of their own table for it.
            Some((OldKind::Row, old)) if old.len() == new.len() => {
                let filled =
                    new.cells().zip(old.cells()).map(|(new, old)| if new == Cell::Unchanged { old } else { new });
                self.image(kind, filled, new.len())
            }
            None if known.is_empty() => self.image(kind, new.cells(), new.len()),
            old => {
                let columns = self.columns.clone();
                let found = |column: usize| known.iter().find(|(at, _)| *at == column).map(|(_, text)| *text);
                let filled = with_key(old, new, &columns).enumerate().map(|(at, cell)| match (cell, found(at)) {
                    (Cell::Unchanged, Some(text)) => text.map_or(Cell::Null, Cell::Text),
                    _ => cell,
                });
                self.image(kind, filled, new.len())
            }
        }
    }

    fn old_image(&mut self, kind: Kind, is: OldKind, old: Tuple<'_>) -> std::result::Result<(), Refused> {
        match is {
            OldKind::Row => self.image(kind, old.cells(), old.len()),
            OldKind::Key if !self.key_images => Err(Refused::Other(self.no_old_row())),
            OldKind::Key if self.schema.key.iter().any(|&at| !self.columns[at].in_identity) => {
                Err(Refused::Other(self.no_old_key()))
            }
            OldKind::Key => {
                let columns = self.columns.clone();
                let key =
                    old.cells().zip(columns.iter()).map(|(c, column)| if column.in_identity { c } else { Cell::Null });
                self.image(kind, key, old.len())
            }
        }
    }

    /// Appends one image.
    #[inline]
    fn image<'c>(
        &mut self,
        kind: Kind,
        image: impl Iterator<Item = Cell<'c>>,
        columns: usize,
    ) -> std::result::Result<(), Refused> {
        if columns != self.columns.len() {
            return Err(Refused::Other(self.another_shape(columns)));
        }
        let row = self.kinds.len();
        for (index, cell) in image.enumerate() {
            let (column, open) = (&self.columns[index], &mut self.open[index]);
            let mut reading = Reading { binary: false, check_text: self.unchecked_text };
            let bytes = match cell {
                Cell::Text(text) => text,
                Cell::Binary(bytes) => {
                    reading.binary = true;
                    bytes
                }
                Cell::Null if column.field.is_nullable() => {
                    open.push_null();
                    continue;
                }
                Cell::Null => return Err(Refused::Null(index)),
                Cell::Unchanged => {
                    self.put_unfit(row, index, NOT_LOGGED.to_owned(), NOT_LOGGED_WHY);
                    continue;
                }
            };
            if let Err(bad) = cells::append(&column.kind, open, bytes, reading) {
                self.refused(bad, row, index)?;
            }
        }
        self.kinds.push(kind);
        Ok(())
    }

    /// Goes on after a value that its column cannot hold.
    #[cold]
    fn refused(&mut self, bad: BadValue, row: usize, column: usize) -> std::result::Result<(), Refused> {
        let told = bad.into_unfit(&self.schema.id, &self.columns[column].name);
        let (text, why) = told.map_err(Refused::Other)?;
        self.put_unfit(row, column, text, why);
        Ok(())
    }

    #[cold]
    fn put_unfit(&mut self, row: usize, column: usize, text: String, why: &str) {
        self.open[column].push_placeholder(row, self.columns[column].field.is_nullable());
        self.unfit.push(UnfitCell { row: row as u32, column: column as u32, text: text.into(), why: why.into() });
    }

    #[cold]
    fn no_old_row(&self) -> Error {
        let id = &self.schema.id;
        Error::new(Code::ReplicaIdentity, format!("the log no longer holds whole old rows of {id}"))
            .fact("table", id.to_string())
            .help(
                "somebody changed the table's REPLICA IDENTITY: old rows of the changes since cannot be known. Set it to FULL \
                 again, and start a new pipeline with a new snapshot of the table",
            )
    }

    #[cold]
    fn no_old_key(&self) -> Error {
        let id = &self.schema.id;
        Error::new(Code::ReplicaIdentity, format!("the log does not hold the key of old rows of {id}"))
            .fact("table", id.to_string())
            .help(
                "the table's REPLICA IDENTITY is an index over other columns than those its rows are told apart by: start a new \
                 pipeline with a new snapshot of the table",
            )
    }

    #[cold]
    fn another_shape(&self, columns: usize) -> Error {
        let (id, known) = (&self.schema.id, self.columns.len());
        let message = format!("a row of {id} has {columns} columns, its shape {known}");
        Error::new(Code::SchemaMismatch, message).help("report a bug with the server's version")
    }

    /// Appends one row that `COPY (SELECT ...) TO STDOUT (FORMAT binary)` sent, as kind [`Kind::Read`]; the list of the SELECT is
    /// every column's [`Column::select_item`] in order.
    ///
    /// Layout: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format": fields (16 bits), then for each its length (32 bits, -1 is NULL) and bytes.
    ///
    /// # Errors
    /// [`Refused`]; nothing is appended then. A value that its column cannot hold is no error, as in [`TableBuilder::append`].
    pub fn append_copy(&mut self, row: &[u8]) -> std::result::Result<(), Refused> {
        let Some((head, mut rest)) = row.split_first_chunk::<2>() else { return Err(self.torn()) };
        let fields = usize::from(u16::from_be_bytes(*head));
        if fields != self.columns.len() {
            return Err(Refused::Other(self.another_shape(fields)));
        }
        let before = self.begin_append();
        let done = self.copied_row(&mut rest);
        if done.is_err() || !rest.is_empty() {
            self.truncate(before);
            return Err(done.err().unwrap_or_else(|| self.torn()));
        }
        self.kinds.push(Kind::Read);
        self.span.change(self.kinds.len());
        Ok(())
    }

    fn copied_row(&mut self, rest: &mut &[u8]) -> std::result::Result<(), Refused> {
        let row = self.kinds.len();
        for index in 0..self.columns.len() {
            let Some((length, tail)) = rest.split_first_chunk::<4>() else { return Err(self.torn()) };
            let length = i32::from_be_bytes(*length);
            let (column, open) = (&self.columns[index], &mut self.open[index]);
            if length == -1 {
                if !column.field.is_nullable() {
                    return Err(Refused::Null(index));
                }
                open.push_null();
                *rest = tail;
                continue;
            }
            let cell = usize::try_from(length).ok().and_then(|length| tail.split_at_checked(length));
            let Some((bytes, tail)) = cell else { return Err(self.torn()) };
            let reading = Reading { binary: column.output.is_none(), check_text: self.unchecked_text };
            if let Err(bad) = cells::append(&column.kind, open, bytes, reading) {
                self.refused(bad, row, index)?;
            }
            *rest = tail;
        }
        Ok(())
    }

    #[cold]
    fn torn(&self) -> Refused {
        let message = format!("a copied row of {} has not the layout it should have", self.schema.id);
        Refused::Other(Error::new(Code::Protocol, message))
    }

    /// Rows (images) in the open batch.
    pub fn rows(&self) -> usize {
        self.kinds.len()
    }

    /// Whether the open batch has no row.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Bytes held, as counted against the budget.
    pub fn memory(&self) -> usize {
        self.open.iter().map(OpenColumn::memory).sum::<usize>() + self.kinds.capacity() + self.span.memory()
    }

    /// Rows before an append; the first one of a batch makes room for as much as the last batch held.
    fn begin_append(&mut self) -> usize {
        if self.kinds.is_empty() {
            self.open.iter_mut().for_each(OpenColumn::reserve);
        }
        self.kinds.len()
    }

    fn truncate(&mut self, rows: usize) {
        self.open.iter_mut().for_each(|column| column.truncate(rows));
        self.kinds.truncate(rows);
        while self.unfit.last().is_some_and(|cell| cell.row as usize >= rows) {
            self.unfit.pop();
        }
    }

    /// Throws the open batch away. The origin stays in force.
    pub fn clear(&mut self) {
        self.truncate(0);
        self.span.take();
    }

    /// Hands out the open batch, `None` when it is empty, and opens the next one. The origin stays in force.
    ///
    /// # Errors
    /// `Protocol` for text that is not valid UTF-8, which a database with any encoding but `SQL_ASCII` never sends; `Bug`.
    /// The batch is lost then.
    pub fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        if self.is_empty() {
            return Ok(None);
        }
        let origins = self.span.take();
        let kinds = std::mem::take(&mut self.kinds);
        let unfit = std::mem::take(&mut self.unfit);
        let mut arrays = Vec::with_capacity(self.open.len());
        let mut bad = None;
        for (index, column) in self.open.iter_mut().enumerate() {
            match column.finish() {
                Ok(array) => arrays.push(array),
                Err(failed) => bad = bad.or(Some((index, failed))),
            }
        }
        if let Some((index, (row, _))) = bad {
            let message = format!("{}, column {}: text is not UTF-8", self.schema.id, self.columns[index].name);
            let found = origins.iter().find(|(rows, _)| rows.contains(&row));
            let error =
                Error::new(Code::Protocol, message).help("see whether the database's text is what its encoding says");
            return Err(match found {
                Some((_, origin)) => error.fact("transaction", origin.transaction).fact("position", origin.position),
                None => error,
            });
        }
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(kinds.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.arrow.clone(), arrays, &options)
            .or_code(Code::Bug, || format!("rows of {} do not fit their schema", self.schema.id))?;
        Ok(Some(ChangeBatch::new(self.schema.clone(), rows, kinds, origins)?.with_unfit(unfit)))
    }
}
