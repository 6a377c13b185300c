//! Distributed (XA) transactions that are prepared and whose outcome is not known yet.
//!
//! Their rows lie in the log where they were prepared, and count from where they are committed. Until then they wait in a
//! spool, and the place to begin reading at after a restart stays before the oldest of them:
//! - MySQL with GTIDs: the set of what was read lacks their identifiers, so the server sends just them again;
//! - otherwise the stream begins at the oldest, and what lies between it and the position is passed over.

use super::transaction::Gtid;
use crate::decode::Event;
use crate::gtid::{Executed, MariaGtid, MariaPosition};
use crate::place::Place;
use crate::position::Prepared;
use dujiang_core::{Code, Error, Result};
use dujiang_spool::{Mark, Records, Spool};
use std::collections::{BTreeMap, VecDeque};

/// Committed transactions whose names are kept: more than are under way at a time.
const REMEMBERED: usize = 64;

/// A transaction, and whether its rows are in the spool.
#[derive(Debug)]
struct Entry {
    saved: Prepared,
    held: bool,
}

/// All prepared transactions, in the order of the log.
pub struct Undecided {
    spool: Spool,
    entries: Vec<Entry>,
    /// Domains in which the stream has begun before what was read, up to the transactions named.
    catching_up: BTreeMap<u32, MariaGtid>,
    /// The last ones that were committed, for a server that says so twice.
    committed: VecDeque<String>,
    /// Savepoints of the transaction that is being spooled.
    savepoints: Vec<(String, Mark)>,
}

impl Undecided {
    /// With those of a position, whose rows are still to be read.
    ///
    /// # Errors
    /// `CheckpointDamaged`.
    pub fn new(spool: Spool, saved: Vec<Prepared>, committed: Vec<String>) -> Result<Self> {
        let whole = |saved: &Prepared| {
            let ids = saved.before.parse::<MariaPosition>().is_ok();
            ids && Place::parse(&saved.begin).is_some()
        };
        if let Some(damaged) = saved.iter().find(|saved| !whole(saved)) {
            let message = format!("a prepared transaction in the checkpoint cannot be read: {}", damaged.xid);
            return Err(Error::new(Code::CheckpointDamaged, message));
        }
        let entries = saved.into_iter().map(|saved| Entry { held: saved.empty, saved }).collect();
        Ok(Self { spool, entries, catching_up: BTreeMap::new(), committed: committed.into(), savepoints: Vec::new() })
    }

    /// For a position.
    pub fn saved(&self) -> Vec<Prepared> {
        self.entries.iter().map(|entry| entry.saved.clone()).collect()
    }

    /// For a position: the last ones that were committed.
    pub fn committed(&self) -> Vec<String> {
        self.committed.iter().cloned().collect()
    }

    /// Whether a transaction was committed a short while ago. MariaDB logs XA COMMIT before it carries it out: after a crash in
    /// between the transaction is prepared again, and its commit is logged once more.
    pub fn was_committed(&self, xid: &str) -> bool {
        self.committed.iter().any(|known| known == xid)
    }

    /// Bytes that wait in memory.
    pub fn memory_bytes(&self) -> usize {
        self.spool.memory_bytes()
    }

    /// Where the stream has to begin so that nothing is missing; the position itself unless rows are to be read again.
    pub fn first_place(&self, boundary: &Place, executed: &Executed) -> (Place, Executed) {
        let mut missing = self.entries.iter().filter(|entry| !entry.held).map(|entry| &entry.saved).peekable();
        let Some(oldest) = missing.peek().copied() else { return (boundary.clone(), executed.clone()) };
        let place = Place::parse(&oldest.begin).unwrap_or_else(|| boundary.clone());
        match executed {
            Executed::None => (place, Executed::None),
            Executed::MariaDb(_) => (place, Executed::MariaDb(oldest.before.parse().unwrap_or_default())),
            Executed::MySql(set) => {
                let mut theirs = crate::gtid::GtidSet::default();
                missing.for_each(|saved| theirs.union(&saved.transaction.parse().unwrap_or_default()));
                (boundary.clone(), Executed::MySql(set.subtract(&theirs)))
            }
        }
    }

    /// A stream begins at [`Undecided::first_place`].
    pub fn begin_stream(&mut self, boundary: &Place, executed: &Executed) {
        self.catching_up.clear();
        if let (Executed::MariaDb(read), (_, Executed::MariaDb(first))) =
            (executed, self.first_place(boundary, executed))
        {
            let behind = read.iter().filter(|last| first.domain(last.domain) != Some(*last));
            self.catching_up = behind.map(|last| (last.domain, last)).collect();
        }
    }

