//! From messages to rows: transactions, places, ordinals.
//!
//! It neither connects nor waits: the reader shows it one message after another, and it answers what to do next. A message that
//! has to wait is shown again.

use super::ids::Ids;
use super::relations::{Found, Relations};
use super::step::Step;
use super::tables::{Appended, RowsOf, Tables};
use super::undecided::Undecided;
use crate::lsn::Lsn;
use crate::pgoutput::{Finished, Message, Prepared, Relation};
use crate::position::Inside;
use crate::snapshot::Committed;
use crate::values::RowChange;
use dujiang_core::batch::TimePrecision;
use dujiang_core::{Code, Error, Origin, Result, fault};
use dujiang_spool::Records;
use std::collections::HashMap;

mod truncate;

#[derive(Debug)]
struct Transaction {
    commit: Lsn,
    xid: u64,
    id: String,
    place: String,
    micros: i64,
    serial: u64,
    /// Tables with changes in it.
    touched: Vec<usize>,
    /// It lies before the boundary: all of it has been handed out.
    passed: bool,
}

/// Where a change belongs.
enum Place {
    /// To this table.
    Table(usize),
    /// To no captured table, or it was handed out before.
    Other,
    /// To this table, which counts it: it was handed out before.
    PassOver(usize),
    /// To this table, which has other columns from here on.
    Columns(usize, Relation),
}

/// A transaction whose messages waited in the spool, on its way through.
struct Replay {
    messages: Records,
    /// They carry the id of their subtransaction.
    streamed: bool,
    xid: u32,
    finished: Finished,
    /// Tables it was told of.
    told: Vec<u32>,
}

/// Where a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// The last transaction boundary.
    pub boundary: Lsn,
    /// From there on the server is to send; before the boundary when transactions were prepared there.
    pub from: Lsn,
    /// A transaction id of the boundary's time.
    pub near: u64,
}

/// The state of the stream.
pub struct Machine {
    boundary: Lsn,
    /// Where this stream began.
    from: Lsn,
    /// All of the log before has been sent in this stream.
    seen: Lsn,
    transaction: Option<Transaction>,
    serial: u64,
    /// The transaction of which a part was handed out before the stream was (re)started.
    resumed: Option<Inside>,
    relations: Relations,
    undecided: Undecided,
    replay: Option<Replay>,
    /// Tables of the TRUNCATE at hand that are dealt with.
    truncated: usize,
    /// Tables that were emptied, until they are asked for.
    emptied: Vec<u32>,
    /// Told of tables in a transaction whose rows were handed out before: the table has the columns of after them already.
    deferred: HashMap<u32, Relation>,
    ids: Ids,
    last_commit: Option<i64>,
}

impl Machine {
    /// A stream that goes on there; of the transaction after the boundary a part may have been handed out.
    pub fn new(begin: Begin, resumed: Option<Inside>, undecided: Undecided) -> Self {
        let Begin { boundary, from, near } = begin;
        Self {
            boundary,
            from,
            seen: from,
            transaction: None,
            serial: 0,
            resumed,
            relations: Relations::default(),
            undecided,
            replay: None,
            truncated: 0,
            emptied: Vec::new(),
            deferred: HashMap::new(),
            ids: Ids::new(near),
            last_commit: None,
        }
    }

    /// The last transaction boundary.
    pub fn boundary(&self) -> Lsn {
        self.boundary
    }

    /// From where the server has to send so that nothing is missing (INV-3): the boundary, or before it while transactions that
    /// were prepared there are undecided, or not met again since this stream began.
    pub fn resume_from(&self) -> Lsn {
        if fault::removed("position-before-prepared") {
            return self.boundary;
        }
        if self.seen < self.boundary {
            return self.from;
        }
        self.undecided.oldest_prepared().map_or(self.boundary, |oldest| oldest.min(self.boundary))
    }

    /// Bytes that undecided transactions take in memory.
    pub fn undecided_memory(&self) -> usize {
        self.undecided.memory()
    }

