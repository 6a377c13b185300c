//! One open builder per table: row images in, [`ChangeBatch`]es out.

use super::cells;
use super::columns::OpenColumn;
use super::image::{Change, RowImage};
use super::partial;
use super::plan::RowPlan;
use super::rows::{RowsEvent, RowsKind};
use super::staged::{self, Staged};
use super::table_map::TableMap;
use super::types::{Column, ZeroDates};
use super::value::BadValue;
use super::walk::{Step, Walk};
use arrow_array::RecordBatch;
use dujiang_core::span::OpenSpan;
use dujiang_core::{ChangeBatch, Code, Error, Kind, Origin, Result, ResultExt, TableSchema, UnfitCell};
use std::sync::Arc;

/// What becomes of a change that a filter was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Keep,
    /// It is dropped; it still counts as one ordinal.
    Drop,
    /// Only its before image passes, as a delete (an update whose new key belongs to a chunk not yet read).
    OnlyBefore,
    /// Only its after image passes, as an insert.
    OnlyAfter,
}

/// What an append did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Changes in the event; the ordinal within (transaction, table) advances by as many.
    pub changes: u64,
    /// Images in the event.
    pub images: u64,
    /// Images appended, after the filter.
    pub kept: u64,
}

type Filter<'f> = Option<&'f mut dyn FnMut(&Change<'_>) -> Result<Verdict>>;

/// Decodes the rows of one table at one schema version.
///
/// After an error the builder holds what it held before the call.
#[derive(Debug)]
pub struct TableBuilder {
    schema: Arc<TableSchema>,
    columns: Arc<[Column]>,
    /// What the plan of the log was made from: types, metadata and optional metadata of the last table map.
    seen: Vec<u8>,
    log: Option<RowPlan>,
    result: Option<RowPlan>,
    walk: Walk,
    /// Whether the last chunk had NULLs: the next one then begins sparse.
    expect_nulls: bool,
    open: Vec<OpenColumn>,
    kinds: Vec<Kind>,
    span: OpenSpan,
    staged: Staged,
    /// An error of staged rows, to be told by the next call that can.
    failed: Option<Error>,
}

impl TableBuilder {
    /// A builder of `schema`, whose columns are `columns`.
    ///
    /// # Errors
    /// `Bug` when the two do not fit.
    pub fn new(schema: Arc<TableSchema>, columns: Arc<[Column]>) -> Result<Self> {
        let fields = schema.arrow.fields();
        let fits = fields.len() == columns.len()
            && fields.iter().zip(columns.iter()).all(|(f, c)| f.data_type() == c.field.data_type());
        let open: Option<Vec<_>> = fields.iter().map(|f| OpenColumn::new(f.data_type())).collect();
        let Some(mut open) = open.filter(|_| fits) else {
            return Err(Error::new(Code::Bug, format!("columns and schema of {} do not fit", schema.id)));
        };
        for (open, column) in open.iter_mut().zip(columns.iter()) {
            open.null_unfit = column.zero_dates == ZeroDates::Null;
        }
        Ok(Self {
            schema,
            columns,
            seen: Vec::new(),
            log: None,
            result: None,
            walk: Walk::default(),
            expect_nulls: false,
            open,
            kinds: Vec::new(),
            span: OpenSpan::default(),
            staged: Staged::default(),
            failed: None,
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

    /// Shows the builder the table map that precedes rows events; cheap when it is the same as the last one.
    ///
    /// # Errors
    /// `SchemaMismatch`, naming the table, when it does not fit the columns (position is added by the caller).
    pub fn use_table_map(&mut self, map: &TableMap<'_>) -> Result<()> {
        let parts = [map.types, map.metadata, map.optional, &[u8::from(map.old_json)]];
        if self.log.is_some() && is_concatenation(&self.seen, parts) {
            return Ok(());
        }
        self.log = None;
        self.log = Some(RowPlan::for_table_map(&self.schema.id, &self.columns, map)?);
        self.seen = parts.concat();
        Ok(())
    }

    /// Says where the rows appended next come from. `origin.first_ordinal` is the ordinal of the next change within
    /// (transaction, table); the builder counts on from there, also over changes that a filter drops.
    pub fn begin_span(&mut self, origin: Origin<'_>) {
        if let Err(error) = self.decode_staged() {
            self.failed = Some(error);
        }
        self.span.begin(origin);
    }

    /// Says where the rows appended next stand among those of other tables.
    pub fn begin_turn(&mut self, turn: u64) {
        self.span.turn(turn);
    }

    /// The event with full images, if it is an update that says only what changed and the rest can be told from its before
    /// images; as it is otherwise. `buffer` holds the images made.
    ///
    /// # Errors
    /// `LogDamaged`.
    pub fn complete<'b>(&self, rows: &RowsEvent<'b>, buffer: &'b mut Vec<u8>) -> Result<RowsEvent<'b>> {
        let Some(plan) = self.log.as_ref().filter(|plan| partial::is_partial(plan, rows)) else { return Ok(*rows) };
        partial::complete(plan, rows, buffer)?;
        Ok(RowsEvent { images: buffer, present_after: rows.present, partial: false, ..*rows })
    }

    /// Appends all images of a rows event.
    ///
    /// # Errors
    /// `LogDamaged` (structure), `BinlogRowImage` (columns missing), `SchemaMismatch`. A value that cannot be represented is
    /// no error: its cell is among the batch's [`ChangeBatch::unfit`].
    pub fn append_rows(&mut self, rows: &RowsEvent<'_>) -> Result<Appended> {
        self.append_log(rows, None)
    }

    /// As [`TableBuilder::append_rows`], asking `verdict` about every change.
    ///
    /// # Errors
    /// As there, and those of `verdict`.
    pub fn append_rows_if(
        &mut self,
        rows: &RowsEvent<'_>,
        verdict: &mut dyn FnMut(&Change<'_>) -> Result<Verdict>,
    ) -> Result<Appended> {
        self.append_log(rows, Some(verdict))
    }

    fn append_log(&mut self, rows: &RowsEvent<'_>, filter: Filter<'_>) -> Result<Appended> {
        self.decode_staged()?;
        let before = self.begin_append();
        let Some(plan) = &self.log else {
            let sentence = format!("rows of {} come without a table map before them", self.schema.id);
            return Err(Error::new(Code::LogDamaged, sentence));
        };
        check_image(&self.schema, plan, rows)?;
        let to = Target { walk: &mut self.walk, open: &mut self.open, kinds: &mut self.kinds, columns: &self.columns };
        let sparse = &mut self.expect_nulls;
        let done = self.span.transact(|span| {
            let mut append = Append { plan, bytes: rows.images, at: 0, done: Appended::default(), span };
            append.log_rows(to, rows.kind, filter, sparse)?;
            Ok(append.done)
        });
        done.map_err(|failure| self.take_back(before, failure, Code::LogDamaged))
    }

    #[cold]
    fn take_back(&mut self, rows: usize, failure: Failure, damage: Code) -> Error {
        self.truncate(rows);
        failure.into_error(&self.schema, &self.columns, damage)
    }

    /// Appends one result row of the binary protocol, as kind [`Kind::Read`]: a packet's payload, header byte 0x00 first.
    /// The row has the table's columns in order, read as `snapshot::read_expression` says; texts must come in the characters of
    /// their columns (`SET character_set_results = NULL`), TIMESTAMP in UTC (`SET time_zone = '+00:00'`).
    ///
    /// Rows are decoded in groups: an error may be that of an earlier row, and that of the last rows comes with
    /// [`TableBuilder::finish`]. No row of a failed group is kept.
    ///
    /// # Errors
    /// `Protocol` (structure).
    #[inline]
    pub fn append_binary_row(&mut self, packet: &[u8]) -> Result<()> {
        if packet.len() > staged::GROUP_BYTES {
            return self.append_binary_rows(packet, &[(0, packet.len())]);
        }
        if self.staged.push(packet) { self.decode_staged() } else { Ok(()) }
    }

    fn decode_staged(&mut self) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.staged.packets.is_empty() {
            return Ok(());
        }
        let mut staged = std::mem::take(&mut self.staged);
        let done = self.append_result(&staged.bytes, &staged.packets);
        staged.clear();
        self.staged = staged;
        done
    }

    /// As [`TableBuilder::append_binary_row`] for many rows at once: `packets` are (start, end) of payloads in `buffer`.
    ///
    /// # Errors
    /// As there, but always at once; nothing of the call is kept then.
    pub fn append_binary_rows(&mut self, buffer: &[u8], packets: &[(usize, usize)]) -> Result<()> {
        self.decode_staged()?;
        self.append_result(buffer, packets)
    }

    fn append_result(&mut self, buffer: &[u8], packets: &[(usize, usize)]) -> Result<()> {
        let before = self.begin_append();
        let plan = self.result.get_or_insert_with(|| RowPlan::for_binary_rows(&self.columns));
        let to = Target { walk: &mut self.walk, open: &mut self.open, kinds: &mut self.kinds, columns: &self.columns };
        let sparse = &mut self.expect_nulls;
        let done = self.span.transact(|span| {
            let mut append = Append { plan, bytes: buffer, at: 0, done: Appended::default(), span };
            append.result_rows(to, packets, sparse)
        });
        done.map_err(|failure| self.take_back(before, failure, Code::Protocol))
    }

    /// Rows (images) in the open batch.
    pub fn rows(&self) -> usize {
        self.kinds.len() + self.staged.packets.len()
    }

    /// Whether the open batch has no row.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Bytes held, as counted against the budget.
    pub fn memory(&self) -> usize {
        self.open.iter().map(OpenColumn::memory).sum::<usize>()
            + self.kinds.capacity()
            + self.span.memory()
            + self.staged.memory()
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
    }

    /// Takes back the rows behind the first `rows`, which must all be of the origin in force; the next change gets the
    /// ordinal `next`.
    pub fn take_back_to(&mut self, rows: usize, next: u64) {
        debug_assert!(self.staged.packets.is_empty(), "invariant: rows of the log are not staged");
        self.truncate(rows);
        self.span.take_back_to(rows, next);
    }

    /// Throws the open batch away. The origin stays in force.
    pub fn clear(&mut self) {
        self.staged.clear();
        self.failed = None;
        self.truncate(0);
        self.span.take();
    }

    /// Hands out the open batch, `None` when it is empty, and opens the next one. The origin stays in force.
    ///
    /// # Errors
    /// `SchemaMismatch` for a NULL where none may be; `Bug`. The batch is lost then.
    pub fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        self.decode_staged()?;
        if self.is_empty() {
            return Ok(None);
        }
        let origins = self.span.take();
        let kinds = std::mem::take(&mut self.kinds);
        let arrays = self.open.iter_mut().map(OpenColumn::finish).collect();
        let unfit = self.take_unfit();
        let rows = RecordBatch::try_new(self.schema.arrow.clone(), arrays).or_code(Code::SchemaMismatch, || {
            format!("rows of {} hold a NULL in a column that the schema declares NOT NULL", self.schema.id)
        })?;
        Ok(Some(ChangeBatch::new(self.schema.clone(), rows, kinds, origins)?.with_unfit(unfit)))
    }

    fn take_unfit(&mut self) -> Vec<UnfitCell> {
        let mut cells = Vec::new();
        for (column, open) in self.open.iter_mut().enumerate() {
            cells.extend(open.unfit.drain(..).map(|unfit| UnfitCell {
                row: unfit.row as u32,
                column: column as u32,
                text: unfit.text,
                why: unfit.why.into(),
            }));
        }
        cells
    }
}

/// Every image must carry every column.
fn check_image(schema: &TableSchema, plan: &RowPlan, rows: &RowsEvent<'_>) -> Result<()> {
    if rows.columns != plan.steps.len() {
        let (found, known) = (rows.columns, plan.steps.len());
        let sentence = format!("a rows event of {} has {found} columns, its table map {known}", schema.id);
        return Err(Error::new(Code::LogDamaged, sentence));
    }
    let full = |bits: &[u8]| bits.iter().zip(&plan.null_mask).all(|(bits, mask)| bits & mask == *mask);
    if full(rows.present) && full(rows.present_after) && !rows.partial {
        return Ok(());
    }
    Err(missing_columns(schema, rows))
}

#[cold]
fn missing_columns(schema: &TableSchema, rows: &RowsEvent<'_>) -> Error {
    let has = |bits: &[u8], at: usize| bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 != 0);
    let is_missing = |at: &usize| !has(rows.present, *at) || !has(rows.present_after, *at);
    let fields = schema.arrow.fields();
    let missing: Vec<&str> = (0..fields.len()).filter(is_missing).map(|at| fields[at].name().as_str()).collect();
    Error::new(Code::BinlogRowImage, format!("the log carries only some columns of rows of {}", schema.id))
        .fact("missing", missing.join(", "))
        .help(
            "run SET GLOBAL binlog_row_image = 'FULL' at the source, reconnect its clients, and take a new snapshot; if it is \
             FULL and the missing columns are generated ones, the server leaves them out of updates and deletes (MariaDB 11.8 \
             does): make them ordinary columns, or leave the table out of `tables`",
        )
}

fn is_concatenation(whole: &[u8], parts: [&[u8]; 4]) -> bool {
    let mut rest = whole;
    parts.iter().all(|part| match rest.split_at_checked(part.len()) {
        Some((head, tail)) => {
            rest = tail;
            head == *part
        }
        None => false,
    }) && rest.is_empty()
}

/// Why an append failed.
enum Failure {
    Other(Error),
    Torn,
    Cell { column: usize, value: BadValue },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

impl Failure {
    #[cold]
    fn into_error(self, schema: &TableSchema, columns: &[Column], damage: Code) -> Error {
        match self {
            Failure::Other(error) => error,
            Failure::Torn => Error::new(damage, format!("a row of {} ends before its last column", schema.id))
                .help("check the server's disk and binlog; if its own tools read this row, report a bug"),
            Failure::Cell { column, value } => value.into_error(&schema.id, &columns[column].name, damage),
        }
    }
}

/// Where rows go.
struct Target<'a> {
    walk: &'a mut Walk,
    open: &'a mut [OpenColumn],
    kinds: &'a mut Vec<Kind>,
    columns: &'a [Column],
}

/// One append under way.
struct Append<'a> {
    plan: &'a RowPlan,
    bytes: &'a [u8],
    at: usize,
    done: Appended,
    span: &'a mut OpenSpan,
}

impl Append<'_> {
    /// Rows of the log, one after the other up to the end of the bytes.
    fn log_rows(
        &mut self,
        mut to: Target<'_>,
        kind: RowsKind,
        mut filter: Filter<'_>,
        sparse: &mut bool,
    ) -> Result<(), Failure> {
        while self.at < self.bytes.len() {
            to.walk.begin(self.plan, *sparse);
            let mut met_null = false;
            while self.at < self.bytes.len() && to.walk.room() >= 2 {
                let start = self.at;
                if !self.change(&mut to, kind, &mut filter)? {
                    self.at = start;
                    met_null = true;
                    break;
                }
            }
            let had_nulls = self.decode(&mut to)?;
            *sparse = met_null || had_nulls;
        }
        Ok(())
    }

    /// Walks one change; false when its layout needs a sparse chunk.
    #[inline]
    fn change(&mut self, to: &mut Target<'_>, kind: RowsKind, filter: &mut Filter<'_>) -> Result<bool, Failure> {
        let first = self.at;
        let walked = to.walk.rows();
        if !self.image(to.walk)? {
            return Ok(false);
        }
        let second = self.at;
        if kind == RowsKind::Update && !self.image(to.walk)? {
            to.walk.forget(1);
            return Ok(false);
        }
        let verdict = match filter {
            None => Verdict::Keep,
            Some(filter) => filter(&self.show(to.columns, kind, first, second))?,
        };
        self.done.changes += 1;
        self.done.images += (to.walk.rows() - walked) as u64;
        self.keep(to, kind, verdict);
        Ok(true)
    }

    fn show<'s>(&'s self, columns: &'s [Column], kind: RowsKind, first: usize, second: usize) -> Change<'s> {
        let image = |at: usize| Some(RowImage { plan: self.plan, columns, bytes: &self.bytes[at..] });
        match kind {
            RowsKind::Insert => Change { before: None, after: image(first) },
            RowsKind::Update => Change { before: image(first), after: image(second) },
            RowsKind::Delete => Change { before: image(first), after: None },
        }
    }

    #[inline]
    fn keep(&mut self, to: &mut Target<'_>, kind: RowsKind, verdict: Verdict) {
        match (verdict, kind) {
            (Verdict::Drop, RowsKind::Update) => to.walk.forget(2),
            (Verdict::Drop, _) => to.walk.forget(1),
            (Verdict::OnlyBefore, RowsKind::Update) => {
                to.walk.forget(1);
                to.kinds.push(Kind::Delete);
            }
            (Verdict::OnlyAfter, RowsKind::Update) => {
                to.walk.forget_second_to_last();
                to.kinds.push(Kind::Insert);
            }
            (_, RowsKind::Insert) => to.kinds.push(Kind::Insert),
            (_, RowsKind::Delete) => to.kinds.push(Kind::Delete),
            (_, RowsKind::Update) => to.kinds.extend_from_slice(&[Kind::UpdateBefore, Kind::UpdateAfter]),
        }
        self.span.change(to.kinds.len());
    }

    #[inline]
    fn image(&mut self, walk: &mut Walk) -> Result<bool, Failure> {
        match walk.row(self.plan, self.bytes, self.at) {
            Step::End(end) => {
                self.at = end;
                Ok(true)
            }
            Step::NeedsSparse => Ok(false),
            Step::Torn => Err(Failure::Torn),
        }
    }

    /// Decodes the walked rows column by column; whether any was NULL.
    fn decode(&mut self, to: &mut Target<'_>) -> Result<bool, Failure> {
        let rows = to.walk.rows();
        self.done.kept += rows as u64;
        let mut nulls = false;
        if rows > 0 {
            for (index, (step, column)) in self.plan.steps.iter().zip(to.open.iter_mut()).enumerate() {
                nulls |= cells::append(to.walk, step, index, self.bytes, column)
                    .map_err(|value| Failure::Cell { column: index, value })?;
            }
        }
        Ok(nulls)
    }

    /// Result rows, each in its packet.
    fn result_rows(
        &mut self,
        mut to: Target<'_>,
        packets: &[(usize, usize)],
        sparse: &mut bool,
    ) -> Result<(), Failure> {
        let buffer = self.bytes;
        let mut rest = packets.iter().peekable();
        while rest.peek().is_some() {
            to.walk.begin(self.plan, *sparse);
            let mut met_null = false;
            while let Some((start, end)) = rest.peek() {
                self.bytes = buffer.get(..*end).ok_or(Failure::Torn)?;
                self.at = *start;
                if to.walk.room() == 0 || !self.image(to.walk)? {
                    met_null = to.walk.room() > 0;
                    break;
                }
                if self.at != *end || buffer[*start] != 0 {
                    return Err(Failure::Torn);
                }
                to.kinds.push(Kind::Read);
                self.span.change(to.kinds.len());
                rest.next();
            }
            self.bytes = buffer;
            let had_nulls = self.decode(&mut to)?;
            *sparse = met_null || had_nulls;
        }
        Ok(())
    }
}
