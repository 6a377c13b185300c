//! A stand-in for OceanBase's proxy (ODP), Binlog Service and database, over a MySQL 5.7 server, whose binlog has the same
//! shape.
//!
//! As the sources of the open Binlog Service have it: a greeting that names another version, no encryption, no database in
//! the login; five commands only once a session is a replica, no dump by file and offset, and OK for what is not understood;
//! a log that lags behind the database. The proxy takes tenant and cluster off the user's name. The database reads tables
//! as of a snapshot, of which it keeps copies.

use super::dump;
use super::wire::{self, Packet, packet, send};
use crate::support;
use dujiang_mysql::client::Connection;
use dujiang_scratch::Server;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// COM_QUIT, COM_QUERY, COM_REGISTER_SLAVE, COM_BINLOG_DUMP_GTID: all that Binlog Service understands.
const UNDERSTOOD: [u8; 4] = [0x01, 0x03, 0x15, 0x1e];
/// COM_STMT_PREPARE, COM_STMT_EXECUTE, COM_STMT_CLOSE: the proxy leads them to the database.
const PREPARED: [u8; 3] = [0x16, 0x17, 0x19];
const QUERY: u8 = 0x03;
const REGISTER: u8 = 0x15;
const PREPARE: u8 = 0x16;
const DUMP: u8 = 0x1e;
/// Statements that are answered with OK: the service does not understand the first two, the database knows the last.
const ANSWERED_OK: [&str; 3] = ["gtid_purged", "gtid_owned", "SET SESSION ob_"];
const AS_OF: &str = " AS OF SNAPSHOT ";

/// How the stand-in behaves.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// How far the log is behind the database.
    pub lag: Duration,
    /// The tenant is in Oracle mode.
    pub oracle: bool,
    /// For how many seconds old rows are kept, if not half an hour.
    pub undo_retention: Option<&'static str>,
}

/// A running stand-in; ends with the test's runtime.
pub struct StandIn {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    manners: Manners,
    /// Commands that the service would not have understood.
    strange: Mutex<Vec<u8>>,
    /// User names as they came.
    users: Mutex<Vec<String>>,
    /// Errors for the next reads as of a snapshot.
    refusals: Mutex<VecDeque<(u16, &'static str)>>,
    /// What SHOW MASTER STATUS has said, and when.
    statuses: Mutex<VecDeque<(Instant, Vec<String>)>>,
    /// For questions of the stand-in's own, which the binlog does not know.
    database: tokio::sync::Mutex<Connection>,
    /// For what is committed right after the next snapshot.
    writer: tokio::sync::Mutex<Connection>,
    afterwards: Mutex<Option<&'static str>>,
    snapshots: Mutex<u64>,
}

impl StandIn {
    pub async fn before(server: &Server, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut database = support::connect(server).await;
        database.execute("SET SESSION sql_log_bin = 0").await.unwrap();
        // Copying then locks nothing of what is copied.
        database.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
        let shared = Arc::new(Shared {
            server: server.port(),
            manners,
            strange: Mutex::default(),
            users: Mutex::default(),
            refusals: Mutex::default(),
            statuses: Mutex::default(),
            database: tokio::sync::Mutex::new(database),
            writer: tokio::sync::Mutex::new(support::connect(server).await),
            afterwards: Mutex::default(),
            snapshots: Mutex::new(1_000_000_000_000_000_000),
        });
        tokio::spawn(watch(support::connect(server).await, shared.clone()));
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(session(client, accepting.clone()));
            }
        });
        Self { port, shared }
    }

    /// Commands that the service would not have understood.
    pub fn strange(&self) -> Vec<u8> {
        self.shared.strange.lock().unwrap().clone()
    }

    /// User names as they came.
    pub fn users(&self) -> Vec<String> {
        self.shared.users.lock().unwrap().clone()
    }

    /// Commits these statements right after the next snapshot is taken.
    pub fn afterwards(&self, statements: &'static str) {
        *self.shared.afterwards.lock().unwrap() = Some(statements);
    }

    /// The next read as of a snapshot ends in this error.
    pub fn refuse(&self, number: u16, message: &'static str) {
        self.shared.refusals.lock().unwrap().push_back((number, message));
    }

    /// Whether all errors were met.
    pub fn has_refused(&self) -> bool {
        self.shared.refusals.lock().unwrap().is_empty()
    }
}

