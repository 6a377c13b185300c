//! The server behind the address: whether it is the one that was followed, and whether its slot still serves the position.

use crate::client::{Connection, Row, may_not_replicate, quote, sqlstate};
use crate::config::Config;
use crate::lineage::ServerName;
use crate::lsn::Lsn;
use crate::position::Head;
use crate::snapshot::{View, current_view};
use crate::timelines::History;
use dujiang_core::{Code, Error, Result, ResultExt};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// How long a standby is waited for that has not replayed what was read of it before.
const REPLAY_PATIENCE: Duration = Duration::from_secs(60);

/// The end of the log, on a standby of what it has; an expression.
pub const LOG_END: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
    ELSE pg_catalog.pg_current_wal_lsn() END";

/// A place that all commits that are visible lie before.
///
/// # Errors
/// What ends the session.
pub async fn log_end(connection: &mut Connection) -> Result<Lsn> {
    // On a standby a commit is visible a moment before it counts as replayed, but not before it was received.
    let received = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() END";
    let rows = connection.simple(&format!("SELECT greatest({LOG_END}, {received})")).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell the end of its log"))?;
    Lsn::parse(row.text(0)?)
}

/// What a session needs to know to go on.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The server that was followed.
    pub server: ServerName,
    /// The slot.
    pub slot: String,
    /// The database.
    pub database: String,
    /// Everything before has been handed out, but for what was prepared after `from` and has no outcome.
    pub boundary: Lsn,
    /// From there on the server is to send.
    pub from: Lsn,
    /// The snapshots under which chunks were read.
    pub views: Vec<View>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// System identifier and timeline.
    pub name: ServerName,
    /// The end of its log on disk.
    pub flushed: Lsn,
    /// Its earlier timelines, if it was promoted since it was followed.
    pub history: History,
    /// The next transaction id that it gives out, or one a little before, in full; 0 where nobody had to ask.
    pub next_xid: u64,
}

/// A slot as `pg_replication_slots` shows it; what a version does not have is missing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Slot {
    /// The output plugin; none for a physical slot.
    pub plugin: Option<String>,
    /// Its database.
    pub database: Option<String>,
    /// Whether it goes with its session.
    #[serde(default)]
    pub temporary: bool,
    /// Whether transactions come when they are prepared (14 and later).
    #[serde(default)]
    pub two_phase: bool,
    /// The session that uses it.
    pub active_pid: Option<i32>,
    /// The log is kept from here on.
    pub restart_lsn: Option<String>,
    /// What was told to be durable: nothing before it is sent any more.
    pub confirmed_flush_lsn: Option<String>,
    /// `reserved`, `extended`, `unreserved` or `lost` (13 and later).
    pub wal_status: Option<String>,
    /// Bytes that may still be written before it is in danger (13 and later).
    pub safe_wal_size: Option<i64>,
    /// Why it is of no use (17 and later).
    pub invalidation_reason: Option<String>,
    /// Whether it was invalidated by recovery (16 and later).
    #[serde(default)]
    pub conflicting: Option<bool>,
    /// Whether a standby copies it from its primary server (17 and later); it may stay so when that is promoted.
    #[serde(default)]
    pub synced: bool,
}

impl Slot {
    /// Where reading would begin.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn confirmed(&self) -> Result<Option<Lsn>> {
        self.confirmed_flush_lsn.as_deref().map(Lsn::parse).transpose()
    }

    /// Why the server no longer serves it, if it does not.
    pub fn lost(&self) -> Option<&str> {
        match (&self.invalidation_reason, self.wal_status.as_deref(), self.conflicting) {
            (Some(reason), ..) => Some(reason),
            (None, Some("lost"), _) => Some("the log it needs was removed (max_slot_wal_keep_size)"),
            (None, _, Some(true)) => Some("it conflicts with recovery"),
            (None, None | Some(_), _) if self.restart_lsn.is_none() => Some("it holds no log"),
            _ => None,
        }
    }
}

impl Slot {
    /// Whether the server has only begun to make it: it goes with the session that makes it, unless that comes to the end (F18).
    pub fn is_being_made(&self) -> bool {
        self.confirmed_flush_lsn.is_none() && self.database.is_some() && self.active_pid.is_some()
    }

    /// Bytes that may still be written before it is in danger, if there is a limit.
    pub fn left(&self) -> Option<u64> {
        self.safe_wal_size.map(|left| u64::try_from(left).unwrap_or(0))
    }

