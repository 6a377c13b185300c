//! Where the stream takes over from the snapshot, per table and key. Pure.
//!
//! A table is read in one pass in key order, chunk by chunk, each under a snapshot of the server whose transactions are
//! known ([`View`]). The stream runs beside from the first chunk, and every change of the table is judged by its key and by
//! the transaction it belongs to, never by places in the log: the log moves before rows become visible.
//!
//! | the key lies in                               | the chunk's view shows the transaction | it does not           |
//! |-----------------------------------------------|----------------------------------------|-----------------------|
//! | a chunk that was handed out                    | drop: the chunk has it                 | pass                  |
//! | a chunk that is read, but not handed out       | drop: the chunk has it                 | wait                  |
//! | beyond, while a chunk's view is open           | drop: this or a later chunk has it     | wait                  |
//! | beyond, while a view is being opened           | wait                                   | wait                  |
//! | beyond, with no view open                      | drop, and every later view must show it |                      |
//!
//! The last row is what makes it exact: a commit that waits for a standby is in the log, and in no snapshot. A view that does
//! not show what the stream has dropped is refused by [`Handoff::open`] and opened anew. Under load that would never end,
//! since the stream also meets changes while a view travels from the server to here: whoever opens a view says so before
//! ([`Handoff::opening`]), and the stream drops nothing meanwhile.
//!
//! A table whose keys cannot be ordered here is read under one view as a whole: it is one chunk, and all keys lie in it.

use super::view::{Committed, View};
use crate::lsn::Lsn;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is to be done with one image of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it out.
    Pass,
    /// A chunk has it, or will have it.
    Drop,
    /// Come back when the next chunk has been handed out.
    Wait,
}

/// What is to be done with a change of the whole table (TRUNCATE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableVerdict {
    /// Hand it out.
    Pass,
    /// All chunks have it.
    Drop,
    /// Come back when the next chunk has been handed out.
    Wait,
    /// Some chunks were read before it and some after: it cannot be handed out as one.
    Torn,
}

/// The last key of a chunk, in a form whose bytes compare like the server's order; `None` for the table's end.
pub type Upper = Option<Vec<u8>>;

/// A chunk and what its view shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its last key.
    pub upper: Upper,
    /// The snapshot it was read under.
    pub view: View,
}

/// The state of one table between snapshot and stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handoff {
    /// Chunks handed out, in key order, neighbours with equal views joined.
    done: Vec<Chunk>,
    /// Chunks read, but not handed out.
    ahead: VecDeque<Chunk>,
    /// The view that is open beyond `ahead`.
    open: Option<View>,
    /// A view is being opened beyond `ahead`.
    opening: bool,
    /// The table is being read: a view of it may have been taken already.
    begun: bool,
    /// Transactions of which changes beyond were dropped with no view open: every later view must show them. With the places of
    /// their commits, 0 where that is not known: a standby has replayed them long since.
    dropped: BTreeMap<u64, Lsn>,
}

impl Handoff {
    /// A table of which `done` is handed out, and of which `dropped` was dropped.
    pub fn resume(done: Vec<Chunk>, dropped: impl IntoIterator<Item = u64>) -> Self {
        Self { done, dropped: dropped.into_iter().map(|xid| (xid, Lsn(0))).collect(), ..Self::default() }
    }

    /// Judges one image of a change of a transaction.
    pub fn judge(&mut self, key: &[u8], of: Committed) -> Verdict {
        let beyond = |chunk: &Chunk| chunk.upper.as_deref().is_some_and(|upper| upper < key);
        let at = self.done.partition_point(beyond);
        if let Some(chunk) = self.done.get(at) {
            return if chunk.view.shows(of) { Verdict::Drop } else { Verdict::Pass };
        }
        let holder = self.ahead.iter().find(|c| !beyond(c)).map(|c| &c.view).or(self.open.as_ref());
        match holder {
            Some(view) if view.shows(of) => Verdict::Drop,
            Some(_) => Verdict::Wait,
            None if self.opening => Verdict::Wait,
            None => {
                self.dropped.insert(of.xid, of.place);
                Verdict::Drop
            }
        }
    }

    /// Judges a change of the whole table.
    pub fn judge_table(&mut self, of: Committed) -> TableVerdict {
        let waits = self.opening || !self.ahead.is_empty() || self.open.is_some();
        if waits {
            return TableVerdict::Wait;
        }
        let shown = self.done.iter().filter(|chunk| chunk.view.shows(of)).count();
        if !self.is_read() {
            self.dropped.insert(of.xid, of.place);
        }
        match (shown, self.done.len()) {
            (0, _) => TableVerdict::Pass,
            (shown, all) if shown == all => TableVerdict::Drop,
            _ => TableVerdict::Torn,
        }
    }

