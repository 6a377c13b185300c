//! How long OceanBase keeps what a snapshot shows.

use crate::client::Connection;
use dujiang_core::examine::Examination;
use dujiang_core::{Code, Error, Result};

const NAME: &str = "undo retention";
/// A snapshot is read for five minutes at most before another one is taken.
const LEAST_SECONDS: u64 = 600;

/// # Errors
/// `ConnectionLost`.
pub(super) async fn kept(connection: &mut Connection, examination: &mut Examination) -> Result<()> {
    let rows = match connection.query("SHOW PARAMETERS LIKE 'undo_retention'").await {
        Ok(rows) => rows,
        Err(error) if error.code() == Code::ConnectionLost => return Err(error),
        Err(error) => {
            examination.unknown(NAME, error.message());
            return Ok(());
        }
    };
    // One row per server of the tenant.
    let mut shortest: Option<u64> = None;
    for row in rows.iter() {
        let value = row.column("value").map(|at| row.parse::<u64>(at)).transpose()?.flatten();
        shortest = value.map_or(shortest, |value| Some(shortest.unwrap_or(value).min(value)));
    }
    match shortest {
        None => examination.unknown(NAME, "the database does not tell it to this user"),
        Some(seconds) if seconds >= LEAST_SECONDS => examination.ok(NAME, format!("undo_retention={seconds}")),
        Some(seconds) => {
            let message =
                format!("old rows are kept for {seconds} s, so that a chunk may have to be read several times");
            let statement = "ALTER SYSTEM SET undo_retention = 1800";
            let error = Error::new(Code::SnapshotGone, message).help(format!("run {statement}")).remedy(statement);
            examination.advice(NAME, error);
        }
    }
    Ok(())
}
