//! The slot, and how long the server keeps the log for it.

use crate::client::{Connection, quote};
use crate::config::{Config, StartupMode};
use crate::owner;
use crate::preflight::{Holds, lasting};
use crate::server;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::{Code, Error, Result};
use dujiang_database::estimate::{DAY, in_words};
use std::time::Duration;

/// A pipeline that breaks on Friday evening should go on by Monday morning.
const WEEKEND: u64 = 3 * DAY;
/// The log of less time says nothing of what is written in a day.
const OBSERVED: u64 = 60 * 60;

struct Limits {
    slots: u64,
    used: u64,
    /// What all slots hold back.
    held: u64,
    /// `max_slot_wal_keep_size` in bytes, if there is a limit.
    keep: Option<u64>,
    /// `idle_replication_slot_timeout` in seconds, if there is a limit.
    idle: Option<u64>,
    /// Bytes of log since it was counted, and for how many seconds that was.
    written: (u64, u64),
    /// Slots that nobody reads, with what they hold back.
    idlers: Vec<String>,
}

/// # Errors
/// What ends the session.
pub(super) async fn examine(
    connection: &mut Connection,
    config: &Config,
    visit: &Visit,
    snapshot: Duration,
    examination: &mut Examination,
) -> Result<()> {
    let slot = server::slot(connection, &config.slot).await?;
    let limits = limits(connection, config).await?;
    let outcome = match &slot {
        None => free(&limits, config),
        Some(slot) => match usable(slot, config, visit.position.is_none()) {
            Ok(text) if visit.position.is_none() => match owner::check(connection, config).await {
                Err(error) if error.code() != Code::SlotForeign => return Err(error),
                outcome => outcome.map(|()| text),
            },
            outcome => outcome,
        },
    };
    examination.record("slot", outcome, Clone::clone);
    let left = slot.as_ref().and_then(server::Slot::left);
    match (limits.keep, kept(&limits, left, snapshot)) {
        (None, _) => examination.ok("log kept", "for as long as a slot needs it (max_slot_wal_keep_size = -1)"),
        (Some(_), Kept::Enough(text)) => examination.ok("log kept", text),
        (Some(_), Kept::Short(error)) => examination.advice("log kept", error),
        (Some(_), Kept::TooShort(error)) => examination.finding("log kept", error),
    }
    if let Some(idle) = limits.idle.filter(|idle| *idle < WEEKEND) {
        let message = format!("a slot that nobody reads for {} is given up", in_words(idle));
        let error = Error::new(Code::LogRetention, message);
        examination.advice("idle slots", lasting(error, "idle_replication_slot_timeout", "0", Holds::Reload));
    }
    Ok(())
}

async fn limits(connection: &mut Connection, config: &Config) -> Result<Limits> {
    let held = format!("pg_catalog.pg_wal_lsn_diff({}, s.restart_lsn)::bigint", server::LOG_END);
    let setting = |name: &str| format!("(SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = '{name}')");
    let sql = format!(
        "SELECT {}, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots),
           (SELECT coalesce(pg_catalog.max({held}), 0) FROM pg_catalog.pg_replication_slots s),
           {}, {}, w.wal_bytes::bigint, extract(epoch FROM pg_catalog.clock_timestamp() - w.stats_reset)::bigint,
           (SELECT pg_catalog.string_agg(pg_catalog.format('%s, which holds back %s', s.slot_name, pg_catalog.pg_size_pretty({held})), '; ')
            FROM pg_catalog.pg_replication_slots s WHERE NOT s.active AND s.slot_name <> {})
         FROM pg_catalog.pg_stat_wal w",
        setting("max_replication_slots"),
        setting("max_slot_wal_keep_size"),
        setting("idle_replication_slot_timeout"),
        quote::literal(&config.slot)
    );
    let rows = connection.simple(&sql).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell its slots"))?;
    let limit = |column: usize, unit: u64| -> Result<Option<u64>> {
        let found = row.opt(column)?.and_then(|text| text.parse::<i64>().ok());
        Ok(found.and_then(|n| u64::try_from(n).ok()).map(|n| n * unit))
    };
    Ok(Limits {
        slots: row.parse(0)?,
        used: row.parse(1)?,
        held: row.parse::<i64>(2)?.max(0) as u64,
        keep: limit(3, 1 << 20)?,
        // 0 switches it off. In seconds since 18's release, in minutes in its first test versions.
        idle: limit(4, 1)?.filter(|idle| *idle > 0),
        written: (row.parse(5)?, row.opt(6)?.and_then(|text| text.parse().ok()).unwrap_or(0)),
        idlers: row.opt(7)?.map(|text| text.split("; ").map(str::to_owned).collect()).unwrap_or_default(),
    })
}

