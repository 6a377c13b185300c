//! Rows that move between keys of the source and keep another column that is unique, too: what a sink that is keyed by that one
//! must follow.

use dujiang_scratch::Random;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Columns: the unique one, the key, and a number.
pub const SHAPE: &str = "(k int NOT NULL UNIQUE, id int NOT NULL PRIMARY KEY, v int NOT NULL)";
/// Ids are below this; most of them are free.
const IDS: u64 = 4_000;

struct Row {
    k: u64,
    /// None while it is deleted.
    id: Option<u64>,
}

/// One session's share of the rows: nobody else touches them, nor takes an id of this share.
struct Mover {
    table: String,
    random: Random,
    rows: Vec<Row>,
    /// Ids are those with this remainder.
    share: u64,
    shares: u64,
    taken: BTreeSet<u64>,
    v: u64,
}

impl Mover {
    fn new(table: &str, seed: u64, rows: u64, (share, shares): (u64, u64)) -> Self {
        let random = Random::new(seed.wrapping_mul(1_000_003) ^ share);
        let of_share = (0..rows).filter(|k| k % shares == share);
        let mut mover =
            Self { table: table.into(), random, rows: Vec::new(), share, shares, taken: BTreeSet::new(), v: 0 };
        for k in of_share {
            let id = Some(mover.free_id());
            mover.rows.push(Row { k, id });
        }
        mover
    }

    fn free_id(&mut self) -> u64 {
        loop {
            let id = self.random.below(IDS / self.shares) * self.shares + self.share;
            if self.taken.insert(id) {
                return id;
            }
        }
    }

    fn insert(&mut self, k: u64, id: u64) -> String {
        self.v += 1;
        format!("INSERT INTO {} (k, id, v) VALUES ({k}, {id}, {}); ", self.table, self.v)
    }

    /// The rows before anything moves, as one script.
    fn first(&mut self) -> String {
        let rows: Vec<_> = self.rows.iter().filter_map(|row| Some((row.k, row.id?))).collect();
        rows.into_iter().map(|(k, id)| self.insert(k, id)).collect()
    }

    /// One transaction.
    fn draft(&mut self) -> String {
        let (table, at) = (self.table.clone(), self.random.below(self.rows.len() as u64) as usize);
        let k = self.rows[at].k;
        let Some(id) = self.rows[at].id else {
            let id = self.free_id();
            self.rows[at].id = Some(id);
            return self.insert(k, id);
        };
        match self.random.below(10) {
            0..=3 => {
                let to = self.move_to_free(at);
                format!("UPDATE {table} SET id = {to}, v = v + 1 WHERE id = {id}; ")
            }
            4 | 5 => {
                let to = self.move_to_free(at);
                let insert = self.insert(k, to);
                format!("BEGIN; DELETE FROM {table} WHERE id = {id}; {insert}COMMIT; ")
            }
            6 => {
                self.taken.remove(&id);
                self.rows[at].id = None;
                format!("DELETE FROM {table} WHERE id = {id}; ")
            }
            7 | 8 => self.exchange(at),
            _ => format!("UPDATE {table} SET v = v + 1 WHERE id = {id}; "),
        }
    }

    fn move_to_free(&mut self, at: usize) -> u64 {
        let to = self.free_id();
        if let Some(id) = self.rows[at].id.replace(to) {
            self.taken.remove(&id);
        }
        to
    }

    /// Two rows exchange their places: each moves to the other's key, or takes the other's unique number.
    fn exchange(&mut self, a: usize) -> String {
        let b = self.random.below(self.rows.len() as u64) as usize;
        let (Some(id_a), Some(id_b), true) = (self.rows[a].id, self.rows[b].id, a != b) else {
            return format!("UPDATE {} SET v = v + 1 WHERE k = {}; ", self.table, self.rows[a].k);
        };
        let (k_a, k_b) = (self.rows[a].k, self.rows[b].k);
        (self.rows[a].id, self.rows[b].id) = (Some(id_b), Some(id_a));
        let by_key = self.random.chance(50);
        let (spare, mut sql) = (self.share as i64 - 10, "BEGIN; ".to_owned());
        for (from, to) in [(id_a as i64, spare), (id_b as i64, id_a as i64), (spare, id_b as i64)] {
            if by_key {
                let _ = write!(sql, "UPDATE {} SET id = {to} WHERE id = {from}; ", self.table);
            }
        }
        for (id, k) in [(id_a, spare), (id_b, k_a as i64), (id_a, k_b as i64)] {
            if !by_key {
                let _ = write!(sql, "UPDATE {} SET k = {k} WHERE id = {id}; ", self.table);
            }
        }
        sql + "COMMIT; "
    }
}

/// Rows that move until it is told to stop.
pub struct Moves {
    movers: Vec<Mover>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    running: Vec<JoinHandle<()>>,
}

impl Moves {
    /// So many rows of a table of [`SHAPE`], which so many sessions will move.
    pub fn new(table: &str, seed: u64, rows: u64, sessions: u64) -> Self {
        let movers = (0..sessions).map(|share| Mover::new(table, seed, rows, (share, sessions))).collect();
        Self { movers, stop: Arc::default(), done: Arc::default(), running: Vec::new() }
    }

    /// What makes the first rows.
    pub fn first(&mut self) -> String {
        self.movers.iter_mut().map(Mover::first).collect()
    }

    /// Begins to move them; `session` makes what runs the statements it is handed.
    pub fn start<R: FnMut(&str) + Send + 'static>(&mut self, mut session: impl FnMut() -> R) {
        for mut mover in self.movers.drain(..) {
            let (stop, done, mut run) = (self.stop.clone(), self.done.clone(), session());
            self.running.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    run(&mover.draft());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
    }

    /// Waits until so many more transactions are through.
    ///
    /// # Panics
    /// When a session has failed, and when they are not through after a minute.
    pub fn wait_for(&self, more: u64) {
        let (begin, wanted) = (Instant::now(), self.done.load(Ordering::Relaxed) + more);
        while self.done.load(Ordering::Relaxed) < wanted {
            assert!(self.running.iter().all(|session| !session.is_finished()), "a session that moves rows has failed");
            assert!(begin.elapsed() < Duration::from_secs(60), "rows have not moved for a minute");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Waits until the last statements are through.
    ///
    /// # Panics
    /// When a statement was refused.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.running.drain(..) {
            thread.join().expect("a session that moves rows failed; see its message above");
        }
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.running.drain(..) {
            let _ = thread.join();
        }
    }
}
