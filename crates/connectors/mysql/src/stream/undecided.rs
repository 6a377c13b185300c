//! Distributed (XA) transactions that are prepared and whose outcome is not known yet.
//!
//! Their rows lie in the log where they were prepared, and count from where they are committed. Until then they wait in a
//! spool, and the place to begin reading at after a restart stays before the oldest of them:
//! - MySQL with GTIDs: the set of what was read lacks their identifiers, so the server sends just them again;
//! - otherwise the stream begins at the oldest, and what lies between it and the position is passed over.
//!
//! A server that crashes may lose a prepared transaction, which is rolled back then, without a word in the log. So after a start
//! of the server that lies behind them in the log, it is asked which of them it still has: see [`Fate`].

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

/// What is known of a transaction's life through a start of the server.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The server has not started since, or has it still.
    Kept,
    /// The server has started since, and was not asked.
    InQuestion,
    /// The server does not have it. It is forgotten unless it has been decided before this place.
    Missing(Place),
}

/// A transaction, and whether its rows are in the spool.
#[derive(Debug)]
struct Entry {
    saved: Prepared,
    held: bool,
    fate: Fate,
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
        let entries = saved.into_iter().map(|saved| Entry { held: saved.empty, saved, fate: Fate::Kept }).collect();
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

    /// A transaction before the position came to no end, since the server crashed: it gives the number to the next one, and that is the
    /// one that was read.
    pub fn comes_again(&mut self, gtid: MariaGtid) {
        self.catching_up.entry(gtid.domain).or_insert(gtid);
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
        self.entries.push(Entry { saved, held: true, fate: Fate::Kept });
    }

    /// The first file of a run of the server begins here: what was prepared in files before it may have been lost.
    pub fn server_started(&mut self, file: u64) {
        let before = |entry: &&mut Entry| Place::parse(&entry.saved.begin).is_some_and(|begin| begin.number() < file);
        self.entries.iter_mut().filter(before).for_each(|entry| entry.fate = Fate::InQuestion);
    }

    /// Whether the server has to be asked what it still has.
    pub fn are_in_question(&self) -> bool {
        self.entries.iter().any(|entry| entry.fate == Fate::InQuestion)
    }

    /// The server has told what is prepared, and then the end of its log; or it does not tell.
    pub fn told(&mut self, prepared: Option<&[String]>, end: &Place) {
        for entry in self.entries.iter_mut().filter(|entry| entry.fate == Fate::InQuestion) {
            let is_there = prepared.is_none_or(|prepared| prepared.contains(&entry.saved.xid));
            entry.fate = if is_there { Fate::Kept } else { Fate::Missing(end.clone()) };
        }
    }

    /// The stream has come to `boundary`: what the server does not have and has not decided up to there was rolled back.
    pub fn passed(&mut self, boundary: &Place) {
        let forgotten = |entry: &Entry| matches!(&entry.fate, Fate::Missing(end) if end <= boundary);
        while let Some(at) = self.entries.iter().position(forgotten) {
            let xid = self.entries[at].saved.xid.clone();
            tracing::warn!(xid, "the source has lost a prepared transaction in a crash: it counts as rolled back");
            self.decided(&xid);
        }
    }

    /// Places are those of another server from now on.
    pub fn moved(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.fate = Fate::Kept);
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

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_spool::Limits;

    fn place(text: &str) -> Place {
        Place::parse(text).unwrap()
    }

    fn undecided() -> Undecided {
        let prepared = |(xid, begin): (&str, &str)| Prepared {
            xid: xid.into(),
            transaction: begin.into(),
            begin: begin.into(),
            before: String::new(),
            empty: false,
        };
        let saved = [("old", "bin.000001:4"), ("kept", "bin.000002:90"), ("new", "bin.000003:500")].map(prepared);
        let spool = Spool::open("unused".as_ref(), Limits::default()).unwrap();
        Undecided::new(spool, saved.into(), Vec::new()).unwrap()
    }

    fn names(undecided: &Undecided) -> Vec<String> {
        undecided.saved().into_iter().map(|saved| saved.xid).collect()
    }

    #[test]
    fn a_number_that_a_torn_transaction_had_before_is_read_once() {
        let gtids = |text: &str| Executed::MariaDb(text.parse().unwrap());
        let gtid = |text: &str| text.parse::<MariaGtid>().unwrap();
        let mut undecided = undecided();
        undecided.entries.iter_mut().for_each(|entry| entry.saved.before = "0-1-4".into());
        undecided.begin_stream(&place("bin.000003:900"), &gtids("0-1-6"));
        assert!(undecided.is_before_position(gtid("0-1-5")) && undecided.is_before_position(gtid("0-1-6")));
        undecided.comes_again(gtid("0-1-6"));
        assert!(undecided.is_before_position(gtid("0-1-6")), "in the next file");
        assert!(!undecided.is_before_position(gtid("0-1-7")));
    }

    #[test]
    fn what_the_server_lost_is_forgotten_at_the_end_of_its_log_and_nothing_else() {
        let mut undecided = undecided();
        assert!(!undecided.are_in_question());
        undecided.server_started(3);
        assert!(undecided.are_in_question());
        undecided.told(Some(&["kept".to_owned()]), &place("bin.000003:800"));
        assert!(!undecided.are_in_question());
        undecided.passed(&place("bin.000003:799"));
        assert_eq!(names(&undecided), ["old", "kept", "new"]);
        undecided.passed(&place("bin.000003:800"));
        assert_eq!(names(&undecided), ["kept", "new"]);
        undecided.passed(&place("bin.000009:4"));
        assert_eq!(names(&undecided), ["kept", "new"]);
    }

    #[test]
    fn nothing_is_forgotten_when_the_server_does_not_tell_or_is_another() {
        let mut undecided = undecided();
        undecided.server_started(3);
        undecided.told(None, &place("bin.000003:800"));
        undecided.server_started(3);
        undecided.told(Some(&[]), &place("bin.000003:800"));
        undecided.moved();
        undecided.passed(&place("bin.000009:4"));
        assert_eq!(names(&undecided), ["old", "kept", "new"]);
    }
}
