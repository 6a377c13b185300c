//! The real binary is killed again and again while a real server is under load; afterwards its files are the source.
//!
//! `DUJIANG_KILLS` sets how many kills there are at least (200 by default); `DUJIANG_SEED` repeats a run's choices, which
//! every failure prints.

use crate::river::{Log, River, Run, Settings};
use crate::support::{number, seed};
use dujiang_core::fault::POINTS;
use dujiang_scratch::{Options, Random};
use dujiang_testkit::watch::Watcher;
use dujiang_testkit::workload::Plan;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;
/// Pipelines that are begun anew, each from its snapshot.
const LIVES: u64 = 4;
/// Least hits of every fail point, kills inside snapshots, and chunks of each snapshot.
const HITS: u64 = 10;
const SNAPSHOT_KILLS: u64 = 40;
const CHUNKS: u64 = 100;
/// Least images that the oracle has compared in the end.
const IMAGES: u64 = 1_000_000;
const CHUNK_ROWS: u64 = 150;
/// Longest life of a run before a kill at a random moment, from its start or from a new epoch.
const LONGEST: u64 = 350;

/// Points that are met only while a snapshot is read.
const IN_SNAPSHOT: [&str; 2] = ["snapshot.chunk-read", "snapshot.hand-off"];
/// Points of a start, at which the next start is killed too.
const IN_RECOVERY: [&str; 2] = ["recovery.acquired", "recovery.committed"];

#[derive(Default)]
struct Tally {
    kills: u64,
    in_snapshots: u64,
    after_new_epoch: u64,
    points: BTreeMap<&'static str, u64>,
    images: u64,
}

struct Hunt {
    river: River,
    random: Random,
    tally: Tally,
}

#[test]
fn p01_files_are_the_source_after_any_number_of_kills() {
    let wanted: u64 = number("DUJIANG_KILLS", 200);
    let seed = seed();
    let pause = Duration::from_millis(1);
    let plan = Plan { seed, facts: 20_000, chains: 2_000, range: 250, pause, ..Plan::default() };
    let settings = Settings { chunk: CHUNK_ROWS, interval: "100ms", lanes: 2, log: Log::None, proxied: false };
    let mut hunt = Hunt {
        river: River::new(&Options::default(), plan, settings),
        random: Random::new(seed),
        tally: Tally::default(),
    };
    assert!(hunt.river.load.initial_rows() / CHUNK_ROWS >= CHUNKS);
    let mut life = 0;
    while life < LIVES || !hunt.tally.is_enough(wanted) {
        life += 1;
        hunt.live(life, wanted.div_ceil(LIVES));
        assert!(life < 20 * LIVES, "no end in sight: {}", hunt.tally.report());
    }
    eprintln!("{}", hunt.tally.report());
}

impl Tally {
    fn is_enough(&self, wanted: u64) -> bool {
        self.kills >= wanted
            && self.in_snapshots >= SNAPSHOT_KILLS
            && 2 * self.after_new_epoch >= self.kills
            && self.images >= IMAGES
            && POINTS.iter().all(|point| self.hits(point) >= HITS)
    }

    fn hits(&self, point: &str) -> u64 {
        self.points.get(point).copied().unwrap_or(0)
    }

    fn report(&self) -> String {
        format!(
            "{} kills, {} inside snapshots, {} after a new epoch, {} images compared, fail points {:?}",
            self.kills, self.in_snapshots, self.after_new_epoch, self.images, self.points
        )
    }
}

impl Hunt {
    /// One pipeline from its snapshot to the oracle's verdict.
    fn live(&mut self, life: u64, kills: u64) {
        let began = Instant::now();
        let watcher = Watcher::start(&self.river.out());
        self.river.load.start();
        self.kill_in_snapshot(SNAPSHOT_KILLS.div_ceil(LIVES));
        self.kill_times(kills / 2);
        self.alter(life);
        self.kill_times(kills / 2);
        self.storm();
        let report = self.river.settle();
        report.must_be_clean();
        watcher.finish().must_be_clean();
        self.tally.images += report.images;
        eprintln!("life {life}: {:?}, {:?}, {:?}", began.elapsed(), self.river.load.counts(), self.tally.report());
        self.river.next_life();
    }