    /// A transaction id in full.
    pub fn near(&self) -> u64 {
        self.ids.near()
    }

    /// Completes transaction ids.
    pub fn ids(&mut self) -> &mut Ids {
        &mut self.ids
    }

    /// Commit time of the last transaction.
    pub fn last_commit(&self) -> Option<i64> {
        self.last_commit
    }

    /// Whether a transaction is open.
    pub fn is_inside(&self) -> bool {
        self.transaction.is_some()
    }

    /// The transaction that is open.
    pub fn committed(&self) -> Option<Committed> {
        self.transaction.as_ref().map(Transaction::committed)
    }

    /// How far the transaction after the boundary has been handed out.
    pub fn inside(&self, tables: &Tables) -> Option<Inside> {
        let Some(transaction) = self.transaction.as_ref().filter(|t| !t.passed) else { return self.resumed.clone() };
        let mut changes: std::collections::BTreeMap<u32, u64> =
            tables.changes_of(transaction.serial, &transaction.touched).collect();
        // What was handed out before the restart and is not met again yet stays handed out.
        if let Some(resumed) = self.resumed.as_ref().filter(|r| transaction.is(r)) {
            for (table, count) in &resumed.changes {
                let entry = changes.entry(*table).or_default();
                *entry = (*entry).max(*count);
            }
        }
        if changes.is_empty() {
            return None;
        }
        Some(Inside { commit: transaction.commit.to_string(), xid: transaction.xid as u32, changes })
    }

    /// The stream is gone; the next one begins where [`Machine::resume_from`] says.
    pub fn disconnected(&mut self, tables: &Tables) {
        self.resumed = self.inside(tables);
        self.from = self.resume_from();
        self.seen = self.from;
        self.transaction = None;
        self.replay = None;
        self.relations.clear();
        self.undecided.clear();
        self.deferred.clear();
        self.truncated = 0;
    }

    /// The server has looked at its log up to `end` and sent all there is.
    pub fn looked(&mut self, end: Lsn) {
        if self.transaction.is_some() || self.undecided.piece() == Some(false) {
            return;
        }
        self.seen = self.seen.max(end);
        if self.resumed.is_none() {
            self.boundary = self.boundary.max(end);
        }
    }

    /// Looks at a message.
    ///
    /// # Errors
    /// `Protocol`, `UnknownEvent`, `SpoolFull`, `PreparedBefore`, and those of rows.
    pub fn message(&mut self, body: &[u8], tables: &mut Tables) -> Result<Step> {
        let done = if self.replay.is_some() {
            self.replayed(tables)
        } else if let Some(streamed) = self.undecided.piece() {
            self.kept(body, streamed)
        } else {
            Message::read(body, false).and_then(|(message, _)| self.live(message, tables))
        };
        done.map_err(|e| self.at(e))
    }

    /// A message that counts now.
    fn live(&mut self, message: Message<'_>, tables: &mut Tables) -> Result<Step> {
        if self.transaction.is_some() && stands_between_transactions(&message) {
            return Err(not_expected(&message));
        }
        match message {
            Message::Begin { commit, micros, xid } => self.begin(Lsn(commit), micros, xid),
            Message::Commit(finished) => self.commit(&finished),
            Message::Relation(relation) => self.relation(relation, tables),
            Message::StreamStart { xid, first } => self.undecided.begin_piece(xid, first).map(|()| Step::Done),
            Message::StreamCommit { xid, finished } => self.decide(xid, finished),
            Message::StreamAbort { xid, sub } => self.undecided.abort(xid, sub).map(|()| Step::Done),
            Message::BeginPrepare(prepare) => {
                self.undecided.begin_prepared(prepare.xid, self.boundary.min(Lsn(prepare.at)));
                Ok(Step::Done)
            }
            Message::StreamPrepare(prepare) => {
                self.undecided.prepared(prepare.xid, self.boundary.min(Lsn(prepare.at)))?;
                Ok(Step::Done)
            }
            Message::CommitPrepared(step) => self.commit_prepared(&step, tables),
            Message::RollbackPrepared(step) => {
                self.undecided.decided(step.xid);
                Ok(Step::Done)
            }
            other => self.row(other, tables),
        }
    }

