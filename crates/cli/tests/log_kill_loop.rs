//! As the kill loop, with an embedded log between source and files: both loops die at any point.
//!
//! `DUJIANG_LOG_KILLS` sets how many kills there are at least (100 by default); `DUJIANG_SEED` repeats a run's choices.

use crate::river::{Log, River, Run, Settings};
use crate::support::{number, seed};
use dujiang_core::fault::LOG_POINTS;
use dujiang_scratch::{Options, Random};
use dujiang_testkit::watch::Watcher;
use dujiang_testkit::workload::Plan;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;
/// Points of the epoch protocol, met by both loops.
const BOTH: [&str; 5] =
    ["epoch.prepare", "epoch.before-publish", "epoch.after-publish", "epoch.after-commit", "recovery.committed"];
/// Longest life of a run before a kill at a random moment.
const LONGEST: u64 = 400;

#[test]
fn p07_files_are_the_source_after_kills_with_a_log_between() {
    let wanted = number("DUJIANG_LOG_KILLS", 100);
    let seed = seed();
    let pause = Duration::from_millis(1);
    let plan = Plan { seed, facts: 5_000, chains: 1_000, range: 250, pause, ..Plan::default() };
    let settings = Settings { chunk: 500, interval: "100ms", lanes: 2, log: Log::Embedded, proxied: false };
    let mut river = River::new(&Options::default(), plan, settings);
    let watcher = Watcher::start(&river.out());
    river.load.start();
    let mut random = Random::new(seed);
    let mut met: BTreeMap<&str, u64> = LOG_POINTS.iter().chain(&BOTH).map(|point| (*point, 0)).collect();
    for kill in 0..wanted {
        if random.chance(30) {
            let mut run = river.spawn("", &[]);
            let moment = Instant::now() + Duration::from_millis(random.below(LONGEST));
            run.wait_until(|| Instant::now() > moment);
            finish(run, &river);
        } else {
            let rarest = *met.iter().min_by_key(|(_, times)| **times).expect("there are points").0;
            let hit = 1 + random.below(if rarest == "recovery.committed" || rarest == "log.trimmed" { 2 } else { 12 });
            let mut run = river.spawn(&format!("{rarest}@{hit}"), &[]);
            let deadline = Instant::now() + Duration::from_secs(3);
            let missed = run.wait_until(|| Instant::now() > deadline);
            finish(run, &river);
            *met.get_mut(rarest).expect("it is there") += if missed { 0 } else { 1 };
            // A point that is not met now is not asked for again and again.
            if missed {
                *met.get_mut(rarest).expect("it is there") += 1;
            }
        }
        if kill == wanted / 2 {
            river.load.stop();
            river.settle().must_be_clean();
            river.load.start();
        }
    }
    let report = river.settle();
    report.must_be_clean();
    watcher.finish().must_be_clean();
    eprintln!("{wanted} kills, {} images compared, points {met:?}", report.images);
    assert!(report.images > 10_000, "{report:?}");
}

/// A run that ends by itself has met an error; there is none to meet.
fn finish(mut run: Run, river: &River) {
    if let Some(status) = run.ended() {
        assert_eq!(status.signal(), Some(SIGKILL), "a run ended with {status}:\n{}", river.log());
    }
    run.kill();
}
