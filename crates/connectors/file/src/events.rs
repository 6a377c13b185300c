//! Tables that were emptied or dropped at the source: recorded, and no data is removed.
//!
//! What is in the folder is history; a reader that folds it into the present has to know that a table was emptied. The
//! record's name says after which epoch: rows of later epochs came after it. The same event met again after a crash writes
//! the same record; going back to an older checkpoint removes the records that will be met again.

use crate::durable::{create_folder, entries, remove, sync_folder, write_record};
use crate::names::table_folder;
use crate::records::{Folders, to_json};
use dujiang_core::evolution::SinkChange;
use dujiang_core::{Epoch, Result};
use serde::Serialize;

/// Digits of the epoch in a name.
const DIGITS: usize = 10;

#[derive(Serialize)]
struct EventRecord<'a> {
    format: u32,
    /// The dialect's tag: `truncate.table` or `drop.table`.
    event: &'a str,
    database: &'a str,
    table: &'a str,
    /// Rows of this epoch and of earlier ones came before the event, rows of later ones after it.
    after_epoch: u64,
    written_micros: i64,
}

/// Records that a table was emptied or dropped after the epoch `last`.
pub(crate) fn record(folders: &Folders, change: &SinkChange, last: u64, written_micros: i64) -> Result<()> {
    let table = change.table();
    let record = EventRecord {
        format: 1,
        event: change.event.tag(),
        database: &table.database,
        table: &table.table,
        after_epoch: last,
        written_micros,
    };
    create_folder(&folders.events())?;
    let name = format!("e{last:0DIGITS$}-{}-{}.record", change.event.tag(), table_folder(table));
    write_record(&folders.events().join(name), &to_json(&record))
}

/// Removes what happened after `epoch`; the source tells it again.
pub(crate) fn withdraw_after(folders: &Folders, epoch: Epoch) -> Result<()> {
    let epoch_of = |name: &str| name.strip_prefix('e').and_then(|rest| rest.get(..DIGITS)?.parse::<u64>().ok());
    let mut removed = false;
    for name in entries(&folders.events())? {
        if epoch_of(&name).is_some_and(|found| found >= epoch.0) {
            remove(&folders.events().join(name))?;
            removed = true;
        }
    }
    if removed { sync_folder(&folders.events()) } else { Ok(()) }
}