    /// A message between the beginning and the end of a transaction.
    fn row(&mut self, message: Message<'_>, tables: &mut Tables) -> Result<Step> {
        match message {
            Message::Insert { relation, new } => self.change(relation, RowChange::Insert(new), tables),
            Message::Update { relation, old, new } => self.change(relation, RowChange::Update { old, new }, tables),
            Message::Delete { relation, old } => self.change(relation, RowChange::Delete(old), tables),
            Message::Truncate { relations } => self.truncate(relations, tables),
            // The first commit elsewhere, and the names of types. Texts that others write into the log are not asked for.
            Message::Origin | Message::Type | Message::Logical { .. } => Ok(Step::Done),
            other => Err(not_expected(&other)),
        }
    }

    /// A message of a transaction whose outcome is not known.
    fn kept(&mut self, body: &[u8], streamed: bool) -> Result<Step> {
        let (message, part) = Message::read(body, streamed)?;
        match message {
            Message::StreamStop if streamed => self.undecided.end_piece(),
            Message::Prepare(_) if !streamed => self.undecided.end_piece(),
            Message::Origin | Message::Type | Message::Logical { .. } => {}
            Message::Relation(relation) => {
                let oid = relation.oid;
                self.relations.note(relation);
                if !streamed {
                    // The server tells it once, to this transaction and to all after it.
                    self.relations.doubt(oid);
                }
                self.undecided.keep(part, body)?;
            }
            Message::Insert { .. } | Message::Update { .. } | Message::Delete { .. } | Message::Truncate { .. } => {
                self.undecided.keep(part, body)?;
            }
            other => return Err(not_expected(&other)),
        }
        Ok(Step::Done)
    }

    fn commit_prepared(&mut self, step: &Prepared<'_>, tables: &Tables) -> Result<Step> {
        let finished = Finished { commit: step.at, end: step.end, micros: step.micros };
        // Handed out before this stream began; or every chunk of the snapshot shows it, since it was under way at the start.
        let known_otherwise = Lsn(step.at) < self.boundary || tables.iter().all(|table| table.handoff.is_some());
        if self.undecided.knows(step.xid) {
            return self.decide(step.xid, finished);
        }
        if known_otherwise {
            return Ok(Step::Done);
        }
        Err(Error::new(
            Code::PreparedBefore,
            "a transaction is committed that was prepared before the pipeline began to read",
        )
        .fact("transaction", format!("{} ({})", step.gid, step.xid))
        .help(
            "the slot was made with two_phase, and its rows were sent before: start a new pipeline with a new snapshot \
                 (`scan.startup.mode: initial`), or when no transaction is prepared",
        ))
    }

    /// The commit of a transaction whose messages wait: they are read before the next message.
    fn decide(&mut self, xid: u32, finished: Finished) -> Result<Step> {
        let (messages, streamed) = self.undecided.messages(xid)?;
        self.begin(Lsn(finished.commit), finished.micros, xid)?;
        self.replay = Some(Replay { messages, streamed, xid, finished, told: Vec::new() });
        Ok(Step::More(None))
    }

    /// The next message of the transaction on its way through.
    fn replayed(&mut self, tables: &mut Tables) -> Result<Step> {
        let Some(mut replay) = self.replay.take() else { return Ok(Step::Done) };
        let Some(body) = replay.messages.peek()? else {
            self.undecided.decided(replay.xid);
            replay.told.iter().for_each(|oid| self.relations.doubt(*oid));
            return self.commit(&replay.finished);
        };
        let step = match Message::read(body, replay.streamed)?.0 {
            Message::Relation(relation) => {
                replay.told.push(relation.oid);
                self.used(relation, tables)?
            }
            other => self.row(other, tables)?,
        };
        let step = match step {
            Step::Done => Step::More(None),
            Step::Rows(at) => Step::More(Some(at)),
            waits => {
                self.replay = Some(replay);
                return Ok(waits);
            }
        };
        replay.messages.advance();
        self.replay = Some(replay);
        Ok(step)
    }

