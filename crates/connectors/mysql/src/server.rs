//! Which server this is, and whether it can serve a position (INV-5, INV-6).

use crate::client::{Connection, ServerFamily, quote};
use crate::decode::transaction::Xid;
use crate::gtid::{Executed, GtidSet, MariaGtid};
use crate::oceanbase;
use crate::place::Place;
use crate::position::{Mark, ServerName};
pub use crate::resume::{Instance, Resume};
use crate::resume::{lost, other_server};
use dujiang_core::{Code, Error, Result};
use std::time::Duration;

/// Who the server is.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn identify(connection: &mut Connection) -> Result<ServerName> {
    let (family, sql) = match connection.server().family {
        ServerFamily::MariaDb => ("mariadb", "SELECT @@GLOBAL.server_id"),
        ServerFamily::MySql => ("mysql", "SELECT @@GLOBAL.server_uuid"),
        // One name for all servers of the tenant: its transactions' UUID is checked instead.
        ServerFamily::OceanBase => return Ok(ServerName { family: "oceanbase".into(), id: String::new() }),
    };
    let id = connection.query_value(sql).await?.unwrap_or_default();
    Ok(ServerName { family: family.into(), id })
}

impl Instance {
    /// The server at the other end.
    ///
    /// # Errors
    /// `ConnectionLost`, `SourceQuery`.
    pub async fn of(connection: &mut Connection) -> Result<Self> {
        let name = identify(connection).await?;
        let runs_at = match connection.server().family {
            ServerFamily::MariaDb => "SELECT CONCAT_WS(' ', @@hostname, @@port, @@datadir)",
            ServerFamily::MySql | ServerFamily::OceanBase => "SELECT ''",
        };
        let runs_at = connection.query_value(runs_at).await?.unwrap_or_default();
        Ok(Self { name, runs_at })
    }

    /// Checks that the server at the other end is this one.
    ///
    /// # Errors
    /// `OtherServer`; `ConnectionLost`, `SourceQuery`.
    pub async fn check(&self, connection: &mut Connection) -> Result<()> {
        let found = Self::of(connection).await?;
        if found == *self {
            return Ok(());
        }
        let show = |i: &Self| format!("{} {} {}", i.name.family, i.name.id, i.runs_at).trim_end().to_owned();
        let message = format!("{} leads to several servers, or to another than before", connection.address());
        Err(Error::new(Code::OtherServer, message)
            .fact("server", show(&found))
            .fact("followed", show(self))
            .help("name one server by its own address until the snapshot is complete; then the pipeline may move"))
    }
}

/// Checks that the server followed the same history and still has what comes after the position; returns its name.
///
/// # Errors
/// `OtherServer`, `PositionLost`, naming what is missing.
pub async fn verify(connection: &mut Connection, resume: &Resume) -> Result<ServerName> {
    let name = identify(connection).await?;
    if name.family != resume.server.family {
        return Err(other_server(&name, resume, "it is of another family"));
    }
    if let Some(instance) = resume.instance.as_ref().filter(|_| resume.bound_to_server) {
        instance.check(connection).await?;
    }
    if connection.server().family == ServerFamily::OceanBase {
        return oceanbase::verify(connection, name, resume).await;
    }
    let moved = name != resume.server;
    if moved && (resume.bound_to_server || resume.is_by_place()) {
        let why = "the position has a place in the binlog of one server, which means nothing on another";
        return Err(other_server(&name, resume, why));
    }
    match &resume.executed {
        Executed::MariaDb(position) if !position.is_empty() => {
            let state = connection.query_value("SELECT @@GLOBAL.gtid_binlog_state").await?.unwrap_or_default();
            verify_mariadb(&name, resume, &state, &position.to_string())?;
        }
        Executed::MySql(set) => verify_mysql(connection, &name, resume, set).await?,
        _ => verify_file(connection, resume).await?,
    }
    if let Some(mark) = resume.mark.as_ref().filter(|_| !moved) {
        verify_mark(connection, &name, resume, mark).await?;
    }
    Ok(name)
}

