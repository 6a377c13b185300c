//! What concerns our own place at the server: id, locks, clock, position.

use crate::catalog::ServerProfile;
use crate::client::Connection;
use crate::config::Config;
use crate::position;
use crate::preflight;
use crate::server::{Resume, verify};
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::{Code, Error, Result};
use std::time::Duration;

/// Clocks that differ by less are taken for equal.
const SKEW_MICROS: i64 = 2_000_000;

/// Looks whether another client reads the log under our id: each would throw the other out.
///
/// # Errors
/// `ServerIdTaken`; `MissingPrivilege` turned into what keeps it from looking; `ConnectionLost`.
pub(super) async fn server_id(connection: &mut Connection, config: &Config, visit: &Visit) -> Result<String> {
    let (ours, server) = (config.server_id, ServerProfile::read(connection).await?);
    if server.variable("server_id") == ours.to_string() {
        return Err(taken(connection, config, "it is the server's own"));
    }
    let statement = preflight::replicas_statement(&server);
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match reader_under(connection, statement, ours).await? {
            Some(host) if !visit.running && look + 1 == LOOKS => {
                return Err(taken(connection, config, &format!("{host} reads under it now")));
            }
            // A session that has just ended is shown for another moment.
            Some(_) if !visit.running => {}
            _ => break,
        }
    }
    let whose = if visit.running { "the running pipeline's" } else { "nobody else's" };
    Ok(format!("{ours} is {whose}"))
}

/// Looks before a number counts as taken, and the pause between two.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Who reads the log under a number.
async fn reader_under(connection: &mut Connection, statement: &str, number: u32) -> Result<Option<String>> {
    let replicas = match connection.query(statement).await {
        Ok(replicas) => replicas,
        Err(error) if error.code() == Code::MissingPrivilege => {
            // Not worth a privilege that the pipeline itself does not need.
            let message = format!("other readers of the binlog are shown to administrators only ({statement})");
            return Err(Error::new(Code::SourceQuery, message));
        }
        Err(error) => return Err(error),
    };
    for replica in replicas.iter() {
        if replica.parse::<u32>(0)? == Some(number) {
            let host = replica.text(1)?.filter(|host| !host.is_empty());
            return Ok(Some(host.unwrap_or("a client").to_owned()));
        }
    }
    Ok(None)
}

fn taken(connection: &Connection, config: &Config, why: &str) -> Error {
    let ours = config.server_id;
    Error::new(Code::ServerIdTaken, format!("server id {ours} is in use at {}: {why}", connection.address())).help(
        "give every client, and every pipeline, a `server-id` of its own; if it is this pipeline on another machine, stop it there first",
    )
}

/// Locks are needed only where a moment without commits, or the server's own word, cannot be had.
pub(super) fn locks(outcome: Result<()>, examination: &mut Examination) {
    const NAME: &str = "locks";
    match outcome {
        Err(error) if error.code() == Code::MissingPrivilege => examination.advice(NAME, error),
        other => {
            examination.record(NAME, other, |()| "the user may lock a table for a moment, should it be needed".into());
        }
    }
}

/// # Errors
/// `ConnectionLost`.
pub(super) async fn time(
    connection: &mut Connection,
    server: &ServerProfile,
    visit: &Visit,
    examination: &mut Examination,
) -> Result<()> {
    let zone = match server.variable("time_zone") {
        "SYSTEM" => format!("SYSTEM ({})", server.variable("system_time_zone")),
        other => other.to_owned(),
    };
    examination.ok("time zone", format!("{zone}; instants travel as UTC, so that none has to be configured"));
    let before = visit.clock.now_micros();
    let theirs = connection.query_value("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)").await?;
    let after = visit.clock.now_micros();
    let Some(theirs) = theirs.and_then(|text| text.parse::<i64>().ok()) else {
        examination.unknown("clock", "the server does not tell its time");
        return Ok(());
    };
    let skew = if theirs < before { theirs - before } else { (theirs - after).max(0) };
    if skew.abs() < SKEW_MICROS {
        examination.ok("clock", "agrees with this machine's");
        return Ok(());
    }
    let (seconds, how) = ((skew.abs() + 500_000) / 1_000_000, if skew < 0 { "behind" } else { "ahead of" });
    let message = format!("the clock of {} is {seconds} s {how} this machine's", connection.address());
    let error = Error::new(Code::ClockSkew, message).help("let both machines follow a time server (NTP)");
    examination.advice("clock", error);
    Ok(())
}

/// Whether the server can go on where the pipeline stands (INV-5, INV-6).
///
/// # Errors
/// `ConnectionLost`.
pub(super) async fn resumes(connection: &mut Connection, visit: &Visit, examination: &mut Examination) -> Result<()> {
    const NAME: &str = "position";
    let Some(position) = &visit.position else {
        examination.ok(NAME, "none yet: the pipeline has not run");
        return Ok(());
    };
    let outcome = match resume_of(position) {
        Ok(resume) => verify(connection, &resume).await.map(|_| resume),
        Err(error) => Err(error),
    };
    if outcome.as_ref().is_err_and(|error| error.code() == Code::ConnectionLost) {
        return outcome.map(|_| ());
    }
    examination.record(NAME, outcome, |resume| format!("the log after {} is still there", resume.place));
    Ok(())
}

fn resume_of(position: &dujiang_core::Position) -> Result<Resume> {
    let head = position::decode_head(position)?;
    let (place, executed, bound_to_server) = (head.boundary()?, head.executed()?, head.snapshot.is_some());
    Ok(Resume { server: head.server, place, executed, first: None, bound_to_server, mark: head.mark, instance: None })
}
