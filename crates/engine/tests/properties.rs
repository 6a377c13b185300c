//! Properties by their number, over parts in memory and in virtual time.

use crate::sim::{Ended, Options, compare, run_process_with, violations};
use dujiang_core::Code;
use dujiang_core::sink::{Retries, SinkClass};
use dujiang_engine::{End, ErrorPolicy, PipelineState, PipelineStatus, StatusBoard, StopSignal, Until};
use dujiang_testkit::memory::{Chaos, Fate, Rates, Rng, Script, World};
use proptest::prelude::*;
use std::future::Future;
use std::time::Duration;

fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(work)
}

/// A calm world: nothing goes wrong unless the test says so.
fn calm(seed: u64, class: SinkClass, lanes: usize, odd: u64) -> (World, Options) {
    let mut rng = Rng::new(seed);
    let mut options = Options::draw(&mut rng);
    (options.class, options.script.steps, options.script.odd) = (class, 20 + rng.below(150) as usize, odd);
    (options.rates, options.deaths) = (Rates::default(), 0);
    options.settings.parallelism = lanes;
    options.settings.retry_attempts = 3;
    options.settings.retry_pause = Duration::from_secs(2);
    let script = Script::generate(&mut rng, &options.script);
    (World::new(script, class, Chaos::new(seed, Rates::default())), options)
}

async fn run(world: &World, options: &Options) -> (Ended, PipelineStatus) {
    let board = StatusBoard::new();
    let ended = run_process_with(world, options, StopSignal::never(), &board).await;
    (ended, board.status())
}

fn finished(ended: &Ended) {
    assert!(matches!(ended, Ended::Finished(Ok(outcome)) if outcome.end == End::SourceEnded), "{ended:?}");
}

fn whole(world: &World) {
    violations(world).unwrap();
    compare(world).unwrap();
}

/// Calls of every part of a run.
const PARTS: [&str; 12] = [
    "source.next",
    "source.ack",
    "store.acquire",
    "store.publish",
    "sink.open",
    "sink.write",
    "sink.prepare",
    "sink.commit",
    "sink.abort",
    "sink.schema",
    "letters.prepare",
    "letters.commit",
];