    fn at(&self, error: Error) -> Error {
        if error.facts().iter().any(|(name, _)| *name == "position") {
            return error;
        }
        error.fact("position", self.boundary.to_string())
    }

    fn begin(&mut self, commit: Lsn, micros: i64, xid: u32) -> Result<Step> {
        if self.transaction.is_some() {
            return Err(Error::new(Code::UnknownEvent, "a transaction begins inside another one"));
        }
        let xid = self.ids.complete(xid);
        self.serial += 1;
        // Lengths of texts count: they are interned once per run of rows.
        let (id, place) = (format!("{}:{commit}", xid as u32), commit.to_string());
        let passed = commit < self.boundary;
        self.transaction =
            Some(Transaction { commit, xid, id, place, micros, serial: self.serial, touched: Vec::new(), passed });
        Ok(Step::Done)
    }

    fn commit(&mut self, finished: &Finished) -> Result<Step> {
        let transaction = self.transaction.take().ok_or_else(outside)?;
        if transaction.commit.0 != finished.commit {
            return Err(Error::new(Code::UnknownEvent, "a transaction ends that is not the one that began"));
        }
        // A part that was handed out of another transaction would be lost: it comes first, or never.
        if let Some(resumed) = self.resumed.take_if(|_| !transaction.passed)
            && !transaction.is(&resumed)
        {
            return Err(Error::new(Code::SlotForeign, "the transaction that was being read does not come again")
                .fact("expected", format!("{}:{}", resumed.xid, resumed.commit))
                .fact("found", transaction.id)
                .help("the slot was read by somebody else; start a new pipeline with a new snapshot"));
        }
        self.deferred.clear();
        self.boundary = self.boundary.max(Lsn(finished.end));
        self.seen = self.seen.max(Lsn(finished.end));
        self.last_commit = Some(finished.micros);
        Ok(Step::Done)
    }

    fn relation(&mut self, relation: Relation, tables: &mut Tables) -> Result<Step> {
        self.relations.note(relation.clone());
        self.used(relation, tables)
    }

    /// The rows that follow were told this.
    fn used(&mut self, relation: Relation, tables: &mut Tables) -> Result<Step> {
        let oid = relation.oid;
        if self.transaction.as_ref().is_some_and(|t| t.passed) {
            // Of before the boundary: the table may have got other columns since.
            self.relations.doubt(oid);
            return Ok(Step::Done);
        }
        if self.passed_over(oid, tables)?.is_some() {
            self.deferred.insert(oid, relation);
            return Ok(Step::Done);
        }
        self.deferred.remove(&oid);
        Ok(carry(self.relations.used(relation, tables)))
    }

    /// What the stream told of a table is carried through.
    pub fn related(&mut self, relation: Relation, at: usize) {
        self.relations.carried(relation, at);
    }

    /// What the stream told of a table last is compared with its columns anew, before the next of its rows.
    pub fn doubt(&mut self, oid: u32) {
        self.relations.doubt(oid);
    }

    fn change(&mut self, relation: u32, change: RowChange<'_>, tables: &mut Tables) -> Result<Step> {
        let at = match self.place(relation, tables)? {
            Place::Table(at) => at,
            Place::Other => return Ok(Step::Done),
            Place::PassOver(at) => {
                tables.count(at);
                return Ok(Step::Done);
            }
            Place::Columns(at, relation) => return Ok(Step::Relation(at, relation)),
        };
        let Some(transaction) = &mut self.transaction else { return Err(outside()) };
        let skip = skip(self.resumed.as_ref(), transaction);
        match tables.append(at, change, &transaction.rows_of(&skip))? {
            Appended::Wait => Ok(Step::Wait(at)),
            Appended::Null(column) => Ok(Step::Null(at, column)),
            Appended::Missing(missing) => Ok(Step::Missing(at, missing)),
            Appended::Done => {
                transaction.touch(at);
                if fault::removed("position-at-transaction-end") {
                    self.boundary = Lsn(transaction.commit.0 + 1);
                }
                Ok(Step::Rows(at))
            }
        }
    }

