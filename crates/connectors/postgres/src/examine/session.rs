//! What concerns our own place at the server: sessions that hold it up, replication, clock, position.

use crate::client::{Connection, Session};
use crate::config::Config;
use crate::position;
use crate::server::{self, Resume};
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::{Code, Error, Result};

/// Clocks that differ by less are taken for equal.
const SKEW_MICROS: i64 = 2_000_000;
/// A transaction that is open for longer is told.
const LONG_MICROS: i64 = 10 * 60 * 1_000_000;

/// A slot is made, and the log given back, only when transactions that write have ended (F18).
///
/// # Errors
/// `ConnectionLost`.
pub(super) async fn transactions(
    connection: &mut Connection,
    visit: &Visit,
    examination: &mut Examination,
) -> Result<()> {
    const NAME: &str = "transactions";
    let (now, mut long) = (visit.clock.now_micros(), Vec::new());
    for open in server::open_transactions(connection).await? {
        if now - open.since_micros >= LONG_MICROS {
            long.push(open);
        }
    }
    if long.is_empty() {
        examination.ok(NAME, "none that writes is open for long");
        return Ok(());
    }
    let mut error = Error::new(Code::LongTransaction, "transactions that write are open for long")
        .help("end them: until then no slot can be made, and the log after their beginning is kept");
    for open in long {
        error = error.fact("open", open.shown).remedy_with_care(open.remedy, "what it has written is undone");
    }
    examination.advice(NAME, error);
    Ok(())
}

/// A server whose commits wait for any standby would wait for the pipeline's checkpoints.
///
/// # Errors
/// `ConnectionLost`.
pub(super) async fn standby_names(
    connection: &mut Connection,
    config: &Config,
    examination: &mut Examination,
) -> Result<()> {
    const NAME: &str = "synchronous standbys";
    let rows = connection.simple("SHOW synchronous_standby_names").await?;
    let names = rows.first().map_or(Ok(""), |row| row.text(0))?;
    let ours = &config.endpoint.application_name;
    let mut words = names.split(|c: char| c == ',' || c == '(' || c == ')' || c.is_whitespace());
    let counts = |word: &str| word == "*" || word.trim_matches('"').eq_ignore_ascii_case(ours);
    if !words.any(counts) {
        let text = if names.is_empty() { "no commit waits for one" } else { "the pipeline does not count as one" };
        examination.ok(NAME, text);
        return Ok(());
    }
    let error = Error::new(Code::SynchronousStandby, "the pipeline would count as a synchronous standby")
        .fact("found", format!("synchronous_standby_names = {names}"))
        .help("name the standbys in synchronous_standby_names, without `*`, and run SELECT pg_reload_conf()");
    examination.finding(NAME, error);
    Ok(())
}

/// # Errors
/// `ConnectionLost`.
pub(super) async fn time(connection: &mut Connection, visit: &Visit, examination: &mut Examination) -> Result<()> {
    let before = visit.clock.now_micros();
    let sql = "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint,
        (SELECT s.reset_val FROM pg_catalog.pg_settings s WHERE s.name = 'TimeZone')";
    let rows = connection.simple(sql).await?;
    let after = visit.clock.now_micros();
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell its time"))?;
    let zone = row.opt(1)?.unwrap_or("?");
    examination.ok("time zone", format!("{zone}; instants travel as UTC, so that none has to be configured"));
    let theirs: i64 = row.parse(0)?;
    let skew = if theirs < before { theirs - before } else { (theirs - after).max(0) };
    if skew.abs() < SKEW_MICROS {
        examination.ok("clock", "agrees with this machine's");
        return Ok(());
    }
    let (seconds, how) = ((skew.abs() + 500_000) / 1_000_000, if skew < 0 { "behind" } else { "ahead of" });
    let message = format!("the clock of {} is {seconds} s {how} this machine's", connection.address());
    let error = Error::new(Code::ClockSkew, message).help("let both follow the same time server (NTP)");
    examination.advice("clock", error);
    Ok(())
}

/// Whether a session for replication is let in, and whether the server can go on where the pipeline stands (INV-5, INV-6).
///
/// # Errors
/// `ConnectionLost`.
pub(super) async fn replication(config: &Config, visit: &Visit, examination: &mut Examination) -> Result<()> {
    let connected = Connection::connect(&config.endpoint, Session::Replication).await.map_err(with_senders);
    let found = |_: &Connection| "the server lets a replication in".to_owned();
    let Some(mut connection) = examination.record("replication", connected, found) else {
        examination.unknown("position", "there is no session for replication to ask in");
        return Ok(());
    };
    let outcome = resumes(&mut connection, config, visit).await;
    connection.close().await;
    if outcome.as_ref().is_err_and(|error| error.code() == Code::ConnectionLost) {
        return outcome.map(drop);
    }
    examination.record("position", outcome, Clone::clone);
    Ok(())
}

fn with_senders(error: Error) -> Error {
    if error.code() != Code::NoSlotsLeft {
        return error;
    }
    let statement = "ALTER SYSTEM SET max_wal_senders = '20'";
    error
        .help(format!("run {statement}, and restart the server, or end a replication that is not needed"))
        .remedy(statement)
}

async fn resumes(connection: &mut Connection, config: &Config, visit: &Visit) -> Result<String> {
    let Some(position) = &visit.position else { return Ok("none yet: the pipeline has not run".into()) };
    let head = position::decode_head(position)?;
    let resume = Resume::of(&head, config)?;
    server::verify(connection, &resume).await?;
    Ok(format!("the log after {} is still there", resume.boundary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_senders_is_mended_by_more_of_them() {
        assert!(with_senders(Error::new(Code::LoginRefused, "no")).remedies().is_empty());
        assert_eq!(with_senders(Error::new(Code::NoSlotsLeft, "no")).remedies().len(), 1);
    }
}