    /// What keeps the server from giving the next one up for the same reason.
    fn prevention(&self) -> &'static str {
        match self.invalidation_reason.as_deref() {
            Some("idle_timeout") => "raise idle_replication_slot_timeout",
            Some("rows_removed") => "set hot_standby_feedback = on at the standby",
            Some("wal_level_insufficient") => "set wal_level = logical at the primary server",
            _ => "raise max_slot_wal_keep_size",
        }
    }
}

impl Resume {
    /// Where a pipeline with this position goes on.
    ///
    /// # Errors
    /// `SlotForeign` when it has read from another slot; `CheckpointDamaged`.
    pub fn of(head: &Head, config: &Config) -> Result<Self> {
        if head.slot != config.slot {
            return Err(Error::new(Code::SlotForeign, "the pipeline has read from another slot until now")
                .fact("expected", head.slot.clone())
                .fact("found", config.slot.clone())
                .help("give it the slot's name back (`slot.name`), or start a new pipeline with a new snapshot"));
        }
        Ok(Self {
            server: head.server.clone(),
            slot: config.slot.clone(),
            database: config.endpoint.database.clone(),
            boundary: head.boundary()?,
            from: head.from()?,
            views: head.views()?,
        })
    }
}

/// Asks a session for replication which server it is with.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn identify(connection: &mut Connection) -> Result<Instance> {
    let rows = connection.simple("IDENTIFY_SYSTEM").await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not identify itself"))?;
    let name = ServerName { system: row.text(0)?.to_owned(), timeline: row.parse(1)? };
    Ok(Instance { name, flushed: Lsn::parse(row.text(2)?)?, history: History::default(), next_xid: 0 })
}

/// Whether this is the server that was followed, or one that has followed it (INV-5), and whether its slot serves the position
/// (INV-6). Returns the server as it is now.
///
/// # Errors
/// `OtherServer`, `SlotLost`, `SlotInvalid`, `SlotForeign`.
pub async fn verify(connection: &mut Connection, resume: &Resume) -> Result<Instance> {
    let mut instance = identified(connection, resume).await?;
    let (was, is) = (&resume.server, &instance.name);
    if was.system != is.system {
        return Err(other_server(connection, resume, is)
            .help("point the source at the server the pipeline followed, or start a new pipeline"));
    }
    if is.timeline < was.timeline {
        return Err(other_server(connection, resume, is)
            .help("this server was left behind by a promotion: point the source at the server that was promoted"));
    }
    if is.timeline > was.timeline {
        let history = connection.simple(&format!("TIMELINE_HISTORY {}", is.timeline)).await?;
        let content = history.first().and_then(|row| row.bytes(1)).unwrap_or_default();
        let history = History::parse(&String::from_utf8_lossy(content))?;
        let left = history.left(was.timeline);
        if left.is_none_or(|left| left < resume.boundary) {
            let error = other_server(connection, resume, is);
            let left = left.map_or_else(|| "never".to_owned(), |left| left.to_string());
            return Err(error.fact("the old timeline was left at", left).help(
                "the server was promoted before it had all that the pipeline has read: what the pipeline delivered since is \
                 lost at the source; start a new pipeline with a new snapshot",
            ));
        }
        resume.views.iter().try_for_each(|view| history.has(view, is))?;
        instance.history = history;
    }
    if instance.flushed < resume.boundary {
        return Err(other_server(connection, resume, is)
            .fact("end of its log", instance.flushed.to_string())
            .help("the server is behind the pipeline: a restored backup or a standby that lags; wait, or start a new pipeline"));
    }
    let slot = slot(connection, &resume.slot).await?;
    check_slot(slot.as_ref(), resume)?;
    instance.next_xid = current_view(connection).await?.next_xid();
    Ok(instance)
}

