//! Distributed transactions beside the load: prepared, left by their session, and decided later by another one, through
//! crashes of the server.
//!
//! Their rows are their own, so that nobody waits for their locks; now and then one goes on with a row of an earlier one. After
//! a crash the server is asked what has become of those whose fate is not known.

use super::tables::ID_SHARE;
use super::writer::{connect, is_lost};
use dujiang_scratch::{Random, Result, Server, Session};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lock wait timeout, deadlock, and what they make of a distributed transaction.
const GIVEN_UP: [u16; 5] = [1205, 1213, 1402, 1613, 1614];
/// The transaction is not there for this session: the one that prepared it may not have let go of it yet.
const NOT_YET: u16 = 1397;
/// Prepared ones at a time.
const MOST_OPEN: usize = 3;
/// How long the server may take until the last one is decided.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ids of their rows lie behind those of all writers.
const BASE: u64 = 15 * ID_SHARE;

/// What has become of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Prepared for certain.
    pub prepared: u64,
    /// Committed for certain.
    pub committed: u64,
    /// Rolled back for certain.
    pub rolled_back: u64,
    /// Prepared for certain, and not there any more after a crash.
    pub forgotten: u64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    prepared: AtomicU64,
    committed: AtomicU64,
    rolled_back: AtomicU64,
    forgotten: AtomicU64,
}

/// The distributed transactions on one server; no more of them once this is dropped.
pub struct Distributed {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Distributed {
    /// Begins to prepare and decide.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn start(server: &Server, seed: u64) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut coordinator = Coordinator::new(server.socket(), seed, shared.clone())?;
        let thread = std::thread::spawn(move || coordinator.run());
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What has become of them so far.
    pub fn outcomes(&self) -> Outcomes {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Outcomes {
            prepared: read(&self.shared.prepared),
            committed: read(&self.shared.committed),
            rolled_back: read(&self.shared.rolled_back),
            forgotten: read(&self.shared.forgotten),
        }
    }

    /// Waits until all of them are decided.
    ///
    /// # Panics
    /// When the server gave an answer that is not provoked.
    pub fn stop(mut self) -> Outcomes {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("invariant: there until it is stopped");
        thread.join().expect("the distributed transactions failed; see the message above");
        self.outcomes()
    }
}

impl Drop for Distributed {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One that is prepared, or may be.
struct Open {
    name: u64,
    /// Whether the server has said that it is prepared.
    sure: bool,
    /// Whether it is to be committed, once that was sent. Nobody decides otherwise later: the server may have logged it, and have
    /// crashed before it was carried out.
    decided: Option<bool>,
}

struct Coordinator {
    socket: PathBuf,
    random: Random,
    shared: Arc<Shared>,
    open: Vec<Open>,
    /// Rows of committed ones that no open one has touched.
    rows: Vec<u64>,
    next: u64,
    /// The connection was lost in the midst of something.
    unsure: bool,
}

impl Coordinator {
    fn new(socket: &Path, seed: u64, shared: Arc<Shared>) -> Result<Self> {
        // An earlier one may have left rows behind.
        let sql = format!("SELECT COALESCE(MAX(chain), 0) FROM river.chains WHERE chain >= {BASE}");
        let last = connect(socket)?.number(&sql)?;
        let next = u64::try_from(last).unwrap_or_default().max(BASE);
        let (open, rows) = (Vec::new(), Vec::new());
        let random = Random::new(seed);
        Ok(Self { socket: socket.to_owned(), random, shared, open, rows, next, unsure: false })
    }