/// Every transaction of ours must be in the server's binlog history: same domain, same origin, not later than its last.
fn verify_mariadb(name: &ServerName, resume: &Resume, state: &str, position: &str) -> Result<()> {
    let parse = |text: &str| -> Result<Vec<MariaGtid>> {
        let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
        parts.map(|p| p.parse().map_err(|e: String| Error::new(Code::Protocol, e))).collect()
    };
    let theirs = parse(state)?;
    for ours in parse(position)? {
        let last = theirs.iter().find(|g| (g.domain, g.server) == (ours.domain, ours.server));
        if last.is_none_or(|last| last.sequence < ours.sequence) {
            let has = last.map_or_else(|| "nothing of that origin".to_owned(), |g| format!("only up to {g}"));
            let why = format!("the pipeline has read transaction {ours}, the server's binlog has {has}");
            return Err(other_server(name, resume, &why));
        }
    }
    Ok(())
}

/// A transaction is sent before it is committed; while it waits for a replica it is owned by its session, and for a
/// moment after a restart it is nowhere.
const IN_FLIGHT_ATTEMPTS: u32 = 10;
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(500);

/// `uuid:5#12:6#13` as the set `uuid:5:6`.
fn without_owners(owned: &str) -> String {
    let mut parts = owned.split('#');
    let mut set = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| set.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit())));
    set
}

async fn verify_mysql(connection: &mut Connection, name: &ServerName, resume: &Resume, ours: &GtidSet) -> Result<()> {
    let parse = |text: String| text.parse::<GtidSet>().map_err(|e: String| Error::new(Code::Protocol, e));
    let mut value = async |sql| Ok::<_, Error>(connection.query_value(sql).await?.unwrap_or_default());
    let mut executed = GtidSet::default();
    for attempt in 0..IN_FLIGHT_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(IN_FLIGHT_PAUSE).await;
        }
        // Owned first: what is committed between the two questions is then in both answers, not in none.
        let owned = without_owners(&value("SELECT @@GLOBAL.gtid_owned").await?);
        let done = value("SELECT @@GLOBAL.gtid_executed").await?;
        executed = parse([done, owned].into_iter().filter(|set| !set.is_empty()).collect::<Vec<_>>().join(","))?;
        if executed.covers(ours) {
            break;
        }
    }
    let purged = parse(value("SELECT @@GLOBAL.gtid_purged").await?)?;
    if !executed.covers(ours) {
        let why = format!("the pipeline has read {}, which this server never executed", ours.subtract(&executed));
        return Err(other_server(name, resume, &why));
    }
    let read = match &resume.first {
        Some((_, Executed::MySql(first))) => first,
        _ => ours,
    };
    if !read.covers(&purged) {
        return Err(lost(resume, &format!("{} was purged before it was read", purged.subtract(read))));
    }
    Ok(())
}

/// The same server may have thrown its log away and begun to count anew (RESET MASTER, a restored backup): then another
/// transaction stands where ours stood. A file that is purged proves nothing.
async fn verify_mark(connection: &mut Connection, name: &ServerName, resume: &Resume, mark: &Mark) -> Result<()> {
    let Some(begin) = Place::parse(&mark.begin) else { return Ok(()) };
    let files = binlog_files(connection).await?;
    let Some(file) = files.iter().find(|f| f.file() == begin.file()) else {
        let newer = files.last().is_some_and(|last| last.number() < begin.number());
        let why = format!("its binlog has not come to {} yet, which was read before", begin.file());
        return if newer { Err(other_server(name, resume, &why)) } else { Ok(()) };
    };
    let why = format!("at {begin} its binlog does not hold transaction {}, which was read there", mark.transaction);
    if file.offset <= begin.offset {
        return Err(other_server(name, resume, &why));
    }
    let sql = format!("SHOW BINLOG EVENTS IN {} FROM {} LIMIT 1", quote::text(begin.file()), begin.offset);
    let rows = match connection.query(&sql).await {
        Ok(rows) => rows,
        // No event begins there.
        Err(error) if error.code() == Code::SourceQuery => {
            return Err(other_server(name, resume, &why).with_source(error));
        }
        Err(error) => return Err(error),
    };
    let is_ours = |row: crate::client::TextRow<'_>| {
        let info = row.column("Info").and_then(|at| row.text(at).ok()).flatten().unwrap_or_default();
        info.split([' ', '\'']).any(|word| word == mark.transaction)
    };
    if rows.iter().any(is_ours) { Ok(()) } else { Err(other_server(name, resume, &why)) }
}

