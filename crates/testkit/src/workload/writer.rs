//! One session's share of the load.

use super::memory::{Entry, Owned};
use super::tables::{FACTS_SHARE, ID_SHARE, first_name, share};
use super::{Plan, Shared};
use dujiang_scratch::{Error, Random, Session, quoted};
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Lock wait timeout and deadlock: the transaction is rolled back and the next one begins. As after the rest, which happens only
/// while somebody else alters the table, or the one that a foreign key refers to, which is not there for a moment then.
const GIVEN_UP: [u16; 4] = [1205, 1213, 1412, 1452];
/// Server shutdown, lost and broken connections: nobody knows whether the transaction was committed.
const CONNECTION_CODES: [u16; 7] = [1053, 1152, 1158, 1159, 1160, 1161, 1927];

/// Columns by name: tables may get more of them while the load runs.
const CHAINS: &str = "(name, chain, version, payload)";
const FACTS: &str = "(a, b, version, price, ratio, kind, raw, seen, place)";

/// One writer: what it owns, and how it goes on after a pause.
pub(super) struct Writer {
    random: Random,
    accounts: u64,
    range: u64,
    /// Ids of this writer begin here.
    base: u64,
    next_id: u64,
    chains: Owned,
    facts: Owned,
    children: Owned,
    sql: String,
    changes: u64,
}

enum Ending {
    Commit,
    RollBack,
}

impl Writer {
    pub(super) fn new(plan: &Plan, number: u64) -> Self {
        let base = number * ID_SHARE;
        let entry = |chain, name| Entry { chain, name, version: 1, lives: true };
        let chains = (0..share(plan.chains, plan, number)).map(|n| {
            let chain = base + n + 10;
            entry(chain, first_name(chain))
        });
        let facts = (0..share(plan.facts, plan, number)).map(|n| entry(number * FACTS_SHARE + n, "b".to_owned()));
        Self {
            random: Random::new(plan.seed.wrapping_mul(1_000_003) ^ number),
            accounts: plan.accounts,
            range: plan.range.max(1),
            base,
            // Behind the ids of the first rows.
            next_id: base + ID_SHARE / 2,
            chains: Owned::new(chains.collect()),
            facts: Owned::new(facts.collect()),
            children: Owned::default(),
            sql: String::new(),
            changes: 0,
        }
    }

