//! Looks after what the stream does not tell: the publication, and the log that the slot holds back.

use super::Start;
use super::arrivals::{Arrival, Arrivals, Published};
use super::keys::{self, Key};
use super::partitions::Partitions;
use crate::client::{Connection, Endpoint, Session, worth_another_try};
use crate::config::Config;
use crate::discovery::Facts;
use crate::followed::Followed;
use crate::lsn::Lsn;
use crate::preflight::{self, Agreement, Asked};
use crate::server;
use crate::snapshot::log_something;
use dujiang_core::clock::Clock;
use dujiang_core::source::KeptLog;
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// From so many bytes of log on that the slot holds back, it is said why; and again whenever they have doubled.
const MUCH_LOG: u64 = 1 << 30;

/// It is looked at least so often, however rarely an idle server is given something to log: transaction ids that the stream tells by
/// halves are completed by what is seen, and in this time no server gives out a billion.
const AT_LEAST_EVERY: Duration = Duration::from_secs(600);

/// Moments of the log that are remembered, so that its age is known.
const MOMENTS: usize = 256;

/// A task that looks at the server from time to time; ends when dropped.
pub struct Watch {
    alarms: mpsc::Receiver<Error>,
    seen: Arc<Mutex<Option<Seen>>>,
    settled: Arc<AtomicBool>,
    next_xid: Arc<AtomicU64>,
    looked: Arc<Notify>,
    arrivals: mpsc::Receiver<Arrival>,
    taken_in: mpsc::Sender<TableId>,
    published: mpsc::Receiver<Published>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Looks now, and then every `heartbeat.interval`.
    pub fn start(start: &Start, tables: Vec<TableId>, keys: Vec<Key>) -> Self {
        let (alarm, alarms) = mpsc::channel(1);
        let (arrival, arrivals) = mpsc::channel(1);
        let (taken_in, to_publish) = mpsc::channel(1);
        let (ready, published) = mpsc::channel(1);
        let seen = Arc::new(Mutex::new(None));
        let settled = Arc::new(AtomicBool::new(false));
        let next_xid = Arc::new(AtomicU64::new(0));
        let looked = Arc::new(Notify::new());
        let guard = Guard {
            config: start.config.clone(),
            followed: start.followed.clone(),
            facts: start.facts.clone(),
            tables,
            keys,
            clock: start.context.clock.clone(),
            told: MUCH_LOG / 2,
            danger: false,
            moments: Moments::default(),
            seen: seen.clone(),
            settled: settled.clone(),
            next_xid: next_xid.clone(),
            looked: looked.clone(),
            arrivals: Arrivals::default(),
            partitions: start.partitions.clone(),
            agreement: start.agreement.clone(),
            arrival,
            to_publish,
            publishing: None,
            on_its_way: false,
            ready,
            failures: 0,
            cannot: None,
        };
        let task = tokio::spawn(guard.run(alarm));
        Self { alarms, seen, settled, next_xid, looked, arrivals, taken_in, published, task }
    }

    /// Whether it was looked, and no table is on its way.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// The next transaction id that the server gives out, in full, as it was seen last.
    pub fn next_xid(&self) -> u64 {
        self.next_xid.load(Ordering::Relaxed)
    }

    /// Waits until it was looked again. **Cancel-safe.**
    pub async fn looked(&self) {
        self.looked.notified().await;
    }

    /// A table that has come.
    pub fn arrival(&mut self) -> Option<Arrival> {
        self.arrivals.try_recv().ok()
    }

    /// The reader has taken the table in: it may be published.
    pub fn taken_in(&self, table: TableId) {
        // One table comes at a time, so that there is room; whoever has ended has told why.
        let _ = self.taken_in.try_send(table);
    }

    /// A table that is published now.
    pub fn published(&mut self) -> Option<Published> {
        self.published.try_recv().ok()
    }

    /// The log that the slot holds back, of which everything before `boundary` is read; as it was seen last.
    pub fn kept(&self, boundary: Lsn, now_micros: i64) -> Option<KeptLog> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { kept, end, oldest_micros } = seen.as_ref()?;
        let age_micros = oldest_micros.map(|oldest| (now_micros - oldest).max(0));
        Some(KeptLog { unread: end.0.saturating_sub(boundary.0), age_micros, ..kept.clone() })
    }

    /// What halts the pipeline, if anything does.
    pub fn alarm(&mut self) -> Option<Error> {
        self.alarms.try_recv().ok()
    }
}