    /// A chunk may have been handed out before its place (see [`StreamAt`](super::StreamAt)), so that it may show what the stream is
    /// still to tell: what is committed from `place` on is told again of such a chunk's rows. True if there is one.
    pub fn tell_again(&mut self, place: Lsn) -> bool {
        let mut early = false;
        for chunk in self.done.iter_mut().filter(|chunk| chunk.view.may_show(place)) {
            chunk.view = chunk.view.told_again(place);
            early = true;
        }
        early
    }

    /// A view is about to be opened: the stream drops nothing that it might not show, until it is taken by
    /// [`Handoff::open`] or given up.
    pub fn opening(&mut self) {
        debug_assert!(self.open.is_none(), "one chunk of a table is read at a time");
        self.opening = true;
        self.begun = true;
    }

    /// Offers a view for the next chunk. Refused when it does not show what the stream has dropped: nothing has changed
    /// then.
    pub fn open(&mut self, view: &View) -> bool {
        debug_assert!(self.open.is_none(), "one chunk of a table is read at a time");
        self.prune(view);
        if self.dropped.is_empty() {
            self.open = Some(view.clone());
            self.opening = false;
        }
        self.open.is_some()
    }

    /// Every later view must show these, too.
    pub fn must_show(&mut self, transactions: impl IntoIterator<Item = u64>) {
        self.dropped.extend(transactions.into_iter().map(|xid| (xid, Lsn(0))));
    }

    /// A view of another table shows these, and so does every view that is taken after it: a table that waits for its turn need
    /// not remember them. One that is being read must: its own view may be older, on its way here or open for the next chunk.
    pub fn shown_elsewhere(&mut self, view: &View) {
        if !self.begun {
            self.prune(view);
        }
    }

    /// A view shows these: so do all that are taken after it.
    fn prune(&mut self, view: &View) {
        self.dropped.retain(|&xid, &mut place| !view.shows(Committed { xid, place }));
    }

    /// The chunk that was being read, or the view that was being opened, is given up. What the stream has dropped because of
    /// it is not known by name, but shown by every later view, since views of one server never show less.
    pub fn abandon(&mut self) {
        self.open = None;
        self.opening = false;
    }

    /// The chunk that was being read is complete, up to `upper`.
    ///
    /// # Panics
    /// If no view is open.
    pub fn complete(&mut self, upper: Upper) {
        let view = self.open.take().expect("invariant: a view is open while a chunk is read");
        self.ahead.push_back(Chunk { upper, view });
    }

    /// The chunk that is being read is complete up to `upper`, and the next one is read under the same view at once.
    ///
    /// # Panics
    /// If no view is open.
    pub fn split(&mut self, upper: Vec<u8>) {
        let view = self.open.clone().expect("invariant: a view is open while a chunk is read");
        self.ahead.push_back(Chunk { upper: Some(upper), view });
    }

    /// The oldest complete chunk is handed out.
    ///
    /// # Panics
    /// If there is none.
    pub fn hand_out(&mut self) {
        let chunk = self.ahead.pop_front().expect("invariant: a chunk was complete");
        match self.done.last_mut() {
            Some(last) if last.view == chunk.view => last.upper = chunk.upper,
            _ => self.done.push(chunk),
        }
    }

    /// The stream has passed `place`: of chunks whose views show nothing that is still to come, nothing has to be judged any
    /// more, and they are joined. True when that holds for the whole table.
    pub fn passed(&mut self, place: Lsn) -> bool {
        let caught_up = self.done.iter().take_while(|c| c.view.high() <= place).count();
        if caught_up > 1 {
            self.done.drain(..caught_up - 1);
        }
        self.is_read() && caught_up > 0 && self.done.len() == 1
    }

    /// Whether every chunk is handed out.
    pub fn is_read(&self) -> bool {
        self.done.last().is_some_and(|c| c.upper.is_none())
    }

    /// Whether a chunk is being read, or is read and not handed out.
    pub fn is_busy(&self) -> bool {
        self.opening || self.open.is_some() || !self.ahead.is_empty()
    }

    /// The chunks handed out, for the position.
    pub fn done(&self) -> &[Chunk] {
        &self.done
    }

    /// The views of all chunks that are read.
    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.done.iter().chain(&self.ahead).map(|chunk| &chunk.view)
    }

    /// What later views must show, for the position.
    pub fn dropped(&self) -> impl Iterator<Item = u64> + '_ {
        self.dropped.keys().copied()
    }
}

/// A hand-off as stream and snapshot share it.
pub type SharedHandoff = Arc<Mutex<Handoff>>;

/// Locks a hand-off. A panic elsewhere has already ended its pipeline; its state is whole, since every method is one step.
pub fn lock(handoff: &SharedHandoff) -> MutexGuard<'_, Handoff> {
    handoff.lock().unwrap_or_else(PoisonError::into_inner)
}