    /// Writes until it is told to stop, through crashes of the server.
    pub(super) fn run(&mut self, socket: &Path, shared: &Shared, pause: Duration) {
        let stopped = || shared.stop.load(Ordering::Relaxed);
        while !stopped() {
            let Ok(mut session) = connect(socket) else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            while !stopped() {
                let ending = self.draft();
                if !self.execute(&mut session, &ending, shared) {
                    break;
                }
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                }
            }
        }
    }

    /// Runs the drafted transaction; whether the session can go on.
    fn execute(&mut self, session: &mut Session, ending: &Ending, shared: &Shared) -> bool {
        let count = |counter: &std::sync::atomic::AtomicU64, by| {
            counter.fetch_add(by, Ordering::Relaxed);
        };
        match (session.run(&self.sql), ending) {
            (Ok(_), Ending::Commit) => {
                self.each_table(Owned::commit);
                count(&shared.committed, 1);
                count(&shared.changes, self.changes);
                true
            }
            (Ok(_), Ending::RollBack) => {
                self.each_table(|owned| owned.roll_back(0));
                count(&shared.rolled_back, 1);
                true
            }
            (Err(error), _) if error.sql_code().is_some_and(|code| GIVEN_UP.contains(&code)) => {
                self.each_table(|owned| owned.roll_back(0));
                count(&shared.deadlocks, 1);
                session.run("ROLLBACK").is_ok()
            }
            (Err(error), _) if is_lost(&error) => {
                self.each_table(Owned::forget);
                count(&shared.unknown, 1);
                false
            }
            (Err(error), _) => panic!("the load's own statement was refused: {error}\n{}", self.sql),
        }
    }

    fn each_table(&mut self, mut act: impl FnMut(&mut Owned)) {
        act(&mut self.chains);
        act(&mut self.facts);
        act(&mut self.children);
    }

    /// Writes the next transaction into `self.sql`.
    fn draft(&mut self) -> Ending {
        self.sql.clear();
        self.sql.push_str("BEGIN");
        self.changes = 0;
        match self.random.below(10) {
            0..=2 => self.transfer(),
            3 | 4 => self.all_tables(),
            5 | 6 => (0..=self.random.below(4)).for_each(|_| self.chain()),
            7 => self.range_of_facts(),
            8 => (0..=self.random.below(4)).for_each(|_| self.fact()),
            _ => self.with_savepoint(),
        }
        if self.random.chance(10) {
            self.noise();
        }
        let ending = if self.random.chance(5) { Ending::RollBack } else { Ending::Commit };
        self.sql.push_str(match ending {
            Ending::Commit => ";COMMIT",
            Ending::RollBack => ";ROLLBACK",
        });
        ending
    }

    /// One change in each of the five tables.
    fn all_tables(&mut self) {
        self.transfer();
        self.chain();
        self.fact();
        self.child();
    }

    /// What lies between the savepoint and its rollback must never be seen.
    fn with_savepoint(&mut self) {
        self.fact();
        let (marks, changes) = ([self.chains.mark(), self.facts.mark()], self.changes);
        self.sql.push_str(";SAVEPOINT here");
        self.fact();
        self.chain();
        self.sql.push_str(";ROLLBACK TO SAVEPOINT here");
        self.chains.roll_back(marks[0]);
        self.facts.roll_back(marks[1]);
        self.changes = changes;
        self.child();
    }

    fn noise(&mut self) {
        let id = self.new_id();
        self.add(format_args!("INSERT INTO river.not_captured VALUES ({id},'not captured')"), 0);
    }

    /// Locks accounts in ascending order, so that transfers never deadlock with each other.
    fn transfer(&mut self) {
        let first = 1 + self.random.below(self.accounts - 1);
        let second = first + 1 + self.random.below(self.accounts - first);
        let amount = 1 + self.random.below(100);
        let (minus, plus) = if self.random.chance(50) { ('-', '+') } else { ('+', '-') };
        for (account, sign) in [(first, minus), (second, plus)] {
            self.add(
                format_args!(
                    "UPDATE river.accounts SET balance = balance {sign} {amount}, version = version + 1 WHERE id = {account}"
                ),
                1,
            );
        }
        let (source, target) = if minus == '-' { (first, second) } else { (second, first) };
        let id = self.new_id();
        self.add(format_args!("INSERT INTO river.journal (id, source, target, amount, noted) VALUES ({id},{source},{target},{amount},NOW(6))"), 1);
        if self.random.chance(10) {
            let old = self.base + ID_SHARE / 2 + self.random.below(id - self.base - ID_SHARE / 2 + 1);
            self.add(format_args!("DELETE FROM river.journal WHERE id = {old}"), 0);
        }
    }

    /// Inserts, changes, renames, deletes or revives a row of `chains`.
    fn chain(&mut self) {
        if self.chains.len() == 0 || self.random.chance(15) {
            let chain = self.new_id();
            let name = first_name(chain);
            self.add(format_args!("INSERT INTO river.chains {CHAINS} VALUES ('{name}',{chain},1,'new')"), 1);
            self.chains.add(Entry { chain, name, version: 1, lives: true });
            return;
        }
        let index = self.random.below(self.chains.len() as u64) as usize;
        let old = self.chains.get(index).clone();
        if !old.lives {
            return self.revive_chain(index, &old);
        }
        match self.random.below(10) {
            0 => {
                self.chains.change(index, |e| e.lives = false);
                self.add(format_args!("DELETE FROM river.chains WHERE name = {}", quoted(&old.name)), 1);
            }
            1..=3 => self.rename_chain(index, &old),
            _ => {
                let payload = self.payload();
                self.chains.change(index, |e| e.version += 1);
                self.add(
                    format_args!(
                        "UPDATE river.chains SET version = version + 1, payload = {payload} WHERE name = {}",
                        quoted(&old.name)
                    ),
                    1,
                );
            }
        }
    }

    fn revive_chain(&mut self, index: usize, old: &Entry) {
        let new = self.chains.change(index, |e| (e.version, e.lives) = (old.version + 1, true));
        let (name, payload) = (quoted(&new.name), self.payload());
        self.add(
            format_args!("INSERT INTO river.chains {CHAINS} VALUES ({name},{},{},{payload})", new.chain, new.version),
            1,
        );
    }

    /// A new key, or the same one to the server but not to anyone who compares bytes.
    fn rename_chain(&mut self, index: usize, old: &Entry) {
        let name = match self.random.below(4) {
            0 => old.name.to_uppercase(),
            1 => old.name.to_lowercase(),
            2 => old.name.replace('a', "á"),
            _ => format!("{}-{}", self.random.pick(&["rope", "ROPE", "Schnür", "绳"]), old.chain),
        };
        self.chains.change(index, |e| (e.version, e.name) = (old.version + 1, name.clone()));
        self.add(
            format_args!(
                "UPDATE river.chains SET version = version + 1, name = {} WHERE name = {}",
                quoted(&name),
                quoted(&old.name)
            ),
            1,
        );
    }

    fn payload(&mut self) -> String {
        match self.random.below(6) {
            0 => "NULL".to_owned(),
            1 => "''".to_owned(),
            2 => quoted("a\tb\nc\\d'e\"f,g"),
            n => quoted(&"river ".repeat((n * n) as usize)),
        }
    }

    /// Inserts, changes, renames, deletes or revives a row of `facts`.
    fn fact(&mut self) {
        if self.facts.len() == 0 || self.random.chance(15) {
            let a = self.base / ID_SHARE * FACTS_SHARE + (self.new_id() % (ID_SHARE / 2)) + FACTS_SHARE / 2;
            self.insert_fact(a, "new", 1);
            self.facts.add(Entry { chain: a, name: "new".to_owned(), version: 1, lives: true });
            return;
        }
        let index = self.random.below(self.facts.len() as u64) as usize;
        let old = self.facts.get(index).clone();
        let place = format!("a = {} AND b = {}", old.chain, quoted(&old.name));
        if !old.lives {
            let new = self.facts.change(index, |e| (e.version, e.lives) = (old.version + 1, true));
            return self.insert_fact(new.chain, &new.name, new.version);
        }
        match self.random.below(10) {
            0 => {
                self.facts.change(index, |e| e.lives = false);
                self.add(format_args!("DELETE FROM river.facts WHERE {place}"), 1);
            }
            1 | 2 => {
                let b = self.random.pick(&["b", "B", "Ü", "o'clock", ""]);
                self.facts.change(index, |e| (e.version, e.name) = (old.version + 1, b.to_owned()));
                let b = quoted(b);
                self.add(format_args!("UPDATE river.facts SET version = version + 1, b = {b} WHERE {place}"), 1);
            }
            _ => {
                self.facts.change(index, |e| e.version += 1);
                let change = self.fact_change();
                self.add(format_args!("UPDATE river.facts SET version = version + 1, {change} WHERE {place}"), 1);
            }
        }
    }

    fn insert_fact(&mut self, a: u64, b: &str, version: u64) {
        let (price, ratio) = (self.random.below(1 << 40), self.random.next() as f64 / 3.0);
        let (raw, b) = (self.random.next(), quoted(b));
        self.add(
            format_args!(
                "INSERT INTO river.facts {FACTS} VALUES ({a},{b},{version},-{price}.{:04},{ratio:e},'näive',UNHEX('{raw:016x}'),NOW(3),'Zürich')",
                price % 10_000
            ),
            1,
        );
    }

    fn fact_change(&mut self) -> String {
        match self.random.below(6) {
            0 => "price = NULL, seen = NULL".to_owned(),
            1 => format!("price = price * -1, ratio = {:e}", 1.0 / (1 + self.random.below(1_000)) as f64),
            2 => "kind = 'x,y', place = 'Besançon ÿ'".to_owned(),
            3 => format!("raw = UNHEX('{:08x}00')", self.random.next() as u32),
            4 => "seen = NOW(3), place = ''".to_owned(),
            _ => "ratio = NULL, raw = ''".to_owned(),
        }
    }

    /// One statement that changes many rows.
    fn range_of_facts(&mut self) {
        let count = (1 + self.random.below(self.range)).min(self.facts.len() as u64);
        let start = self.random.below(self.facts.len() as u64 + 1 - count) as usize;
        // Entries are not sorted once there are new ones; the statement names each row's number.
        let mut numbers = String::new();
        for index in start..start + count as usize {
            if self.facts.get(index).lives {
                let entry = self.facts.change(index, |e| e.version += 1);
                let _ = write!(numbers, "{}{}", if numbers.is_empty() { "" } else { "," }, entry.chain);
                self.changes += 1;
            }
        }
        if !numbers.is_empty() {
            let change = self.fact_change();
            self.add(format_args!("UPDATE river.facts SET version = version + 1, {change} WHERE a IN ({numbers})"), 0);
        }
    }

    /// Inserts, changes or deletes a row of `children`, whose account must exist.
    fn child(&mut self) {
        let account = 1 + self.random.below(self.accounts);
        if self.children.len() == 0 || self.random.chance(40) {
            let id = self.new_id();
            self.add(
                format_args!(
                    "INSERT INTO river.children (id, account, version, note) VALUES ({id},{account},1,'child')"
                ),
                1,
            );
            self.children.add(Entry { chain: id, name: String::new(), version: 1, lives: true });
            return;
        }
        let index = self.random.below(self.children.len() as u64) as usize;
        let old = self.children.get(index).clone();
        let id = old.chain;
        if !old.lives {
            let new = self.children.change(index, |e| (e.version, e.lives) = (old.version + 1, true));
            self.add(
                format_args!(
                    "INSERT INTO river.children (id, account, version, note) VALUES ({id},{account},{},'back')",
                    new.version
                ),
                1,
            );
        } else if self.random.chance(20) {
            self.children.change(index, |e| e.lives = false);
            self.add(format_args!("DELETE FROM river.children WHERE id = {id}"), 1);
        } else {
            self.children.change(index, |e| e.version += 1);
            self.add(
                format_args!("UPDATE river.children SET version = version + 1, account = {account} WHERE id = {id}"),
                1,
            );
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn add(&mut self, statement: std::fmt::Arguments<'_>, changes: u64) {
        self.sql.push(';');
        let _ = self.sql.write_fmt(statement);
        self.changes += changes;
    }
}

pub(super) fn connect(socket: &Path) -> dujiang_scratch::Result<Session> {
    let mut session = Session::connect(socket)?;
    session.run("SET NAMES utf8mb4, time_zone = '+00:00'")?;
    Ok(session)
}

pub(super) fn is_lost(error: &Error) -> bool {
    match error.sql_code() {
        Some(code) => CONNECTION_CODES.contains(&code),
        None => true,
    }
}