/// A standby that was started again comes to where it was only when it has replayed the log once more; and one that is about to be
/// promoted may be reached before it is: until then nobody reads from the slot that it copies.
async fn identified(connection: &mut Connection, resume: &Resume) -> Result<Instance> {
    let begun = Instant::now();
    loop {
        // Asked before the server names itself: what is promoted in between has its new name then.
        let standby = is_standby(connection).await?;
        let instance = identify(connection).await?;
        let ours = instance.name.system == resume.server.system;
        let behind = ours && instance.flushed < resume.boundary;
        let copies = ours && standby && slot(connection, &resume.slot).await?.is_some_and(|slot| slot.synced);
        if !(behind || copies) || begun.elapsed() >= REPLAY_PATIENCE || !standby {
            return Ok(instance);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn other_server(connection: &Connection, resume: &Resume, is: &ServerName) -> Error {
    let message = format!("{} is not the server that the pipeline followed", connection.address());
    let shown = |name: &ServerName| format!("system {}, timeline {}", name.system, name.timeline);
    Error::new(Code::OtherServer, message)
        .fact("expected", shown(&resume.server))
        .fact("found", shown(is))
        .fact("position", resume.boundary.to_string())
}

/// Whether the server is a standby.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn is_standby(connection: &mut Connection) -> Result<bool> {
    let rows = connection.simple("SELECT pg_catalog.pg_is_in_recovery()").await?;
    rows.first().map_or(Ok(false), |row| row.flag(0))
}

/// A slot, if it is there.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn slot(connection: &mut Connection, name: &str) -> Result<Option<Slot>> {
    let sql = format!(
        "SELECT pg_catalog.to_json(s)::text FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {}",
        quote::literal(name)
    );
    let rows = connection.simple(&sql).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    serde_json::from_str(row.text(0)?).map(Some).or_code(Code::Protocol, || "a slot cannot be read".into())
}

/// The slot is not there.
#[cold]
pub fn lost_slot(resume: &Resume) -> Error {
    Error::new(Code::SlotLost, format!("the replication slot `{}` is gone", resume.slot))
        .fact("slot", resume.slot.clone())
        .fact("position", resume.boundary.to_string())
        .help(
            "it was dropped, or did not follow a failover (PostgreSQL 17: failover slots): start a new pipeline with a new \
             snapshot",
        )
}

/// Whether a slot still has everything after the boundary.
fn check_slot(slot: Option<&Slot>, resume: &Resume) -> Result<()> {
    let name = &resume.slot;
    let with_place = |error: Error| error.fact("slot", name.clone()).fact("position", resume.boundary.to_string());
    let Some(slot) = slot else { return Err(lost_slot(resume)) };
    is_usable(slot, name, &resume.database)?;
    if let Some(reason) = slot.lost() {
        let message = format!("the server has invalidated the replication slot `{name}`");
        let statement = drop_statement(name);
        let help = format!("run {statement}; then {}, and start a new pipeline with a new snapshot", slot.prevention());
        return Err(with_place(Error::new(Code::SlotInvalid, message))
            .fact("reason", reason.to_owned())
            .help(help)
            .remedy(statement));
    }
    let confirmed = slot.confirmed()?.unwrap_or(Lsn(u64::MAX));
    if confirmed > resume.from {
        let message = format!("the replication slot `{name}` stands after the pipeline's position");
        return Err(with_place(Error::new(Code::SlotForeign, message)).fact("slot stands at", confirmed.to_string()).help(
            "it was made anew, or read by somebody else: what lies between is lost for this pipeline; start a new pipeline \
             with a new snapshot, and give it a slot of its own",
        ));
    }
    Ok(())
}

/// The statement that drops a slot.
pub fn drop_statement(name: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", quote::literal(name))
}

/// Whether it is a slot that can be read here at all.
///
/// # Errors
/// `SlotForeign`.
pub fn is_usable(slot: &Slot, name: &str, database: &str) -> Result<()> {
    let foreign = |found: String, help: &str| {
        let message = format!("the replication slot `{name}` is of another kind");
        Err(Error::new(Code::SlotForeign, message).fact("found", found).help(help.to_owned()))
    };
    let another = "name another slot with `slot.name`, or leave it out";
    match (&slot.plugin, &slot.database) {
        (Some(plugin), Some(of)) if plugin == "pgoutput" && of == database => {}
        (Some(plugin), Some(of)) => return foreign(format!("plugin {plugin}, database {of}"), another),
        _ => return foreign("a physical slot".into(), another),
    }
    if slot.temporary {
        return foreign("a temporary slot".into(), another);
    }
    Ok(())
}

/// Makes a slot, and returns the place from which on it sends everything. Waits for transactions under way, which are told
/// to `waiting` meanwhile by the caller (F18).
///
/// # Errors
/// `NoSlotsLeft`, `WalLevel`, `ReplicationRole`.
pub async fn create_slot(connection: &mut Connection, name: &str, user: &str) -> Result<Lsn> {
    let quoted = quote::identifier(name);
    // 15 has another syntax, and takes the old one still. Since 17 a slot can follow to the standby that is promoted.
    // A standby's own slots follow nobody.
    let follows = connection.version() >= 170_000 && !is_standby(connection).await?;
    let how = if follows { "(SNAPSHOT 'nothing', FAILOVER true)" } else { "NOEXPORT_SNAPSHOT" };
    let sql = format!("CREATE_REPLICATION_SLOT {quoted} LOGICAL pgoutput {how}");
    let rows = connection.simple(&sql).await.map_err(|e| match sqlstate(&e) {
        Some("42501") => may_not_replicate(e.with_code(Code::ReplicationRole), user),
        Some("55000") => {
            e.with_code(Code::WalLevel)
                .help("set wal_level = logical in postgresql.conf (of a standby: at its primary server, too), and restart the server")
        }
        _ => e,
    })?;
    let row =
        rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not say where its slot begins"))?;
    Lsn::parse(row.text(1)?)
}

/// Moves a slot that nobody reads to the end of the log.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn advance_slot(connection: &mut Connection, name: &str) -> Result<Lsn> {
    let sql = format!(
        "SELECT a.end_lsn FROM pg_catalog.pg_replication_slot_advance({}, CASE WHEN pg_catalog.pg_is_in_recovery()
           THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_flush_lsn() END) a",
        quote::literal(name)
    );
    let rows = connection.simple(&sql).await?;
    let row =
        rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not say where its slot stands"))?;
    Lsn::parse(row.text(0)?)
}

