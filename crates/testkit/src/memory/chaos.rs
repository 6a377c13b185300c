//! What goes wrong, decided from a seed or from a script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A small generator of random numbers (SplitMix64): the same seed gives the same numbers everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// True `per_mille` times of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does what it should.
    Pass,
    /// It does nothing and says so.
    Fail,
    /// It does nothing, because of what it has been given earlier, and says so.
    FailForEarlier,
    /// It does nothing and panics.
    Panic,
    /// It does what it should, and the caller hears an error.
    LoseReply,
    /// It does nothing yet, the caller hears an error, and it may still be done later (where that is possible).
    Late,
}

/// How often calls go wrong, per mille.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// [`Fate::Fail`].
    pub fail: u64,
    /// [`Fate::LoseReply`] and [`Fate::Late`].
    pub lose_reply: u64,
    /// Calls that take up to `slow_by` longer.
    pub slow: u64,
    /// See `slow`.
    pub slow_by: Duration,
}

/// The switchboard of faults, shared by everything in a [`super::World`].
#[derive(Clone)]
pub struct Chaos {
    state: Arc<Mutex<State>>,
    process: watch::Receiver<u64>,
    killer: Arc<watch::Sender<u64>>,
}

struct State {
    rng: Rng,
    rates: Rates,
    scripted: BTreeMap<&'static str, VecDeque<Fate>>,
    calls: BTreeMap<&'static str, u64>,
    /// Calls until the process dies; whether before or after doing what it was asked is drawn then.
    dies_in: Option<u64>,
    injected: u64,
}

impl Chaos {
    /// Draws from `seed`.
    pub fn new(seed: u64, rates: Rates) -> Self {
        let (killer, process) = watch::channel(0);
        let state = State {
            rng: Rng::new(seed),
            rates,
            scripted: BTreeMap::new(),
            calls: BTreeMap::new(),
            dies_in: None,
            injected: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), process, killer: Arc::new(killer) }
    }

    /// Nothing goes wrong by itself.
    pub fn none() -> Self {
        Self::new(0, Rates::default())
    }

    /// From now on.
    pub fn set_rates(&self, rates: Rates) {
        self.lock().rates = rates;
    }

    /// The next calls of this name get these fates; later ones are drawn again.
    pub fn script(&self, call: &'static str, fates: impl IntoIterator<Item = Fate>) {
        self.lock().scripted.entry(call).or_default().extend(fates);
    }

    /// The process dies at the `calls`-th call from now.
    pub fn die_in(&self, calls: Option<u64>) {
        self.lock().dies_in = calls;
    }

    /// How often a call of this name has been made.
    pub fn calls(&self, call: &str) -> u64 {
        self.lock().calls.get(call).copied().unwrap_or(0)
    }

    /// Calls that went wrong so far.
    pub fn injected(&self) -> u64 {
        self.lock().injected
    }

    /// Number of the process that runs now.
    pub fn process(&self) -> u64 {
        *self.process.borrow()
    }

    /// Kills the process: none of its calls ever returns.
    pub fn kill(&self) {
        self.killer.send_modify(|process| *process += 1);
    }

    /// Waits until process number `process` is dead.
    pub async fn dead(&self, process: u64) {
        let mut now = self.process.clone();
        // The sender lives as long as this value.
        let _ = now.wait_for(|now| *now != process).await;
    }

    /// How much longer something takes than it should.
    pub fn slowness(&self) -> Duration {
        self.lock().slowness()
    }

    /// Random numbers of the world, for decisions of its parts.
    pub fn draw<T>(&self, from: impl FnOnce(&mut Rng) -> T) -> T {
        from(&mut self.lock().rng)
    }

    /// Makes a call of process number `process`. `work` is what it does; errors of `failed` and `lost` are what the
    /// caller hears when it goes wrong.
    pub async fn call<T, E>(
        &self,
        process: u64,
        name: &'static str,
        failed: impl FnOnce(Fate) -> E,
        work: impl FnOnce(Fate) -> Result<T, E>,
    ) -> Result<T, E> {
        self.hang_if_dead(process).await;
        let (fate, pause, dies) = self.lock().cast(name);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
            self.hang_if_dead(process).await;
        }
        if dies == Some(false) {
            self.kill();
        }
        self.hang_if_dead(process).await;
        let done = match fate {
            Fate::Fail | Fate::FailForEarlier => None,
            Fate::Panic => panic!("{name} panics on purpose"),
            Fate::Pass | Fate::LoseReply | Fate::Late => Some(work(fate)),
        };
        if dies == Some(true) {
            self.kill();
        }
        self.hang_if_dead(process).await;
        match (fate, done) {
            (Fate::Pass, Some(done)) => done,
            (Fate::LoseReply, Some(Err(error))) => Err(error),
            (fate, _) => Err(failed(fate)),
        }
    }

    async fn hang_if_dead(&self, process: u64) {
        if self.process() != process {
            std::future::pending::<()>().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn slowness(&mut self) -> Duration {
        let slow = self.rates.slow > 0 && self.rng.chance(self.rates.slow);
        if slow { self.rates.slow_by.mul_f64(self.rng.below(1000) as f64 / 1000.0) } else { Duration::ZERO }
    }

    /// The fate of a call, how long it takes, and whether the process dies at it (`true`: after the work).
    fn cast(&mut self, name: &'static str) -> (Fate, Duration, Option<bool>) {
        let cast = self.cast_now(name);
        self.injected += u64::from(cast.0 != Fate::Pass);
        cast
    }

    fn cast_now(&mut self, name: &'static str) -> (Fate, Duration, Option<bool>) {
        *self.calls.entry(name).or_default() += 1;
        let mut dies = None;
        if let Some(left) = &mut self.dies_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.dies_in = None;
                dies = Some(self.rng.chance(500));
            }
        }
        let slow = self.rates.slow > 0 && self.rng.chance(self.rates.slow);
        let pause =
            if slow { self.rates.slow_by.mul_f64(self.rng.below(1000) as f64 / 1000.0) } else { Duration::ZERO };
        if let Some(fate) = self.scripted.get_mut(name).and_then(VecDeque::pop_front) {
            return (fate, pause, dies);
        }
        let fate = if self.rng.chance(self.rates.fail) && can(name, Fate::Fail) {
            Fate::Fail
        } else if self.rng.chance(self.rates.lose_reply) && can(name, Fate::LoseReply) {
            if name == "store.publish" && self.rng.chance(500) { Fate::Late } else { Fate::LoseReply }
        } else {
            Fate::Pass
        };
        (fate, pause, dies)
    }
}

/// Which calls can go wrong in which way without breaking their contract.
fn can(name: &str, fate: Fate) -> bool {
    match fate {
        Fate::Fail => !matches!(name, "source.next" | "source.ack" | "log.next" | "log.ack"),
        _ => matches!(
            name,
            "sink.commit"
                | "letters.commit"
                | "store.publish"
                | "store.acquire"
                | "sink.schema"
                | "log.commit"
                | "log.schema"
        ),
    }
}