/// Keeps what the server says of its log, so that it can be told later.
async fn watch(mut connection: Connection, shared: Arc<Shared>) {
    while let Ok(rows) = connection.query("SHOW MASTER STATUS").await {
        let row: Option<Vec<String>> =
            rows.get(0).map(|row| (0..5).map(|at| row.text(at).unwrap().unwrap_or_default().to_owned()).collect());
        if let Some(row) = row {
            let mut statuses = shared.statuses.lock().unwrap();
            if statuses.back().is_none_or(|(_, last)| *last != row) {
                statuses.push_back((Instant::now(), row));
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Shared {
    /// The end of the log as it was a while ago.
    fn status(&self) -> Option<Vec<String>> {
        let statuses = self.statuses.lock().unwrap();
        let shown = statuses.iter().rev().find(|(at, _)| at.elapsed() >= self.manners.lag);
        shown.or(statuses.front()).map(|(_, row)| row.clone())
    }

    /// A snapshot: copies of all tables, which the binlog does not know.
    async fn snapshot(&self) -> u64 {
        let number = {
            let mut snapshots = self.snapshots.lock().unwrap();
            *snapshots += 1;
            *snapshots
        };
        let mut database = self.database.lock().await;
        let tables = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'";
        let rows = database.query(tables).await.unwrap();
        let names: Vec<String> = rows.iter().map(|row| row.required(0).unwrap().to_owned()).collect();
        database.execute(&format!("CREATE DATABASE scn_{number}")).await.unwrap();
        for name in names {
            // Dropped or altered meanwhile: then it is not in the snapshot.
            let like = format!("CREATE TABLE scn_{number}.`{name}` LIKE shop.`{name}`");
            let copy = format!("INSERT INTO scn_{number}.`{name}` SELECT * FROM shop.`{name}`");
            if database.execute(&like).await.is_err() || database.execute(&copy).await.is_err() {
                let _ = database.execute(&format!("DROP TABLE IF EXISTS scn_{number}.`{name}`")).await;
            }
        }
        let afterwards = self.afterwards.lock().unwrap().take();
        for statement in afterwards.into_iter().flat_map(|statements| statements.split("; ")) {
            self.writer.lock().await.execute(statement).await.unwrap();
        }
        number
    }

    /// What the stand-in says itself; `None` leaves it to the server.
    async fn answer(&self, text: &str) -> Option<Vec<Packet>> {
        if ANSWERED_OK.iter().any(|part| text.contains(part)) {
            return Some(wire::ok());
        }
        if text.contains("ob_compatibility_mode") {
            let mode = if self.manners.oracle { "ORACLE" } else { "MYSQL" };
            return Some(wire::result(&["Variable_name", "Value"], &["ob_compatibility_mode", mode]));
        }
        if text == "SHOW PARAMETERS LIKE 'undo_retention'" {
            let seconds = self.manners.undo_retention.unwrap_or("1800");
            return Some(wire::result(&["name", "value"], &["undo_retention", seconds]));
        }
        if text == "SELECT current_scn()" {
            return Some(wire::result(&["current_scn()"], &[&self.snapshot().await.to_string()]));
        }
        if text == "SHOW MASTER STATUS" {
            let names = ["File", "Position", "Binlog_Do_DB", "Binlog_Ignore_DB", "Executed_Gtid_Set"];
            let row = self.status()?;
            return Some(wire::result(&names, &row.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        None
    }

    /// A read as of a snapshot is one of its copy.
    async fn as_of(&self, statement: &str) -> Result<String, Vec<Packet>> {
        let Some((before, rest)) = statement.split_once(AS_OF) else { return Ok(statement.to_owned()) };
        if let Some((number, message)) = self.refusals.lock().unwrap().pop_front() {
            return Err(wire::refusal(number, message));
        }
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let table = before.rsplit('`').nth(1).unwrap_or_default();
        let shape = |database: &str| {
            format!(
                "(SELECT GROUP_CONCAT(COLUMN_NAME, COLUMN_TYPE ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = '{database}' AND TABLE_NAME = '{table}')"
            )
        };
        let same = format!("SELECT {} <=> {}", shape("shop"), shape(&format!("scn_{number}")));
        if self.database.lock().await.query_value(&same).await.unwrap().as_deref() != Some("1") {
            return Err(wire::refusal(1412, "Unable to read data -- Table definition has changed"));
        }
        Ok(format!("{} {rest}", before.replace("`shop`.", &format!("`scn_{number}`."))))
    }
}

async fn session(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.server)).await else { return };
    let (mut from_server, mut to_server) = server.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    if login(&mut from_server, &mut to_server, &mut from_client, &mut to_client, &shared).await.is_none() {
        return;
    }
    let (to_client, dumps) = (Arc::new(tokio::sync::Mutex::new(to_client)), Arc::new(AtomicBool::new(false)));
    let answers = tokio::spawn(dump::pass_on(from_server, to_client.clone(), dumps.clone(), shared.manners.lag));
    commands(from_client, to_server, &to_client, &dumps, &shared).await;
    answers.abort();
    let _ = to_client.lock().await.shutdown().await;
}

/// The login, with the user's name as the database knows it.
async fn login(
    from_server: &mut OwnedReadHalf,
    to_server: &mut OwnedWriteHalf,
    from_client: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    shared: &Shared,
) -> Option<()> {
    let (_, greeting) = packet(from_server).await?;
    send(to_client, 0, &wire::disguised(&greeting)).await?;
    let (sequence, response) = packet(from_client).await?;
    let (user, response) = wire::without_tenant(&response);
    shared.users.lock().unwrap().push(user);
    send(to_server, sequence, &response).await?;
    loop {
        let (sequence, answer) = packet(from_server).await?;
        send(to_client, sequence, &answer).await?;
        match answer[0] {
            0x00 => return Some(()),
            0xff => return None,
            _ => {}
        }
        let (sequence, more) = packet(from_client).await?;
        send(to_server, sequence, &more).await?;
    }
}

/// What the client asks; a command that is not understood ends the session.
async fn commands(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    to_client: &tokio::sync::Mutex<OwnedWriteHalf>,
    dumps: &AtomicBool,
    shared: &Shared,
) {
    let mut replica = false;
    while let Some((sequence, mut payload)) = packet(&mut from).await {
        let command = payload[0];
        let known = UNDERSTOOD.contains(&command) || (!replica && PREPARED.contains(&command));
        if !known {
            shared.strange.lock().unwrap().push(command);
            return;
        }
        replica |= command == REGISTER;
        if command == DUMP {
            dumps.store(true, Ordering::SeqCst);
        }
        let mut own = None;
        if matches!(command, QUERY | PREPARE) {
            let text = String::from_utf8_lossy(&payload[1..]).into_owned();
            own = shared.answer(&text).await;
            match shared.as_of(&dump::in_nanoseconds(&text)).await {
                Ok(statement) => payload = [&[command], statement.as_bytes()].concat(),
                Err(refusal) => own = Some(refusal),
            }
        }
        let done = match own {
            Some(packets) => wire::send_all(&mut *to_client.lock().await, &packets).await,
            None => send(&mut to, sequence, &payload).await,
        };
        if done.is_none() {
            return;
        }
    }
}
