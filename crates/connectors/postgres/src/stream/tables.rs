//! The captured tables: their shapes, open builders and hand-offs.

use crate::lsn::Lsn;
use crate::pgoutput::{Cell, OldKind, Tuple};
use crate::shape::{Decodable, Shape};
use crate::snapshot::{Committed, KeyOrder, SharedHandoff, TableVerdict, Verdict, lock};
use crate::values::{Keep, Refused, RowChange, TableBuilder, ValueSettings, with_key};
use bytes::Bytes;
use dujiang_core::source::ToldTwice;
use dujiang_core::{ChangeBatch, Error, Origin, Result, TableId};
use std::collections::HashMap;

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
    /// How its keys are ordered; none for a table that is read as a whole.
    pub order: Option<KeyOrder>,
    builder: Option<TableBuilder>,
    /// Bytes on the wire of what the builder holds.
    wire_bytes: usize,
    /// Which transaction `changes` counts.
    transaction: u64,
    changes: u64,
    /// Changes of this transaction that were handed out before.
    skip: u64,
}

/// Large values that a change did not touch, and that the log does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The row: columns of the replica identity, and their texts.
    pub key: Vec<(usize, Vec<u8>)>,
    /// The columns.
    pub columns: Vec<usize>,
    /// The transaction that made the change, in full: what does not show it is older.
    pub xid: u64,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is in the builder, as far as it is wanted.
    Done,
    /// Nothing was done: a chunk has to be handed out first.
    Wait,
    /// Nothing was done: this column holds a NULL, and the shape says NOT NULL.
    Null(usize),
    /// Nothing was done: these values have to be found out, see [`Tables::found`].
    Missing(Missing),
}

/// The transaction a change belongs to, as far as tables need to know it.
pub struct RowsOf<'a> {
    /// Number that no other transaction of this reader has.
    pub serial: u64,
    /// Its id, and where it was committed.
    pub committed: Committed,
    /// For the rows; the ordinal is filled in here.
    pub origin: Origin<'a>,
    /// Changes of a table that were handed out before.
    pub skip: &'a dyn Fn(usize) -> u64,
}

impl Table {
    fn new(shape: Shape) -> Self {
        let decodable = shape.decodable();
        Self {
            id: shape.id(),
            shape,
            decodable,
            handoff: None,
            order: None,
            builder: None,
            wire_bytes: 0,
            transaction: 0,
            changes: 0,
            skip: 0,
        }
    }

    fn builder(&mut self, settings: &ValueSettings) -> Result<&mut TableBuilder> {
        if self.builder.is_none() {
            let Decodable { schema, columns, key_images } = self.decodable.clone();
            self.builder = Some(TableBuilder::new(schema, columns, key_images, settings)?);
        }
        Ok(self.builder.as_mut().expect("invariant: just made"))
    }
}

/// All captured tables.
pub struct Tables {
    tables: Vec<Table>,
    by_name: HashMap<TableId, usize>,
    settings: ValueSettings,
    /// Tables with rows in their builder.
    dirty: Vec<usize>,
    /// The table whose rows came last.
    last: Option<usize>,
    /// Rises whenever rows of another table follow.
    turn: u64,
    shapes: Option<Bytes>,
    scratch: (Vec<u8>, Vec<u8>),
    /// Values that the log does not hold are to be found out.
    reread: bool,
    /// Of which tables what a chunk may show too soon is told again.
    told_twice: ToldTwice,
    /// No chunk that was handed out shows what is still to be told.
    in_place: bool,
    /// Those of the change at hand.
    found: Option<Vec<(usize, Option<Vec<u8>>)>>,
}

impl Tables {
    /// The tables of these shapes, streaming.
    pub fn new(shapes: Vec<Shape>, settings: ValueSettings) -> Self {
        let tables: Vec<Table> = shapes.into_iter().map(Table::new).collect();
        let by_name = tables.iter().enumerate().map(|(at, table)| (table.id.clone(), at)).collect();
        Self {
            tables,
            by_name,
            settings,
            dirty: Vec::new(),
            last: None,
            turn: 0,
            shapes: None,
            scratch: Default::default(),
            reread: false,
            told_twice: ToldTwice::None,
            in_place: false,
            found: None,
        }
    }

    /// Whether values that the log does not hold are to be found out.
    #[must_use]
    pub fn rereading(mut self, reread: bool) -> Self {
        self.reread = reread;
        self
    }

    /// From now on what a chunk may show too soon is told again of these tables.
    pub fn tell_twice(&mut self, of: ToldTwice) {
        self.told_twice = of;
        self.in_place = false;
    }

    /// Texts (or NULL) of the values that were missing in the change at hand, as far as they could be found out; it is to be shown
    /// again.
    pub fn found(&mut self, values: Vec<(usize, Option<Vec<u8>>)>) {
        self.found = Some(values);
    }

    /// The change at hand will not be shown again.
    pub fn forget_found(&mut self) {
        self.found = None;
    }

