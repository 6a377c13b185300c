//! How far a reader has come.

use crate::shop::Shop;
use dujiang_core::{Code, Error, Position, Result};

/// A place in the shop's history. As a position it is text, with the options that the history depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// When the shop opened, microseconds since 1970-01-01 UTC.
    pub opened_micros: i64,
    /// Index of the table that the snapshot reads next; behind the last one when the snapshot is done.
    pub table: usize,
    /// Rows of that table that have been read.
    pub row: u64,
    /// The next transaction.
    pub step: u64,
    /// Whether the `ALTER TABLE` has passed.
    pub altered: bool,
    /// Changes handed out so far, the snapshot's rows included.
    pub changes: u64,
}

impl Place {
    pub(crate) fn beginning(opened_micros: i64) -> Self {
        Self { opened_micros, table: 0, row: 0, step: 0, altered: false, changes: 0 }
    }

    pub(crate) fn write(&self, shop: &Shop) -> Position {
        let Self { opened_micros, table, row, step, changes, .. } = self;
        let altered = u8::from(self.altered);
        let history = history(shop);
        Position::new(format!("{history} {opened_micros} {table} {row} {step} {altered} {changes}").into_bytes())
    }

    /// # Errors
    /// `OtherServer` when the options gave another history; `CheckpointDamaged` when this is no position.
    pub(crate) fn read(position: &Position, shop: &Shop) -> Result<Self> {
        let text = String::from_utf8_lossy(position.as_bytes());
        let damaged = || {
            Error::new(Code::CheckpointDamaged, "the generator cannot read its position")
                .fact("position", text.as_ref())
        };
        let (history_then, rest) = text.split_once(' ').ok_or_else(damaged)?;
        if history_then != history(shop) {
            return Err(Error::new(Code::OtherServer, "the generator's options have changed, and with them its rows")
                .fact("then", history_then)
                .fact("now", history(shop))
                .help("restore `seed`, `rate`, `initial-rows` and `alter-after`, or give the pipeline another name"));
        }
        let numbers: Vec<i64> = rest.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|_| damaged())?;
        let [opened_micros, table, row, step, altered, changes] = numbers[..] else { return Err(damaged()) };
        let count = |number: i64| u64::try_from(number).map_err(|_| damaged());
        Ok(Self {
            opened_micros,
            table: usize::try_from(table).map_err(|_| damaged())?,
            row: count(row)?,
            step: count(step)?,
            altered: altered == 1,
            changes: count(changes)?,
        })
    }

    pub(crate) fn describe(&self) -> String {
        format!("transaction {} ({} changes)", self.step, self.changes)
    }
}

/// The options that decide what the rows are.
fn history(shop: &Shop) -> String {
    format!("seed={},rate={},initial-rows={},alter-after={}", shop.seed, shop.rate, shop.opening, shop.alter_after)
}
