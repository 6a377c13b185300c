//! Saboteur runs: the program with one safety step taken out must fail the simulation.

use dujiang_core::fault;
use dujiang_testkit::saboteur::run_without;

const SIMULATION: &str = "sim::p35_p36_simulation_of_every_fault";
const WITH_LOG: &str = "sim::p07_p36_simulation_of_a_capture_and_its_deliveries";

fn must_turn_red(step: &str, because: &str) {
    turns_red(step, SIMULATION, because);
}

fn turns_red(step: &str, simulation: &str, because: &str) {
    assert!(fault::STEPS.contains(&step), "{step} is a safety step");
    let told = run_without(step, simulation, |child| {
        child.env("DUJIANG_SEEDS", "400").env_remove("DUJIANG_SEED");
    });
    let told = told.expect("the simulation does not miss the step that was taken out");
    assert!(told.contains(because), "it fails for the right reason ({because}):\n{told}");
}

#[test]
fn saboteur_ack_before_publish() {
    must_turn_red("ack-after-publish", "INV-1");
}

#[test]
fn saboteur_commit_before_publish() {
    must_turn_red("commit-after-publish", "INV-2");
}

#[test]
fn saboteur_tokens_not_carried() {
    must_turn_red("carry-tokens", "differs at");
}

#[test]
fn saboteur_lane_by_key_that_cannot_be_compared() {
    must_turn_red("lane-by-comparable-key", "differs at");
}

#[test]
fn saboteur_ddl_without_barrier() {
    must_turn_red("ddl-barrier", "has shape");
}

#[test]
fn saboteurs_of_a_capture_and_its_deliveries() {
    for (step, because) in [("ack-after-publish", "INV-1"), ("commit-after-publish", "INV-2"), ("ddl-barrier", "shape")]
    {
        turns_red(step, WITH_LOG, because);
    }
}