    /// A table's number.
    pub fn find(&self, id: &TableId) -> Option<usize> {
        self.by_name.get(id).copied()
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// How values are carried.
    pub fn settings(&self) -> &ValueSettings {
        &self.settings
    }

    /// Whether the stream may carry values in binary. Rows are looked up by the texts of their keys.
    pub fn reads_binary(&self) -> bool {
        !self.reread && self.tables.iter().all(|table| table.decodable.reads_binary())
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

    /// One more table, whose snapshot has not begun; its number.
    pub fn add(&mut self, shape: Shape, order: Option<KeyOrder>, handoff: SharedHandoff) -> usize {
        let at = self.tables.len();
        let table = Table { handoff: Some(handoff), order, ..Table::new(shape) };
        self.by_name.insert(table.id.clone(), at);
        self.tables.push(table);
        self.shapes = None;
        at
    }

    /// A table gets another shape. Its builder must be empty. `order` is that of the new shape's keys.
    pub fn reshape(&mut self, at: usize, shape: Shape, order: Option<KeyOrder>) {
        let table = &mut self.tables[at];
        let next = Table::new(shape);
        *table = Table {
            handoff: table.handoff.take(),
            order,
            transaction: table.transaction,
            changes: table.changes,
            skip: table.skip,
            ..next
        };
        self.shapes = None;
    }

    /// Decodes a change into the table's builder.
    ///
    /// # Errors
    /// Those of a change that cannot be read.
    pub fn append(&mut self, at: usize, change: RowChange<'_>, of: &RowsOf<'_>) -> Result<Appended> {
        let turn = self.turn_of(at);
        let table = &mut self.tables[at];
        table.enter(at, of, &self.settings)?;
        let keep = if table.changes < table.skip {
            None
        } else {
            match self.judge(at, &change, of.committed)? {
                Judged::Keep(keep) => Some(keep),
                Judged::Drop => None,
                Judged::Wait => return Ok(Appended::Wait),
            }
        };
        let table = &mut self.tables[at];
        if self.reread && self.found.is_none() && keep.is_some_and(|keep| keep != Keep::Before) {
            let missing = table.missing(&change, of.committed.xid);
            if !missing.columns.is_empty() {
                return Ok(Appended::Missing(missing));
            }
        }
        let found = self.found.take().unwrap_or_default();
        let known: Vec<_> = found.iter().map(|(column, text)| (*column, text.as_deref())).collect();
        let builder = table.builder.as_mut().expect("invariant: made when the transaction was entered");
        builder.begin_turn(turn);
        let was_empty = builder.is_empty();
        match keep {
            None => builder.skip(),
            Some(keep) => match builder.append(change, keep, &known) {
                Ok(()) => {}
                Err(Refused::Null(column)) => {
                    self.found = Some(found).filter(|found| !found.is_empty());
                    return Ok(Appended::Null(column));
                }
                Err(refused) => return Err(refused_by(refused, table, of)),
            },
        }
        let is_empty = table.builder.as_ref().is_none_or(TableBuilder::is_empty);
        table.changes += 1;
        table.wire_bytes += wire_bytes(&change);
        if was_empty && !is_empty {
            self.dirty.push(at);
        }
        Ok(Appended::Done)
    }

    fn judge(&mut self, at: usize, change: &RowChange<'_>, of: Committed) -> Result<Judged> {
        let judged = self.tables[at].judge(change, of, &mut self.scratch)?;
        let takes_away = change.takes_away() && matches!(judged, Judged::Keep(Keep::Whole | Keep::Before));
        if takes_away && self.tell_again(of.place) {
            return self.tables[at].judge(change, of, &mut self.scratch);
        }
        Ok(judged)
    }

    /// What is committed from `place` on is told again of rows of chunks that were handed out before their place.
    fn tell_again(&mut self, place: Lsn) -> bool {
        if self.in_place || self.told_twice == ToldTwice::None {
            return false;
        }
        let (mut told, mut early) = (false, false);
        for table in &self.tables {
            let Some(handoff) = &table.handoff else { continue };
            if self.told_twice == ToldTwice::Keyed && table.shape.key.is_empty() {
                continue;
            }
            let mut handoff = lock(handoff);
            told |= handoff.tell_again(place);
            early |= handoff.done().iter().any(|chunk| chunk.view.high() > place);
        }
        self.in_place = !early;
        told
    }

    /// Whether the next change of the table in this transaction was handed out before.
    ///
    /// # Errors
    /// `Bug`.
    pub fn is_passing_over(&mut self, at: usize, of: &RowsOf<'_>) -> Result<bool> {
        let table = &mut self.tables[at];
        table.enter(at, of, &self.settings)?;
        Ok(table.changes < table.skip)
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
        self.in_place = false;
        self.turn += 1;
        self.turn
    }

    /// A change of the whole table (TRUNCATE) has an ordinal like every other. Whether it is wanted.
    ///
    /// # Errors
    /// `Bug`.
    pub fn judge_truncate(&mut self, at: usize, of: &RowsOf<'_>) -> Result<TableVerdict> {
        let table = &mut self.tables[at];
        table.enter(at, of, &self.settings)?;
        if table.changes < table.skip {
            return Ok(TableVerdict::Drop);
        }
        let handoff = table.handoff.as_ref();
        let verdict = handoff.map_or(TableVerdict::Pass, |handoff| lock(handoff).judge_table(of.committed));
        if verdict == TableVerdict::Pass {
            self.tell_again(of.committed.place);
        }
        Ok(verdict)
    }

    /// A change is dealt with without its rows.
    pub fn count(&mut self, at: usize) {
        let table = &mut self.tables[at];
        table.changes += 1;
        if let Some(builder) = &mut table.builder {
            builder.skip();
        }
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

    /// Finishes every builder if this table's is full: what is handed out is always a whole cut, so that order across tables
    /// can be told.
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

    fn finish(&mut self, at: usize, out: &mut impl Extend<ChangeBatch>) -> Result<()> {
        self.tables[at].wire_bytes = 0;
        if let Some(builder) = &mut self.tables[at].builder {
            out.extend(builder.finish()?);
        }
        Ok(())
    }
}

enum Judged {
    Keep(Keep),
    Drop,
    Wait,
}

impl Table {
    /// The first change of a transaction in this table: its ordinals begin at 0. After a change of shape they go on.
    fn enter(&mut self, at: usize, of: &RowsOf<'_>, settings: &ValueSettings) -> Result<()> {
        let same = self.transaction == of.serial;
        if !same {
            self.transaction = of.serial;
            self.changes = 0;
            self.skip = (of.skip)(at);
        }
        if !same || self.builder.is_none() {
            let first_ordinal = self.changes;
            self.builder(settings)?.begin_span(Origin { first_ordinal, ..of.origin });
        }
        Ok(())
    }

    /// The values that a change did not touch and the log does not hold.
    fn missing(&self, change: &RowChange<'_>, xid: u64) -> Missing {
        let mut missing = Missing { key: Vec::new(), columns: Vec::new(), xid };
        let &RowChange::Update { old, new } = change else { return missing };
        if matches!(old, Some((OldKind::Row, _))) {
            return missing;
        }
        let columns = &self.decodable.columns;
        for (at, (cell, column)) in with_key(old, new, columns).zip(columns.iter()).enumerate() {
            match cell {
                Cell::Unchanged => missing.columns.push(at),
                Cell::Text(text) if column.in_identity => missing.key.push((at, text.to_vec())),
                _ => {}
            }
        }
        missing
    }

    /// What the hand-off lets pass of a change.
    fn judge(&self, change: &RowChange<'_>, of: Committed, scratch: &mut (Vec<u8>, Vec<u8>)) -> Result<Judged> {
        let Some(handoff) = &self.handoff else { return Ok(Judged::Keep(Keep::Whole)) };
        let (before, after) = scratch;
        let key = |image: Tuple<'_>, old: Option<Tuple<'_>>, out: &mut Vec<u8>| {
            out.clear();
            self.order.as_ref().map_or(Ok(()), |order| order.write(image, old, out))
        };
        let of_table = |e: Error| e.fact("table", self.id.to_string());
        let one = |verdict| match verdict {
            Verdict::Pass => Judged::Keep(Keep::Whole),
            Verdict::Drop => Judged::Drop,
            Verdict::Wait => Judged::Wait,
        };
        match *change {
            RowChange::Insert(new) | RowChange::Update { old: None, new } => {
                key(new, None, after).map_err(of_table)?;
                Ok(one(lock(handoff).judge(after, of)))
            }
            RowChange::Delete((_, old)) => {
                key(old, None, before).map_err(of_table)?;
                Ok(one(lock(handoff).judge(before, of)))
            }
            RowChange::Update { old: Some((_, old)), new } => {
                key(old, None, before).and_then(|()| key(new, Some(old), after)).map_err(of_table)?;
                let mut handoff = lock(handoff);
                let left = handoff.judge(before, of);
                if before == after {
                    return Ok(one(left));
                }
                Ok(match (left, handoff.judge(after, of)) {
                    (Verdict::Wait, _) | (_, Verdict::Wait) => Judged::Wait,
                    (Verdict::Pass, Verdict::Pass) => Judged::Keep(Keep::Whole),
                    (Verdict::Pass, Verdict::Drop) => Judged::Keep(Keep::Before),
                    (Verdict::Drop, Verdict::Pass) => Judged::Keep(Keep::After),
                    (Verdict::Drop, Verdict::Drop) => Judged::Drop,
                })
            }
        }
    }
}

fn wire_bytes(change: &RowChange<'_>) -> usize {
    match change {
        RowChange::Insert(image) | RowChange::Delete((_, image)) => image.wire_bytes(),
        RowChange::Update { old, new } => new.wire_bytes() + old.map_or(0, |(_, old)| old.wire_bytes()),
    }
}

#[cold]
fn refused_by(refused: Refused, table: &Table, of: &RowsOf<'_>) -> Error {
    let error = refused.into_error(&table.decodable.schema);
    error.fact("transaction", of.origin.transaction).fact("position", of.origin.position)
}
