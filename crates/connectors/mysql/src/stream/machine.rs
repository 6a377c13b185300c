//! From events to rows: transactions, places, ordinals.
//!
//! Pure in the sense that it neither connects nor waits: the reader shows it one event after another, and it answers
//! what to do next. An event that has to wait is shown again.

use super::at::At;
use super::nested::Nested;
use super::tables::{Appended, RowsOf, ServerKeys, Tables, Whose};
use super::transaction::{Gtid, Transaction, Use, merge, micros, seconds};
use super::undecided::{Undecided, is_known};
use super::{query, refusals};
use crate::decode::header::{Header, event_type};
use crate::decode::rows::{Fragments, RowsFragment};
use crate::decode::transaction::XaPrepare;
use crate::decode::{Event, EventData, EventFormat, OwnedTableMap, RowsEvent, TableMap};
use crate::gtid::{Executed, MariaGtid, Sid};
use crate::place::{Place, next_offset};
use crate::position::{Inside, Mark};
use crate::snapshot::OpenKey;
use dujiang_core::batch::TimePrecision;
use dujiang_core::{Code, Error, Origin, Result, TableId, fault};
use std::collections::HashMap;

mod inner;
mod maps;
mod numbered;
mod outcome;

pub use maps::Unfit;

/// What to do after an event.
#[derive(Debug)]
pub enum Step {
    /// Go on with the next event.
    Done,
    /// Rows went into the builder of this table; go on with the next event.
    Rows(usize),
    /// Rows of events inside this one went into the builder of this table; show it again for the others.
    Part(usize),
    /// Hand out a chunk, then show the event again.
    Wait,
    /// Ask the server for the sort keys of these rows, then show the event again with them.
    Keys(OpenKeys),
    /// A statement may change captured tables: carry that through, then call [`Machine::finish_statement`].
    Ddl(Box<query::Ddl>),
    /// Rows of a table come whose shape is not known: find it out, then show the event again.
    Unfit(Box<Unfit>),
}

/// Keys of a rows event, (before, after) per change, to be weighed by the server.
#[derive(Debug, PartialEq)]
pub struct OpenKeys {
    /// The table's number.
    pub table: usize,
    /// The keys.
    pub keys: Vec<(Option<OpenKey>, Option<OpenKey>)>,
}

/// The state of the stream.
pub struct Machine {
    format: EventFormat,
    /// Where the next event begins, as far as known.
    place: Option<Place>,
    boundary: Place,
    executed: Executed,
    transaction: Option<Transaction>,
    serial: u64,
    /// Transactions of which a part was handed out before the stream was (re)started.
    resumed: Vec<Inside>,
    table_ids: HashMap<u64, Option<usize>>,
    last_commit: Option<i64>,
    mark: Option<Mark>,
    /// The boundary is a place of another server.
    moved: bool,
    /// Places are the numbers of transactions (OceanBase).
    numbered: bool,
    /// A file had a torn end: the next one has to say that it goes on behind what was read.
    torn_end: bool,
    inflated: Vec<u8>,
    completed: Vec<u8>,
    fragments: Fragments,
    undecided: Undecided,
    /// Events inside the current one that are not read yet.
    nested: Option<Box<Nested>>,
}

impl Machine {
    /// A stream that goes on after `executed`, at `boundary`.
    pub fn new(boundary: Place, executed: Executed, resumed: Vec<Inside>, mut undecided: Undecided) -> Self {
        undecided.begin_stream(&boundary, &executed);
        Self {
            format: EventFormat::unknown(),
            place: None,
            boundary,
            executed,
            transaction: None,
            serial: 0,
            resumed,
            table_ids: HashMap::new(),
            last_commit: None,
            mark: None,
            moved: false,
            numbered: false,
            torn_end: false,
            inflated: Vec::new(),
            completed: Vec::new(),
            fragments: Fragments::default(),
            undecided,
            nested: None,
        }
    }

    /// Where the stream has to begin, which is before the boundary when undecided transactions have to be read again.
    pub fn first_place(&self) -> (Place, Executed) {
        self.undecided.first_place(&self.boundary, &self.executed)
    }