fn class() -> impl Strategy<Value = SinkClass> {
    prop_oneof![Just(SinkClass::Staged), Just(SinkClass::Transactional)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// k failures in a row, k <= 3, end in success after k pauses.
    #[test]
    fn p04_a_write_is_tried_again(seed: u64, failures in 0usize..=3) {
        in_virtual_time(async {
            let (world, mut options) = calm(seed, SinkClass::Staged, 1, 0);
            options.settings.error_policy = ErrorPolicy::Halt;
            world.chaos.script("sink.write", vec![Fate::Fail; failures]);
            let before = tokio::time::Instant::now();
            let (ended, status) = run(&world, &options).await;
            finished(&ended);
            whole(&world);
            assert_eq!(status.retries, failures as u64);
            assert!(before.elapsed() >= Duration::from_secs(2) * failures as u32);
        });
    }

    /// More failures apply the error policy: halt.
    #[test]
    fn p04_after_the_last_try_the_pipeline_halts(seed: u64) {
        in_virtual_time(async {
            let (world, mut options) = calm(seed, SinkClass::Staged, 1, 0);
            options.settings.error_policy = ErrorPolicy::Halt;
            world.chaos.script("sink.write", vec![Fate::Fail; 4]);
            let (ended, status) = run(&world, &options).await;
            assert!(matches!(&ended, Ended::Finished(Err(e)) if e.code() == Code::SinkWrite), "{ended:?}");
            assert_eq!(status.state, PipelineState::Failed);
            assert_eq!(status.retries, 3);
            finished(&run(&world, &options).await.0);
            whole(&world);
        });
    }

    /// Or: the records of that write become dead letters, all others arrive.
    #[test]
    fn p04_p10_after_the_last_try_records_become_dead_letters(seed: u64, spared in 0usize..4) {
        in_virtual_time(async {
            let (world, options) = calm(seed, SinkClass::Staged, 1, 0);
            world.chaos.script("sink.write", vec![Fate::Pass; spared]);
            world.chaos.script("sink.write", vec![Fate::Fail; 4]);
            finished(&run(&world, &options).await.0);
            violations(&world).unwrap();
            let shown: usize = world.visible().values().map(Vec::len).sum();
            let expected: usize = world.script.expected().values().map(Vec::len).sum();
            let letters = world.visible_letters().len();
            let written = world.chaos.calls("sink.write") > spared as u64;
            assert_eq!(letters > 0, written);
            assert_eq!(shown + letters, expected, "sink and dead letters together are the input");
        });
    }

    /// Rows taken earlier that cannot be written are nobody's fault but the sink's: the batch at hand never becomes dead
    /// letters for them, whatever the policy; the pipeline stops, and nothing is lost (R3.8).
    #[test]
    fn p10_rows_in_trouble_do_not_take_others_with_them(seed: u64, spared in 0usize..4) {
        in_virtual_time(async {
            let (world, options) = calm(seed, SinkClass::Staged, 1, 0);
            world.chaos.script("sink.write", vec![Fate::Pass; spared]);
            world.chaos.script("sink.write", vec![Fate::FailForEarlier; 4]);
            let (ended, status) = run(&world, &options).await;
            if world.chaos.calls("sink.write") > spared as u64 {
                assert!(matches!(&ended, Ended::Finished(Err(e)) if e.code() == Code::SinkUnwritten), "{ended:?}");
                assert_eq!((status.retries, status.dead_letters), (3, 0));
                finished(&run(&world, &options).await.0);
            }
            whole(&world);
        });
    }

    /// A panic in any part ends the run with an error that has a name, and the next run goes on.
    #[test]
    fn p09_a_panic_anywhere_ends_the_run_by_name(seed: u64, class in class(), part in 0usize..PARTS.len()) {
        in_virtual_time(async {
            let (world, options) = calm(seed, class, 2, 100);
            world.chaos.script(PARTS[part], [Fate::Panic]);
            let (ended, _) = run(&world, &options).await;
            if world.chaos.calls(PARTS[part]) > 0 {
                assert!(matches!(&ended, Ended::Finished(Err(e)) if e.code() == Code::Bug), "{}: {ended:?}", PARTS[part]);
                finished(&run(&world, &options).await.0);
            }
            whole(&world);
        });
    }

    /// While an epoch cannot be committed, the next one grows to its limit and no further.
    #[test]
    fn p09_what_is_open_has_a_bound_while_a_commit_is_tried_again(seed: u64, letters: bool) {
        in_virtual_time(async {
            let (mut world, mut options) = calm(seed, SinkClass::Staged, 2, if letters { 1000 } else { 0 });
            options.script.steps = 3000;
            options.script.alters = 0;
            world.script = std::sync::Arc::new(Script::generate(&mut Rng::new(seed), &options.script));
            options.settings.epoch_images = if letters { u64::MAX } else { 200 };
            options.settings.epoch_letters = if letters { 100 } else { usize::MAX };
            options.settings.checkpoint_interval = Duration::from_millis(50);
            // Small enough that lanes hold little that is still to become letters.
            options.settings.memory_limit = 16 << 10;
            let stuck = if letters { "letters.commit" } else { "sink.commit" };
            world.chaos.script(stuck, vec![Fate::Fail; 1000]);
            let board = StatusBoard::new();
            let run = run_process_with(&world, &options, StopSignal::never(), &board);
            assert!(tokio::time::timeout(Duration::from_secs(1000), run).await.is_err(), "the commit never succeeds");
            let status = board.status();
            assert_eq!(status.state, PipelineState::Degraded);
            let read = status.rows_in.total();
            assert!(if letters { read < 2500 } else { (1..=600).contains(&read) }, "{read} images are open");
            assert!(status.dead_letters < 1000, "{} letters are open", status.dead_letters);
        });
    }

    /// Letters are taken back only after the store has forgotten their checkpoints: while it has not, they stay.
    #[test]
    fn p14_letters_stay_until_the_store_has_gone_back(seed: u64) {
        in_virtual_time(async {
            let (world, mut options) = calm(seed, SinkClass::Staged, 2, 500);
            // The source still serves what it has handed out.
            options.settings.ack_lag = usize::MAX;
            finished(&run(&world, &options).await.0);
            let letters = world.visible_letters();
            options.restore_from = world.checkpoints().first().copied();
            world.chaos.script("store.rewind", [Fate::Fail]);
            let (ended, _) = run(&world, &options).await;
            if world.chaos.calls("store.rewind") > 0 {
                assert!(matches!(ended, Ended::Finished(Err(_))), "{ended:?}");
                assert_eq!(world.visible_letters(), letters);
            }
            finished(&run(&world, &options).await.0);
            whole(&world);
        });
    }

    /// Per key, the sink's order is the source's order, whatever the parallelism.
    #[test]
    fn p07_order_per_key(seed: u64, class in class(), lanes in 1usize..9, slow in 0u64..600) {
        in_virtual_time(async {
            let (world, options) = calm(seed, class, lanes, 0);
            world.chaos.set_rates(Rates { slow, slow_by: Duration::from_millis(50), ..Rates::default() });
            finished(&run(&world, &options).await.0);
            whole(&world);
        });
    }

    /// And it is where tables that share their keys become one.
    #[test]
    fn p07_order_per_key_of_merged_tables(seed: u64, class in class(), lanes in 1usize..9, slow in 0u64..600) {
        in_virtual_time(async {
            let (mut world, mut options) = calm(seed, class, lanes, 0);
            options.script.merge();
            world.script = std::sync::Arc::new(Script::generate(&mut Rng::new(seed), &options.script));
            world.chaos.set_rates(Rates { slow, slow_by: Duration::from_millis(50), ..Rates::default() });
            finished(&run(&world, &options).await.0);
            whole(&world);
        });
    }

    /// While data flows, checkpoints come at the configured interval.
    #[test]
    fn p08_checkpoints_come_at_the_interval(seed: u64, interval in 20u64..2000) {
        in_virtual_time(async {
            let (world, mut options) = calm(seed, SinkClass::Staged, 2, 0);
            options.settings.checkpoint_interval = Duration::from_millis(interval);
            options.settings.epoch_images = u64::MAX;
            (options.pace, options.read_ahead) = (Duration::from_millis(10), 1);
            options.script.steps = 0;
            let before = tokio::time::Instant::now();
            let (ended, status) = run(&world, &options).await;
            finished(&ended);
            let (ticks, alters) = (before.elapsed().as_millis() as u64 / interval, alters(&world));
            let checkpoints = status.checkpoints;
            // A change of shape and the end make one each besides; a tick that comes beside them may be the same one.
            prop_assert!(checkpoints + alters + 2 >= ticks, "{checkpoints} of {ticks}");
            prop_assert!(checkpoints <= ticks + alters + 2, "{checkpoints} of {ticks}");
            Ok(())
        })?;
    }

    /// Failed checkpoints lose nothing; the stream goes on; they are counted.
    #[test]
    fn p09_failed_checkpoints_lose_nothing(seed: u64, class in class(), pattern in prop::collection::vec(0usize..3, 1..6)) {
        in_virtual_time(async {
            let (world, options) = calm(seed, class, 2, 0);
            let mut failures = 0;
            for in_a_row in pattern {
                world.chaos.script("store.publish", vec![Fate::Fail; in_a_row]);
                world.chaos.script("store.publish", [Fate::Pass]);
                failures += in_a_row as u64;
            }
            let (ended, status) = run(&world, &options).await;
            // The last pattern may not have been used up.
            assert!(status.checkpoint_failures <= failures);
            if !matches!(ended, Ended::Finished(Ok(_))) {
                panic!("{ended:?}");
            }
            whole(&world);
        });
    }

    /// Three in a row stop the pipeline; the next start goes on from the last good one.
    #[test]
    fn p09_too_many_failed_checkpoints_stop(seed: u64, class in class()) {
        in_virtual_time(async {
            let (world, options) = calm(seed, class, 2, 0);
            world.chaos.script("store.publish", vec![Fate::Fail; 3]);
            let (ended, status) = run(&world, &options).await;
            assert!(matches!(&ended, Ended::Finished(Err(e)) if e.code() == Code::CheckpointWrite), "{ended:?}");
            assert_eq!(status.checkpoint_failures, 3);
            finished(&run(&world, &options).await.0);
            whole(&world);
        });
    }

    /// Bad records go to the dead letters, the others arrive: sink and dead letters are the input, disjoint.
    #[test]
    fn p10_bad_records_are_isolated(seed: u64, class in class(), lanes in 1usize..5, odd in 0u64..1000) {
        in_virtual_time(async {
            let (world, options) = calm(seed, class, lanes, odd);
            let (ended, status) = run(&world, &options).await;
            finished(&ended);
            whole(&world);
            assert_eq!(status.dead_letters as usize, world.script.expected_letters().len());
        });
    }

    /// With the policy to halt, a bad record stops the pipeline, and nothing of it or after it is lost or shown.
    #[test]
    fn p10_a_bad_record_halts_if_asked(seed: u64) {
        in_virtual_time(async {
            let (world, mut options) = calm(seed, SinkClass::Staged, 2, 300);
            options.settings.error_policy = ErrorPolicy::Halt;
            let (ended, _) = run(&world, &options).await;
            if world.script.expected_letters().is_empty() {
                finished(&ended);
            } else {
                assert!(matches!(&ended, Ended::Finished(Err(e)) if e.code() == Code::BadRecord), "{ended:?}");
                options.settings.error_policy = ErrorPolicy::DeadLetter;
                finished(&run(&world, &options).await.0);
            }
            whole(&world);
        });
    }

    /// Every start says how long recovery took.
    #[test]
    fn p16_recovery_is_timed(seed: u64, class in class(), delay in 0u64..200) {
        in_virtual_time(async {
            let (world, options) = calm(seed, class, 2, 0);
            world.chaos.die_in(Some(20 + seed % 100));
            run(&world, &options).await;
            world.chaos.die_in(None);
            world.chaos.set_rates(Rates { slow: 1000, slow_by: Duration::from_millis(delay), ..Rates::default() });
            let (ended, status) = run(&world, &options).await;
            finished(&ended);
            assert!(status.recovery_millis.is_some());
            whole(&world);
        });
    }

    /// A stop at any moment finishes the epoch and exits; a restart yields the same output.
    #[test]
    fn p26_a_stop_at_any_moment_drains(seed: u64, class in class(), after in 0u64..2000, slow in 0u64..300) {
        in_virtual_time(async {
            let (world, options) = calm(seed, class, 3, 50);
            world.chaos.set_rates(Rates { slow, slow_by: Duration::from_millis(20), ..Rates::default() });
            let (stopper, stop) = StopSignal::new();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(after * 100)).await;
                stopper.stop();
            });
            let board = StatusBoard::new();
            let ended = run_process_with(&world, &options, stop, &board).await;
            assert!(matches!(ended, Ended::Finished(Ok(_))), "{ended:?}");
            assert_eq!(board.status().state, PipelineState::Stopped);
            let read = board.status().rows_in.total() as usize;
            let shown: usize = world.visible().values().map(Vec::len).sum();
            assert!(read == 0 || shown > 0 || world.visible_letters().len() + board.status().filtered as usize > 0);
            if !matches!(&ended, Ended::Finished(Ok(outcome)) if outcome.end == End::SourceEnded) {
                finished(&run(&world, &options).await.0);
            }
            whole(&world);
        });
    }

    /// A crash at any call, and a second one at any call after it: nothing is missing.
    #[test]
    fn p35_at_least_once_after_any_crash(seed: u64, first in 1u64..400, second in 1u64..400) {
        in_virtual_time(crash_twice(seed, SinkClass::AtLeastOnce, first, second));
    }

    /// The same: nothing is missing, nothing is there twice.
    #[test]
    fn p36_exactly_once_after_any_crash(seed: u64, class in class(), first in 1u64..400, second in 1u64..400) {
        in_virtual_time(crash_twice(seed, class, first, second));
    }
}