async fn verify_file(connection: &mut Connection, resume: &Resume) -> Result<()> {
    let files = binlog_files(connection).await?;
    let first = resume.first.as_ref().map_or(&resume.place, |(place, _)| place);
    if let Some(oldest) = files.first().filter(|oldest| oldest.number() > first.number()) {
        return Err(lost(resume, &format!("{first} has to be read again, the server has {} and later", oldest.file())));
    }
    let Some(found) = files.iter().find(|f| f.file() == resume.place.file()) else {
        let range = match (files.first(), files.last()) {
            (Some(first), Some(last)) => format!("the server has {} to {}", first.file(), last.file()),
            _ => "the server has no binlog file".into(),
        };
        return Err(lost(resume, &range));
    };
    if found.offset < resume.place.offset {
        return Err(lost(resume, &format!("that file ends at {}", found.offset)));
    }
    Ok(())
}

/// The binlog files in order, each with its size as offset.
///
/// # Errors
/// `BinlogOff`, `MissingPrivilege`, `ConnectionLost`.
pub async fn binlog_files(connection: &mut Connection) -> Result<Vec<Place>> {
    let rows = connection.query("SHOW BINARY LOGS").await?;
    let mut files = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        files.extend(Place::new(row.required(0)?, row.parse(1)?.unwrap_or(0)));
    }
    files.sort();
    Ok(files)
}

/// The place behind the last event of the log.
///
/// # Errors
/// `BinlogOff`, `MissingPrivilege`, `ConnectionLost`.
pub async fn end_of_log(connection: &mut Connection) -> Result<Place> {
    // MySQL 8.4 knows only the new words, everybody else only the old ones.
    let rows = match connection.query("SHOW MASTER STATUS").await {
        Err(error) if connection.server().family == ServerFamily::MySql && error.code() == Code::SourceQuery => {
            connection.query("SHOW BINARY LOG STATUS").await?
        }
        other => other?,
    };
    let off = || {
        Error::new(Code::BinlogOff, "binary logging is off at the source")
            .help("set log_bin and binlog_format=ROW in the server's configuration and restart it")
    };
    let row = rows.get(0).ok_or_else(off)?;
    let offset = row.parse(1)?.unwrap_or(0);
    Place::new(row.required(0)?, offset).ok_or_else(off)
}

/// The end of the log, in all its names.
///
/// # Errors
/// As [`end_of_log`].
pub async fn log_end(connection: &mut Connection) -> Result<Resume> {
    let server = identify(connection).await?;
    let (place, executed) = match connection.server().family {
        ServerFamily::MariaDb => mariadb_end(connection).await?,
        ServerFamily::OceanBase => oceanbase::end(connection).await?,
        ServerFamily::MySql => {
            let place = end_of_log(connection).await?;
            (place.clone(), executed_at(connection, &place).await?)
        }
    };
    Ok(Resume { server, place, executed, first: None, bound_to_server: false, mark: None, instance: None })
}

/// How often the end of MariaDB's log is looked at until it stands still for a moment.
const LOOKS: usize = 50;

/// MariaDB's end of the log and the transactions before it. To tell them for a place the server reads the whole file; those
/// of now it knows. They are those before the place if the log has not grown meanwhile: a transaction's identifier and its
/// bytes are added under one lock (`LOCK_log`), which telling the place takes.
async fn mariadb_end(connection: &mut Connection) -> Result<(Place, Executed)> {
    let mut place = end_of_log(connection).await?;
    for _ in 0..LOOKS {
        let text = connection.query_value("SELECT @@GLOBAL.gtid_binlog_pos").await?.unwrap_or_default();
        let after = end_of_log(connection).await?;
        if after == place {
            let executed = text.parse().map_err(|e: String| Error::new(Code::Protocol, e))?;
            return Ok((place, Executed::MariaDb(executed)));
        }
        place = after;
    }
    let executed = executed_at(connection, &place).await?;
    Ok((place, executed))
}

