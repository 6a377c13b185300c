//! The captured tables: their shapes, open builders and hand-offs.

use crate::decode::{Change, KeyPlan, RowImage, RowsEvent, TableBuilder, TableMap, Verdict as Keep};
use crate::place::Place;
use crate::shape::{Decodable, Shape};
use crate::snapshot::{Handoff, OpenKey, ServerOrder, SharedHandoff, Verdict, lock};
use bytes::Bytes;
use dujiang_core::{ChangeBatch, Code, Error, Origin, Result, TableId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::MutexGuard;

/// A builder is finished at this many rows or bytes.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 8 << 20;

/// One captured table.
pub struct Table {
    /// The name.
    pub id: TableId,
    /// Columns in force at the stream's place.
    pub shape: Shape,
    /// The same, ready for decoding.
    pub decodable: Decodable,
    /// While the snapshot of this table is under way.
    pub handoff: Option<SharedHandoff>,
    keys: Option<KeyPlan>,
    builder: Option<TableBuilder>,
    /// Looks at keys for the server to weigh; keeps no rows.
    probe: Option<TableBuilder>,
    /// Bytes on the wire of what the builder holds.
    wire_bytes: usize,
    /// Which transaction `changes` counts.
    transaction: u64,
    changes: u64,
    /// Changes of this transaction that were handed out before.
    skip: u64,
    /// Where the transaction began in the builder.
    entered: RowMark,
    /// How often the builder was finished.
    finished: u64,
}

/// A place among the rows of a table in the open transaction, to go back to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowMark {
    table: usize,
    rows: usize,
    changes: u64,
    /// It is a place in the builder of this number.
    finished: u64,
}

impl Table {
    fn new(shape: Shape) -> Result<Self> {
        let decodable = shape.decodable()?;
        let keys = KeyPlan::new(decodable.columns.clone(), &shape.key);
        Ok(Self {
            id: shape.id(),
            shape,
            decodable,
            handoff: None,
            keys,
            builder: None,
            probe: None,
            wire_bytes: 0,
            transaction: 0,
            changes: 0,
            skip: 0,
            entered: RowMark::default(),
            finished: 0,
        })
    }

    fn builder(&mut self) -> Result<&mut TableBuilder> {
        if self.builder.is_none() {
            let builder = TableBuilder::new(self.decodable.schema.clone(), self.decodable.columns.clone())?;
            self.builder = Some(builder);
        }
        Ok(self.builder.as_mut().expect("invariant: just made"))
    }

    /// Whether keys of rows can be ordered without asking the server.
    pub fn orders_keys(&self) -> bool {
        self.keys.is_some()
    }
}

/// What became of a rows event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is in the builder, as far as it is wanted.
    Done,
    /// Nothing was done: a chunk has to be handed out first.
    Wait,
}

/// The transaction rows belong to, as far as tables need to know it.
pub struct RowsOf<'a> {
    /// Number that no other transaction of this reader has.
    pub serial: u64,
    /// Where it begins.
    pub begin: &'a Place,
    /// For the rows; the ordinal is filled in here.
    pub origin: Origin<'a>,
    /// Changes of a table that were handed out before.
    pub skip: &'a dyn Fn(usize) -> u64,
}

/// Keys of a rows event as asked of the server: (before, after) per change.
pub type ServerKeys = [ChangeKeys];

/// The keys of one change, before and after.
pub type ChangeKeys = (Option<Vec<u8>>, Option<Vec<u8>>);

/// All captured tables.
pub struct Tables {
    tables: Vec<Table>,
    by_name: HashMap<Box<str>, HashMap<Box<str>, usize>>,
    /// Whether the server takes names that differ in case for the same (`lower_case_table_names`).
    folds_case: bool,
    /// Tables with rows in their builder.
    dirty: Vec<usize>,
    /// The table whose rows came last.
    last: Option<usize>,
    /// Rises whenever rows of another table follow.
    turn: u64,
    shapes: Option<Bytes>,
}

impl Tables {
    /// The tables of these shapes, streaming.
    ///
    /// # Errors
    /// `UnknownType`.
    pub fn new(shapes: Vec<Shape>) -> Result<Self> {
        let tables = shapes.into_iter().map(Table::new).collect::<Result<_>>()?;
        let (by_name, dirty) = (HashMap::new(), Vec::new());
        let mut tables = Self { tables, by_name, folds_case: false, dirty, last: None, turn: 0, shapes: None };
        tables.fold_case(false);
        Ok(tables)
    }