#[test]
fn a_panic_reads_as_written() {
    in_virtual_time(async {
        let (world, options) = calm(1, SinkClass::Staged, 1, 0);
        world.chaos.script("sink.write", [Fate::Panic]);
        let (ended, _) = run(&world, &options).await;
        let Ended::Finished(Err(error)) = ended else { panic!("{ended:?}") };
        // The runtime numbers its tasks.
        let tasks: Vec<String> = (0..1000).map(|number| format!("task {number} ")).collect();
        let hide: Vec<(&str, &str)> = tasks.iter().map(|task| (task.as_str(), "task N ")).collect();
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &hide);
    });
}

async fn crash_twice(seed: u64, class: SinkClass, first: u64, second: u64) {
    let (world, options) = calm(seed, class, 2, 30);
    for calls in [first, second] {
        world.chaos.die_in(Some(calls));
        run(&world, &options).await;
    }
    world.chaos.die_in(None);
    finished(&run(&world, &options).await.0);
    whole(&world);
}

fn alters(world: &World) -> u64 {
    let alters = world.script.steps.iter().filter(|s| matches!(s, dujiang_testkit::memory::Step::Alter(_)));
    alters.count() as u64
}

/// A run until the snapshot ends after it, with nothing of the stream missing from the next run.
#[test]
fn until_the_snapshot_is_over() {
    for seed in 0..50 {
        in_virtual_time(async {
            let mut rng = Rng::new(seed);
            let (_, mut options) = calm(seed, SinkClass::Staged, 2, 0);
            (options.script.snapshot, options.script.steps) = (true, 120);
            let script = Script::generate(&mut rng, &options.script);
            let world = World::new(script, options.class, Chaos::none());
            options.until = Some(Until::Snapshot);
            let (ended, status) = run(&world, &options).await;
            assert!(matches!(&ended, Ended::Finished(Ok(outcome)) if outcome.end == End::Reached), "{ended:?}");
            assert!(status.snapshot_done);
            let reads = world.script.changes().filter(|c| c.kind == dujiang_core::Kind::Read).count();
            assert_eq!(status.rows_in.reads as usize, reads);
            let shown: usize = world.visible().values().map(Vec::len).sum();
            assert!(shown >= reads, "the whole snapshot is visible");
            options.until = Some(Until::CaughtUp);
            let (ended, status) = run(&world, &options).await;
            assert!(matches!(&ended, Ended::Finished(Ok(outcome)) if outcome.end == End::Reached), "{ended:?}");
            assert!(status.caught_up);
            whole(&world);
        });
    }
}

