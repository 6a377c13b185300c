//! Transactions whose outcome is not known yet: those that the server sends while they are in progress (`streaming`), and
//! those of two phases that are prepared (a slot made with `two_phase`).
//!
//! Their messages wait in the spool as they came, and are read when the commit comes. A part that is rolled back, alone
//! (`ROLLBACK TO SAVEPOINT`) or as a whole, is taken out. After a lost connection and after a restart the server sends again
//! what was not committed by then, so that nothing has to be kept: transactions in progress always; prepared ones only if the
//! stream begins before they were prepared, which is why the resume position stays there ([`Undecided::oldest_prepared`]).

use crate::lsn::Lsn;
use dujiang_core::{Code, Error, Result};
use dujiang_spool::{Mark, Records, Spool};
use std::collections::HashMap;

/// One transaction.
struct Entry {
    /// Its messages carry the id of their subtransaction.
    streamed: bool,
    /// Where the messages of each subtransaction begin.
    parts: HashMap<u32, Mark>,
    /// The subtransaction of the last message.
    last: u32,
    /// It is prepared; a stream that begins there has all of it.
    prepared: Option<Lsn>,
}

/// All of them.
pub struct Undecided {
    spool: Spool,
    entries: HashMap<u32, Entry>,
    /// Whose messages are coming.
    piece: Option<u32>,
}

impl Undecided {
    /// None yet.
    pub fn new(spool: Spool) -> Self {
        Self { spool, entries: HashMap::new(), piece: None }
    }

    /// Whether the messages that are coming belong to one of them, and whether they carry the id of their subtransaction.
    pub fn piece(&self) -> Option<bool> {
        Some(self.entries.get(&self.piece?)?.streamed)
    }

    /// A piece of a transaction in progress begins.
    ///
    /// # Errors
    /// `UnknownEvent` when it is the first of a transaction that is known, or a later one of one that is not.
    pub fn begin_piece(&mut self, xid: u32, first: bool) -> Result<()> {
        if first == self.entries.contains_key(&xid) {
            return Err(out_of_turn("a piece of a transaction in progress comes out of turn", xid));
        }
        if first {
            self.insert(xid, true, None);
        }
        self.piece = Some(xid);
        Ok(())
    }

    /// A transaction of two phases begins, all of which comes now.
    pub fn begin_prepared(&mut self, xid: u32, from: Lsn) {
        self.decided(xid);
        self.insert(xid, false, Some(from));
        self.piece = Some(xid);
    }

    fn insert(&mut self, xid: u32, streamed: bool, prepared: Option<Lsn>) {
        self.entries.insert(xid, Entry { streamed, parts: HashMap::new(), last: xid, prepared });
    }

    /// The piece ends.
    pub fn end_piece(&mut self) {
        self.piece = None;
    }

    /// A transaction that came in pieces is prepared.
    ///
    /// # Errors
    /// `UnknownEvent` when it is not known.
    pub fn prepared(&mut self, xid: u32, from: Lsn) -> Result<()> {
        let entry = self.entries.get_mut(&xid).ok_or_else(|| unknown(xid))?;
        entry.prepared = Some(from);
        Ok(())
    }

    /// Keeps a message of the piece, which belongs to the subtransaction `part`.
    ///
    /// # Errors
    /// Those of the spool.
    pub fn keep(&mut self, part: Option<u32>, body: &[u8]) -> Result<()> {
        let Some(xid) = self.piece else { return Ok(()) };
        let key = xid.to_be_bytes();
        if let (Some(part), Some(entry)) = (part, self.entries.get_mut(&xid))
            && part != entry.last
        {
            entry.last = part;
            if part != xid {
                entry.parts.entry(part).or_insert_with(|| self.spool.mark(&key));
            }
        }
        self.spool.append(&key, body)
    }

    /// A transaction that came in pieces, or the part `part` of it, was rolled back.
    ///
    /// # Errors
    /// Those of the spool.
    pub fn abort(&mut self, xid: u32, part: u32) -> Result<()> {
        if xid == part {
            self.decided(xid);
            return Ok(());
        }
        // A part of which nothing came has nothing to take back.
        let Some(entry) = self.entries.get_mut(&xid) else { return Ok(()) };
        let Some(mark) = entry.parts.remove(&part) else { return Ok(()) };
        entry.last = xid;
        self.spool.roll_back_to(&xid.to_be_bytes(), mark)
    }

    /// Whether a transaction is one of them.
    pub fn knows(&self, xid: u32) -> bool {
        self.entries.contains_key(&xid)
    }

    /// The messages of a transaction, and whether they carry the id of their subtransaction.
    ///
    /// # Errors
    /// `UnknownEvent` when it is not known, and those of the spool.
    pub fn messages(&self, xid: u32) -> Result<(Records, bool)> {
        let entry = self.entries.get(&xid).ok_or_else(|| unknown(xid))?;
        Ok((self.spool.read(&xid.to_be_bytes())?, entry.streamed))
    }

    /// A transaction has had its outcome.
    pub fn decided(&mut self, xid: u32) {
        self.entries.remove(&xid);
        self.spool.discard(&xid.to_be_bytes());
    }

    /// The stream is gone; the next one brings them again.
    pub fn clear(&mut self) {
        self.piece = None;
        for xid in self.entries.drain().map(|(xid, _)| xid) {
            self.spool.discard(&xid.to_be_bytes());
        }
    }

    /// A stream that begins there has all prepared ones; none if there are none.
    pub fn oldest_prepared(&self) -> Option<Lsn> {
        self.entries.values().filter_map(|entry| entry.prepared).min()
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        let parts: usize = self.entries.values().map(|entry| entry.parts.capacity()).sum();
        self.spool.memory_bytes() + parts * size_of::<(u32, Mark)>()
    }
}

#[cold]
fn unknown(xid: u32) -> Error {
    out_of_turn("a transaction ends of which the stream has not told", xid)
}

#[cold]
fn out_of_turn(message: &str, xid: u32) -> Error {
    Error::new(Code::UnknownEvent, message)
        .fact("transaction", xid.to_string())
        .help("report a bug with the server's version")
}