/// The transactions before a place of this server.
///
/// # Errors
/// `PositionLost` when the place is not in the binlog.
pub async fn executed_at(connection: &mut Connection, place: &Place) -> Result<Executed> {
    if connection.server().family == ServerFamily::MariaDb {
        let file = quote::text(place.file());
        let sql = format!("SELECT BINLOG_GTID_POS({file}, {})", place.offset);
        let text = connection.query_value(&sql).await?;
        let text = text.ok_or_else(|| {
            Error::new(Code::PositionLost, format!("the source has no place {place} in its binlog"))
                .help("choose a place that SHOW BINARY LOGS and SHOW BINLOG EVENTS list")
        })?;
        return text.parse().map(Executed::MariaDb).map_err(|e: String| Error::new(Code::Protocol, e));
    }
    let mode = connection.query_value("SELECT @@GLOBAL.gtid_mode").await?.unwrap_or_default();
    if mode != "ON" {
        return Ok(Executed::None);
    }
    let text = connection.query_value("SELECT @@GLOBAL.gtid_executed").await?.unwrap_or_default();
    text.parse().map(Executed::MySql).map_err(|e: String| Error::new(Code::Protocol, e))
}

/// The transactions that are prepared now; none when the server does not tell.
///
/// # Errors
/// `ConnectionLost`.
pub async fn prepared_transactions(connection: &mut Connection) -> Result<Vec<String>> {
    let told = told_prepared(connection).await?;
    if told.is_none() && connection.server().family != ServerFamily::OceanBase {
        // MySQL 8 asks for the privilege XA_RECOVER_ADMIN. What is overlooked here halts the pipeline when it is committed.
        tracing::warn!("prepared distributed transactions cannot be listed: XA_RECOVER_ADMIN is not granted");
    }
    Ok(told.unwrap_or_default())
}

/// The transactions that are prepared now, if the server tells.
///
/// # Errors
/// `ConnectionLost`.
pub async fn told_prepared(connection: &mut Connection) -> Result<Option<Vec<String>>> {
    // OceanBase has none.
    if connection.server().family == ServerFamily::OceanBase {
        return Ok(None);
    }
    let rows = match connection.query("XA RECOVER").await {
        Ok(rows) => rows,
        Err(error) if matches!(error.code(), Code::SourceQuery | Code::MissingPrivilege) => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = |row: crate::client::TextRow<'_>| {
        let format: i64 = row.parse(0)?.unwrap_or_default();
        let global: usize = row.parse(1)?.unwrap_or_default();
        let data = row.bytes(3).unwrap_or_default();
        let (global, branch) = data.split_at(global.min(data.len()));
        Ok(Xid { format: format as u32, global, branch }.to_string())
    };
    rows.iter().map(name).collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv5_a_mariadb_server_must_have_what_was_read() {
        let name = ServerName { family: "mariadb".into(), id: "1".into() };
        let place = Place::parse("bin.000001:4").unwrap();
        let resume = Resume {
            server: name.clone(),
            place,
            executed: Executed::None,
            first: None,
            bound_to_server: false,
            mark: None,
            instance: None,
        };
        let check = |state: &str, position: &str| verify_mariadb(&name, &resume, state, position).map_err(|e| e.code());
        assert_eq!(check("0-1-100,0-2-150,5-1-3", "0-1-100,5-1-3"), Ok(()));
        assert_eq!(check("0-1-99", "0-1-100"), Err(Code::OtherServer));
        assert_eq!(check("0-2-500", "0-1-100"), Err(Code::OtherServer), "the same domain, another history");
        assert_eq!(check("", "0-1-1"), Err(Code::OtherServer), "RESET MASTER");
    }

    #[test]
    fn owned_transactions_become_a_set() {
        assert_eq!(without_owners("u:5#12:6#13,\nv:x:1#7"), "u:5:6,\nv:x:1");
        assert_eq!(without_owners(""), "");
    }
}