/// What a sink cannot keep is refused before anything is touched.
#[test]
fn a_guarantee_that_the_sink_lacks_is_refused() {
    in_virtual_time(async {
        let (world, mut options) = calm(1, SinkClass::AtLeastOnce, 1, 0);
        options.settings.guarantee = Some(dujiang_engine::Guarantee::ExactlyOnce);
        let (ended, _) = run(&world, &options).await;
        assert!(matches!(&ended, Ended::Finished(Err(e)) if e.code() == Code::Conflict), "{ended:?}");
        assert_eq!(world.chaos.calls("store.acquire"), 0);
    });
}

/// What fails while an epoch is made durable is tried again inside the sink, as often as the pipeline says.
#[test]
fn a_sink_is_told_how_often_to_try_again() {
    in_virtual_time(async {
        let (world, mut options) = calm(3, SinkClass::Staged, 1, 0);
        (options.settings.retry_attempts, options.settings.retry_pause) = (7, Duration::from_millis(30));
        finished(&run(&world, &options).await.0);
        let wanted = Retries { attempts: 7, pause: Duration::from_millis(30) };
        assert_eq!(world.retries(), Some(wanted));
    });
}

/// A slow sink slows the source; what the pipeline holds stays within its budget (R2.6).
#[test]
fn a_slow_sink_slows_the_source() {
    for seed in 0..100 {
        in_virtual_time(async {
            let (world, mut options) = calm(seed, SinkClass::Staged, 1 + seed as usize % 4, 0);
            (options.settings.memory_limit, options.read_ahead) = (64 << 10, 4);
            options.settings.checkpoint_interval = Duration::from_secs(3600);
            options.settings.epoch_images = u64::MAX;
            world.chaos.set_rates(Rates { slow: 900, slow_by: Duration::from_millis(30), ..Rates::default() });
            let (ended, status) = run(&world, &options).await;
            finished(&ended);
            whole(&world);
            // One batch may wait for room outside the queues.
            assert!(status.budget_peak <= options.settings.memory_limit, "{} bytes", status.budget_peak);
            assert!(status.budget_peak > 0);
        });
    }
}