/// Names the session that holds a slot, where an error says that one does (F19); it is as it was if it cannot be found.
pub async fn with_holder(error: Error, connection: &mut Connection, slot: &str) -> Error {
    if error.code() != Code::SlotActive {
        return error;
    }
    let Ok(Some((process, holder))) = holder(connection, slot).await else { return error };
    let named = Error::new(Code::SlotActive, format!("the replication slot `{slot}` is in use by {holder}"));
    let named = error.facts().iter().fold(named, |named, (name, value)| named.fact(name, value.clone()));
    named.help(format!(
        "end the other session (SELECT pg_terminate_backend({process})), or give this pipeline a slot of its own with `slot.name`"
    ))
}

/// The process that holds a slot, and who that is, for people.
async fn holder(connection: &mut Connection, slot: &str) -> Result<Option<(i32, String)>> {
    let sql = format!(
        "SELECT s.active_pid, pg_catalog.concat_ws(', ', pg_catalog.format('process %s', s.active_pid),
           'application ' || nullif(a.application_name, ''), 'role ' || a.usename, pg_catalog.host(a.client_addr))
         FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
         WHERE s.slot_name = {} AND s.active_pid IS NOT NULL",
        quote::literal(slot)
    );
    let rows = connection.simple(&sql).await?;
    rows.first().map(|row| Ok((row.parse(0)?, row.text(1)?.to_owned()))).transpose()
}

/// The transactions that write now and may have begun to before the publication was what it is; those that are known to be of
/// another database are left out, and prepared ones if the slot has told of them already (`two_phase`).
///
/// # Errors
/// As [`Connection::execute`].
pub async fn writing(connection: &mut Connection, slot: &Slot, publication: Since<'_>) -> Result<Vec<u64>> {
    let older = match publication {
        Since::Now => "true".to_owned(),
        Since::Its(name) => format!(
            "pg_catalog.age((x::text::numeric % 4294967296)::text::xid) >= (SELECT pg_catalog.min(least(
              pg_catalog.age(p.xmin), pg_catalog.age(r.xmin))) FROM pg_catalog.pg_publication p
              LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = {})",
            quote::literal(name)
        ),
    };
    let sql = format!(
        "SELECT x FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) x
        WHERE {older} AND (x::text::numeric % 4294967296)::text NOT IN (
          SELECT p.transaction::text FROM pg_catalog.pg_prepared_xacts p
            WHERE {} OR p.database <> pg_catalog.current_database()
          UNION ALL SELECT a.backend_xid::text FROM pg_catalog.pg_stat_activity a
            WHERE a.backend_xid IS NOT NULL AND a.datname <> pg_catalog.current_database())",
        slot.two_phase
    );
    connection.simple(&sql).await?.iter().map(|row| row.parse(0)).collect()
}

