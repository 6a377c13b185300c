//! The captured tables: their shapes, open builders and hand-offs.

use super::scope::{Names, Scope, copied};
use crate::ddl::plan::Known;
use crate::decode::{Change, KeyPlan, RowImage, RowsEvent, TableBuilder, TableMap, Verdict as Keep};
use crate::place::Place;
use crate::shape::{Decodable, Shape};
use crate::snapshot::{Handoff, OpenKey, ServerOrder, SharedHandoff, Verdict, lock};
use bytes::Bytes;
use dujiang_core::{ChangeBatch, Code, Error, Origin, Result, TableId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::MutexGuard;

mod judged;
mod named;

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
    /// It joined a stream that was under way: transactions that begin before this place are not its own, since its shape is
    /// that of the place.
    pub from: Option<Place>,
    /// Its shape is not known since this statement, and why: only what the log itself tells of it can be decoded.
    pub riddle: Option<Riddle>,
    /// It is captured no more; its number is free.
    gone: bool,
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

/// Why a shape is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Riddle {
    /// The statement that changed the table.
    pub statement: String,
    /// Why its effect cannot be told.
    pub why: String,
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
            from: None,
            riddle: None,
            gone: false,
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

    /// Whether what a transaction does to it that begins there is for the stream to hand out.
    pub fn has_joined(&self, begin: &Place) -> bool {
        self.from.as_ref().is_none_or(|from| begin >= from)
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

/// Whose rows a table map announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of the table of this number.
    Captured(usize),
    /// Of no interest.
    Others,
    /// Those of a table that is wanted and not captured yet.
    Wanted,
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

/// Names of tables whose rows are passed over, at most so many.
const PASSED_OVER: usize = 100_000;

/// All captured tables.
pub struct Tables {
    tables: Vec<Table>,
    names: Names,
    by_name: HashMap<Box<str>, HashMap<Box<str>, usize>>,
    /// Tables with rows in their builder.
    dirty: Vec<usize>,
    /// The table whose rows came last.
    last: Option<usize>,
    /// Rises whenever rows of another table follow.
    turn: u64,
    shapes: Option<Bytes>,
    /// Which tables are captured when they appear.
    scope: Scope,
    /// Tables whose rows are passed over, by database, and how many they are.
    others: HashMap<Box<str>, HashSet<Box<str>>>,
    passed_over: usize,
    /// Shapes of tables that are not captured and may take the place of one that is.
    shadows: BTreeMap<TableId, Shape>,
    /// The highest version of a table that is gone: one of its name that comes later begins after it.
    retired: u32,
}

impl Tables {
    /// The tables of these shapes, streaming.
    ///
    /// # Errors
    /// `UnknownType`.
    pub fn new(shapes: Vec<Shape>) -> Result<Self> {
        let tables = shapes.into_iter().map(Table::new).collect::<Result<_>>()?;
        let mut tables = Self {
            tables,
            names: Names::default(),
            by_name: HashMap::new(),
            dirty: Vec::new(),
            last: None,
            turn: 0,
            shapes: None,
            scope: Scope::default(),
            others: HashMap::new(),
            passed_over: 0,
            shadows: BTreeMap::new(),
            retired: 0,
        };
        tables.set_names(Names::default());
        Ok(tables)
    }

    /// How the server compares names, and reads statements.
    pub fn set_names(&mut self, names: Names) {
        self.names = names;
        self.by_name.clear();
        for at in 0..self.tables.len() {
            if !self.tables[at].gone {
                self.index(at);
            }
        }
    }

    fn index(&mut self, at: usize) {
        let id = self.tables[at].id.clone();
        let (database, table) = (self.names.folded(&id.database).into(), self.names.folded(&id.table).into());
        self.by_name.entry(database).or_default().insert(table, at);
    }

    /// Which tables are captured when they appear, and what is remembered of others.
    pub fn follow(&mut self, scope: Scope, shadows: Vec<Shape>, retired: u32) {
        self.scope = scope;
        self.shadows = shadows.into_iter().map(|shape| (shape.id(), shape)).collect();
        self.retired = retired;
    }

    /// How the server compares names, and reads statements.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Which tables are captured when they appear.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// A table by its number.
    pub fn get(&self, at: usize) -> &Table {
        &self.tables[at]
    }

    /// A table by its number.
    pub fn get_mut(&mut self, at: usize) -> &mut Table {
        &mut self.tables[at]
    }

    /// All captured tables with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Table)> {
        self.tables.iter().enumerate().filter(|(_, table)| !table.gone)
    }

    /// Each number as positions have it: those of tables that are gone are left out.
    pub fn numbers(&self) -> Vec<Option<u32>> {
        let mut next = 0;
        let number = |table: &Table| {
            let this = next;
            next += u32::from(!table.gone);
            (!table.gone).then_some(this)
        };
        self.tables.iter().map(number).collect()
    }

    /// What positions keep of tables that are not captured.
    pub fn remembered(&self) -> (Vec<Shape>, u32) {
        (self.shadows.values().cloned().collect(), self.retired)
    }

    /// Remembers or forgets the shape of a table that is not captured.
    pub fn set_shadow(&mut self, id: TableId, shape: Option<Shape>) {
        match shape {
            Some(shape) => drop(self.shadows.insert(id, shape)),
            None => drop(self.shadows.remove(&id)),
        }
    }

    /// The version that a new table begins with.
    pub fn first_version(&self) -> u32 {
        self.retired + 1
    }

    /// A table joins; returns its number.
    ///
    /// # Errors
    /// `UnknownType`.
    pub fn add(&mut self, shape: Shape) -> Result<usize> {
        let table = Table::new(shape)?;
        if let Some(others) = self.others.get_mut(&*table.id.database) {
            others.remove(&*table.id.table);
        }
        self.shadows.remove(&table.id);
        (self.shapes, self.last) = (None, None);
        let at = match self.tables.iter().position(|t| t.gone) {
            Some(free) => {
                self.tables[free] = table;
                free
            }
            None => {
                self.tables.push(table);
                self.tables.len() - 1
            }
        };
        self.index(at);
        Ok(at)
    }

    /// A table leaves. Its builder must be empty.
    pub fn remove(&mut self, at: usize) {
        let table = &mut self.tables[at];
        self.retired = self.retired.max(table.shape.version);
        (table.gone, table.handoff, table.builder, table.probe) = (true, None, None, None);
        let id = table.id.clone();
        let folded = self.names.folded(&id.database).into_owned();
        if let Some(tables) = self.by_name.get_mut(&*folded) {
            tables.remove(&*self.names.folded(&id.table));
            if tables.is_empty() {
                self.by_name.remove(&*folded);
            }
        }
        self.shapes = None;
    }

    /// The serialised shapes, for positions.
    ///
    /// # Errors
    /// `Bug`.
    pub fn encoded_shapes(&mut self) -> Result<Bytes> {
        if self.shapes.is_none() {
            let shapes: Vec<&Shape> = self.iter().map(|(_, t)| &t.shape).collect();
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
            from: table.from.take(),
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
        if let Some(riddle) = &table.riddle {
            return Err(Error::new(Code::SchemaMismatch, riddle.why.clone()));
        }
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
