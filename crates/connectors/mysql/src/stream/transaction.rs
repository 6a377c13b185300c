//! The transaction that is being read.

use super::tables::RowMark;
use crate::decode::header::Header;
use crate::gtid::{Executed, MariaGtid, Sid};
use crate::place::Place;
use crate::position::Inside;
use dujiang_core::batch::TimePrecision;
use std::collections::BTreeMap;

/// The identifier a transaction adds to the position when it is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gtid {
    None,
    MariaDb(MariaGtid),
    MySql(Sid, u64),
}

impl Gtid {
    /// Adds it to what has been read.
    pub fn join(&self, executed: &mut Executed) {
        match (self, executed) {
            (Gtid::MariaDb(gtid), Executed::MariaDb(position)) => position.advance(*gtid),
            (Gtid::MySql(sid, number), Executed::MySql(set)) => set.add(sid.clone(), *number),
            _ => {}
        }
    }
}

/// What to do with a transaction's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Use {
    /// They are handed out.
    HandOut,
    /// They were handed out before this stream began, which began earlier than that for the sake of others.
    PassOver,
    /// They wait for the outcome of this distributed transaction.
    Spool(String),
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub gtid: Gtid,
    pub id: String,
    pub begin: Place,
    pub begin_text: String,
    pub micros: i64,
    pub precision: TimePrecision,
    pub serial: u64,
    /// BEGIN was seen or is implied: it ends with COMMIT, ROLLBACK or XID, and not with its first statement.
    pub explicit: bool,
    /// It was read before.
    pub known: bool,
    pub rows: Use,
    /// Tables with changes in it.
    pub touched: Vec<usize>,
    /// Names and places of savepoints.
    pub savepoints: Vec<(String, Vec<RowMark>)>,
}

/// Changes handed out in this stream and before it, per table.
pub(super) fn merge(mut changes: BTreeMap<u32, u64>, before: Option<&Inside>) -> BTreeMap<u32, u64> {
    for (table, count) in before.into_iter().flat_map(|i| &i.changes) {
        let own = changes.entry(*table).or_default();
        *own = (*own).max(*count);
    }
    changes
}

/// The time of an event, of whole seconds.
pub(super) fn seconds(header: &Header) -> (i64, TimePrecision) {
    (i64::from(header.timestamp) * 1_000_000, TimePrecision::Seconds)
}

/// A time of the log, in microseconds.
pub(super) fn micros(time: u64) -> (i64, TimePrecision) {
    (time as i64, TimePrecision::Micros)
}
