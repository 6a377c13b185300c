//! What the reader has to do for the machine.

use super::tables::Missing;
use crate::pgoutput::Relation;

/// What to do after a message.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Go on with the next message.
    Done,
    /// A change went into the builder of this table; go on with the next message.
    Rows(usize),
    /// A part of the message is done, and maybe went into the builder of this table; show it again.
    More(Option<usize>),
    /// Hand out a chunk of this table, then show the message again.
    Wait(usize),
    /// A captured table has other columns from here on, or another name: carry that through, then call
    /// `Machine::related`, and show the message again.
    Relation(usize, Relation),
    /// A captured table was emptied: carry that through, then call `Machine::truncated`, and show the message again.
    Truncate(usize),
    /// A row of this table holds a NULL in this column, which the shape declares NOT NULL: let the column be nullable from here
    /// on, then show the message again.
    Null(usize, usize),
    /// A row of this table lacks values that the log does not hold: find them out, tell `Tables::found`, then show the message
    /// again.
    Missing(usize, Missing),
}
