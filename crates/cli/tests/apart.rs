//! A capture and a delivery as processes of their own, with a log elsewhere between them, which die at any point. Now and then
//! the delivery is away while the capture goes on.

use crate::river::{River, Run};
use dujiang_scratch::Random;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;
/// Points at which a capture dies.
const CAPTURE: [&str; 8] = [
    "epoch.prepare",
    "epoch.before-publish",
    "epoch.after-publish",
    "epoch.commit",
    "epoch.after-commit",
    "recovery.acquired",
    "recovery.committed",
    "stream.batch",
];
/// Points at which a delivery dies.
const DELIVERY: [&str; 6] =
    ["epoch.prepare", "epoch.after-publish", "epoch.commit", "recovery.committed", "file.staged", "file.published"];
/// Shortest and longest life of two runs, milliseconds.
const LIFE: (u64, u64) = (300, 1_000);

/// Kills them so often at least; how often it was. `disturb` does something else before a round, and tells how many kills that were.
pub fn kill(river: &River, wanted: u64, seed: u64, mut disturb: impl FnMut(u64, &mut Random) -> u64) -> u64 {
    let mut random = Random::new(seed);
    let (mut kills, mut rounds) = (0, 0);
    while kills < wanted {
        kills += disturb(rounds, &mut random);
        // Six rounds of twenty-four without a delivery: its sink is stopped.
        let away = rounds % 24 >= 18;
        let fault = |random: &mut Random, points: &[&str]| match random.chance(70) {
            true => format!("{}@{}", random.pick(points), 1 + random.below(6)),
            false => String::new(),
        };
        let mut capture = river.spawn(&fault(&mut random, &CAPTURE), &[]);
        let mut delivery = (!away).then(|| river.spawn_delivery(&fault(&mut random, &DELIVERY), &[]));
        let moment = Instant::now() + Duration::from_millis(LIFE.0 + random.below(LIFE.1 - LIFE.0));
        capture.wait_until(|| Instant::now() > moment);
        if let Some(delivery) = &mut delivery {
            delivery.wait_until(|| Instant::now() > moment);
        }
        for run in [Some(capture), delivery].into_iter().flatten() {
            finish(run);
            kills += 1;
        }
        rounds += 1;
    }
    kills
}

/// Kills a run. One that has ended by itself has met an error; there is none to meet.
pub fn finish(mut run: Run) {
    if let Some(status) = run.ended() {
        assert_eq!(status.signal(), Some(SIGKILL), "a run ended with {status}:\n{}", run.logged());
    }
    run.kill();
}
