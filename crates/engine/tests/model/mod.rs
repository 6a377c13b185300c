//! Explores **all** interleavings of the epoch protocol: three rows of a source, each written by two lanes, both sink
//! classes, with crashes, failed calls and lost replies after every action, publishes and commits that land late, and a
//! stop at any moment.
//!
//! The world around the machine is a small model: a store that compares and sets, a sink that stages and commits, a
//! dead-letter store, a source that counts acks. What is volatile is gone after a crash.

mod search;
mod world;

use dujiang_core::checkpoint::{Checkpoint, Generation, Standing};
use dujiang_core::sink::SinkClass;
use dujiang_core::{Epoch, Position};
use dujiang_engine::protocol::{Action, Cause, Event};
use search::{Found, search};
use world::Budgets;

fn explore(class: SinkClass, budgets: Budgets, ack_lag: usize) -> Found {
    let found = search(class, budgets, ack_lag);
    println!("{class:?} {budgets:?}: {} states, {} ends", found.states, found.ends);
    if let Some((violation, trace)) = &found.violation {
        panic!("{violation}\n{}", trace.join("\n"));
    }
    assert!(found.ends > 0, "some path ends");
    found
}

#[test]
fn p36_model_staged_every_interleaving_with_crashes() {
    explore(
        SinkClass::Staged,
        Budgets { rows: 3, crashes: 2, failures: 0, lost: 1, late: 1, stops: 1, alter_after: 0 },
        0,
    );
}

#[test]
fn p36_model_transactional_every_interleaving_with_crashes() {
    explore(
        SinkClass::Transactional,
        Budgets { rows: 3, crashes: 2, failures: 0, lost: 1, late: 1, stops: 1, alter_after: 0 },
        0,
    );
}

#[test]
fn p09_model_staged_failed_checkpoints_lose_nothing() {
    explore(
        SinkClass::Staged,
        Budgets { rows: 3, crashes: 1, failures: 2, lost: 1, late: 1, stops: 1, alter_after: 0 },
        0,
    );
}

#[test]
fn p09_model_transactional_failed_checkpoints_lose_nothing() {
    explore(
        SinkClass::Transactional,
        Budgets { rows: 3, crashes: 1, failures: 2, lost: 1, late: 1, stops: 1, alter_after: 0 },
        0,
    );
}

#[test]
fn model_acks_that_lag_stay_in_order() {
    explore(
        SinkClass::Staged,
        Budgets { rows: 3, crashes: 1, failures: 1, lost: 0, late: 0, stops: 1, alter_after: 0 },
        2,
    );
}

#[test]
fn model_shapes_change_between_epochs() {
    for class in [SinkClass::Staged, SinkClass::Transactional] {
        let budgets = Budgets { rows: 3, crashes: 1, failures: 1, lost: 1, late: 0, stops: 1, alter_after: 1 };
        explore(class, budgets, 0);
    }
}

/// The sink of a delivery is opened once there is a log, which may be never: also of one that has checkpoints and whose log
/// is gone.
#[test]
fn p26_a_stop_before_the_sink_is_open_ends_the_run() {
    for checkpoints in [Vec::new(), vec![checkpoint()]] {
        let acquired = || Event::Acquired { generation: Generation(2), checkpoints: checkpoints.clone() };
        let mut machine = world::machine(SinkClass::Staged, 0);
        machine.step(Event::Start);
        assert_eq!(machine.step(Event::Due(Cause::Final)), []);
        assert_eq!(machine.step(acquired()), [Action::Finish]);
        let mut machine = world::machine(SinkClass::Staged, 0);
        machine.step(Event::Start);
        assert_eq!(machine.step(acquired()), [Action::OpenSink]);
        assert_eq!(machine.step(Event::Due(Cause::Final)), [Action::Finish]);
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        epoch: Epoch(1),
        generation: Generation(1),
        position: Position::new(vec![1]),
        position_text: String::new(),
        tokens: Vec::new(),
        sink_before: Epoch::NONE,
        standing: Standing::Final,
        written_micros: 0,
    }
}