/// State lost, output there: refused by name (E0511).
#[test]
fn lost_state_is_refused() {
    in_virtual_time(async {
        let (world, options) = calm(7, SinkClass::Staged, 1, 0);
        finished(&run(&world, &options).await.0);
        world.lose_state();
        let (ended, _) = run(&world, &options).await;
        assert!(matches!(&ended, Ended::Finished(Err(e)) if e.code() == Code::StateLost), "{ended:?}");
        whole(&world);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// A crash at any call while going back, then going back again: the same output as without.
    #[test]
    fn p36_going_back_survives_a_crash(seed: u64, class in class(), calls in 1u64..40) {
        in_virtual_time(async {
            let (world, mut options) = calm(seed, class, 2, 30);
            options.settings.ack_lag = 3;
            finished(&run(&world, &options).await.0);
            options.restore_from = Some(world.checkpoints()[0]);
            world.chaos.die_in(Some(calls));
            let (ended, _) = run(&world, &options).await;
            world.chaos.die_in(None);
            if let Ended::Died = ended
                && world.checkpoints().first() == options.restore_from.as_ref()
            {
                finished(&run(&world, &options).await.0);
            } else {
                // It went on beyond the checkpoints it went back to.
                options.restore_from = None;
                finished(&run(&world, &options).await.0);
            }
            whole(&world);
        });
    }
}

/// Going back withdraws later epochs; reading on from there yields the same output again.
#[test]
fn restoring_an_earlier_checkpoint_repeats_nothing() {
    for class in [SinkClass::Staged, SinkClass::Transactional] {
        in_virtual_time(async {
            let (world, mut options) = calm(11, class, 2, 50);
            options.settings.ack_lag = 3;
            finished(&run(&world, &options).await.0);
            let back_to = world.checkpoints()[0];
            options.restore_from = Some(back_to);
            finished(&run(&world, &options).await.0);
            whole(&world);
            options.restore_from = Some(dujiang_core::Epoch(10_000));
            let (ended, _) = run(&world, &options).await;
            assert!(matches!(&ended, Ended::Finished(Err(e)) if e.code() == Code::NoCheckpoint), "{ended:?}");
        });
    }
}

/// The suites that the real implementations pass too.
#[test]
fn the_parts_in_memory_keep_the_contracts() {
    use dujiang_testkit::conformance;
    struct Memory(World);
    impl conformance::sink::SinkUnderTest for Memory {
        fn open(&mut self) -> Box<dyn dujiang_core::sink::Sink> {
            self.0.allow_unpublished();
            Box::new(self.0.sink())
        }
        fn visible(&mut self) -> Vec<i64> {
            let all = self.0.visible();
            all.into_iter().flat_map(|((_, key), rows)| rows.into_iter().map(move |_| key.parse().unwrap())).collect()
        }
    }
    for class in [SinkClass::Staged, SinkClass::Transactional] {
        in_virtual_time(async {
            let world = World::new(Script::default(), class, Chaos::none());
            conformance::sink::all(&mut Memory(world)).await;
        });
    }
    struct Log(World);
    impl conformance::sink::SinkUnderTest for Log {
        fn open(&mut self) -> Box<dyn dujiang_core::sink::Sink> {
            self.0.allow_unpublished();
            Box::new(self.0.log())
        }
        fn visible(&mut self) -> Vec<i64> {
            self.0.logged_ids()
        }
    }
    in_virtual_time(async {
        let world = World::new(Script::default(), SinkClass::Transactional, Chaos::none());
        conformance::sink::all(&mut Log(world.clone())).await;
        let (delivery, images) = (world.clone(), world.logged_ids().len());
        conformance::source::all(|| Box::new(world.deliver(0, &delivery)), images).await;
    });
    in_virtual_time(async {
        let world = World::new(Script::default(), SinkClass::Staged, Chaos::none());
        conformance::store::all(&mut || -> Box<dyn dujiang_core::CheckpointStore> { Box::new(world.store()) }, 3).await;
    });
    in_virtual_time(async {
        let (world, _) = calm(3, SinkClass::Staged, 1, 0);
        let images =
            world.script.changes().map(|c| if c.kind == dujiang_core::Kind::UpdateAfter { 2 } else { 1 }).sum();
        conformance::source::all(|| Box::new(world.source()), images).await;
    });
}
