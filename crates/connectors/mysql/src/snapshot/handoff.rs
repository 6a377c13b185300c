//! Where the stream takes over from the snapshot, per table and key. Pure.
//!
//! A table is read in one pass in key order, chunk by chunk. Every chunk has a **hand-off point**: the place in the log
//! such that the chunk's read view holds exactly the transactions before it. The stream runs beside from the first
//! chunk, and every change of the table is judged by its key and by the place where its transaction begins:
//!
//! | the key lies in                               | transaction before the hand-off point | at or after it |
//! |-----------------------------------------------|---------------------------------------|----------------|
//! | a chunk that was handed out                    | drop: the chunk has it                | pass           |
//! | a chunk that is read, but not handed out       | drop: the chunk has it                | wait           |
//! | beyond, while a chunk's view is open           | drop: this or a later chunk has it    | wait           |
//! | beyond, while a view is being opened           | wait                                  | wait           |
//! | beyond, with no view open                      | drop, and no later view may be older  |                |
//!
//! The last row is what makes it exact: **a view is opened in vain if the stream has already dropped a change that the
//! view does not show.** That happens, because the log moves before rows become visible (a commit that waits for a
//! replica is in the log, but in no view). Such a view is refused by [`Handoff::open`] and opened anew. Under load that
//! would never end, since the stream also meets changes while a view travels from the server to here: whoever opens a
//! view says so before ([`Handoff::opening`]), and the stream drops nothing meanwhile.
//!
//! One of these belongs to every table in the snapshot; the stream and the connection that reads the chunks share it.

use crate::place::Place;
use std::collections::VecDeque;
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

/// The last key of a chunk, in a form whose bytes compare like the server's order; `None` for the table's end.
pub type Upper = Option<Vec<u8>>;

/// A chunk and its hand-off point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its last key.
    pub upper: Upper,
    /// Its hand-off point.
    pub point: Place,
}

/// The state of one table between snapshot and stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handoff {
    /// Chunks handed out, in key order, neighbours with equal points joined.
    done: Vec<Chunk>,
    /// Chunks read, but not handed out.
    ahead: VecDeque<Chunk>,
    /// The point of the view that is open beyond `ahead`.
    open: Option<Place>,
    /// A view is being opened beyond `ahead`; its point is not known yet.
    opening: bool,
    /// No view older than this may be used: the stream has dropped changes before it.
    floor: Place,
    /// Nobody waits for chunks any more.
    cancelled: bool,
    /// The table could not be read at this place: a statement before it says why.
    missing: Option<Place>,
}

impl Handoff {
    /// A table of which nothing is read; the stream stands at `stream`.
    pub fn new(stream: Place) -> Self {
        Self {
            done: Vec::new(),
            ahead: VecDeque::new(),
            open: None,
            opening: false,
            floor: stream,
            cancelled: false,
            missing: None,
        }
    }

    /// A table of which `done` is handed out; the stream stands at `stream`.
    pub fn resume(done: Vec<Chunk>, stream: Place) -> Self {
        debug_assert!(done.is_sorted_by_key(|c| &c.point), "views never go back");
        let floor = done.last().map_or(stream.clone(), |last| last.point.clone().max(stream));
        Self { done, ..Self::new(floor) }
    }

    /// Where the stream stands, for [`Handoff::resume`], if it goes on at a transaction boundary. `inside`: of the transaction behind
    /// it a part was judged before, so that no view may be older than that.
    pub fn stands_at(boundary: Place, inside: bool) -> Place {
        if inside { boundary.at(boundary.offset + 1) } else { boundary }
    }

    /// Judges one image. `begin` is where its transaction begins.
    pub fn judge(&mut self, key: &[u8], begin: &Place) -> Verdict {
        let beyond = |chunk: &Chunk| chunk.upper.as_deref().is_some_and(|upper| upper < key);
        let at = self.done.partition_point(beyond);
        if let Some(chunk) = self.done.get(at) {
            return if *begin < chunk.point { Verdict::Drop } else { Verdict::Pass };
        }
        let holder = self.ahead.iter().find(|c| !beyond(c)).map(|c| &c.point).or(self.open.as_ref());
        match holder {
            Some(point) if begin >= point => Verdict::Wait,
            Some(_) => Verdict::Drop,
            None if self.opening => Verdict::Wait,
            None => {
                self.raise_floor(begin);
                Verdict::Drop
            }
        }
    }

