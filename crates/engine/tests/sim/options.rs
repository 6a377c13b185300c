//! What one seed's world is like.

use dujiang_core::Epoch;
use dujiang_core::sink::SinkClass;
use dujiang_engine::{ErrorPolicy, Settings, Until};
use dujiang_testkit::memory::{Rates, Rng, ScriptOptions};
use std::time::Duration;

/// Everything that is drawn from a seed before anything runs.
#[derive(Debug, Clone)]
pub struct Options {
    pub class: SinkClass,
    pub script: ScriptOptions,
    pub settings: Settings,
    pub rates: Rates,
    /// Processes that die before faults end.
    pub deaths: u64,
    /// Calls a process makes before it dies, at most.
    pub life: u64,
    pub pace: Duration,
    pub read_ahead: u64,
    pub restore_from: Option<Epoch>,
    pub until: Option<Until>,
}

impl Options {
    pub fn draw(rng: &mut Rng) -> Self {
        // Swarm: each kind of fault is on or off as a whole; a seventh of all seeds has none.
        let quiet = rng.below(7) == 0;
        let mut on = |per_mille: u64, most: u64| {
            if quiet || !rng.chance(per_mille) { 0 } else { 1 + rng.below(most) }
        };
        let (fail, lose_reply, slow) = (on(500, 80), on(500, 80), on(500, 300));
        let (deaths, odd) = (on(700, 8), on(400, 150));
        let long = rng.below(40) == 0;
        let steps = if long { 3000 } else { 20 + rng.below(280) as usize };
        let mut options = Self {
            class: [SinkClass::Staged, SinkClass::Staged, SinkClass::Transactional, SinkClass::AtLeastOnce]
                [rng.below(4) as usize],
            script: ScriptOptions {
                steps,
                keys: 1 + rng.below(12),
                odd,
                alters: if rng.chance(500) { rng.below(30) } else { 0 },
                snapshot: rng.chance(400),
                merged: false,
            },
            settings: settings(rng),
            rates: Rates { fail, lose_reply, slow, slow_by: Duration::from_millis(1 + rng.below(400)) },
            deaths,
            life: 20 + rng.below(400),
            pace: Duration::from_micros(100 + rng.below(5000)),
            read_ahead: 1 + rng.below(20),
            restore_from: None,
            until: None,
        };
        if rng.chance(200) {
            options.script.merge();
        }
        options
    }
}

fn settings(rng: &mut Rng) -> Settings {
    Settings {
        parallelism: 1 + rng.below(4) as usize,
        checkpoint_interval: Duration::from_millis(5 + rng.below(500)),
        memory_limit: 4096 << rng.below(10),
        error_policy: ErrorPolicy::DeadLetter,
        // Enough that no good record runs out of tries: what happens then has tests of its own.
        retry_attempts: 20,
        retry_pause: Duration::from_millis(1 + rng.below(50)),
        epoch_images: if rng.chance(300) { 1 + rng.below(60) } else { u64::MAX },
        ack_lag: rng.below(3) as usize,
        ..Settings::default()
    }
}
