//! The start of a run waits for a source that is awaited, and for no other.

use crate::sim::{NO_CLOCK, compare};
use async_trait::async_trait;
use dujiang_core::checkpoint::Lineage;
use dujiang_core::sink::SinkClass;
use dujiang_core::source::{Acker, Reader, Source, SourceContext};
use dujiang_core::{Code, Error, Position, Result, TableSchema};
use dujiang_engine::{
    End, Job, Outcome, Parts, PipelineState, Settings, StatusBoard, StopSignal, Stopper, Until, run_with,
};
use dujiang_testkit::memory::{Chaos, MemorySource, Rng, Script, ScriptOptions, World};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A source that cannot be reached for a while: each question fails so often first.
struct Away {
    source: MemorySource,
    failures: u32,
    asked: [AtomicU32; 4],
    code: Code,
    awaited: bool,
}

impl Away {
    fn reach(&self, question: usize) -> Result<()> {
        match self.asked[question].fetch_add(1, Ordering::Relaxed) < self.failures {
            true => Err(Error::new(self.code, "nobody answers")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Source for Away {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        self.reach(0)?;
        self.source.discover().await
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        self.reach(1)?;
        self.source.open(from, context).await
    }

    async fn lineage(&self) -> Result<Option<Lineage>> {
        self.reach(2)?;
        Ok(None)
    }

    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        self.reach(3)?;
        self.source.schemas_at(position).await
    }

    fn is_awaited(&self) -> bool {
        self.awaited
    }

    fn describe(&self, position: &Position) -> String {
        self.source.describe(position)
    }
}

fn world() -> World {
    let options = ScriptOptions { steps: 100, keys: 5, odd: 0, alters: 0, snapshot: false, merged: false };
    World::new(Script::generate(&mut Rng::new(7), &options), SinkClass::Staged, Chaos::none())
}

struct Started {
    board: Arc<StatusBoard>,
    stopper: Stopper,
    run: JoinHandle<Result<Outcome>>,
}

fn start(world: &World, failures: u32, code: Code, awaited: bool, until: Option<Until>) -> Started {
    let source = Away { source: world.source(), failures, asked: Default::default(), code, awaited };
    let job = Job {
        name: "memory".to_owned(),
        source: Box::new(source),
        routing: None,
        transforms: Vec::new(),
        sink: Box::new(world.sink()),
        settings: Settings { checkpoint_interval: Duration::from_millis(20), retry_attempts: 1, ..Settings::default() },
        state_dir: PathBuf::from("unused"),
        until,
        restore_from: None,
        clock: Arc::new(NO_CLOCK),
    };
    let parts = Parts { store: Box::new(world.store()), dead_letters: Box::new(world.letters()) };
    let (board, (stopper, stop)) = (StatusBoard::new(), StopSignal::new());
    let run = tokio::spawn(run_with(job, parts, stop, board.clone()));
    Started { board, stopper, run }
}

async fn reached(board: &StatusBoard, state: PipelineState) {
    let reached = async {
        while board.status().state != state {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(600), reached).await;
    waited.unwrap_or_else(|_| panic!("it never is {state:?}: {:?}", board.status()));
}

/// However often it fails, and with errors that are otherwise tried once only: the run waits, says so, and goes on.
#[tokio::test(start_paused = true)]
async fn a_start_waits_for_a_source_that_is_awaited() {
    let world = world();
    for (until, failures) in [(Some(Until::CaughtUp), 5), (None, 7)] {
        let Started { board, run, .. } = start(&world, failures, Code::KafkaUnreachable, true, until);
        reached(&board, PipelineState::Degraded).await;
        let status = board.status();
        assert!(status.why.contains("nobody answers"), "{status:?}");
        run.await.unwrap().unwrap();
        let status = board.status();
        assert!(status.retries >= u64::from(2 * failures), "it was asked again: {status:?}");
        assert_eq!(status.state, PipelineState::Stopped);
    }
    compare(&world).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_ends_with_what_waiting_cannot_mend() {
    for (code, awaited) in [(Code::LogTrimmed, true), (Code::SourceUnreachable, false)] {
        let started = start(&world(), 1, code, awaited, None);
        assert_eq!(started.run.await.unwrap().unwrap_err().code(), code);
        assert_eq!(started.board.status().retries, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_ends_at_once_when_it_is_stopped() {
    let Started { board, stopper, run } = start(&world(), u32::MAX, Code::SourceUnreachable, true, None);
    reached(&board, PipelineState::Degraded).await;
    // In the midst of a long pause.
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    let asked = tokio::time::Instant::now();
    stopper.stop();
    assert_eq!(run.await.unwrap().unwrap().end, End::Stopped);
    assert!(asked.elapsed() < Duration::from_millis(10), "the clock of this test moves only when somebody waits");
}