    /// Bytes of undecided transactions in memory.
    pub fn spooled_memory(&self) -> usize {
        self.undecided.memory_bytes()
    }

    /// Whether the event that was shown last has to be shown again.
    pub fn is_inside_event(&self) -> bool {
        self.nested.is_some()
    }

    /// The last transaction boundary.
    pub fn boundary(&self) -> &Place {
        &self.boundary
    }

    /// Where the stream is: at the boundary, or where the transaction begins that it is in.
    pub fn place(&self) -> &Place {
        match &self.transaction {
            Some(transaction) if transaction.begin > self.boundary => &transaction.begin,
            _ => &self.boundary,
        }
    }

    /// The last transaction before the boundary, if one was seen.
    pub fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Takes over the mark of the position that the stream goes on from.
    #[must_use]
    pub fn with_mark(mut self, mark: Option<Mark>) -> Self {
        self.mark = mark;
        self
    }

    /// All transactions up to the boundary.
    pub fn executed(&self) -> &Executed {
        &self.executed
    }

    /// Commit time of the last transaction seen, microseconds since 1970-01-01 UTC.
    pub fn last_commit(&self) -> Option<i64> {
        self.last_commit
    }

    /// Transactions after the boundary that are handed out in part.
    pub fn inside(&self, tables: &Tables) -> Vec<Inside> {
        let mut inside = self.resumed.clone();
        if fault::removed("position-at-transaction-end") {
            return Vec::new();
        }
        if let Some(t) = self.transaction.as_ref().filter(|t| t.rows == Use::HandOut) {
            let changes = tables.changes_of(t.serial, &t.touched).collect();
            // A transaction that was resumed and has been begun again counts from where it was, or further.
            inside.retain(|i| i.transaction != t.id);
            let before = self.resumed.iter().find(|i| i.transaction == t.id);
            let merged = merge(changes, before);
            if !merged.is_empty() {
                inside.push(Inside { transaction: t.id.clone(), changes: merged });
            }
        }
        inside
    }

    /// The connection is gone: the next one begins at the boundary again.
    pub fn disconnected(&mut self, tables: &Tables) {
        self.resumed = self.inside(tables);
        self.nested = None;
        self.fragments = Fragments::default();
        if let Some(Use::Spool(xid)) = self.transaction.take().map(|t| t.rows) {
            self.undecided.torn(&xid);
        }
        self.undecided.begin_stream(&self.boundary, &self.executed);
        self.table_ids.clear();
        self.format = EventFormat::unknown();
        self.place = None;
    }

    /// The stream goes on at another server: its places are other places.
    pub fn moved(&mut self) {
        self.moved = true;
        self.mark = None;
        self.undecided.moved();
    }

    /// Whether the boundary is still a place of the server before.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// All transactions to be recorded as read: those before the boundary (R5).
    pub fn recorded_gtids(&self) -> Executed {
        let mut executed = self.executed.clone();
        if let Some(t) = self.transaction.as_ref().filter(|_| fault::removed("position-at-transaction-end")) {
            t.gtid.join(&mut executed);
        }
        executed
    }

    /// Reads one event, or goes on with those inside it.
    ///
    /// # Errors
    /// `LogDamaged`, `UnknownEvent`, `SourceIncident`, `SchemaMismatch` and those of decoding, with the event's place.
    pub fn event(&mut self, bytes: &[u8], tables: &mut Tables, keys: Option<&ServerKeys>) -> Result<Step> {
        let step = match self.nested.take() {
            Some(nested) => self.go_on(nested, bytes, tables, keys),
            None => self.look(bytes, tables, keys),
        };
        step.map_err(|e| e.fact("position", self.place.as_ref().unwrap_or(&self.boundary).to_string()))
    }

