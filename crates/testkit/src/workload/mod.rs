//! A load of real transactions on a real server, made so that loss, repetition and reordering show in the output.
//!
//! - **Bank**: transfers between accounts in transactions over two and more tables; the sum never changes.
//! - **Version chains**: every row has a version that rises by exactly one with each change of it, also across a change
//!   of its key and across delete and insert; so a history shows by itself whether something is missing.
//! - **Rollbacks**: one transaction in twenty, and savepoints; their rows must never be seen.
//! - **Keys**: integers, a case-insensitive text (which only the server can compare), a composite key; all of them change.
//! - **A child table** with a foreign key that does not cascade, and a table that is not captured.
//!
//! [`Moves`] is a load of another kind, on one table that a sink keys by another column.
//!
//! Each writer owns a share of the rows, so that it knows their versions without asking; the accounts are shared.

mod distributed;
mod memory;
mod moves;
mod tables;
mod writer;

pub use distributed::{Distributed, Outcomes};
pub use moves::{Moves, SHAPE};
pub use tables::{DATABASE, specs};

use dujiang_scratch::{Result, Server};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use writer::Writer;

/// What the load is like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Equal seeds draw equal choices (threads still interleave as they like).
    pub seed: u64,
    /// Parallel sessions.
    pub writers: u64,
    /// Accounts of the bank.
    pub accounts: u64,
    /// Rows of `chains`, which has a case-insensitive text key, before the load begins.
    pub chains: u64,
    /// Rows of `facts`, the wide table with a composite key, before the load begins.
    pub facts: u64,
    /// Pause of each writer between two transactions.
    pub pause: Duration,
    /// Most rows that one range update of `facts` changes.
    pub range: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, writers: 2, accounts: 200, chains: 2_000, facts: 10_000, pause: Duration::ZERO, range: 20 }
    }
}

/// What the load has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions whose commit was confirmed.
    pub committed: u64,
    /// Row changes of captured tables in them.
    pub changes: u64,
    /// Transactions rolled back on purpose.
    pub rolled_back: u64,
    /// Transactions the server gave up because of a deadlock.
    pub deadlocks: u64,
    /// Transactions that may have been committed or not, because the connection was lost.
    pub unknown: u64,
}

#[derive(Default)]
pub(crate) struct Shared {
    committed: AtomicU64,
    changes: AtomicU64,
    rolled_back: AtomicU64,
    deadlocks: AtomicU64,
    unknown: AtomicU64,
    stop: AtomicBool,
}

/// The load on one server; stopped when dropped.
pub struct Workload {
    plan: Plan,
    socket: PathBuf,
    shared: Arc<Shared>,
    resting: Vec<Writer>,
    running: Vec<JoinHandle<Writer>>,
}

impl Workload {
    /// Creates the tables and their first rows.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub fn create(server: &Server, plan: Plan) -> Result<Self> {
        let mut session = server.session()?;
        tables::create(&mut session, &plan)?;
        let resting = (0..plan.writers).map(|number| Writer::new(&plan, number)).collect();
        let socket = server.socket().to_owned();
        Ok(Self { plan, socket, shared: Arc::default(), resting, running: Vec::new() })
    }

    /// Lets the writers write, until [`Workload::stop`].
    pub fn start(&mut self) {
        self.shared.stop.store(false, Ordering::Relaxed);
        for mut writer in self.resting.drain(..) {
            let (shared, socket, pause) = (self.shared.clone(), self.socket.clone(), self.plan.pause);
            self.running.push(std::thread::spawn(move || {
                writer.run(&socket, &shared, pause);
                writer
            }));
        }
    }

    /// Waits until every writer has finished its transaction.
    ///
    /// # Panics
    /// When a writer met an answer of the server that the load does not provoke.
    pub fn stop(&mut self) -> Counts {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.running.drain(..) {
            self.resting.push(thread.join().expect("a writer of the load failed; see its message above"));
        }
        self.counts()
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            committed: read(&self.shared.committed),
            changes: read(&self.shared.changes),
            rolled_back: read(&self.shared.rolled_back),
            deadlocks: read(&self.shared.deadlocks),
            unknown: read(&self.shared.unknown),
        }
    }

    /// The rows that the tables had before the load began.
    pub fn initial_rows(&self) -> u64 {
        self.plan.accounts + self.plan.chains + self.plan.facts + 2
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.running.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_scratch::Options;

    fn wait_for(load: &Workload, done: impl Fn(Counts) -> bool) {
        while !done(load.counts()) {
            assert!(load.running.iter().all(|t| !t.is_finished()), "a writer ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_bank_holds_through_load_and_a_crash_of_the_server() {
        let mut server = Server::start(&Options::default()).unwrap();
        let mut load = Workload::create(&server, Plan { seed: 3, ..Plan::default() }).unwrap();
        load.start();
        wait_for(&load, |c| c.committed > 1_500);
        server.kill9().unwrap();
        wait_for(&load, |c| c.unknown >= 1);
        let before = load.counts().committed;
        server.restart().unwrap();
        wait_for(&load, |c| c.committed > before + 1_500);
        let counts = load.stop();
        println!("{counts:?}");
        assert!(counts.rolled_back > 50 && counts.changes > 2 * counts.committed);
        let mut session = server.session().unwrap();
        assert_eq!(session.number("SELECT SUM(balance) FROM river.accounts").unwrap(), 200 * 1_000);
        assert_eq!(session.number("SELECT COUNT(*) > 0 FROM river.chains WHERE payload = 'new'").unwrap(), 1);
    }
}
