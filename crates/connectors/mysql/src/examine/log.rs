//! The log itself: how long it is kept, and what it carries beyond rows.

use crate::catalog::{ServerFlavor, ServerProfile, Version};
use crate::preflight;
use dujiang_core::examine::Examination;
use dujiang_core::{Code, Error};
use dujiang_database::estimate::{DAY, in_words};
use std::time::Duration;

/// A pipeline that breaks on Friday evening should go on by Monday morning.
const WEEKEND: u64 = 3 * DAY;
/// What is advised at least.
const ADVISED: u64 = 7 * DAY;

/// How long the server keeps its log; `None`: for ever, or until somebody purges it by hand.
fn retention(server: &ServerProfile) -> Option<u64> {
    let number = |name: &str| server.variable(name).parse::<f64>().unwrap_or(0.0);
    let purges =
        server.variable("binlog_expire_logs_auto_purge").is_empty() || server.is_on("binlog_expire_logs_auto_purge");
    let seconds = match number("binlog_expire_logs_seconds") {
        0.0 => number("expire_logs_days") * DAY as f64,
        seconds => seconds,
    };
    (purges && seconds > 0.0).then_some(seconds as u64)
}

/// Whether the log is kept long enough for the first snapshot, and for a weekend.
pub(super) fn kept(server: &ServerProfile, snapshot: Duration, examination: &mut Examination) {
    const NAME: &str = "retention";
    let needed = 2 * snapshot.as_secs();
    match retention(server) {
        Some(kept) if kept < needed.max(WEEKEND) => {
            let error = too_short(server, kept, snapshot);
            if kept < needed { examination.finding(NAME, error) } else { examination.advice(NAME, error) }
        }
        Some(kept) => {
            let (kept, snapshot) = (in_words(kept), in_words(snapshot.as_secs()));
            examination.ok(NAME, format!("the binlog is kept for {kept}; the first snapshot takes about {snapshot}"));
        }
        None => examination.ok(NAME, "the binlog is kept until it is purged by hand"),
    }
    for limit in ["max_binlog_total_size", "binlog_space_limit"] {
        let found = server.variable(limit);
        if !matches!(found, "" | "0") {
            let message = "the binlog is purged at a size limit, however little time that leaves";
            let error = Error::new(Code::LogRetention, message)
                .fact("found", format!("{limit}={found}"))
                .help("make the limit as large as the changes of several days");
            examination.advice("retention by size", error);
        }
    }
}

fn too_short(server: &ServerProfile, kept: u64, snapshot: Duration) -> Error {
    let wanted = (4 * snapshot.as_secs()).div_ceil(DAY).max(ADVISED / DAY);
    let by_seconds = server.mysql_since(Version(8, 0, 1)) || server.mariadb_since(Version(10, 6, 0));
    let setting = match by_seconds {
        true => format!("binlog_expire_logs_seconds={}", wanted * DAY),
        false => format!("expire_logs_days={wanted}"),
    };
    Error::new(Code::LogRetention, format!("the binlog is kept for {} only", in_words(kept)))
        .fact("the first snapshot takes about", in_words(snapshot.as_secs()))
        .help(preflight::lasting(server, &setting))
        .remedy(preflight::set(server, &setting))
}

/// Names of columns, checksums, identifiers.
pub(super) fn described(server: &ServerProfile, examination: &mut Examination) {
    match server.variable("binlog_row_metadata") {
        // MySQL before 8.0.1 and MariaDB before 10.5 know no other kind.
        "" => examination.ok("column names", "taken from the catalog"),
        full if full.eq_ignore_ascii_case("FULL") => examination.ok("column names", "binlog_row_metadata=FULL"),
        other => {
            let setting = "binlog_row_metadata=FULL";
            let error = Error::new(Code::LogMetadata, "the binlog does not name the columns of its rows")
                .fact("found", format!("binlog_row_metadata={other}"))
                .help(preflight::lasting(server, setting))
                .remedy(preflight::set(server, setting));
            examination.advice("column names", error);
        }
    }
    match preflight::checksums(server) {
        Some(error) => examination.advice("checksums", error),
        None => examination.ok("checksums", format!("binlog_checksum={}", server.variable("binlog_checksum"))),
    }
    match (preflight::gtids(server), server.flavor) {
        (Some(error), _) => examination.advice("gtid", error),
        (None, ServerFlavor::MariaDb) => examination.ok("gtid", "every transaction has one"),
        (None, ServerFlavor::OceanBase) => examination.ok("gtid", "every transaction has one"),
        (None, ServerFlavor::MySql) => examination.ok("gtid", format!("gtid_mode={}", server.variable("gtid_mode"))),
    }
}
