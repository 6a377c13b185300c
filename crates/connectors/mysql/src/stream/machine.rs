//! From events to rows: transactions, places, ordinals.
//!
//! Pure in the sense that it neither connects nor waits: the reader shows it one event after another, and it answers
//! what to do next. An event that has to wait is shown again.

use super::tables::{Appended, RowsOf, ServerKeys, Tables};
use super::{query, refusals};
use crate::decode::event::{Header, event_type};
use crate::decode::{Event, EventData, EventFormat, RowsEvent, TableMap};
use crate::gtid::{Executed, MariaGtid, Sid};
use crate::place::Place;
use crate::position::{Inside, Mark};
use crate::snapshot::OpenKey;
use dujiang_core::batch::TimePrecision;
use dujiang_core::{Code, Error, Origin, Result, fault};
use std::collections::HashMap;

/// What to do after an event.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Go on with the next event.
    Done,
    /// Rows went into the builder of this table; go on with the next event.
    Rows(usize),
    /// Hand out a chunk, then show the event again.
    Wait,
    /// Ask the server for the sort keys of these rows, then show the event again with them.
    Keys(OpenKeys),
    /// A captured table changes its columns: carry that through, then call [`Machine::finish_statement`].
    Ddl(query::Ddl),
}

/// Keys of a rows event, (before, after) per change, to be weighed by the server.
#[derive(Debug, PartialEq)]
pub struct OpenKeys {
    /// The table's number.
    pub table: usize,
    /// The keys.
    pub keys: Vec<(Option<OpenKey>, Option<OpenKey>)>,
}

/// The identifier a transaction adds to the position when it is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gtid {
    None,
    MariaDb(MariaGtid),
    MySql(Sid, u64),
}

#[derive(Debug)]
struct Transaction {
    gtid: Gtid,
    id: String,
    begin: Place,
    begin_text: String,
    micros: i64,
    precision: TimePrecision,
    serial: u64,
    /// BEGIN was seen or is implied: it ends with COMMIT, ROLLBACK or XID, and not with its first statement.
    explicit: bool,
    /// Only prepares a distributed transaction.
    prepares: bool,
    /// Tables with changes in it.
    touched: Vec<usize>,
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
    inflated: Vec<u8>,
}

impl Machine {
    /// A stream that begins after `executed`, at `boundary`.
    pub fn new(boundary: Place, executed: Executed, resumed: Vec<Inside>) -> Self {
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
            inflated: Vec::new(),
        }
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
        if let Some(t) = &self.transaction {
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
        self.transaction = None;
        self.table_ids.clear();
        self.format = EventFormat::unknown();
        self.place = None;
    }

    /// The stream goes on at another server: its places are other places.
    pub fn moved(&mut self) {
        self.moved = true;
        self.mark = None;
    }

    /// Whether the boundary is still a place of the server before.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// All transactions to be recorded as read: those before the boundary (R5).
    pub fn recorded_gtids(&self) -> Executed {
        let mut executed = self.executed.clone();
        if let Some(t) = self.transaction.as_ref().filter(|_| fault::removed("position-at-transaction-end")) {
            join(&t.gtid, &mut executed);
        }
        executed
    }

    /// Reads one event.
    ///
    /// # Errors
    /// `LogDamaged`, `UnknownEvent`, `SourceIncident`, `SchemaMismatch` and those of decoding, with the event's place.
    pub fn event(&mut self, bytes: &[u8], tables: &mut Tables, keys: Option<&ServerKeys>) -> Result<Step> {
        let placed = |e: Error, at: &Self| e.fact("position", at.place.as_ref().unwrap_or(&at.boundary).to_string());
        let format = std::mem::take(&mut self.format);
        let step = Event::parse(bytes, &format).and_then(|event| {
            let (begin, next) = self.locate(&event.header);
            let data = event.data(&format)?;
            let step = self.data(&event.header, &data, &begin, next.as_ref(), tables, keys, &format)?;
            if matches!(step, Step::Done | Step::Rows(_)) && !matches!(data, EventData::Rotate { .. }) {
                self.place = next.or(self.place.take());
            }
            Ok((step, data))
        });
        match step {
            Ok((step, EventData::FormatDescription(new))) => {
                self.format = new;
                Ok(step)
            }
            Ok((step, _)) => {
                self.format = format;
                self.at_rest();
                Ok(step)
            }
            Err(error) => {
                self.format = format;
                Err(placed(error, self))
            }
        }
    }