    /// Whether a transaction of MariaDB lies before the position; the last one of its domain ends that.
    pub fn is_before_position(&mut self, gtid: MariaGtid) -> bool {
        match self.catching_up.get(&gtid.domain) {
            None => false,
            Some(last) => {
                if *last == gtid {
                    self.catching_up.remove(&gtid.domain);
                }
                true
            }
        }
    }

    /// Whether the rows of this transaction have to be read again.
    pub fn misses(&self, transaction: &str) -> bool {
        self.entries.iter().any(|entry| !entry.held && entry.saved.transaction == transaction)
    }

    /// A transaction begins to be spooled. A list under its name is of an earlier one that came to no end.
    pub fn begin(&mut self, xid: &str) {
        self.spool.discard(xid.as_bytes());
        self.savepoints.clear();
    }

    /// Adds an event of the transaction that is being spooled.
    ///
    /// # Errors
    /// Those of the spool.
    pub fn append(&mut self, xid: &str, event: &Event<'_>) -> Result<()> {
        self.spool.append(xid.as_bytes(), event.without_checksum())
    }

    /// SAVEPOINT in the transaction that is being spooled.
    pub fn savepoint(&mut self, xid: &str, name: &str) {
        self.savepoints.retain(|(known, _)| known != name);
        self.savepoints.push((name.to_owned(), self.spool.mark(xid.as_bytes())));
    }

    /// ROLLBACK TO a savepoint; those set after it are gone. False when it is not known.
    ///
    /// # Errors
    /// Those of the spool.
    pub fn roll_back_to(&mut self, xid: &str, name: &str) -> Result<bool> {
        let Some(at) = self.savepoints.iter().position(|(known, _)| known == name) else { return Ok(false) };
        self.savepoints.truncate(at + 1);
        self.spool.roll_back_to(xid.as_bytes(), self.savepoints[at].1)?;
        Ok(true)
    }

    /// The transaction that was being spooled came to no end in the log.
    pub fn torn(&mut self, xid: &str) {
        self.spool.discard(xid.as_bytes());
    }

    /// XA PREPARE: all rows of a transaction are here. `before` is what had been read when it began.
    pub fn prepared(&mut self, xid: &str, transaction: &str, begin: &Place, before: &Executed) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.saved.transaction == transaction) {
            entry.held = true;
            return;
        }
        let before = match before {
            Executed::MariaDb(position) => position.to_string(),
            Executed::MySql(_) | Executed::None => String::new(),
        };
        self.entries.retain(|entry| entry.saved.xid != xid);
        self.committed.retain(|known| known != xid);
        let saved = Prepared {
            xid: xid.to_owned(),
            transaction: transaction.to_owned(),
            begin: begin.to_string(),
            before,
            empty: !self.spool.contains(xid.as_bytes()),
        };
        self.entries.push(Entry { saved, held: true });
    }

    /// Whether such a transaction is prepared.
    pub fn knows(&self, xid: &str) -> bool {
        self.entries.iter().any(|entry| entry.saved.xid == xid)
    }

    /// The events of a transaction.
    ///
    /// # Errors
    /// Those of the spool.
    pub fn records(&self, xid: &str) -> Result<Records> {
        self.spool.read(xid.as_bytes())
    }

    /// The rows of a transaction are handed out.
    pub fn handed_out(&mut self, xid: &str) {
        self.decided(xid);
        self.committed.push_back(xid.to_owned());
        if self.committed.len() > REMEMBERED {
            self.committed.pop_front();
        }
    }

    /// The outcome is in the position: nothing of the transaction is needed any more.
    pub fn decided(&mut self, xid: &str) {
        self.entries.retain(|entry| entry.saved.xid != xid);
        self.spool.discard(xid.as_bytes());
    }
}

/// Whether a transaction lies before the position.
pub(super) fn is_known(
    gtid: &Gtid,
    begin: &Place,
    boundary: Option<&Place>,
    executed: &Executed,
    undecided: &mut Undecided,
) -> bool {
    match (gtid, executed) {
        (Gtid::MySql(sid, number), Executed::MySql(set)) => set.contains(sid, *number),
        (Gtid::MariaDb(gtid), _) => undecided.is_before_position(*gtid),
        (Gtid::None, _) => boundary.is_some_and(|boundary| begin < boundary),
        _ => false,
    }
}