    /// Judges a change of the whole table (a DDL): it waits for chunks read before it, and no later view may be older.
    pub fn judge_table(&mut self, begin: &Place) -> Verdict {
        let older = |point: &Place| point <= begin;
        if self.opening || self.ahead.iter().any(|c| older(&c.point)) || self.open.as_ref().is_some_and(older) {
            return Verdict::Wait;
        }
        self.raise_floor(begin);
        Verdict::Pass
    }

    fn raise_floor(&mut self, begin: &Place) {
        // Points are transaction boundaries: one past the begin is past the whole transaction.
        let least = begin.at(begin.offset + 1);
        if self.floor < least {
            self.floor = least;
        }
    }

    /// A view is about to be opened: the stream drops nothing that it might not show, until it is taken by
    /// [`Handoff::open`] or given up.
    pub fn opening(&mut self) {
        debug_assert!(self.open.is_none(), "one chunk of a table is read at a time");
        self.opening = true;
    }

    /// Offers a view for the next chunk. Refused when it is older than what the stream has dropped. From now on the stream
    /// drops what it shows, so no later view may be older, even if this one is given up.
    pub fn open(&mut self, view: Place) -> bool {
        debug_assert!(self.open.is_none(), "one chunk of a table is read at a time");
        let usable = view >= self.floor;
        if usable {
            self.floor = view.clone();
            self.open = Some(view);
            self.opening = false;
        }
        usable
    }

    /// The chunk that was being read, or the view that was being opened, is given up.
    pub fn abandon(&mut self) {
        self.open = None;
        self.opening = false;
    }

    /// The chunk that was being read is complete, up to `upper`.
    ///
    /// # Panics
    /// If no view is open.
    pub fn complete(&mut self, upper: Upper) {
        let point = self.open.take().expect("invariant: a view is open while a chunk is read");
        self.ahead.push_back(Chunk { upper, point });
    }

    /// The oldest complete chunk is handed out.
    ///
    /// # Panics
    /// If there is none.
    pub fn hand_out(&mut self) {
        let chunk = self.ahead.pop_front().expect("invariant: a chunk was complete");
        debug_assert!(self.done.last().is_none_or(|last| last.point <= chunk.point), "views never go back");
        match self.done.last_mut() {
            Some(last) if last.point == chunk.point => last.upper = chunk.upper,
            _ => self.done.push(chunk),
        }
    }

    /// The stream has passed `place`: chunks that it has caught up with are joined. True when nothing is left to judge.
    pub fn passed(&mut self, place: &Place) -> bool {
        let caught_up = self.done.partition_point(|c| c.point <= *place);
        if caught_up > 1 {
            self.done.drain(..caught_up - 1);
        }
        self.is_read() && caught_up > 0 && self.done.len() == 1
    }

    /// The last key of what is read.
    pub fn last_upper(&self) -> Upper {
        self.ahead.back().or(self.done.last()).and_then(|chunk| chunk.upper.clone())
    }

    /// Whether every chunk is handed out.
    pub fn is_read(&self) -> bool {
        self.done.last().is_some_and(|c| c.upper.is_none())
    }

    /// The chunks handed out, for the position.
    pub fn done(&self) -> &[Chunk] {
        &self.done
    }

    /// The table is gone or another one, as the stream knows: nothing more of it is to be read.
    pub fn cancel(&mut self) {
        self.abandon();
        self.cancelled = true;
    }

    /// Whether nobody waits for chunks any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// The table cannot be read now, with the log at `place`.
    pub fn miss(&mut self, place: Place) {
        self.missing.get_or_insert(place);
    }

    /// The table could be read.
    pub fn found(&mut self) {
        self.missing = None;
    }

    /// The place before which the stream must meet the statement by which the table cannot be read any more.
    pub fn missing(&self) -> Option<&Place> {
        self.missing.as_ref()
    }

    /// The place a view must have reached to be usable.
    pub fn floor(&self) -> &Place {
        &self.floor
    }
}

/// A hand-off as stream and snapshot share it.
pub type SharedHandoff = Arc<Mutex<Handoff>>;

/// Locks a hand-off. A panic elsewhere has already ended its pipeline; its state is whole, since every method is one step.
pub fn lock(handoff: &SharedHandoff) -> MutexGuard<'_, Handoff> {
    handoff.lock().unwrap_or_else(PoisonError::into_inner)
}