    /// Where the event begins and where the next one does; the latter is none for events that are not in the file.
    fn locate(&self, header: &Header) -> (Place, Option<Place>) {
        let here = self.place.clone().unwrap_or_else(|| self.boundary.clone());
        let made_up = header.is_artificial()
            || header.next_position == 0
            || matches!(header.event_type, event_type::HEARTBEAT | event_type::HEARTBEAT_V2);
        if made_up {
            return (here, None);
        }
        // The server may have passed over events (a start by GTID); and its number has only 32 bits.
        let least = here.offset + u64::from(header.size);
        let mut next = (least & !0xffff_ffff) | u64::from(header.next_position);
        if next < least {
            next += 1 << 32;
        }
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
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, of parts that are borrowed apart")]
    fn data(
        &mut self,
        header: &Header,
        data: &EventData<'_>,
        begin: &Place,
        next: Option<&Place>,
        tables: &mut Tables,
        keys: Option<&ServerKeys>,
        format: &EventFormat,
    ) -> Result<Step> {
        match data {
            EventData::TableMap(map) => self.table_map(map, tables)?,
            EventData::Rows(rows) => return self.rows(header, rows, begin, tables, keys),
            EventData::CompressedRows(rows) => {
                let mut buffer = std::mem::take(&mut self.inflated);
                let step = rows.inflate(&mut buffer).and_then(|rows| self.rows(header, &rows, begin, tables, keys));
                self.inflated = buffer;
                return step;
            }
            EventData::MariaDbGtid(gtid) => {
                let id = MariaGtid { domain: gtid.domain, server: gtid.server_id, sequence: gtid.sequence };
                self.begin(Gtid::MariaDb(id), id.to_string(), begin, seconds(header), !gtid.is_standalone())?;
                self.current()?.prepares = gtid.is_xa_prepare();
            }
            EventData::Gtid(gtid) => {
                let sid = Sid { uuid: gtid.uuid, tag: gtid.tag.to_owned() };
                let id = format!("{sid}:{}", gtid.number);
                let time = gtid.immediate_commit_micros.map_or_else(|| seconds(header), micros);
                self.begin(Gtid::MySql(sid, gtid.number), id, begin, time, false)?;
            }
            EventData::AnonymousGtid(gtid) => {
                let time = gtid.immediate_commit_micros.map_or_else(|| seconds(header), micros);
                self.begin(Gtid::None, begin.to_string(), begin, time, false)?;
            }
            EventData::Query(statement) => {
                return self.statement(header, &query::Statement::of(statement), begin, next, tables);
            }
            EventData::CompressedQuery(statement) => {
                let mut buffer = std::mem::take(&mut self.inflated);
                let statement = statement.inflate(&mut buffer).map(|s| query::Statement::of(&s));
                let step = statement.and_then(|s| self.statement(header, &s, begin, next, tables));
                self.inflated = buffer;
                return step;
            }
            EventData::Xid(_) => self.commit(next)?,
            EventData::XaPrepare(xa) => self.xa_prepare(xa.one_phase, next)?,
            EventData::TransactionPayload(payload) => {
                let mut inner = payload.events()?;
                return self.payload(&mut inner, begin, next, tables, keys, &format.without_checksum());
            }
            EventData::Heartbeat { file, position } => self.heartbeat(file, *position),
            EventData::Rotate { position, file } => self.rotate(file, *position)?,
            EventData::Incident { number, message } => return Err(refusals::incident(*number, message)),
            EventData::FormatDescription(_) => self.no_open_transaction()?,
            EventData::Unknown { event_type, .. } if !self.may_skip(header) => {
                return Err(refusals::unknown(*event_type));
            }
            EventData::Unknown { .. }
            | EventData::MariaDbGtidList(_)
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

    fn rotate(&mut self, file: &str, position: u64) -> Result<()> {
        self.no_open_transaction()?;
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
    fn no_open_transaction(&mut self) -> Result<()> {
        match self.transaction.take() {
            Some(t) if !t.touched.is_empty() => Err(refusals::torn(&t.id)),
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        gtid: Gtid,
        id: String,
        begin: &Place,
        (micros, precision): (i64, TimePrecision),
        explicit: bool,
    ) -> Result<()> {
        self.no_open_transaction()?;
        self.serial += 1;
        self.table_ids.clear();
        self.last_commit = Some(micros);
        self.transaction = Some(Transaction {
            gtid,
            id,
            begin: begin.clone(),
            begin_text: begin.to_string(),
            micros,
            precision,
            serial: self.serial,
            explicit,
            prepares: false,
            touched: Vec::new(),
        });
        Ok(())
    }

    fn current(&mut self) -> Result<&mut Transaction> {
        let outside = || Error::new(Code::UnknownEvent, "the log holds a change outside of any transaction");
        self.transaction.as_mut().ok_or_else(outside)
    }

    /// The transaction is complete: only now its identifier joins the position (R5).
    fn commit(&mut self, next: Option<&Place>) -> Result<()> {
        let Some(t) = self.transaction.take() else { return Ok(()) };
        if t.prepares && !t.touched.is_empty() {
            return Err(refusals::distributed(&t.id));
        }
        join(&t.gtid, &mut self.executed);
        if t.gtid != Gtid::None {
            self.mark = Some(Mark { transaction: t.id.clone(), begin: t.begin_text });
        }
        self.resumed.retain(|i| i.transaction != t.id);
        if let Some(next) = next {
            self.boundary = next.clone();
        }
        Ok(())
    }

    fn xa_prepare(&mut self, one_phase: bool, next: Option<&Place>) -> Result<()> {
        let t = self.current()?;
        t.prepares = !one_phase;
        self.commit(next)
    }

    fn table_map(&mut self, map: &TableMap<'_>, tables: &mut Tables) -> Result<()> {
        let found = tables.find(map.database, map.table);
        if let Some(at) = found {
            tables.use_table_map(at, map).map_err(|e| e.fact("table", tables.get(at).id.to_string()))?;
        }
        self.table_ids.insert(map.table_id, found);
        Ok(())
    }

    fn rows(
        &mut self,
        _header: &Header,
        rows: &RowsEvent<'_>,
        begin: &Place,
        tables: &mut Tables,
        keys: Option<&ServerKeys>,
    ) -> Result<Step> {
        if rows.is_dummy() {
            return Ok(Step::Done);
        }
        let no_map = || Error::new(Code::UnknownEvent, "the log holds rows of a table that was not introduced");
        let Some(at) = *self.table_ids.get(&rows.table_id).ok_or_else(no_map)? else { return Ok(Step::Done) };
        if self.transaction.is_none() {
            // Servers without GTID events: BEGIN was not seen either, so this is the transaction's first event.
            self.begin(Gtid::None, begin.to_string(), begin, (0, TimePrecision::Seconds), true)?;
        }
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
        begin: &Place,
        next: Option<&Place>,
        tables: &mut Tables,
    ) -> Result<Step> {
        match statement.control() {
            query::Control::Begin => {
                if self.transaction.is_none() {
                    self.begin(Gtid::None, begin.to_string(), begin, seconds(header), true)?;
                }
                self.current()?.explicit = true;
                Ok(Step::Done)
            }
            query::Control::Commit => self.commit(next).map(|()| Step::Done),
            query::Control::Rollback => {
                self.rolled_back()?;
                self.commit(next).map(|()| Step::Done)
            }
            query::Control::RollbackToSavepoint => self.rolled_back().map(|()| Step::Done),
            query::Control::Savepoint => Ok(Step::Done),
            query::Control::Xa => self.commit(next).map(|()| Step::Done),
            query::Control::None => {
                let effect = query::effect(statement, tables)?;
                let Some(mut ddl) = effect else {
                    self.finish_statement(next);
                    return Ok(Step::Done);
                };
                let at_begin = self.transaction.as_ref().map_or(begin, |t| &t.begin).clone();
                if !ddl.passes_handoff(tables, &at_begin) {
                    return Ok(Step::Wait);
                }
                ddl.next = next.cloned();
                Ok(Step::Ddl(ddl))
            }
        }
    }

    /// Rows that were logged and then taken back cannot be taken back here.
    fn rolled_back(&mut self) -> Result<()> {
        match &self.transaction {
            Some(t) if !t.touched.is_empty() => {
                let message = format!("transaction {} in the log was rolled back after its rows were logged", t.id);
                Err(Error::new(Code::UnknownEvent, message)
                    .help("do not create or drop temporary tables inside transactions that change captured tables"))
            }
            _ => Ok(()),
        }
    }

    /// A statement that is a transaction of its own is complete.
    pub fn finish_statement(&mut self, next: Option<&Place>) {
        if self.transaction.as_ref().is_some_and(|t| !t.explicit) {
            // Cannot fail: a statement touches no rows.
            let _ = self.commit(next);
        }
        if let Some(next) = next {
            self.place = Some(next.clone());
        }
        self.at_rest();
    }

    /// The events of a compressed transaction. Waiting in its midst would mean to inflate it twice; the rows before are
    /// counted as handed out, so the second time passes over them.
    fn payload(
        &mut self,
        inner: &mut crate::decode::transaction::PayloadEvents<'_>,
        begin: &Place,
        next: Option<&Place>,
        tables: &mut Tables,
        keys: Option<&ServerKeys>,
        format: &EventFormat,
    ) -> Result<Step> {
        let mut last = Step::Done;
        while let Some(bytes) = inner.next_event()? {
            let event = Event::parse(bytes, format)?;
            let data = event.data(format)?;
            let step = self.data(&event.header, &data, begin, next, tables, keys, format)?;
            match step {
                Step::Done => {}
                Step::Rows(at) => last = Step::Rows(at),
                Step::Keys(_) => return Err(refusals::compressed_text_keys()),
                other => {
                    self.resumed = self.inside(tables);
                    self.serial += 1;
                    self.current()?.serial = self.serial;
                    return Ok(other);
                }
            }
        }
        Ok(last)
    }
}

fn join(gtid: &Gtid, executed: &mut Executed) {
    match (gtid, executed) {
        (Gtid::MariaDb(gtid), Executed::MariaDb(position)) => position.advance(*gtid),
        (Gtid::MySql(sid, number), Executed::MySql(set)) => set.add(sid.clone(), *number),
        _ => {}
    }
}

fn merge(
    mut changes: std::collections::BTreeMap<u32, u64>,
    before: Option<&Inside>,
) -> std::collections::BTreeMap<u32, u64> {
    for (table, count) in before.into_iter().flat_map(|i| &i.changes) {
        let own = changes.entry(*table).or_default();
        *own = (*own).max(*count);
    }
    changes
}

fn seconds(header: &Header) -> (i64, TimePrecision) {
    (i64::from(header.timestamp) * 1_000_000, TimePrecision::Seconds)
}

fn micros(time: u64) -> (i64, TimePrecision) {
    (time as i64, TimePrecision::Micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_move_the_boundary_between_transactions_and_never_back() {
        let place = |offset| Place::new("bin.000003", offset).unwrap();
        let mut machine = Machine::new(place(4), Executed::None, Vec::new());
        machine.place = Some(place(4));
        let at = |machine: &mut Machine, position| {
            machine.heartbeat("bin.000003", position);
            machine.at_rest();
            machine.boundary().offset
        };
        assert_eq!([at(&mut machine, 900), at(&mut machine, 5)], [900, 900]);
        machine.begin(Gtid::None, "x".into(), &place(900), (0, TimePrecision::Seconds), true).unwrap();
        assert_eq!(at(&mut machine, 1000), 900);
    }

    #[test]
    fn at_another_server_the_boundary_is_none_of_its_places() {
        let mut machine = Machine::new(Place::new("bin.000050", 4).unwrap(), Executed::None, Vec::new());
        machine.moved();
        assert!(machine.has_moved());
        machine.rotate("bin.000003", 4).unwrap();
        machine.at_rest();
        assert!(!machine.has_moved());
        assert_eq!(machine.boundary().to_string(), "bin.000003:4");
    }
}