    /// The captured table of these rows, if the next of them was handed out before.
    fn passed_over(&self, oid: u32, tables: &mut Tables) -> Result<Option<usize>> {
        let (Some(resumed), Some(transaction)) = (&self.resumed, &self.transaction) else { return Ok(None) };
        let Some(at) = self.relations.captured(oid, tables) else { return Ok(None) };
        let passes = tables.is_passing_over(at, &transaction.rows_of(&skip(Some(resumed), transaction)))?;
        Ok(passes.then_some(at))
    }

    /// Where a change belongs.
    fn place(&mut self, relation: u32, tables: &mut Tables) -> Result<Place> {
        let transaction = self.transaction.as_ref().ok_or_else(outside)?;
        if transaction.passed {
            return Ok(Place::Other);
        }
        if self.resumed.is_some() {
            if let Some(at) = self.passed_over(relation, tables)? {
                if let Some(transaction) = &mut self.transaction {
                    transaction.touch(at);
                }
                return Ok(Place::PassOver(at));
            }
            if let Some(told) = self.deferred.remove(&relation)
                && let Found::Columns(at, told) = self.relations.used(told, tables)
            {
                self.deferred.insert(relation, told.clone());
                return Ok(Place::Columns(at, told));
            }
        }
        Ok(match self.relations.table(relation, tables)? {
            Found::Table(at) => Place::Table(at),
            Found::Other => Place::Other,
            Found::Columns(at, relation) => Place::Columns(at, relation),
        })
    }
}

fn carry(found: Found) -> Step {
    match found {
        Found::Table(_) | Found::Other => Step::Done,
        Found::Columns(at, relation) => Step::Relation(at, relation),
    }
}

fn stands_between_transactions(message: &Message<'_>) -> bool {
    matches!(
        message,
        Message::StreamStart { .. }
            | Message::StreamCommit { .. }
            | Message::StreamAbort { .. }
            | Message::BeginPrepare(_)
            | Message::StreamPrepare(_)
            | Message::CommitPrepared(_)
            | Message::RollbackPrepared(_)
    )
}

#[cold]
fn not_expected(message: &Message<'_>) -> Error {
    Error::new(Code::UnknownEvent, "the stream holds a message that was not asked for")
        .fact("message", format!("{message:?}").chars().take(80).collect::<String>())
        .help("report a bug with the server's version")
}

#[cold]
fn outside() -> Error {
    Error::new(Code::UnknownEvent, "a change outside of a transaction")
}

fn skip<'a>(resumed: Option<&'a Inside>, transaction: &Transaction) -> impl Fn(usize) -> u64 + 'a {
    let resumed = resumed.filter(|resumed| transaction.is(resumed));
    move |at| resumed.and_then(|r| r.changes.get(&(at as u32))).copied().unwrap_or(0)
}

impl Transaction {
    fn is(&self, inside: &Inside) -> bool {
        self.xid as u32 == inside.xid && Lsn::parse(&inside.commit).is_ok_and(|commit| commit == self.commit)
    }

    fn committed(&self) -> Committed {
        Committed { xid: self.xid, place: self.commit }
    }

    fn touch(&mut self, at: usize) {
        if !self.touched.contains(&at) {
            self.touched.push(at);
        }
    }

    fn rows_of<'a>(&'a self, skip: &'a dyn Fn(usize) -> u64) -> RowsOf<'a> {
        let origin = Origin {
            transaction: &self.id,
            position: &self.place,
            commit_micros: self.micros,
            precision: TimePrecision::Micros,
            first_ordinal: 0,
        };
        RowsOf { serial: self.serial, committed: self.committed(), origin, skip }
    }
}