    /// Whether names in the log mean a table whatever their case.
    pub fn fold_case(&mut self, folds: bool) {
        self.folds_case = folds;
        self.by_name.clear();
        for at in 0..self.tables.len() {
            let id = self.tables[at].id.clone();
            let (database, table) = (self.name(&id.database).into(), self.name(&id.table).into());
            self.by_name.entry(database).or_default().insert(table, at);
        }
    }

    /// A name as `by_name` has it.
    fn name<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if self.folds_case { Cow::Owned(name.to_lowercase()) } else { Cow::Borrowed(name) }
    }

    /// A table's number.
    pub fn find(&self, database: &str, table: &str) -> Option<usize> {
        self.by_name.get(&*self.name(database))?.get(&*self.name(table)).copied()
    }

    /// For the reader of statements: the captured table of that name; an empty table name asks for any of the database.
    pub fn captured(&self, database: &str, table: &str) -> Option<TableId> {
        let tables = self.by_name.get(&*self.name(database))?;
        let at = if table.is_empty() { tables.values().next() } else { tables.get(&*self.name(table)) };
        Some(self.tables[*at?].id.clone())
    }

    /// A table by its number.
    pub fn get(&self, at: usize) -> &Table {
        &self.tables[at]
    }

    /// A table by its number.
    pub fn get_mut(&mut self, at: usize) -> &mut Table {
        &mut self.tables[at]
    }

    /// All tables in order.
    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// The serialised shapes, for positions.
    ///
    /// # Errors
    /// `Bug`.
    pub fn encoded_shapes(&mut self) -> Result<Bytes> {
        if self.shapes.is_none() {
            let shapes: Vec<&Shape> = self.tables.iter().map(|t| &t.shape).collect();
            self.shapes = Some(crate::position::encode_shapes(&shapes)?);
        }
        Ok(self.shapes.clone().expect("invariant: just made"))
    }

    /// A table gets another shape. Its builder must be empty.
    ///
    /// # Errors
    /// `UnknownType`.
    pub fn reshape(&mut self, at: usize, shape: Shape) -> Result<()> {
        let table = &mut self.tables[at];
        let next = Table::new(shape)?;
        *table = Table {
            handoff: table.handoff.take(),
            transaction: table.transaction,
            changes: table.changes,
            skip: table.skip,
            entered: table.entered,
            finished: table.finished + 1,
            ..next
        };
        self.shapes = None;
        Ok(())
    }

    /// Shows a table map to the builder of the table.
    ///
    /// # Errors
    /// `SchemaMismatch`.
    pub fn use_table_map(&mut self, at: usize, map: &TableMap<'_>) -> Result<()> {
        let table = &mut self.tables[at];
        if table.handoff.is_some() && table.keys.is_none() {
            let fresh = || TableBuilder::new(table.decodable.schema.clone(), table.decodable.columns.clone());
            let mut probe = table.probe.take().map_or_else(fresh, Ok)?;
            probe.use_table_map(map)?;
            table.probe = Some(probe);
        }
        table.builder()?.use_table_map(map)
    }

    /// The keys of a rows event of a table whose keys the server orders.
    ///
    /// # Errors
    /// As [`TableBuilder::append_rows`].
    pub fn open_keys(&mut self, at: usize, rows: &RowsEvent<'_>) -> Result<Vec<(Option<OpenKey>, Option<OpenKey>)>> {
        let table = &mut self.tables[at];
        let order = ServerOrder::new(&table.decodable.columns, &table.shape.key)?;
        let mut keys = Vec::new();
        let probe = table.probe.as_mut().ok_or_else(|| Error::new(Code::Bug, "rows came without a table map"))?;
        probe.append_rows_if(rows, &mut |change| {
            keys.push(order.of_change(change)?);
            Ok(Keep::Drop)
        })?;
        Ok(keys)
    }

    /// How the server orders a table's keys.
    ///
    /// # Errors
    /// `NoKey`.
    pub fn server_order(&self, at: usize) -> Result<ServerOrder> {
        let table = &self.tables[at];
        ServerOrder::new(&table.decodable.columns, &table.shape.key)
    }

    /// Decodes a rows event into the table's builder. `keys` are the server's, for tables whose keys cannot be ordered
    /// here and whose snapshot is under way.
    ///
    /// # Errors
    /// As [`TableBuilder::append_rows`].
    pub fn append(
        &mut self,
        at: usize,
        rows: &RowsEvent<'_>,
        of: &RowsOf<'_>,
        keys: Option<&ServerKeys>,
    ) -> Result<Appended> {
        let turn = self.turn_of(at);
        let table = &mut self.tables[at];
        table.enter(at, of)?;
        table.builder()?.begin_turn(turn);
        let was_empty = table.builder()?.is_empty();
        let appended = if table.handoff.is_none() && table.skip <= table.changes {
            Some(table.builder()?.append_rows(rows)?)
        } else {
            table.append_judged(rows, of, keys)?
        };
        let Some(appended) = appended else { return Ok(Appended::Wait) };
        table.changes += appended.changes;
        table.wire_bytes += rows.images.len();
        if was_empty && !table.builder()?.is_empty() {
            self.dirty.push(at);
        }
        Ok(Appended::Done)
    }

    fn turn_of(&mut self, at: usize) -> u64 {
        if self.last != Some(at) {
            self.last = Some(at);
            self.turn += 1;
        }
        self.turn
    }

    /// The turn of rows that come from elsewhere: after everything so far, before everything to come.
    pub fn next_turn(&mut self) -> u64 {
        self.last = None;
        self.turn += 1;
        self.turn
    }

    /// See [`TableBuilder::complete`].
    ///
    /// # Errors
    /// As there.
    pub fn complete<'b>(&mut self, at: usize, rows: &RowsEvent<'b>, buffer: &'b mut Vec<u8>) -> Result<RowsEvent<'b>> {
        self.tables[at].builder()?.complete(rows, buffer)
    }

    /// Changes of the transaction handed out so far, per table that has any.
    pub fn changes_of(&self, serial: u64, touched: &[usize]) -> impl Iterator<Item = (u32, u64)> {
        let of = move |&at: &usize| (at as u32, self.tables[at].changes, self.tables[at].transaction);
        touched.iter().map(of).filter(move |t| t.2 == serial).map(|(at, changes, _)| (at, changes))
    }

    /// Whether any builder holds rows.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// About how many bytes the builders hold.
    pub fn wire_bytes(&self) -> usize {
        self.dirty.iter().map(|&at| self.tables[at].wire_bytes).sum()
    }

    /// Finishes every builder if this table's is full: what is handed out is always a whole cut, so that order across
    /// tables can be told.
    ///
    /// # Errors
    /// As [`TableBuilder::finish`].
    pub fn flush_if_full(&mut self, at: usize, out: &mut impl Extend<ChangeBatch>) -> Result<()> {
        let table = &self.tables[at];
        let rows = table.builder.as_ref().map_or(0, TableBuilder::rows);
        if rows < BATCH_ROWS && table.wire_bytes < BATCH_BYTES { Ok(()) } else { self.flush_all(out) }
    }

    /// Finishes every builder that holds rows.
    ///
    /// # Errors
    /// As [`TableBuilder::finish`].
    pub fn flush_all(&mut self, out: &mut impl Extend<ChangeBatch>) -> Result<()> {
        for at in std::mem::take(&mut self.dirty) {
            self.finish(at, out)?;
        }
        Ok(())
    }

    /// The places that the open transaction has reached in its tables.
    pub fn savepoint(&self, serial: u64, touched: &[usize]) -> Vec<RowMark> {
        let of = |&at: &usize| (&self.tables[at], at);
        let tables = touched.iter().map(of).filter(|(table, _)| table.transaction == serial);
        let mark = |(table, at): (&Table, usize)| RowMark {
            table: at,
            rows: table.builder.as_ref().map_or(0, TableBuilder::rows),
            changes: table.changes,
            finished: table.finished,
        };
        tables.map(mark).collect()
    }

    /// Takes back the rows of the open transaction, or those after a savepoint. False when some of them were handed out, by this
    /// reader or one before it: then nothing was done.
    pub fn take_back(&mut self, serial: u64, touched: &[usize], to: Option<&[RowMark]>) -> bool {
        let mark = |at: usize, table: &Table| {
            let saved = to.and_then(|marks| marks.iter().find(|mark| mark.table == at)).copied();
            saved.unwrap_or(table.entered)
        };
        let own = |at: &&usize| self.tables[**at].transaction == serial;
        let marks: Vec<(usize, RowMark)> =
            touched.iter().filter(own).map(|&at| (at, mark(at, &self.tables[at]))).collect();
        let is_out = |(at, mark): &(usize, RowMark)| {
            let table = &self.tables[*at];
            table.finished != mark.finished || table.skip > mark.changes
        };
        if marks.iter().any(is_out) {
            return false;
        }
        for (at, mark) in marks {
            let table = &mut self.tables[at];
            table.changes = mark.changes;
            if let Some(builder) = &mut table.builder {
                builder.take_back_to(mark.rows, mark.changes);
            }
            if table.builder.as_ref().is_none_or(TableBuilder::is_empty) {
                table.wire_bytes = 0;
                self.dirty.retain(|&dirty| dirty != at);
            }
        }
        true
    }

    fn finish(&mut self, at: usize, out: &mut impl Extend<ChangeBatch>) -> Result<()> {
        self.tables[at].wire_bytes = 0;
        self.tables[at].finished += 1;
        if let Some(builder) = &mut self.tables[at].builder {
            out.extend(builder.finish()?);
        }
        Ok(())
    }
}