    fn kill_in_snapshot(&mut self, times: u64) {
        let end = self.tally.in_snapshots + times;
        for attempt in 0..2 * times {
            if self.tally.in_snapshots < end {
                self.kill_at(IN_SNAPSHOT[attempt as usize % 2], 12);
            }
        }
    }

    fn kill_times(&mut self, kills: u64) {
        let end = self.tally.kills + kills;
        while self.tally.kills < end {
            self.kill_somehow();
        }
    }

    fn kill_somehow(&mut self) {
        if self.random.chance(25) {
            return self.kill_at_random();
        }
        let elsewhere = POINTS.iter().copied().filter(|point| !IN_SNAPSHOT.contains(point));
        let rarest = elsewhere.min_by_key(|point| self.tally.hits(point)).expect("invariant: there are points");
        let most = match rarest {
            "file.step" => 150,
            // A start passes these once.
            point if IN_RECOVERY.contains(&point) => 1,
            _ => 8,
        };
        self.kill_at(rarest, most);
    }

    /// Kills at a fail point, at one of its first `most` hits, if the run gets there.
    fn kill_at(&mut self, point: &'static str, most: u64) {
        let (hit, epoch) = (1 + self.random.below(most), self.river.epoch());
        let mut run = self.river.spawn(&format!("{point}@{hit}"), &[]);
        let deadline = Instant::now() + Duration::from_secs(3);
        let missed = run.wait_until(|| Instant::now() > deadline);
        self.must_be_killed(&mut run);
        run.kill();
        if missed {
            // The point lies in a part of the run that is over, as a snapshot's chunks may be.
            return self.count(epoch);
        }
        *self.tally.points.entry(point).or_default() += 1;
        self.tally.in_snapshots += u64::from(IN_SNAPSHOT.contains(&point));
        self.count(epoch);
    }

    /// Kills some time after the start, in most cases some time after a new epoch.
    fn kill_at_random(&mut self) {
        let epoch = self.river.epoch();
        let mut run = self.river.spawn("", &[]);
        if self.random.chance(80) {
            run.wait_until(|| self.river.epoch() > epoch);
        }
        let moment = Instant::now() + Duration::from_millis(self.random.below(LONGEST));
        run.wait_until(|| Instant::now() > moment);
        self.must_be_killed(&mut run);
        run.kill();
        self.count(epoch);
    }

    /// A kill while an epoch becomes visible, a kill during the recovery from it, and kills during that.
    fn storm(&mut self) {
        for point in ["file.manifest-written", "file.published", "epoch.after-publish", "epoch.commit"] {
            self.kill_at(point, 3);
            for recovery in IN_RECOVERY {
                self.kill_at(recovery, 1);
            }
            let step = self.random.below(12);
            self.kill_at("file.step", 1 + step);
            self.kill_at(IN_RECOVERY[0], 1);
        }
    }

    /// A run that ends by itself has met an error; there is none to meet.
    fn must_be_killed(&self, run: &mut Run) {
        if let Some(status) = run.ended() {
            assert_eq!(status.signal(), Some(SIGKILL), "a run ended with {status}:\n{}", self.river.log());
        }
    }

    fn count(&mut self, epoch_before: u64) {
        self.tally.kills += 1;
        self.tally.after_new_epoch += u64::from(self.river.epoch() > epoch_before);
    }

    /// A column comes, and that of the life before goes.
    fn alter(&self, life: u64) {
        let mut session = self.river.server.session().expect("a session");
        let mut statements = vec![format!("ALTER TABLE river.accounts ADD COLUMN extra_{life} INT NULL")];
        if life > 1 {
            statements.push(format!("ALTER TABLE river.accounts DROP COLUMN extra_{}", life - 1));
        }
        statements.push(format!("UPDATE river.accounts SET version = version + 1, extra_{life} = id"));
        for statement in statements {
            while let Err(error) = session.run(&statement) {
                assert!(matches!(error.sql_code(), Some(1205 | 1213)), "{statement}: {error}");
            }
        }
    }
}
