//! Where the stream is, as a chunk that waits for its place sees it. Pure.
//!
//! Where rows of one row of the sink may have several keys at the source, a chunk is handed out at its place in the stream: when all
//! that its view shows has been told. Otherwise a row that has moved into it would come before it is deleted from where it was.
//!
//! There may be no such place. A transaction is logged a moment before it is visible (while its commit is written to disk, or waits
//! for a standby), so that a view can show a later one, and not it. If that earlier one changed rows of the chunk, the stream cannot go
//! on without the chunk, and the chunk comes early: it shows what is still to be told of later transactions. What those do to
//! its rows is dropped, as always, until a row is taken away (a delete, or the old image of an update): from there on all
//! that happened to the chunk's rows is told again ([`Handoff::tell_again`](super::Handoff::tell_again)), in the order of the log, so
//! that a row that was taken away after it had come with the chunk comes again.

use super::view::{Committed, View};
use crate::lsn::Lsn;

/// Where the stream is.
pub struct StreamAt {
    /// All transactions before it are handed out.
    pub boundary: Lsn,
    /// The table and the transaction of the message at hand, if that waits for a chunk.
    pub waits: Option<(usize, Committed)>,
}

impl StreamAt {
    /// Whether a chunk may be handed out that is to come at its place.
    pub fn admits(&self, view: &View) -> bool {
        self.is_past(view) || self.is_before(view)
    }

    /// Whether all changes of a table's columns that a view of it shows are behind it. A transaction that changes rows ends before
    /// columns can be changed, and begins after: if the view does not show it, it came after all of them.
    pub fn is_past_columns(&self, view: &View, table: usize) -> bool {
        let of_its_table = self.waits.is_some_and(|(of, _)| of == table);
        self.is_past(view) || (of_its_table && self.is_before(view))
    }

    /// Whether it has come to all that a view shows.
    fn is_past(&self, view: &View) -> bool {
        self.boundary >= view.high() || self.waits.is_some_and(|(_, of)| of.place >= view.high())
    }

    /// Whether it waits with changes that a view does not show.
    fn is_before(&self, view: &View) -> bool {
        self.waits.is_some_and(|(_, of)| !view.shows(of))
    }
}
