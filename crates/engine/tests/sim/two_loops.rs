//! Two loops in one process: a capture into a log, and deliveries from it, each with its own epochs. Processes live and die
//! as in the simulation of one loop; at every moment the log holds a beginning of what the source tells, and each delivery's
//! sink a beginning of what it has to show.

use super::run::{Ended, NO_CLOCK, PROCESSES, STUCK, may_end, prefix, settle};
use super::{Merging, Options, Picky, compare, violations};
use dujiang_core::routing::Routing;
use dujiang_core::sink::SinkClass;
use dujiang_core::transform::Transform;
use dujiang_core::{Error, Result};
use dujiang_engine::{End, Job, Outcome, Parts, PipelineState, Settings, StatusBoard, StopSignal, run_with};
use dujiang_testkit::memory::{Chaos, Rates, Rng, Script, World};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What survives: the captured side with its log, and one world for each delivery. All die together.
struct River {
    capture: World,
    deliveries: Vec<World>,
}

/// Plays a seed.
pub fn replay_with_log(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let options = Options::draw(&mut rng);
    let script = Script::generate(&mut rng, &options.script);
    let chaos = Chaos::new(rng.next_u64(), options.rates);
    let mut classes = vec![options.class];
    if rng.chance(300) {
        classes.push(SinkClass::Staged);
    }
    let world = |class| World::new(script.clone(), class, chaos.clone());
    let river =
        River { capture: world(SinkClass::Transactional), deliveries: classes.into_iter().map(world).collect() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let ended = runtime.map_err(|e| e.to_string())?.block_on(lives(&river, &options, &mut rng));
    ended.and_then(|()| whole(&river)).map_err(|why| format!("{why}\n{options:#?}"))
}

async fn lives(river: &River, options: &Options, rng: &mut Rng) -> Result<(), String> {
    let chaos = &river.capture.chaos;
    let mut deaths = options.deaths;
    for process in 0..PROCESSES {
        // Several loops make more calls.
        chaos.die_in((deaths > 0).then(|| 1 + rng.below(3 * options.life)));
        if deaths == 0 && process > options.deaths + 20 {
            chaos.set_rates(Rates::default());
        }
        let (stopper, stop) = StopSignal::new();
        if rng.chance(100) {
            let after = Duration::from_millis(rng.below(2000));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                stopper.stop();
            });
        }
        let ended = run_process(river, options, &stop).await;
        beginnings(river)?;
        match ended {
            Ended::Died => deaths -= 1,
            Ended::Stuck(status) => return Err(format!("the loops are stuck: {status:#?}")),
            Ended::Finished(Ok(outcome)) if outcome.end == End::SourceEnded => return Ok(()),
            Ended::Finished(Ok(_)) => {}
            Ended::Finished(Err(error)) if may_end(&error) => {}
            Ended::Finished(Err(error)) => return Err(format!("ended with {error:?}")),
        }
    }
    Err("no progress".to_owned())
}

/// All loops until the last has ended, the first has failed, or the process dies. How the loops ended is told by the one that
/// did not come to the source's end, if there is one.
async fn run_process(river: &River, options: &Options, stop: &StopSignal) -> Ended {
    let chaos = &river.capture.chaos;
    let process = chaos.process();
    let (mut loops, mut boards) = (JoinSet::new(), Vec::new());
    for (job, parts) in jobs(river, options) {
        let board = StatusBoard::new();
        boards.push(board.clone());
        loops.spawn(run_with(job, parts, stop.clone(), board));
    }
    let ended = tokio::select! {
        ended = all(&mut loops) => Ended::Finished(ended),
        () = chaos.dead(process) => Ended::Died,
        () = tokio::time::sleep(STUCK) => {
            let open = boards.iter().map(|board| board.status()).find(|status| !matches!(status.state, PipelineState::Stopped | PipelineState::Failed));
            Ended::Stuck(Box::new(open.unwrap_or_else(|| boards[0].status())))
        }
    };
    loops.abort_all();
    settle(chaos).await;
    ended
}

async fn all(loops: &mut JoinSet<Result<Outcome, Error>>) -> Result<Outcome, Error> {
    let mut told: Option<Outcome> = None;
    while let Some(ended) = loops.join_next().await {
        let outcome = ended.expect("no loop panics")?;
        if told.as_ref().is_none_or(|told| told.end == End::SourceEnded) {
            told = Some(outcome);
        }
    }
    Ok(told.expect("there are loops"))
}

fn jobs(river: &River, options: &Options) -> Vec<(Job, Parts)> {
    let capture = &river.capture;
    let source = capture.source().pace(options.pace).read_ahead(options.read_ahead);
    let job = |source, sink, settings| Job {
        name: "memory".to_owned(),
        source,
        routing: None,
        transforms: Vec::new(),
        sink,
        settings,
        state_dir: PathBuf::from("unused"),
        until: None,
        restore_from: None,
        clock: Arc::new(NO_CLOCK),
    };
    let parts = |world: &World| Parts { store: Box::new(world.store()), dead_letters: Box::new(world.letters()) };
    let settings = Settings { parallelism: 1, ..options.settings.clone() };
    let mut jobs = vec![(job(Box::new(source), Box::new(capture.log()), settings), parts(capture))];
    for (number, world) in river.deliveries.iter().enumerate() {
        let source = Box::new(capture.deliver(number, world));
        let transforms: Vec<Box<dyn Transform>> = vec![Box::new(Picky)];
        let routing = world.script.merged.then(|| -> Box<dyn Routing> { Box::new(Merging) });
        let delivery = job(source, Box::new(world.sink()), options.settings.clone());
        jobs.push((Job { transforms, routing, ..delivery }, parts(world)));
    }
    jobs
}

/// At every moment: nothing twice, nothing out of order, nothing that is not acked too early (P07, P36).
fn beginnings(river: &River) -> Result<(), String> {
    violations(&river.capture)?;
    let expected = river.capture.script.images();
    for (table, images) in river.capture.logged() {
        let whole = expected.get(&table).map(Vec::as_slice).unwrap_or_default();
        if !whole.starts_with(&images) {
            let at = whole.iter().zip(&images).position(|(a, b)| a != b);
            return Err(format!("the log's images of {table} differ at {at:?}: {} of {}", images.len(), whole.len()));
        }
    }
    for delivery in &river.deliveries {
        violations(delivery)?;
        prefix(delivery)?;
    }
    Ok(())
}

/// In the end: the log is the source, and every sink shows what it has to.
fn whole(river: &River) -> Result<(), String> {
    if river.capture.logged() != river.capture.script.images() {
        return Err("the log does not hold all that the source told".to_owned());
    }
    river.deliveries.iter().try_for_each(compare)
}
