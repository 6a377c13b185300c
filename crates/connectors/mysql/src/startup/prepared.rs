//! Distributed transactions that were prepared before a new pipeline begins and have no outcome yet.
//!
//! Their rows lie in the log before the start and count after it. The server knows their names (`XA RECOVER`); where they
//! were prepared is looked up in the log.

use super::Log;
use crate::client::{BinlogStart, Connection, ServerFamily};
use crate::config::Config;
use crate::decode::EventData;
use crate::gtid::{Executed, GtidSet, MariaGtid, Sid};
use crate::place::Place;
use crate::position::Prepared;
use crate::server::{Resume, binlog_files, end_of_log, executed_at, prepared_transactions};
use crate::snapshot::told_place::counter;
use crate::stream::{Control, Statement};
use dujiang_core::{Code, Error, Result};

/// What the server says before the place to begin at is chosen.
pub struct Asked {
    /// The end of the log before.
    end: Place,
    /// The transactions that are prepared.
    names: Vec<String>,
}

impl Asked {
    /// Asks; None for OceanBase, which has no distributed transactions.
    ///
    /// # Errors
    /// Those of [`end_of_log`].
    pub async fn now(connection: &mut Connection) -> Result<Option<Self>> {
        if connection.server().family == ServerFamily::OceanBase {
            return Ok(None);
        }
        Ok(Some(Self { end: end_of_log(connection).await?, names: prepared_transactions(connection).await? }))
    }
}

/// The transactions that are undecided at `now`, in the order of the log. All that were prepared when the server was asked before have
/// to be found; those that were prepared between that and `now` may be decided by now, and lie behind the log's end of then, or just
/// before it. A server that has prepared none since its start has none of these.
///
/// # Errors
/// `PreparedBefore` for one whose rows the log no longer has; what reading the log can end in.
pub async fn find(config: &Config, connection: &mut Connection, asked: &Asked, now: &Resume) -> Result<Vec<Prepared>> {
    let Asked { end, names } = asked;
    if names.is_empty() && counter(connection, "Com_xa_prepare").await? == 0 {
        return Ok(Vec::new());
    }
    let files = binlog_files(connection).await?;
    for file in files.iter().rev().filter(|file| file.number() <= now.place.number()) {
        let scan = Scan::of(config, &file.at(4), now).await?;
        if file.number() <= end.number() && names.iter().all(|name| scan.explains(name)) {
            return scan.with_places(connection).await;
        }
    }
    let lost: Vec<&str> = names.iter().map(String::as_str).collect();
    let message = "distributed transactions are prepared whose rows the source's log no longer has";
    Err(Error::new(Code::PreparedBefore, message)
        .fact("transactions", lost.join(", "))
        .help("commit or roll them back (XA COMMIT, XA ROLLBACK), then start"))
}

/// What a part of the log says of distributed transactions.
#[derive(Default)]
struct Scan {
    prepared: Vec<Prepared>,
    decided: Vec<String>,
}

/// The transaction at hand.
#[derive(Default)]
struct Current {
    id: String,
    begin: Option<Place>,
    xid: Option<String>,
    /// MySQL tells the end of its log and the transactions before it at two moments: what is not among these still comes.
    comes_later: bool,
}

impl Scan {
    async fn of(config: &Config, from: &Place, now: &Resume) -> Result<Self> {
        let start = BinlogStart::FilePosition { file: from.file().to_owned(), position: from.offset };
        let mut log = Log::open(config, start, config.server_id).await?;
        let (mut scan, mut current) = (Self::default(), Current::default());
        while let Some(()) = log.advance().await? {
            let (begin, server) = (log.begin(), log.server_id()?);
            if begin.as_ref().is_some_and(|begin| *begin >= now.place) {
                break;
            }
            log.look(|_, data| {
                scan.event(data, begin.as_ref(), server, now, &mut current);
                Ok(())
            })?;
        }
        Ok(scan)
    }

    fn event(&mut self, data: &EventData<'_>, begin: Option<&Place>, server: u32, now: &Resume, current: &mut Current) {
        let begins = |id: String, xid: Option<String>, comes_later: bool| Current {
            id,
            begin: begin.cloned(),
            xid,
            comes_later,
        };
        match data {
            EventData::MariaDbGtid(gtid) => {
                let id = MariaGtid { domain: gtid.domain, server, sequence: gtid.sequence };
                let xid = gtid.xid.filter(|_| gtid.is_xa_prepare()).map(|xid| xid.to_string());
                *current = begins(id.to_string(), xid, false);
            }
            EventData::Gtid(gtid) => {
                let sid = Sid { uuid: gtid.uuid, tag: gtid.tag.to_owned() };
                let executed = |set: &GtidSet| set.contains(&sid, gtid.number);
                let later = matches!(&now.executed, Executed::MySql(set) if !executed(set));
                *current = begins(format!("{sid}:{}", gtid.number), None, later);
            }
            EventData::AnonymousGtid(_) => {
                *current = begins(begin.map(Place::to_string).unwrap_or_default(), None, false);
            }
            EventData::Query(query) => self.statement(&Statement::of(query), current),
            EventData::CompressedQuery(query) => {
                if let Ok(query) = query.inflate(&mut Vec::new()) {
                    self.statement(&Statement::of(&query), current);
                }
            }
            EventData::XaPrepare(xa) if !xa.one_phase && !current.comes_later => {
                let xid = current.xid.take().unwrap_or_else(|| xa.xid.to_string());
                self.prepared.retain(|known| known.xid != xid);
                self.prepared.push(Prepared {
                    xid,
                    transaction: current.id.clone(),
                    begin: current.begin.as_ref().map(Place::to_string).unwrap_or_default(),
                    before: String::new(),
                    empty: false,
                });
            }
            _ => {}
        }
    }

    fn statement(&mut self, statement: &Statement<'_>, current: &mut Current) {
        match statement.control() {
            Control::XaStart => current.xid = Some(statement.xid()),
            Control::XaCommit | Control::XaRollback if !current.comes_later => {
                let xid = statement.xid();
                self.prepared.retain(|known| known.xid != xid);
                self.decided.push(xid);
            }
            _ => {}
        }
    }

    fn explains(&self, name: &str) -> bool {
        self.prepared.iter().any(|known| known.xid == name) || self.decided.iter().any(|decided| decided == name)
    }

    /// MariaDB begins a stream after transactions, not at a place.
    async fn with_places(mut self, connection: &mut Connection) -> Result<Vec<Prepared>> {
        for prepared in &mut self.prepared {
            let Some(begin) = Place::parse(&prepared.begin) else { continue };
            if let Executed::MariaDb(position) = executed_at(connection, &begin).await? {
                prepared.before = position.to_string();
            }
        }
        Ok(self.prepared)
    }
}