impl Table {
    /// The first rows of a transaction in this table: their ordinals begin at 0.
    fn enter(&mut self, at: usize, of: &RowsOf<'_>) -> Result<()> {
        if self.transaction == of.serial {
            return Ok(());
        }
        self.transaction = of.serial;
        self.changes = 0;
        self.skip = (of.skip)(at);
        self.builder()?.begin_span(Origin { first_ordinal: 0, ..of.origin });
        let rows = self.builder.as_ref().map_or(0, TableBuilder::rows);
        self.entered = RowMark { table: at, rows, changes: 0, finished: self.finished };
        Ok(())
    }

    /// Appends what the hand-off lets pass; `None` when it says to wait.
    fn append_judged(
        &mut self,
        rows: &RowsEvent<'_>,
        of: &RowsOf<'_>,
        keys: Option<&ServerKeys>,
    ) -> Result<Option<crate::decode::builder::Appended>> {
        let first = self.changes;
        let skip = self.skip;
        let handoff = self.handoff.clone();
        let mut judge = handoff.as_ref().map(|h| Judge {
            handoff: lock(h),
            plan: self.keys.as_ref(),
            begin: of.begin,
            buffer: Vec::new(),
        });
        let mut number = 0usize;
        let mut wait = false;
        let mut verdict = |change: &Change<'_>| {
            let at = number;
            number += 1;
            if first + (at as u64) < skip {
                return Ok(Keep::Drop);
            }
            let Some(judge) = &mut judge else { return Ok(Keep::Keep) };
            let keep = judge.change(change, keys.map(|k| &k[at]))?;
            keep.ok_or_else(|| {
                wait = true;
                Error::new(Code::Bug, "a chunk has to be handed out first")
            })
        };
        let builder = self.builder.as_mut().expect("invariant: made when the transaction entered the table");
        let before = builder.schema().clone();
        match builder.append_rows_if(rows, &mut verdict) {
            Ok(appended) => Ok(Some(appended)),
            Err(_) if wait => Ok(None),
            Err(error) => Err(error.fact("table", before.id.to_string())),
        }
    }
}

