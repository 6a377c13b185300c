//! From messages to rows: transactions, places, ordinals.
//!
//! Pure in the sense that it neither connects nor waits: the reader shows it one message after another, and it answers what to
//! do next. A message that has to wait is shown again.

use super::tables::{Appended, RowsOf, Tables};
use crate::lsn::Lsn;
use crate::pgoutput::{Finished, Message, Relation};
use crate::position::Inside;
use crate::snapshot::{TableVerdict, widen};
use crate::values::RowChange;
use dujiang_core::batch::TimePrecision;
use dujiang_core::{Code, Error, Origin, Result, TableId, fault};
use std::collections::HashMap;

/// What to do after a message.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Go on with the next message.
    Done,
    /// A change went into the builder of this table; go on with the next message.
    Rows(usize),
    /// Hand out a chunk, then show the message again.
    Wait,
    /// A captured table has other columns from here on, or another name: carry that through, then call
    /// [`Machine::related`], and go on with the next message.
    Relation(usize, Relation),
    /// A captured table was emptied: carry that through, then call [`Machine::truncated`], and show the message again.
    Truncate(usize),
    /// A row of this table holds a NULL in this column, which the shape declares NOT NULL: let the column be nullable from here
    /// on, then show the message again.
    Null(usize, usize),
}

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

/// The state of the stream.
pub struct Machine {
    boundary: Lsn,
    transaction: Option<Transaction>,
    serial: u64,
    /// The transaction of which a part was handed out before the stream was (re)started.
    resumed: Option<Inside>,
    /// What the ids in the stream mean; none for tables that are not captured.
    relations: HashMap<u32, Option<usize>>,
    /// Tables of the TRUNCATE at hand that are dealt with.
    truncated: usize,
    /// A transaction id in full, near to those that come.
    near: u64,
    last_commit: Option<i64>,
}

impl Machine {
    /// A stream that begins at `boundary`; `near` is a transaction id of that time.
    pub fn new(boundary: Lsn, near: u64, resumed: Option<Inside>) -> Self {
        Self {
            boundary,
            transaction: None,
            serial: 0,
            resumed,
            relations: HashMap::new(),
            truncated: 0,
            near,
            last_commit: None,
        }
    }

    /// The last transaction boundary.
    pub fn boundary(&self) -> Lsn {
        self.boundary
    }

    /// A transaction id in full.
    pub fn near(&self) -> u64 {
        self.near
    }

    /// Commit time of the last transaction.
    pub fn last_commit(&self) -> Option<i64> {
        self.last_commit
    }

