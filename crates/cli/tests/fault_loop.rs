//! Everything from the server to the files fails, again and again and each in its own way: the pipeline is killed, the server
//! is killed, connections are cut at any byte, the log is rotated, and purged as far as it was acknowledged, columns come,
//! change and go while rows flow, and distributed transactions stay undecided meanwhile. Afterwards the files are the source.
//!
//! `DUJIANG_FAULT_KILLS` sets how many kills of the pipeline there are (60 by default, 24 on MySQL); `DUJIANG_SEED` repeats a run's
//! choices, which every failure prints.

use crate::river::{Log, River, Run, Settings};
use crate::support::{number, seed};
use dujiang_core::fault::POINTS;
use dujiang_scratch::{Kind, Options, Random, Session};
use dujiang_testkit::proxy::Direction;
use dujiang_testkit::watch::Watcher;
use dujiang_testkit::workload::{Distributed, Plan};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;
/// Pipelines that are begun anew, each from its snapshot.
const LIVES: u64 = 2;
/// Longest life of a run after its disturbances.
const LONGEST: u64 = 200;
/// Bytes from the server within which a connection is cut.
const SOON: u64 = 30_000;
/// Bytes within which the first connection of a run is cut.
const AT_ONCE: u64 = 6_000;
/// Tables that get and lose columns. The others have rows of distributed transactions, for which a DDL would wait.
const ALTERED: [&str; 3] = ["accounts", "facts", "children"];
/// How long a statement may be in the way of the load.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lock wait timeout and deadlock.
const GIVEN_UP: [u16; 2] = [1205, 1213];

#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    crashes: u64,
    cuts: u64,
    rotations: u64,
    purges: u64,
    statements: u64,
    images: u64,
}

/// A column that a table got.
struct Extra {
    table: &'static str,
    name: String,
    wide: bool,
}

struct Hunt {
    river: River,
    random: Random,
    session: Option<Session>,
    tally: Tally,
    extras: Vec<Extra>,
}

#[test]
fn p01_files_are_the_source_whatever_fails_before_them() {
    hunt(Kind::MariaDb, 60);
}

#[test]
fn p01_files_are_the_source_whatever_fails_before_them_on_mysql() {
    // It takes longer to start.
    hunt(Kind::MysqlNewest, 24);
}

fn hunt(kind: Kind, kills: u64) {
    let kills = number("DUJIANG_FAULT_KILLS", kills);
    let seed = seed();
    let plan = Plan { seed, facts: 3_000, chains: 600, range: 250, pause: Duration::from_millis(1), ..Plan::default() };
    let settings = Settings { chunk: 150, interval: "100ms", lanes: 2, log: Log::None, proxied: true };
    let river = River::new(&Options::default().on(kind), plan, settings);
    let mut hunt =
        Hunt { river, random: Random::new(seed), session: None, tally: Tally::default(), extras: Vec::new() };
    for life in 0..LIVES {
        hunt.live(seed ^ life, kills.div_ceil(LIVES));
    }
    let tally = hunt.tally;
    eprintln!("{tally:?}");
    let least = kills / 10;
    assert!(
        tally.crashes >= least && tally.cuts >= least && tally.statements >= least && tally.purges >= kills / 50,
        "{tally:?}"
    );
}

impl Hunt {
    /// One pipeline from its snapshot to the oracle's verdict.
    fn live(&mut self, seed: u64, kills: u64) {
        let began = Instant::now();
        let watcher = Watcher::start(&self.river.out());
        self.river.load.start();
        let distributed = Distributed::start(&self.river.server, seed).expect("distributed transactions");
        for _ in 0..kills {
            self.round();
        }
        let outcomes = distributed.stop();
        self.proxy(|proxy| proxy.heal());
        let report = self.river.settle();
        eprintln!("{:?}, {:?}, {outcomes:?}, {:?}", began.elapsed(), self.river.load.counts(), self.tally);
        report.must_be_clean();
        watcher.finish().must_be_clean();
        assert!(outcomes.committed > 0 && outcomes.rolled_back > 0, "{outcomes:?}");
        self.tally.images += report.images;
        self.river.next_life();
    }