    fn run(&mut self) {
        let (mut asked, mut since) = (false, None);
        loop {
            let stopped = self.shared.stop.load(Ordering::Relaxed);
            let waited = if stopped { since.get_or_insert_with(Instant::now).elapsed() } else { Duration::ZERO };
            let open: Vec<u64> = self.open.iter().map(|open| open.name).collect();
            assert!(waited < PATIENCE, "distributed transactions could not be decided for {waited:?}: {open:?}");
            if stopped && self.open.is_empty() && !self.unsure {
                if asked {
                    return;
                }
                // The server may have crashed while nobody was connected.
                (self.unsure, asked) = (true, true);
            }
            if let Err(error) = self.turn(stopped) {
                assert!(is_lost(&error), "a distributed transaction was refused: {error}");
                self.unsure = true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn turn(&mut self, stopped: bool) -> Result<()> {
        let mut session = connect(&self.socket)?;
        if self.unsure {
            self.ask_what_became(&mut session)?;
            self.unsure = false;
        }
        let decides = self.open.len() >= MOST_OPEN || self.random.chance(40);
        if (stopped || decides) && !self.open.is_empty() {
            return self.decide(&mut session);
        }
        if stopped { Ok(()) } else { self.prepare(session) }
    }

    /// Prepares a new one and leaves it.
    fn prepare(&mut self, mut session: Session) -> Result<()> {
        self.next += 1;
        let name = self.next;
        let again = match self.random.chance(30) && !self.rows.is_empty() {
            true => Some(self.rows.swap_remove(self.random.below(self.rows.len() as u64) as usize)),
            false => None,
        };
        let sql = self.draft(name, again);
        // Whoever waits for the table waits for prepared ones to be decided.
        session.run("SET SESSION lock_wait_timeout = 1")?;
        match session.run(&format!("XA START 'x{name}'; {sql}; XA END 'x{name}'")) {
            Ok(_) => {}
            Err(error) if error.sql_code().is_some_and(|code| GIVEN_UP.contains(&code)) => {
                // With its session the server rolls it back.
                self.rows.extend(again);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.open.push(Open { name, sure: false, decided: None });
        match session.run(&format!("XA PREPARE 'x{name}'")) {
            Ok(_) => {}
            // Commits were held up for too long; it is rolled back.
            Err(error) if error.sql_code().is_some_and(|code| GIVEN_UP.contains(&code)) => {
                self.open.pop();
                self.rows.extend(again);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.open.last_mut().expect("invariant: pushed above").sure = true;
        session.renewed()?;
        self.shared.prepared.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn draft(&mut self, name: u64, again: Option<u64>) -> String {
        let payload = self.random.below(1 << 40);
        let mut sql = format!(
            "INSERT INTO river.chains (name, chain, version, payload) VALUES ('xa-{name}',{name},1,'prepared'); \
             UPDATE river.chains SET version = version + 1, payload = '{payload}' WHERE name = 'xa-{name}'"
        );
        // Some are large enough to come in several events.
        let rows = if self.random.chance(20) { 400 } else { 1 };
        let rows: Vec<String> = (0..rows).map(|n| format!("({},1,2,3,NOW(6))", name * 1_000 + n)).collect();
        sql.push_str("; INSERT INTO river.journal (id, source, target, amount, noted) VALUES ");
        sql.push_str(&rows.join(","));
        if let Some(row) = again {
            sql.push_str(&format!("; UPDATE river.chains SET version = version + 1 WHERE name = 'xa-{row}'"));
        }
        sql
    }

    /// Commits one or rolls it back, in a session that knows nothing of it.
    fn decide(&mut self, session: &mut Session) -> Result<()> {
        let at = self.random.below(self.open.len() as u64) as usize;
        let drawn = self.random.chance(70);
        let open = &mut self.open[at];
        let commits = *open.decided.get_or_insert(drawn);
        let (name, verb) = (open.name, if commits { "COMMIT" } else { "ROLLBACK" });
        match session.run(&format!("XA {verb} 'x{name}'")) {
            Ok(_) => {}
            Err(error) if error.sql_code() == Some(NOT_YET) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.open.remove(at);
        let counter = if commits { &self.shared.committed } else { &self.shared.rolled_back };
        counter.fetch_add(1, Ordering::Relaxed);
        if commits {
            self.rows.push(name);
        }
        Ok(())
    }

    /// After a crash: what is prepared is so for certain; what is not has been decided, or is gone.
    fn ask_what_became(&mut self, session: &mut Session) -> Result<()> {
        let there: BTreeSet<String> =
            session.run("XA RECOVER")?.into_iter().filter_map(|row| row.into_iter().nth(3).flatten()).collect();
        // A rollback is not synced: one that was rolled back for certain may be there again.
        let known: BTreeSet<String> = self.open.iter().map(|open| format!("x{}", open.name)).collect();
        for name in there.difference(&known) {
            session.run(&format!("XA ROLLBACK '{name}'"))?;
        }
        for open in std::mem::take(&mut self.open) {
            if there.contains(&format!("x{}", open.name)) {
                self.open.push(Open { sure: true, ..open });
                continue;
            }
            if open.sure && open.decided.is_none() {
                self.shared.forgotten.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