/// Since when a publication is what it is.
#[derive(Debug, Clone, Copy)]
pub enum Since<'a> {
    /// It was made or changed just now.
    Now,
    /// As the catalog tells of this one.
    Its(&'a str),
}

/// A transaction that writes and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTransaction {
    /// For people.
    pub shown: String,
    /// When it began, microseconds since 1970-01-01 UTC.
    pub since_micros: i64,
    /// The statement that ends it, undone.
    pub remedy: String,
}

/// The oldest transactions that write; a role without `pg_read_all_stats` sees its own and prepared ones.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn open_transactions(connection: &mut Connection) -> Result<Vec<OpenTransaction>> {
    let micros = |time: &str| format!("(extract(epoch FROM {time}) * 1000000)::bigint");
    let sql = format!(
        "SELECT pg_catalog.format('process %s (%s, %s) since %s', a.pid, coalesce(a.usename, '?'), coalesce(a.state, '?'),
          a.xact_start), {}, pg_catalog.format('SELECT pg_terminate_backend(%s)', a.pid)
        FROM pg_catalog.pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.xact_start IS NOT NULL
        UNION ALL SELECT pg_catalog.format('prepared transaction %L since %s', p.gid, p.prepared), {},
          pg_catalog.format('ROLLBACK PREPARED %L', p.gid) FROM pg_catalog.pg_prepared_xacts p ORDER BY 2 LIMIT 5",
        micros("a.xact_start"),
        micros("p.prepared")
    );
    let rows = connection.simple(&sql).await?;
    let open = |row: Row<'_>| {
        let (shown, remedy) = (row.text(0)?.to_owned(), row.text(2)?.to_owned());
        Ok(OpenTransaction { shown, since_micros: row.parse(1)?, remedy })
    };
    rows.iter().map(open).collect()
}

/// The oldest transactions that write, for people.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn oldest_transactions(connection: &mut Connection) -> Result<Vec<String>> {
    Ok(open_transactions(connection).await?.into_iter().map(|open| open.shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume() -> Resume {
        Resume {
            server: ServerName { system: "7".into(), timeline: 1 },
            slot: "s".into(),
            database: "d".into(),
            boundary: Lsn(100),
            from: Lsn(100),
            views: Vec::new(),
        }
    }

    fn slot() -> Slot {
        let json = r#"{"slot_name":"s","plugin":"pgoutput","slot_type":"logical","database":"d","temporary":false,
            "active_pid":null,"restart_lsn":"0/10","confirmed_flush_lsn":"0/64","wal_status":"reserved",
            "safe_wal_size":null,"two_phase":true}"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn f07_a_slot_that_cannot_serve_the_position_is_named() {
        let code = |slot: Option<&Slot>| check_slot(slot, &resume()).map_err(|e| e.code()).err();
        assert_eq!(code(Some(&slot())), None);
        assert_eq!(code(None), Some(Code::SlotLost));
        assert_eq!(code(Some(&Slot { confirmed_flush_lsn: Some("0/65".into()), ..slot() })), Some(Code::SlotForeign));
        assert_eq!(code(Some(&Slot { plugin: Some("wal2json".into()), ..slot() })), Some(Code::SlotForeign));
        assert_eq!(code(Some(&Slot { plugin: None, database: None, ..slot() })), Some(Code::SlotForeign));
        assert_eq!(code(Some(&Slot { database: Some("x".into()), ..slot() })), Some(Code::SlotForeign));
        assert_eq!(code(Some(&Slot { wal_status: Some("lost".into()), ..slot() })), Some(Code::SlotInvalid));
        let reason = Some("wal_removed".to_owned());
        assert_eq!(code(Some(&Slot { invalidation_reason: reason, ..slot() })), Some(Code::SlotInvalid));
        assert_eq!(code(Some(&Slot { restart_lsn: None, ..slot() })), Some(Code::SlotInvalid));
        assert!(!slot().is_being_made());
        assert!(Slot { confirmed_flush_lsn: None, active_pid: Some(7), ..slot() }.is_being_made());
    }

    #[test]
    fn slots_that_cannot_serve_read_as_written() {
        let lost = Slot { invalidation_reason: Some("wal_removed".into()), ..slot() };
        let ahead = Slot { confirmed_flush_lsn: Some("0/65".into()), ..slot() };
        for slot in [None, Some(&lost), Some(&ahead)] {
            let error = check_slot(slot, &resume()).unwrap_err();
            dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
        }
    }
}
