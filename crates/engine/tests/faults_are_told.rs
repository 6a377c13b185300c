//! P19: every fault that happens is an event in the log, with cause and position; so is every recovery, with duration.

use crate::sim::{Ended, Options, compare, run_process_with, violations};
use dujiang_core::sink::SinkClass;
use dujiang_engine::{End, StatusBoard, StopSignal};
use dujiang_testkit::memory::{Chaos, Rates, Rng, Script, World};
use std::io::Write;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn events(&self, message: &str) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap().clone();
        let lines = String::from_utf8(bytes).unwrap();
        let fields =
            lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].take());
        fields.filter(|f| f["message"] == message).collect()
    }
}

/// Runs a seed until its source ends, with faults from which nothing dies by itself.
async fn run(world: &World, options: &Options) {
    for _ in 0..500 {
        let ended = run_process_with(world, options, StopSignal::never(), &StatusBoard::new()).await;
        if matches!(&ended, Ended::Finished(Ok(outcome)) if outcome.end == End::SourceEnded) {
            violations(world).unwrap();
            return compare(world).unwrap();
        }
        assert!(matches!(ended, Ended::Finished(Err(_))), "{ended:?}");
    }
    panic!("no progress");
}

fn play(seed: u64) -> (Log, u64) {
    let mut rng = Rng::new(seed);
    let mut options = Options::draw(&mut rng);
    options.class = [SinkClass::Staged, SinkClass::Transactional][seed as usize % 2];
    (options.script.odd, options.settings.max_checkpoint_failures) = (0, 1000);
    options.script.steps = 100;
    let script = Script::generate(&mut rng, &options.script);
    let fail = seed % 5 * 15;
    let rates = Rates { fail, lose_reply: fail, ..Rates::default() };
    let world = World::new(script, options.class, Chaos::new(seed, rates));
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(&world, &options));
    });
    (log, world.chaos.injected())
}

#[test]
fn p19_every_fault_is_told() {
    let mut injected_in_all = 0;
    for seed in 0..150 {
        let (log, injected) = play(seed);
        let (faults, ends) = (log.events("fault"), log.events("the pipeline failed"));
        let told = faults.len() + ends.len();
        assert!(told as u64 >= injected, "seed {seed}: {told} events for {injected} faults");
        assert!(injected > 0 || told == 0, "seed {seed}: {told} events for no fault");
        for event in faults.iter().chain(&ends) {
            assert!(event["cause"].as_str().is_some_and(|cause| cause.starts_with('E')), "{event}");
            assert!(event["position"].is_string(), "{event}");
        }
        for event in log.events("recovered") {
            assert!(event["duration_ms"].is_u64() && event["cause"].is_string(), "{event}");
        }
        injected_in_all += injected;
    }
    assert!(injected_in_all > 300, "faults did happen: {injected_in_all}");
}