    /// Whether a transaction is open.
    pub fn is_inside(&self) -> bool {
        self.transaction.is_some()
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

    /// The stream is gone; the next one begins at the boundary.
    pub fn disconnected(&mut self, tables: &Tables) {
        self.resumed = self.inside(tables);
        self.transaction = None;
        self.relations.clear();
        self.truncated = 0;
    }

    /// The server has looked at its log up to `end` and sent all there is.
    pub fn looked(&mut self, end: Lsn) {
        if self.transaction.is_none() && self.resumed.is_none() {
            self.boundary = self.boundary.max(end);
        }
    }

    /// Looks at a message.
    ///
    /// # Errors
    /// `Protocol`, `UnknownEvent`, and those of rows.
    pub fn message(&mut self, body: &[u8], tables: &mut Tables) -> Result<Step> {
        let (message, _) = Message::read(body, false)?;
        match message {
            Message::Insert { relation, new } => self.change(relation, RowChange::Insert(new), tables),
            Message::Update { relation, old, new } => self.change(relation, RowChange::Update { old, new }, tables),
            Message::Delete { relation, old } => self.change(relation, RowChange::Delete(old), tables),
            Message::Begin { commit, micros, xid } => self.begin(Lsn(commit), micros, xid),
            Message::Commit(finished) => self.commit(&finished),
            Message::Relation(relation) => Ok(self.relation(relation, tables)),
            Message::Truncate { relations } => self.truncate(relations, tables),
            // The first commit elsewhere, the names of types, and texts that others write into the log.
            Message::Origin | Message::Type | Message::Logical { .. } => Ok(Step::Done),
            other => Err(Error::new(Code::UnknownEvent, "the stream holds a message that was not asked for")
                .fact("message", format!("{other:?}").chars().take(80).collect::<String>())),
        }
        .map_err(|e| self.at(e))
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
        let xid = widen(xid, self.near);
        self.near = self.near.max(xid);
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
        self.boundary = self.boundary.max(Lsn(finished.end));
        self.last_commit = Some(finished.micros);
        Ok(Step::Done)
    }

    fn relation(&mut self, relation: Relation, tables: &Tables) -> Step {
        let id = TableId::new(relation.schema.as_str(), relation.table.as_str());
        // A table that was renamed keeps its id.
        let at = tables.find(&id).or_else(|| tables.iter().position(|table| table.shape.relation == relation.oid));
        match at {
            Some(at) if !tables.get(at).shape.fits(&relation) => Step::Relation(at, relation),
            at => {
                self.relations.insert(relation.oid, at);
                Step::Done
            }
        }
    }

    /// What a relation message told is carried through; `at` is none if the table is not captured any more.
    pub fn related(&mut self, relation: u32, at: Option<usize>) {
        self.relations.insert(relation, at);
    }

    fn change(&mut self, relation: u32, change: RowChange<'_>, tables: &mut Tables) -> Result<Step> {
        let (Some(at), Some(transaction)) = (self.table(relation)?, &mut self.transaction) else {
            return Ok(Step::Done);
        };
        if transaction.passed {
            return Ok(Step::Done);
        }
        let skip = skip(self.resumed.as_ref(), transaction);
        match tables.append(at, change, &transaction.rows_of(&skip))? {
            Appended::Wait => Ok(Step::Wait),
            Appended::Null(column) => Ok(Step::Null(at, column)),
            Appended::Done => {
                transaction.touch(at);
                if fault::removed("position-at-transaction-end") {
                    self.boundary = Lsn(transaction.commit.0 + 1);
                }
                Ok(Step::Rows(at))
            }
        }
    }

    fn table(&self, relation: u32) -> Result<Option<usize>> {
        if self.transaction.is_none() {
            return Err(outside());
        }
        self.relations.get(&relation).copied().ok_or_else(|| {
            Error::new(Code::UnknownEvent, "a change of a table that the stream has not told of")
                .fact("relation", relation.to_string())
        })
    }

    fn truncate(&mut self, relations: &[u8], tables: &mut Tables) -> Result<Step> {
        let all = relations.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]));
        for relation in all.skip(self.truncated) {
            let (Some(at), Some(transaction)) = (self.table(relation)?, &mut self.transaction) else {
                self.truncated += 1;
                continue;
            };
            if transaction.passed {
                self.truncated += 1;
                continue;
            }
            let skip = skip(self.resumed.as_ref(), transaction);
            let verdict = tables.judge_truncate(at, &transaction.rows_of(&skip))?;
            transaction.touch(at);
            match verdict {
                TableVerdict::Pass => return Ok(Step::Truncate(at)),
                TableVerdict::Wait => return Ok(Step::Wait),
                TableVerdict::Drop => {
                    tables.count_truncate(at);
                    self.truncated += 1;
                }
                TableVerdict::Torn => {
                    let id = tables.get(at).id.to_string();
                    return Err(Error::new(
                        Code::SnapshotInterrupted,
                        format!("{id} was emptied while its snapshot was read"),
                    )
                    .fact("table", id)
                    .help("a part of the snapshot is of before and a part of after: start a new pipeline"));
                }
            }
        }
        self.truncated = 0;
        Ok(Step::Done)
    }

    /// The table is emptied; the message is to be shown again.
    pub fn truncated(&mut self, at: usize, tables: &mut Tables) {
        tables.count_truncate(at);
        self.truncated += 1;
    }
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
        RowsOf { serial: self.serial, xid: self.xid, origin, skip }
    }
}
