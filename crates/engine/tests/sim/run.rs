//! One seed: processes that live and die, then the comparison.

use super::{Merging, Options, Picky};
use dujiang_core::clock::Standing;
use dujiang_core::routing::Routing;
use dujiang_core::sink::SinkClass;
use dujiang_core::{Code, Error};
use dujiang_engine::{Job, Outcome, Parts, PipelineStatus, StatusBoard, StopSignal, run_with};
use dujiang_testkit::memory::{Chaos, Effect, Rates, Rng, Script, World};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Virtual time after which a run counts as stuck.
pub(super) const STUCK: Duration = Duration::from_secs(1200);
/// Processes of one seed, at most.
pub(super) const PROCESSES: u64 = 2000;

/// A clock that stands still: nothing in the protocol may depend on it.
pub const NO_CLOCK: Standing = Standing(1_700_000_000_000_000);

/// How a process ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself.
    Finished(Result<Outcome, Error>),
    /// It was killed.
    Died,
    /// It has not ended in time.
    Stuck(Box<PipelineStatus>),
}

/// Plays a seed.
pub fn replay(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let options = Options::draw(&mut rng);
    let script = Script::generate(&mut rng, &options.script);
    let world = World::new(script, options.class, Chaos::new(rng.next_u64(), options.rates));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let ended = runtime.map_err(|e| e.to_string())?.block_on(lives(&world, &options, &mut rng));
    let told = || format!("{options:#?}");
    ended.map_err(|why| format!("{why}\n{}", told()))?;
    compare(&world).map_err(|why| format!("{why}\n{}", told()))
}

/// Plays a seed on four threads, with short times.
pub fn replay_on_threads(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut options = Options::draw(&mut rng);
    options.script.steps = options.script.steps.min(200);
    options.pace = Duration::from_micros(10);
    options.settings.retry_pause = Duration::from_millis(1);
    options.settings.checkpoint_interval = Duration::from_millis(1 + rng.below(4));
    options.rates.slow = 0;
    let script = Script::generate(&mut rng, &options.script);
    let world = World::new(script, options.class, Chaos::new(rng.next_u64(), options.rates));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build();
    runtime.map_err(|e| e.to_string())?.block_on(lives(&world, &options, &mut rng))?;
    compare(&world)
}

async fn lives(world: &World, options: &Options, rng: &mut Rng) -> Result<(), String> {
    let mut deaths = options.deaths;
    for process in 0..PROCESSES {
        world.chaos.die_in((deaths > 0).then(|| 1 + rng.below(options.life)));
        if deaths == 0 && process > options.deaths + 20 {
            // The faults end; from here on the run must come to its end.
            world.chaos.set_rates(Rates::default());
        }
        let (stopper, stop) = StopSignal::new();
        if rng.chance(100) {
            let after = Duration::from_millis(rng.below(2000));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                stopper.stop();
            });
        }
        let ended = run_process(world, options, stop).await;
        violations(world)?;
        prefix(world)?;
        match ended {
            Ended::Died => deaths -= 1,
            Ended::Stuck(status) => return Err(format!("the run is stuck: {status:#?}")),
            Ended::Finished(Ok(outcome)) if outcome.end == dujiang_engine::End::SourceEnded => return Ok(()),
            Ended::Finished(Ok(_)) => {}
            Ended::Finished(Err(error)) if may_end(&error) => {}
            Ended::Finished(Err(error)) => return Err(format!("ended with {error:?}")),
        }
    }
    Err("no progress".to_owned())
}

/// Errors that faults may lead to; a supervisor starts the process again.
pub(super) fn may_end(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::SinkWrite | Code::CheckpointWrite | Code::CheckpointUnknown | Code::DeadLetterWrite | Code::Fenced
    )
}

async fn run_process(world: &World, options: &Options, stop: StopSignal) -> Ended {
    run_process_with(world, options, stop, &StatusBoard::new()).await
}

/// Runs one process until it ends, dies or is stuck.
pub async fn run_process_with(world: &World, options: &Options, stop: StopSignal, board: &Arc<StatusBoard>) -> Ended {
    let job = Job {
        name: "memory".to_owned(),
        source: Box::new(world.source().pace(options.pace).read_ahead(options.read_ahead)),
        routing: world.script.merged.then(|| -> Box<dyn Routing> { Box::new(Merging) }),
        transforms: vec![Box::new(Picky)],
        sink: Box::new(world.sink()),
        settings: options.settings.clone(),
        state_dir: PathBuf::from("unused"),
        until: options.until,
        restore_from: options.restore_from,
        clock: Arc::new(NO_CLOCK),
    };
    let parts = Parts { store: Box::new(world.store()), dead_letters: Box::new(world.letters()) };
    let process = world.chaos.process();
    let ended = tokio::select! {
        ended = run_with(job, parts, stop, board.clone()) => Ended::Finished(ended),
        () = world.chaos.dead(process) => Ended::Died,
        () = tokio::time::sleep(STUCK) => Ended::Stuck(Box::new(board.status())),
    };
    settle(&world.chaos).await;
    ended
}

/// Whatever the process left running never returns.
pub(super) async fn settle(chaos: &Chaos) {
    chaos.kill();
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// The first invariant that is broken.
pub fn violations(world: &World) -> Result<(), String> {
    match world.violations().first() {
        None => Ok(()),
        Some(first) => Err(first.clone()),
    }
}

/// At every moment, what is visible of a key is a beginning of what it will be in the end: nothing twice, nothing out
/// of order (P07, P36).
pub(super) fn prefix(world: &World) -> Result<(), String> {
    if world.class == SinkClass::AtLeastOnce {
        return Ok(());
    }
    let expected = world.script.expected();
    for (key, effects) in world.visible() {
        let whole = expected.get(&key).map(Vec::as_slice).unwrap_or_default();
        if !whole.starts_with(&effects) {
            return Err(format!("{key:?}: {}", difference(whole, &effects)));
        }
    }
    Ok(())
}

/// Whether sink and dead letters show exactly what the script asks for.
pub fn compare(world: &World) -> Result<(), String> {
    let (expected, visible) = (world.script.expected(), world.visible());
    for (key, whole) in &expected {
        let effects = visible.get(key).map(Vec::as_slice).unwrap_or_default();
        let same = match world.class {
            SinkClass::AtLeastOnce => whole.iter().all(|effect| effects.contains(effect)),
            _ => whole == effects,
        };
        if !same {
            return Err(format!("{key:?}: {}", difference(whole, effects)));
        }
    }
    if let Some(key) = visible.keys().find(|key| !expected.contains_key(key)) {
        return Err(format!("{key:?} was never written at the source"));
    }
    let (mut letters, expected) = (world.visible_letters(), world.script.expected_letters());
    if world.class == SinkClass::AtLeastOnce {
        letters.retain(|letter| expected.contains(letter));
    }
    if letters != expected {
        return Err(format!("dead letters {letters:?}, expected {expected:?}"));
    }
    Ok(())
}

fn difference(expected: &[Effect], found: &[Effect]) -> String {
    let at = expected.iter().zip(found).position(|(e, f)| e != f).unwrap_or(expected.len().min(found.len()));
    format!(
        "differs at {at}: expected {:?} ({}), found {:?} ({})",
        expected.get(at),
        expected.len(),
        found.get(at),
        found.len()
    )
}
