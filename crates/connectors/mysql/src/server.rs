//! Which server this is, and whether it can serve a position (INV-5, INV-6).

use crate::client::{BinlogStart, Connection, ServerFamily};
use crate::gtid::{Executed, GtidSet, MariaGtid};
use crate::place::Place;
use crate::position::ServerName;
use dujiang_core::{Code, Error, Result};

/// Where to read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The server that the place belongs to.
    pub server: ServerName,
    /// A transaction boundary.
    pub place: Place,
    /// All transactions before it.
    pub executed: Executed,
    /// Whether the place itself matters, since hand-off points are compared with it: then no other server will do.
    pub bound_to_server: bool,
}

impl Resume {
    /// Where the dump is to begin.
    pub fn start(&self) -> BinlogStart {
        match &self.executed {
            Executed::None => self.at_place(),
            // Nothing is in the log yet, or the ids before the place are not known: the place is all there is.
            Executed::MariaDb(position) if position.is_empty() => self.at_place(),
            Executed::MariaDb(position) => BinlogStart::MariaDbGtids(position.to_string()),
            Executed::MySql(set) => BinlogStart::MySqlGtidSet(set.encode()),
        }
    }

    fn at_place(&self) -> BinlogStart {
        BinlogStart::FilePosition { file: self.place.file().to_owned(), position: self.place.offset }
    }

    /// Whether the dump begins at the place itself, and not where the server finds the ids.
    fn is_by_place(&self) -> bool {
        matches!(self.start(), BinlogStart::FilePosition { .. })
    }
}

/// Who the server is.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn identify(connection: &mut Connection) -> Result<ServerName> {
    let (family, sql) = match connection.server().family {
        ServerFamily::MariaDb => ("mariadb", "SELECT @@GLOBAL.server_id"),
        ServerFamily::MySql => ("mysql", "SELECT @@GLOBAL.server_uuid"),
    };
    let id = connection.query_value(sql).await?.unwrap_or_default();
    Ok(ServerName { family: family.into(), id })
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

async fn verify_mysql(connection: &mut Connection, name: &ServerName, resume: &Resume, ours: &GtidSet) -> Result<()> {
    let mut set = async |sql| -> Result<GtidSet> {
        let text = connection.query_value(sql).await?.unwrap_or_default();
        text.parse().map_err(|e: String| Error::new(Code::Protocol, e))
    };
    let executed = set("SELECT @@GLOBAL.gtid_executed").await?;
    let purged = set("SELECT @@GLOBAL.gtid_purged").await?;
    if !executed.covers(ours) {
        let why = format!("the pipeline has read {}, which this server never executed", ours.subtract(&executed));
        return Err(other_server(name, resume, &why));
    }
    if !ours.covers(&purged) {
        return Err(lost(resume, &format!("{} was purged before it was read", purged.subtract(ours))));
    }
    Ok(())
}

async fn verify_file(connection: &mut Connection, resume: &Resume) -> Result<()> {
    let files = binlog_files(connection).await?;
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
    let place = end_of_log(connection).await?;
    let executed = executed_at(connection, &place).await?;
    Ok(Resume { server, place, executed, bound_to_server: false })
}

/// The transactions before a place of this server.
///
/// # Errors
/// `PositionLost` when the place is not in the binlog.
pub async fn executed_at(connection: &mut Connection, place: &Place) -> Result<Executed> {
    if connection.server().family == ServerFamily::MariaDb {
        let file = crate::client::quote::text(place.file());
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

#[cold]
fn other_server(name: &ServerName, resume: &Resume, why: &str) -> Error {
    Error::new(Code::OtherServer, format!("this is not the server the pipeline followed: {why}"))
        .fact("server", format!("{} {}", name.family, name.id))
        .fact("followed", format!("{} {}", resume.server.family, resume.server.id))
        .fact("position", format!("{} ({})", resume.place, resume.executed))
        .help("connect to the server that was followed or to a replica of it, or start a new pipeline")
}

#[cold]
fn lost(resume: &Resume, why: &str) -> Error {
    Error::new(Code::PositionLost, format!("the source no longer has the log after {}: {why}", resume.place))
        .fact("position", format!("{} ({})", resume.place, resume.executed))
        .help("keep binlogs longer (binlog_expire_logs_seconds, expire_logs_days); start a new pipeline with a new snapshot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv5_a_mariadb_server_must_have_what_was_read() {
        let name = ServerName { family: "mariadb".into(), id: "1".into() };
        let place = Place::parse("bin.000001:4").unwrap();
        let resume = Resume { server: name.clone(), place, executed: Executed::None, bound_to_server: false };
        let check = |state: &str, position: &str| verify_mariadb(&name, &resume, state, position).map_err(|e| e.code());
        assert_eq!(check("0-1-100,0-2-150,5-1-3", "0-1-100,5-1-3"), Ok(()));
        assert_eq!(check("0-1-99", "0-1-100"), Err(Code::OtherServer));
        assert_eq!(check("0-2-500", "0-1-100"), Err(Code::OtherServer), "the same domain, another history");
        assert_eq!(check("", "0-1-1"), Err(Code::OtherServer), "RESET MASTER");
    }
}