/// What was seen of the slot.
struct Seen {
    kept: KeptLog,
    /// The end of the log then.
    end: Lsn,
    /// When the oldest that is kept was written.
    oldest_micros: Option<i64>,
}

/// Where the end of the log was when.
#[derive(Default)]
struct Moments(VecDeque<(i64, Lsn)>);

impl Moments {
    fn add(&mut self, micros: i64, end: Lsn) {
        self.0.push_back((micros, end));
        if self.0.len() > MOMENTS {
            // What is missed least: the older, the coarser.
            let missed = |at: &usize| {
                let gap = self.0[at + 1].0 - self.0[at - 1].0;
                gap as f64 / (micros - self.0[*at].0 + 1).max(1) as f64
            };
            let least = (1..self.0.len() - 1).min_by(|a, b| missed(a).total_cmp(&missed(b)));
            least.map(|at| self.0.remove(at));
        }
    }

    /// When this place was the end of the log, at the earliest known moment after it.
    fn when(&self, place: Lsn) -> Option<i64> {
        self.0.iter().find(|(_, end)| *end >= place).map(|(micros, _)| *micros)
    }
}

struct Guard {
    config: Arc<Config>,
    followed: Followed,
    facts: Facts,
    tables: Vec<TableId>,
    keys: Vec<Key>,
    clock: Arc<dyn Clock>,
    /// Bytes of log that were told last.
    told: u64,
    /// Whether it was told that the slot is in danger.
    danger: bool,
    moments: Moments,
    seen: Arc<Mutex<Option<Seen>>>,
    settled: Arc<AtomicBool>,
    next_xid: Arc<AtomicU64>,
    /// The reader does not wait longer for what there is to tell.
    looked: Arc<Notify>,
    arrivals: Arrivals,
    partitions: Partitions,
    agreement: Agreement,
    arrival: mpsc::Sender<Arrival>,
    to_publish: mpsc::Receiver<TableId>,
    /// A table that is to be published, and is tried again until it is.
    publishing: Option<TableId>,
    /// A table was handed to the reader that is not published yet: one comes at a time.
    on_its_way: bool,
    ready: mpsc::Sender<Published>,
    /// Looks that failed, one after the other.
    failures: u32,
    /// Why, as it was told.
    cannot: Option<String>,
}

impl Guard {
    async fn run(mut self, alarm: mpsc::Sender<Error>) {
        let mut connection = None;
        loop {
            match self.look(&mut connection).await {
                Ok(()) => (self.failures, self.cannot) = (0, None),
                Err(error) if halts(&error) => {
                    // The reader is gone if this fails.
                    let _ = alarm.send(error).await;
                    self.looked.notify_one();
                    return;
                }
                Err(error) => {
                    self.cannot_look(&error);
                    connection = None;
                }
            }
            // What cannot be looked at does not hold the pipeline up.
            self.settled.store(!self.on_its_way, Ordering::Release);
            self.looked.notify_one();
            tokio::select! {
                table = self.to_publish.recv() => match table {
                    Some(table) => self.publishing = Some(table),
                    // The reader is gone.
                    None => return,
                },
                () = tokio::time::sleep(self.config.options.heartbeat_interval.min(AT_LEAST_EVERY)) => {}
            }
        }
    }

    /// The stream tells of lost connections; what no other try can mend is told here, once.
    fn cannot_look(&mut self, error: &Error) {
        let told = error.to_string();
        if worth_another_try(error, self.failures) || self.cannot.as_ref() == Some(&told) {
            tracing::debug!(%error, "the server cannot be looked at");
        } else {
            tracing::warn!(%error, "tables, partitions and the log that is kept cannot be looked at");
            self.cannot = Some(told);
        }
        self.failures = self.failures.saturating_add(1);
    }