struct Judge<'a> {
    handoff: MutexGuard<'a, Handoff>,
    plan: Option<&'a KeyPlan>,
    begin: &'a Place,
    buffer: Vec<u8>,
}

impl Judge<'_> {
    /// What to keep of a change; `None` to wait.
    fn change(&mut self, change: &Change<'_>, keys: Option<&ChangeKeys>) -> Result<Option<Keep>> {
        let before = self.image(change.before.as_ref(), keys.and_then(|k| k.0.as_deref()))?;
        let after = self.image(change.after.as_ref(), keys.and_then(|k| k.1.as_deref()))?;
        use Verdict::{Drop, Pass, Wait};
        Ok(match (before, after) {
            (Some(Wait), _) | (_, Some(Wait)) => None,
            (Some(Pass), Some(Drop)) => Some(Keep::OnlyBefore),
            (Some(Drop), Some(Pass)) => Some(Keep::OnlyAfter),
            (Some(Pass), _) | (_, Some(Pass)) => Some(Keep::Keep),
            _ => Some(Keep::Drop),
        })
    }

    fn image(&mut self, image: Option<&RowImage<'_>>, key: Option<&[u8]>) -> Result<Option<Verdict>> {
        let Some(image) = image else { return Ok(None) };
        if let Some(key) = key {
            return Ok(Some(self.handoff.judge(key, self.begin)));
        }
        let no_plan = || Error::new(Code::Bug, "a key that cannot be ordered here was not asked of the server");
        self.buffer.clear();
        self.plan.ok_or_else(no_plan)?.write_image(image, &mut self.buffer)?;
        Ok(Some(self.handoff.judge(&self.buffer, self.begin)))
    }
}
