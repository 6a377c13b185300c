//! The place that MariaDB tells of a consistent snapshot, and when it can be believed.
//!
//! `START TRANSACTION WITH CONSISTENT SNAPSHOT` notes the place of the last visible commit in the session, under the lock
//! that makes commits visible; `SHOW STATUS LIKE 'Binlog_snapshot_%'` tells it. Two things stand between the two:
//!
//! - **The telling is shared.** The server copies the session's place into variables of the whole process and reads those
//!   for the answer (`set_binlog_snapshot_file` and `binlog_status_vars_detail` in `sql/log.cc`, under a lock that
//!   `SHOW STATUS` takes for reading only). Any `SHOW STATUS` that runs at the same moment, of another of our connections or
//!   of a monitor, can put its own place there. The session's place is constant, so it is read until the same answer
//!   comes several times in a row, one connection of this process at a time, and once more when the view's first chunk has been read.
//! - **Rotation moves the place past invisible commits.** A new binlog file, and every checkpoint event, sets the place to
//!   the end of the log, whatever waits to become visible. Such a place is not that of a commit: [`ends_a_transaction`]
//!   tells them apart by the file's own events.

use crate::client::{Connection, TextRow, quote};
use crate::place::Place;
use crate::server::end_of_log;
use dujiang_core::{Code, Error, Result};
use std::sync::{Mutex, PoisonError};

/// The same answer so many times in a row is the session's own.
const IN_A_ROW: usize = 3;
/// Readings before the view is given up.
const READINGS: usize = 12;
/// Events looked at first, when the head of a file is looked for; ten times as many each time it is not there.
const FIRST_EVENTS: usize = 50;
const MOST_EVENTS: usize = 50_000;

/// Our own connections never disturb each other.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs a statement that makes the server tell its status.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn ask_status(connection: &mut Connection, sql: &str) -> Result<crate::client::TextRows> {
    let _alone = ONE_AT_A_TIME.lock().await;
    connection.query(sql).await
}

/// A counter of the whole server.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`; `Protocol` when the server does not count it.
pub async fn counter(connection: &mut Connection, name: &str) -> Result<u64> {
    let rows = ask_status(connection, &format!("SHOW GLOBAL STATUS LIKE '{name}'")).await?;
    let value = rows.get(0).map(|row| row.parse(1)).transpose()?;
    value.flatten().ok_or_else(|| Error::new(Code::Protocol, format!("the source does not count {name}")))
}

/// Answers to the same question, until enough of them agree.
#[derive(Debug, Default)]
struct Agreement {
    last: Option<Place>,
    times: usize,
}

impl Agreement {
    /// Takes one more answer; true once it has come often enough in a row.
    fn take(&mut self, place: &Place) -> bool {
        if self.last.as_ref() == Some(place) {
            self.times += 1;
        } else {
            self.last = Some(place.clone());
            self.times = 1;
        }
        self.times >= IN_A_ROW
    }
}

/// The place of the consistent snapshot that is open in the session; `None` when the answers never agree.
///
/// # Errors
/// `BinlogOff`; `ConnectionLost`, `SourceQuery`.
pub async fn agreed(connection: &mut Connection) -> Result<Option<Place>> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut agreement = Agreement::default();
    for _ in 0..READINGS {
        let place = told(connection).await?;
        if agreement.take(&place) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

async fn told(connection: &mut Connection) -> Result<Place> {
    let rows = connection.query("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'").await?;
    let (mut file, mut position) = (None, None);
    for row in rows.iter() {
        match row.required(0)?.to_ascii_lowercase().as_str() {
            "binlog_snapshot_file" => file = row.text(1)?,
            "binlog_snapshot_position" => position = row.parse(1)?,
            _ => {}
        }
    }
    let place = file.zip(position).and_then(|(file, position)| Place::new(file, position));
    place.ok_or_else(|| Error::new(Code::BinlogOff, "the source does not tell the place of a snapshot in its binlog"))
}

/// What is known of the head of a binlog file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    file: String,
    /// Behind the checkpoint event that names this very file: all commits of older files are visible, and no checkpoint
    /// event follows until the next rotation.
    end: u64,
    /// No transaction lies before it.
    clean: bool,
}

/// The heads of files seen so far; the newest is enough.
#[derive(Debug, Default)]
pub struct Heads(Mutex<Option<Head>>);

impl Heads {
    fn known(&self, file: &str) -> Option<Head> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|head| head.file == file)
    }

    fn learn(&self, head: &Head) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(head.clone());
    }
}

/// Whether a place is the end of a visible transaction, and not one that a rotation or a checkpoint event has set.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn ends_a_transaction(connection: &mut Connection, place: &Place, heads: &Heads) -> Result<bool> {
    // A commit of a file that was closed meanwhile can leave its offset under the new file's name.
    if *place > end_of_log(connection).await? || !is_between_transactions(connection, place).await? {
        return Ok(false);
    }
    let head = match heads.known(place.file()) {
        Some(head) => head,
        None => match find_head(connection, place.file()).await? {
            Some(head) => head,
            None => return Ok(false),
        },
    };
    heads.learn(&head);
    Ok(head.trusts(place))
}

impl Head {
    fn trusts(&self, place: &Place) -> bool {
        place.offset > self.end || (place.offset == self.end && self.clean)
    }
}

async fn is_between_transactions(connection: &mut Connection, place: &Place) -> Result<bool> {
    let sql = format!("SHOW BINLOG EVENTS IN {} FROM {} LIMIT 1", quote::text(place.file()), place.offset);
    let rows = match connection.query(&sql).await {
        Ok(rows) => rows,
        // No event begins there.
        Err(error) if error.code() == Code::SourceQuery => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(row) = rows.get(0) else { return Ok(true) };
    Ok(matches!(kind(row)?, "Gtid" | "Rotate" | "Stop" | "Binlog_checkpoint"))
}

fn kind(row: TextRow<'_>) -> Result<&str> {
    row.required(2)
}

async fn find_head(connection: &mut Connection, file: &str) -> Result<Option<Head>> {
    let mut limit = FIRST_EVENTS;
    loop {
        let sql = format!("SHOW BINLOG EVENTS IN {} LIMIT {limit}", quote::text(file));
        let rows = connection.query(&sql).await?;
        let mut clean = true;
        for row in rows.iter() {
            match kind(row)? {
                "Gtid" => clean = false,
                "Binlog_checkpoint" if row.text(5)? == Some(file) => {
                    let end = row.parse(4)?.unwrap_or(u64::MAX);
                    return Ok(Some(Head { file: file.to_owned(), end, clean }));
                }
                _ => {}
            }
        }
        if rows.len() < limit || limit >= MOST_EVENTS {
            return Ok(None);
        }
        limit *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Place {
        Place::new("bin.000002", offset).unwrap()
    }

    #[test]
    fn a_place_of_another_session_is_not_believed() {
        let agreed = |answers: &[u64]| {
            let mut agreement = Agreement::default();
            answers.iter().find(|&&offset| agreement.take(&place(offset))).copied()
        };
        assert_eq!(agreed(&[900, 500, 500, 500]), Some(500));
        assert_eq!(agreed(&[500, 500, 900, 500, 500]), None);
        assert_eq!(agreed(&[500, 500, 500]), Some(500));
    }

    #[test]
    fn a_place_that_a_rotation_has_set_is_not_that_of_a_commit() {
        let head = |clean| Head { file: "bin.000002".into(), end: 373, clean };
        assert!(!head(true).trusts(&place(336)) && head(true).trusts(&place(373)));
        assert!(!head(false).trusts(&place(373)) && head(false).trusts(&place(374)));
    }
}