    /// A run that is disturbed, and killed.
    fn round(&mut self) {
        let epoch = self.river.epoch();
        let faults = match self.random.chance(40) {
            true => format!("{}@{}", self.random.pick(POINTS), 1 + self.random.below(20)),
            false => String::new(),
        };
        if self.random.chance(20) {
            self.cut_within(AT_ONCE);
        }
        let mut run = self.river.spawn(&faults, &[]);
        // Or until it has met its point.
        run.wait_until(|| self.river.epoch() > epoch);
        // Chance alone may leave it out.
        if self.tally.crashes < (self.tally.kills + 1) / 10 {
            self.crash(&mut run);
        }
        for _ in 0..=self.random.below(3) {
            self.disturb(&mut run);
        }
        let moment = Instant::now() + Duration::from_millis(self.random.below(LONGEST));
        run.wait_until(|| Instant::now() > moment);
        // A run that ends by itself has met an error; there is none to meet.
        if let Some(status) = run.ended() {
            assert_eq!(status.signal(), Some(SIGKILL), "a run ended with {status}:\n{}", self.river.log());
        }
        run.kill();
        self.tally.kills += 1;
    }

    fn disturb(&mut self, run: &mut Run) {
        match self.random.below(10) {
            0 => self.crash(run),
            1..4 => self.cut_within(SOON),
            4 | 5 => self.rotate(),
            6 => self.purge(),
            _ => self.alter(),
        }
    }

    /// The server dies and comes back; sometimes the next disturbance waits until the pipeline goes on.
    fn crash(&mut self, run: &mut Run) {
        self.session = None;
        self.river.server.kill9().expect("kill the server");
        self.river.server.restart().expect("restart the server");
        self.tally.crashes += 1;
        if self.random.chance(50) {
            let epoch = self.river.epoch();
            run.wait_until(|| self.river.epoch() > epoch);
        }
    }

    fn cut_within(&mut self, bytes: u64) {
        let after = self.random.below(bytes);
        self.proxy(|proxy| proxy.rules(Direction::ToClient, |rules| rules.cut_after = Some(after)));
        self.tally.cuts += 1;
    }

    fn rotate(&mut self) {
        self.run("FLUSH BINARY LOGS");
        self.tally.rotations += 1;
    }

    /// Nobody needs what lies before the acknowledged position, or before what that says it needs.
    fn purge(&mut self) {
        let Some(position) = self.river.position() else { return };
        let needed = position.split_once(", needs ").map_or(&*position, |(_, place)| place);
        let (file, _) = needed.split_once(':').expect("a place in a file");
        let before = self.logs();
        self.run(&format!("PURGE BINARY LOGS TO '{file}'"));
        self.tally.purges += u64::from(self.logs() < before);
    }

    fn logs(&mut self) -> usize {
        self.session().run("SHOW BINARY LOGS").expect("the logs").len()
    }

    /// A column comes, is widened, or goes.
    fn alter(&mut self) {
        self.tally.statements += 1;
        let number = self.tally.statements;
        let chosen =
            (self.extras.len() > 1 && self.random.chance(60)).then(|| self.random.below(self.extras.len() as u64));
        let table = match chosen.map(|at| at as usize) {
            None => {
                let (table, name) = (self.random.pick(&ALTERED), format!("extra_{number}"));
                let place = self.random.pick(&["", " FIRST", " AFTER version"]);
                self.run(&format!("ALTER TABLE river.{table} ADD COLUMN {name} INT NULL{place}"));
                self.extras.push(Extra { table, name, wide: false });
                table
            }
            Some(at) if !self.extras[at].wide => {
                let (table, name) = (self.extras[at].table, self.extras[at].name.clone());
                self.run(&format!("ALTER TABLE river.{table} MODIFY {name} BIGINT NULL"));
                self.extras[at].wide = true;
                table
            }
            Some(at) => {
                let Extra { table, name, .. } = self.extras.remove(at);
                self.run(&format!("ALTER TABLE river.{table} DROP COLUMN {name}"));
                table
            }
        };
        // The accounts are everybody's.
        if table == "accounts" {
            let values = self.extras.iter().filter(|extra| extra.table == table).map(|e| format!(", {} = id", e.name));
            let values: String = values.collect();
            self.run(&format!("UPDATE river.accounts SET version = version + 1{values}"));
        }
    }

    fn session(&mut self) -> &mut Session {
        let server = &self.river.server;
        self.session.get_or_insert_with(|| {
            let mut session = server.session().expect("a session");
            // The server notices no deadlock between rows and tables.
            session.run("SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1").expect("a setting");
            session
        })
    }

    /// Runs a statement, in the midst of the load.
    fn run(&mut self, statement: &str) {
        let began = Instant::now();
        while let Err(error) = self.session().run(statement) {
            let again = error.sql_code().is_some_and(|code| GIVEN_UP.contains(&code)) && began.elapsed() < PATIENCE;
            assert!(again, "{statement} for {:?}: {error}", began.elapsed());
        }
    }

    fn proxy(&self, act: impl FnOnce(&dujiang_testkit::proxy::Proxy)) {
        act(self.river.proxy.as_ref().expect("invariant: the river is proxied"));
    }
}