    async fn look(&mut self, connection: &mut Option<Connection>) -> Result<()> {
        let connection = match connection {
            Some(connection) => connection,
            None => {
                let mut fresh = self.followed.connect().await?;
                // A look locks all partitions: while it waits for one of them, whoever alters another would wait for it.
                fresh.execute("SET lock_timeout = '2s'").await?;
                connection.insert(fresh)
            }
        };
        // The server passes over changes of tables that are not published, without a word.
        preflight::published(connection, &self.config, &self.facts, &self.tables, Asked::Later).await?;
        self.agreement.look(connection, &self.config, &self.facts, &self.tables).await?;
        keys::check(connection, &self.keys).await?;
        self.slot(connection).await?;
        self.partitions.look(connection, &self.tables).await?;
        if let Some(table) = self.publishing.clone() {
            let (partitions, agreement) = (&self.partitions, &self.agreement);
            let published =
                self.arrivals.publish(connection, &self.config, &self.facts, &table, partitions, agreement).await;
            let published = match published {
                // The session is as good as it was: the next look tries again.
                Err(error) if connection.is_idle() && !halts(&error) => {
                    self.arrivals.tell_unpublished(&table, &error);
                    return Ok(());
                }
                other => other?,
            };
            self.publishing = None;
            self.tables.push(table);
            // The reader is gone if this fails.
            let _ = self.ready.send(published).await;
            self.on_its_way = false;
        }
        if !self.on_its_way
            && let Some(arrival) = self.arrivals.look(connection, &self.config, &self.facts, &self.tables).await?
        {
            self.on_its_way = true;
            self.keys.extend(Key::of(&arrival.shape));
            self.settled.store(false, Ordering::Release);
            let _ = self.arrival.send(arrival).await;
        }
        Ok(())
    }

    async fn slot(&mut self, connection: &mut Connection) -> Result<()> {
        let name = &self.config.slot;
        let Some(slot) = server::slot(connection, name).await? else { return Ok(()) };
        let (end, next_xid) = ends(connection).await?;
        self.next_xid.fetch_max(next_xid, Ordering::Relaxed);
        let now = self.clock.now_micros();
        self.moments.add(now, end);
        let restart = slot.restart_lsn.as_deref().map(Lsn::parse).transpose()?;
        let held = restart.map_or(0, |restart| end.0.saturating_sub(restart.0));
        let left = slot.left();
        let danger = (slot.wal_status.as_deref() == Some("unreserved") || left == Some(0)).then(|| {
            format!(
                "the server is about to give the replication slot `{name}` up: it holds back {} MB of log, more than \
                 max_slot_wal_keep_size allows",
                held >> 20
            )
        });
        match &danger {
            Some(why) if !self.danger => tracing::warn!(slot = %name, "{why}"),
            _ => {}
        }
        self.danger = danger.is_some();
        let oldest_micros = restart.and_then(|restart| self.moments.when(restart));
        let kept = KeptLog { bytes: held, left, danger, ..KeptLog::default() };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { kept, end, oldest_micros });
        self.tell_if_much(connection, held, left).await
    }

    async fn tell_if_much(&mut self, connection: &mut Connection, held: u64, left: Option<u64>) -> Result<()> {
        if held < MUCH_LOG {
            self.told = MUCH_LOG / 2;
        } else if held >= self.told.saturating_mul(2) {
            self.told = held;
            let oldest = server::oldest_transactions(connection).await?;
            let left = left.map_or_else(|| "no limit".to_owned(), |left| format!("{left} bytes"));
            tracing::warn!(
                slot = %self.config.slot,
                held_bytes = held,
                left = %left,
                "the replication slot holds back much of the server's log: the pipeline is behind, or transactions are open \
                 for long: {}",
                if oldest.is_empty() { "none".to_owned() } else { oldest.join("; ") }
            );
        }
        Ok(())
    }
}

/// What no other look can mend.
fn halts(error: &Error) -> bool {
    matches!(error.code(), Code::Publication | Code::TableGone | Code::SchemaChange | Code::UnloggedRows)
}

/// The end of the log, and the next transaction id.
async fn ends(connection: &mut Connection) -> Result<(Lsn, u64)> {
    let next = "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())";
    let rows = connection.simple(&format!("SELECT {}, {next}", server::LOG_END)).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell the end of its log"))?;
    Ok((Lsn::parse(row.text(0)?)?, row.parse(1)?))
}

/// Gives the server something to log: a commit of any kind writes all before it to disk.
pub fn nudge(endpoint: Endpoint) {
    tokio::spawn(async move {
        let Ok(mut connection) = Connection::connect(&endpoint, Session::Ordinary).await else { return };
        if let Err(error) = log_something(&mut connection).await {
            tracing::debug!(%error, "the server takes no message into its log");
        }
        connection.close().await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_place_is_known_however_long_it_runs() {
        let mut moments = Moments::default();
        for n in 0..10_000u64 {
            moments.add(n as i64, Lsn(n * 10));
        }
        assert!(moments.0.len() <= MOMENTS);
        assert_eq!(moments.when(Lsn(99_991)), None);
        for place in [0, 5_000, 50_000, 99_000] {
            let when = moments.when(Lsn(place)).unwrap();
            assert!(when >= place as i64 / 10 && when - place as i64 / 10 <= 1_000, "{place}: {when}");
        }
    }
}
