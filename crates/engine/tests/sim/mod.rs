//! Seeded simulation of the running engine over parts in memory, in virtual time.
//!
//! Each seed draws its own world: class of the sink, lanes, interval, memory, a script with changes of shape and bad
//! records, and which faults it suffers, none included. Processes die at random calls and are started again; then the
//! faults end, and the run must end too, with exactly the output that the script asks for.
//!
//! `DUJIANG_SEED=<n>` replays one seed; `DUJIANG_SEEDS=<n>` sets how many are run.

mod options;
mod routing;
mod run;
mod transform;
mod two_loops;

pub use options::Options;
use routing::Merging;
pub use run::{Ended, NO_CLOCK, compare, run_process_with, violations};
use run::{replay, replay_on_threads};
use transform::Picky;
use two_loops::replay_with_log;

use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 2000;
const SEEDS_WITH_LOG: u64 = 600;

/// Runs seeds on two threads; the first failure stops all.
fn run_seeds(seeds: std::ops::Range<u64>, replay: fn(u64) -> Result<(), String>) -> Result<(), String> {
    let next = AtomicU64::new(seeds.start);
    let failed = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().is_some() {
                        return;
                    }
                    if let Err(why) = replay(seed) {
                        failed.lock().unwrap().get_or_insert(format!("seed {seed}: {why}"));
                        return;
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap().map_or(Ok(()), Err)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seeds of this run: one, or the first so many.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    match number("DUJIANG_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DUJIANG_SEEDS").unwrap_or(default),
    }
}

#[test]
fn p35_p36_simulation_of_every_fault() {
    dujiang_testkit::saboteur::take_out();
    if let Err(why) = run_seeds(seeds(SEEDS), replay) {
        panic!("{why}\nreplay with DUJIANG_SEED=<seed>");
    }
}

#[test]
fn p07_p36_simulation_of_a_capture_and_its_deliveries() {
    dujiang_testkit::saboteur::take_out();
    if let Err(why) = run_seeds(seeds(SEEDS_WITH_LOG), replay_with_log) {
        panic!("{why}\nreplay with DUJIANG_SEED=<seed>");
    }
}

/// The same on several threads and in real time: orders of events that one thread never shows.
#[test]
fn p36_simulation_on_several_threads() {
    for seed in seeds(150) {
        if let Err(why) = replay_on_threads(seed) {
            panic!("seed {seed}: {why}");
        }
    }
}