/// Whether a slot can be made.
fn free(limits: &Limits, config: &Config) -> Result<String> {
    let Limits { slots, used, held, .. } = limits;
    if used < slots {
        let text = format!("`{}` is made when the pipeline starts; {used} of {slots} in use", config.slot);
        let held = if *used > 0 { format!(", which hold back {} MB of log", held >> 20) } else { String::new() };
        return Ok(text + &held);
    }
    let error = Error::new(Code::NoSlotsLeft, format!("all {slots} replication slots are in use"));
    let error = limits.idlers.iter().fold(error, |error, slot| error.fact("read by nobody now", slot.clone()));
    let error = lasting(error, "max_replication_slots", &(2 * slots).max(10).to_string(), Holds::Restart);
    let help = format!("{}, or drop a slot that is not needed", error.help_text().unwrap_or_default());
    Err(error.help(help))
}

/// Whether the slot that is there can be read.
fn usable(slot: &server::Slot, config: &Config, is_new: bool) -> Result<String> {
    let name = &config.slot;
    if slot.is_being_made() {
        return Ok(format!("`{name}` is being made, for a start that was stopped or for another instance"));
    }
    server::is_usable(slot, name, &config.endpoint.database)?;
    if let Some(reason) = slot.lost() {
        let statement = server::drop_statement(name);
        return Err(Error::new(Code::SlotInvalid, format!("the server has invalidated the replication slot `{name}`"))
            .fact("reason", reason.to_owned())
            .help(format!("run {statement}; then start a new pipeline with a new snapshot"))
            .remedy(statement));
    }
    let read = if slot.active_pid.is_some() { "read now" } else { "read by nobody now" };
    if !is_new || config.options.startup_mode == StartupMode::CommittedOffset {
        return Ok(format!("`{name}` is there, {read}"));
    }
    let from = slot.confirmed_flush_lsn.as_deref().unwrap_or("its beginning");
    Ok(format!(
        "`{name}` is there, {read}; the start of a new pipeline moves it from {from} to the end of the log, and whoever else reads it \
         misses what lies between"
    ))
}

enum Kept {
    Enough(String),
    Short(Error),
    TooShort(Error),
}

/// Whether the log is kept long enough for the first snapshot, and for a weekend; `left` is what the slot that is there has
/// left of it.
fn kept(limits: &Limits, left: Option<u64>, snapshot: Duration) -> Kept {
    let keep = limits.keep.unwrap_or(u64::MAX);
    let (bytes, seconds) = (limits.written.0.max(1), limits.written.1.max(OBSERVED));
    let lasts =
        |room: u64| (u128::from(room) * u128::from(seconds) / u128::from(bytes)).min(u128::from(u64::MAX)) as u64;
    let (all, now) = (lasts(keep), lasts(left.unwrap_or(keep)));
    let needed = 2 * snapshot.as_secs();
    if now >= needed.max(WEEKEND) {
        return Kept::Enough(format!("a slot may fall behind {} MB, which take about {}", keep >> 20, in_words(now)));
    }
    let wanted = (u128::from(needed.max(2 * WEEKEND)) * u128::from(bytes) / u128::from(seconds)) >> 20;
    let wanted = wanted.max(1024).div_ceil(1024);
    let message =
        format!("a slot that falls behind more than {} MB is given up, about {} of log", keep >> 20, in_words(all));
    let error = Error::new(Code::LogRetention, message)
        .fact("left now", format!("{} MB", left.unwrap_or(keep) >> 20))
        .fact("the first snapshot takes about", in_words(snapshot.as_secs()));
    let error = lasting(error, "max_slot_wal_keep_size", &format!("{wanted}GB"), Holds::Reload);
    if now < needed || left == Some(0) { Kept::TooShort(error) } else { Kept::Short(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(keep_mb: u64, written: (u64, u64)) -> Limits {
        Limits { slots: 10, used: 1, held: 0, keep: Some(keep_mb << 20), idle: None, written, idlers: vec![] }
    }

    #[test]
    fn the_log_is_measured_in_time() {
        let a_gb_a_day = (1 << 30, DAY);
        let of = |keep_mb, left, snapshot| match kept(&limits(keep_mb, a_gb_a_day), left, Duration::from_secs(snapshot))
        {
            Kept::Enough(text) => text,
            Kept::Short(error) => format!("short: {}", error.remedies()[0].statement),
            Kept::TooShort(error) => format!("too short: {}", error.remedies()[0].statement),
        };
        assert_eq!(of(4096, None, 60), "a slot may fall behind 4096 MB, which take about 4 days");
        assert_eq!(of(1024, None, 60), "short: ALTER SYSTEM SET max_slot_wal_keep_size = '6GB'");
        assert_eq!(of(4096, Some(1 << 20), 60), "too short: ALTER SYSTEM SET max_slot_wal_keep_size = '6GB'");
        assert_eq!(of(4096, Some(0), 0), "too short: ALTER SYSTEM SET max_slot_wal_keep_size = '6GB'");
        assert_eq!(of(4096, None, 8 * DAY), "too short: ALTER SYSTEM SET max_slot_wal_keep_size = '16GB'");
    }
}