    fn look(&mut self, bytes: &[u8], tables: &mut Tables, keys: Option<&ServerKeys>) -> Result<Step> {
        let format = std::mem::take(&mut self.format);
        let looked = Event::parse(bytes, &format).and_then(|event| {
            let (begin, next) = self.locate(&event.header);
            let data = event.data(&format)?;
            let at = At { begin: &begin, next: next.as_ref(), format: &format };
            let mut step = self.data(&event, &data, &at, tables, keys)?;
            if let Some(nested) = self.nested.take() {
                step = self.go_on(nested, bytes, tables, keys)?;
            }
            Ok((step, data, next))
        });
        let (step, data, next) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                self.format = format;
                return Err(error);
            }
        };
        if matches!(step, Step::Done | Step::Rows(_)) && !matches!(data, EventData::Rotate { .. }) {
            self.place = next.or(self.place.take());
        }
        if let EventData::FormatDescription(new) = data {
            self.format = new;
            return Ok(step);
        }
        self.format = format;
        self.at_rest();
        Ok(step)
    }

    /// Where the event begins and where the next one does; the latter is none for events that are not in the file.
    fn locate(&self, header: &Header) -> (Place, Option<Place>) {
        let here = self.place.clone().unwrap_or_else(|| self.boundary.clone());
        let made_up = self.numbered
            || header.is_artificial()
            || header.next_position == 0
            || matches!(header.event_type, event_type::HEARTBEAT | event_type::HEARTBEAT_V2);
        if made_up {
            return (here, None);
        }
        let next = next_offset(here.offset, header.size, header.next_position);
        (here.at(next - u64::from(header.size)), Some(here.at(next)))
    }

    /// Between transactions the boundary follows the stream.
    fn at_rest(&mut self) {
        if self.transaction.is_none()
            && let Some(place) = &self.place
            && (*place > self.boundary || self.moved)
        {
            self.boundary = place.clone();
            self.moved = false;
            self.undecided.passed(&self.boundary);
        }
    }

    fn data(
        &mut self,
        event: &Event<'_>,
        data: &EventData<'_>,
        at: &At<'_>,
        tables: &mut Tables,
        keys: Option<&ServerKeys>,
    ) -> Result<Step> {
        let header = &event.header;
        match data {
            EventData::TableMap(map) => return self.table_map(event, map, at, tables),
            EventData::Rows(rows) => return self.rows(event, rows, at, tables, keys),
            EventData::CompressedRows(rows) => {
                let mut buffer = std::mem::take(&mut self.inflated);
                let step = rows.inflate(&mut buffer).and_then(|rows| self.rows(event, &rows, at, tables, keys));
                self.inflated = buffer;
                return step;
            }
            EventData::RowsFragment(part) => return self.fragment(part, at, tables, keys),
            EventData::MariaDbGtid(gtid) => {
                let id = MariaGtid { domain: gtid.domain, server: gtid.server_id, sequence: gtid.sequence };
                self.begin(Gtid::MariaDb(id), id.to_string(), at, seconds(header), !gtid.is_standalone(), tables)?;
                if let Some(xid) = gtid.xid.filter(|_| gtid.is_xa_prepare()) {
                    self.begin_distributed(xid.to_string())?;
                }
            }
            EventData::Gtid(gtid) => {
                let sid = Sid { uuid: gtid.uuid, tag: gtid.tag.to_owned() };
                let id = format!("{sid}:{}", gtid.number);
                let time = gtid.immediate_commit_micros.map_or_else(|| seconds(header), micros);
                self.begin(Gtid::MySql(sid, gtid.number), id, at, time, false, tables)?;
            }
            EventData::AnonymousGtid(gtid) => {
                let time = gtid.immediate_commit_micros.map_or_else(|| seconds(header), micros);
                self.begin(Gtid::None, at.begin.to_string(), at, time, false, tables)?;
            }
            EventData::Query(statement) => {
                return self.statement(header, &query::Statement::of(statement), at, tables);
            }
            EventData::CompressedQuery(statement) => {
                let mut buffer = std::mem::take(&mut self.inflated);
                let statement = statement.inflate(&mut buffer).map(|s| query::Statement::of(&s));
                let step = statement.and_then(|s| self.statement(header, &s, at, tables));
                self.inflated = buffer;
                return step;
            }
            EventData::Xid(_) => self.commit(at.next)?,
            EventData::XaPrepare(xa) => self.xa_prepare(xa, at)?,
            EventData::TransactionPayload(payload) => self.nested = Some(Box::new(Nested::payload(payload, at)?)),
            EventData::Heartbeat { .. } if self.numbered => {}
            EventData::Heartbeat { file, position } => self.heartbeat(file, *position),
            EventData::Rotate { .. } if self.numbered => self.no_open_transaction(tables)?,
            EventData::Rotate { position, file } => self.rotate(file, *position, tables)?,
            EventData::Incident { number, message } => return Err(refusals::incident(*number, message)),
            EventData::FormatDescription(format) => self.file_begins(format, at, tables)?,
            EventData::MariaDbGtidList(list) => self.goes_on(list)?,
            EventData::Unknown { event_type, .. } if !self.may_skip(header) => {
                return Err(refusals::unknown(*event_type));
            }
            EventData::Unknown { .. }
            | EventData::PreviousGtids(_)
            | EventData::RowsQuery(_)
            | EventData::BinlogCheckpoint
            | EventData::Ignorable
            | EventData::StatementContext
            | EventData::Stop => {}
        }
        Ok(Step::Done)
    }

    /// MariaDB's note that the file is encrypted concerns the server alone; what it sends is not.
    fn may_skip(&self, header: &Header) -> bool {
        header.is_ignorable() || header.event_type == event_type::MARIADB_START_ENCRYPTION
    }

    fn rotate(&mut self, file: &str, position: u64, tables: &mut Tables) -> Result<()> {
        self.no_open_transaction(tables)?;
        let bad = || Error::new(Code::UnknownEvent, format!("the binlog file name {file:?} does not end in a number"));
        let place = Place::new(file, position).ok_or_else(bad)?;
        self.place = Some(place);
        Ok(())
    }

    /// A sign of life says how far the server has looked, past transactions that it did not send since they are known.
    fn heartbeat(&mut self, file: &str, position: u64) {
        let Some(place) = self.place.as_mut().filter(|_| self.transaction.is_none()) else { return };
        // The number may have lost all but its low 32 bits: backwards it is never meant.
        if let Some(looked) = Place::new(file, position).filter(|looked| looked > place) {
            *place = looked;
        }
    }

    /// A file ends with whole transactions, unless the server crashed in the middle of one.
    fn no_open_transaction(&mut self, tables: &mut Tables) -> Result<()> {
        let Some(t) = self.transaction.take() else { return Ok(()) };
        if let Use::Spool(xid) = &t.rows {
            self.undecided.torn(xid);
        }
        if let (true, Gtid::MariaDb(gtid)) = (t.known, &t.gtid) {
            self.undecided.comes_again(*gtid);
        }
        if tables.take_back(t.serial, &t.touched, None) { Ok(()) } else { Err(refusals::torn(&t.id)) }
    }

    /// Whether a transaction is being read. Its rows are not handed out in parts without need, since it may yet be rolled back.
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    fn begin(
        &mut self,
        gtid: Gtid,
        id: String,
        at: &At<'_>,
        (micros, precision): (i64, TimePrecision),
        explicit: bool,
        tables: &mut Tables,
    ) -> Result<()> {
        self.no_open_transaction(tables)?;
        let boundary = (!self.moved).then_some(&self.boundary);
        let known = is_known(&gtid, at.begin, boundary, &self.executed, &mut self.undecided);
        let begin = self.begin_of(&gtid, at, known)?;
        self.serial += 1;
        self.table_ids.clear();
        if !known {
            self.last_commit = Some(micros);
        }
        self.transaction = Some(Transaction {
            gtid,
            id,
            begin_text: begin.to_string(),
            begin,
            micros,
            precision,
            serial: self.serial,
            explicit,
            known,
            rows: if known { Use::PassOver } else { Use::HandOut },
            touched: Vec::new(),
            savepoints: Vec::new(),
        });
        Ok(())
    }

    /// The transaction is complete: only now its identifier joins the position (R5).
    fn commit(&mut self, next: Option<&Place>) -> Result<()> {
        let Some(t) = self.transaction.take() else { return Ok(()) };
        if t.known {
            return Ok(());
        }
        t.gtid.join(&mut self.executed);
        if t.gtid != Gtid::None {
            self.mark = Some(Mark { transaction: t.id.clone(), begin: t.begin_text });
        }
        self.resumed.retain(|i| i.transaction != t.id);
        if let Some(next) = self.end_of(&t.gtid, next) {
            self.boundary = next;
        }
        Ok(())
    }

    fn rows(
        &mut self,
        event: &Event<'_>,
        rows: &RowsEvent<'_>,
        place: &At<'_>,
        tables: &mut Tables,
        keys: Option<&ServerKeys>,
    ) -> Result<Step> {
        if rows.is_dummy() {
            return Ok(Step::Done);
        }
        let Some(at) = *self.table_ids.get(&rows.table_id).ok_or_else(refusals::no_table_map)? else {
            return Ok(Step::Done);
        };
        if self.transaction.is_none() {
            // Servers without GTID events: BEGIN was not seen either, so this is the transaction's first event.
            self.begin(Gtid::None, place.begin.to_string(), place, (0, TimePrecision::Seconds), true, tables)?;
        }
        match self.transaction.as_ref().map(|t| &t.rows) {
            Some(Use::PassOver) => return Ok(Step::Done),
            Some(Use::Spool(xid)) => return self.undecided.append(xid, event).map(|()| Step::Done),
            Some(Use::HandOut) | None => {}
        }
        let mut buffer = std::mem::take(&mut self.completed);
        let step = match tables.complete(at, rows, &mut buffer) {
            Ok(rows) => self.append(at, &rows, tables, keys),
            Err(error) => Err(error.fact("table", tables.get(at).id.to_string())),
        };
        self.completed = buffer;
        step
    }

    fn append(
        &mut self,
        at: usize,
        rows: &RowsEvent<'_>,
        tables: &mut Tables,
        keys: Option<&ServerKeys>,
    ) -> Result<Step> {
        let table = tables.get(at);
        if table.handoff.is_some() && !table.orders_keys() && keys.is_none() {
            return Ok(Step::Keys(OpenKeys { table: at, keys: tables.open_keys(at, rows)? }));
        }
        let resumed = &self.resumed;
        let t = self.transaction.as_mut().expect("invariant: begun above");
        let id = t.id.as_str();
        let skip = |table: usize| {
            let before = resumed.iter().find(|i| i.transaction == id);
            before.and_then(|i| i.changes.get(&(table as u32))).copied().unwrap_or(0)
        };
        let origin = Origin {
            transaction: id,
            position: &t.begin_text,
            commit_micros: t.micros,
            precision: t.precision,
            first_ordinal: 0,
        };
        let of = RowsOf { serial: t.serial, begin: &t.begin, origin, skip: &skip };
        Ok(match tables.append(at, rows, &of, keys)? {
            Appended::Wait => Step::Wait,
            Appended::Done => {
                if !t.touched.contains(&at) {
                    t.touched.push(at);
                }
                Step::Rows(at)
            }
        })
    }

    fn statement(
        &mut self,
        header: &Header,
        statement: &query::Statement<'_>,
        at: &At<'_>,
        tables: &mut Tables,
    ) -> Result<Step> {
        match statement.control() {
            query::Control::Begin => {
                self.begin_statement(header, at, tables)?;
                Ok(Step::Done)
            }
            query::Control::XaStart => {
                self.begin_statement(header, at, tables)?;
                self.begin_distributed(statement.xid()).map(|()| Step::Done)
            }
            query::Control::Commit => self.commit(at.next).map(|()| Step::Done),
            query::Control::Rollback => {
                self.rolled_back(tables)?;
                self.commit(at.next).map(|()| Step::Done)
            }
            query::Control::RollbackToSavepoint => {
                self.rolled_back_to(&statement.savepoint(), tables).map(|()| Step::Done)
            }
            query::Control::Savepoint => {
                self.savepoint(statement.savepoint(), tables);
                Ok(Step::Done)
            }
            query::Control::ReleaseSavepoint | query::Control::XaEnd => Ok(Step::Done),
            query::Control::XaCommit => self.xa_commit(statement, at, tables).map(|()| Step::Done),
            query::Control::XaRollback => self.xa_rollback(statement, at).map(|()| Step::Done),
            query::Control::None if self.transaction.as_ref().is_some_and(|t| t.known) => {
                self.finish_statement(at.next);
                Ok(Step::Done)
            }
            query::Control::None => {
                let at_begin = self.transaction.as_ref().map_or(at.begin, |t| &t.begin);
                let Some(mut ddl) = query::effect(statement, tables, at_begin)? else {
                    self.finish_statement(at.next);
                    return Ok(Step::Done);
                };
                if !ddl.passes_handoff(tables) {
                    return Ok(Step::Wait);
                }
                ddl.next = match &self.transaction {
                    Some(t) => self.end_of(&t.gtid, at.next),
                    None => at.next.cloned(),
                };
                Ok(Step::Ddl(Box::new(ddl)))
            }
        }
    }

    /// BEGIN, or XA START.
    fn begin_statement(&mut self, header: &Header, at: &At<'_>, tables: &mut Tables) -> Result<()> {
        match &mut self.transaction {
            Some(t) => t.explicit = true,
            None => self.begin(Gtid::None, at.begin.to_string(), at, seconds(header), true, tables)?,
        }
        Ok(())
    }

    /// A statement that is a transaction of its own is complete.
    pub fn finish_statement(&mut self, next: Option<&Place>) {
        if self.transaction.as_ref().is_some_and(|t| !t.explicit) {
            // Cannot fail: a statement touches no rows.
            let _ = self.commit(next);
        }
        if let Some(next) = next.filter(|_| !self.numbered) {
            self.place = Some(next.clone());
        }
        self.at_rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::transaction::MariaDbGtidList;
    use dujiang_spool::{Limits, Spool};

    fn machine(boundary: Place) -> Machine {
        let spool = Spool::open("unused".as_ref(), Limits::default()).unwrap();
        Machine::new(boundary, Executed::None, Vec::new(), Undecided::new(spool, Vec::new(), Vec::new()).unwrap())
    }

    #[test]
    fn signs_of_life_move_the_boundary_between_transactions_and_never_back() {
        let place = |offset| Place::new("bin.000003", offset).unwrap();
        let mut machine = machine(place(4));
        machine.place = Some(place(4));
        let at = |machine: &mut Machine, position| {
            machine.heartbeat("bin.000003", position);
            machine.at_rest();
            machine.boundary().offset
        };
        assert_eq!([at(&mut machine, 900), at(&mut machine, 5)], [900, 900]);
        let begun = place(900);
        let begin = At { begin: &begun, next: None, format: &EventFormat::unknown() };
        let mut tables = Tables::new(Vec::new()).unwrap();
        machine.begin(Gtid::None, "x".into(), &begin, (0, TimePrecision::Seconds), true, &mut tables).unwrap();
        assert_eq!(at(&mut machine, 1000), 900);
    }

    #[test]
    fn inv6_behind_a_torn_end_the_next_file_says_whether_anything_is_missing() {
        let body =
            |sequence: u64| [[1u32, 0, 1].map(u32::to_le_bytes).concat(), sequence.to_le_bytes().into()].concat();
        let mut machine = machine(Place::new("bin.000003", 4).unwrap());
        machine.executed = Executed::MariaDb("0-1-5".parse().unwrap());
        let mut next_file = |torn: bool, sequence| {
            if torn {
                machine.behind_torn_end();
            }
            machine.goes_on(&MariaDbGtidList::parse(&body(sequence)).unwrap())
        };
        assert!(next_file(true, 4).is_ok() && next_file(true, 5).is_ok());
        let error = next_file(true, 6).unwrap_err();
        assert_eq!(error.code(), Code::LogDamaged);
        assert!(error.facts().iter().any(|(_, value)| value == "0-1-6"), "{error:?}");
        // What follows a whole file needs no proof.
        assert!(next_file(false, 6).is_ok());
    }

    #[test]
    fn at_another_server_the_boundary_is_none_of_its_places() {
        let mut machine = machine(Place::new("bin.000050", 4).unwrap());
        machine.moved();
        assert!(machine.has_moved());
        machine.rotate("bin.000003", 4, &mut Tables::new(Vec::new()).unwrap()).unwrap();
        machine.at_rest();
        assert!(!machine.has_moved());
        assert_eq!(machine.boundary().to_string(), "bin.000003:4");
    }
}
