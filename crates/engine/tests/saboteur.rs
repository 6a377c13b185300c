//! Saboteur runs: the program with one safety step taken out must fail the simulation.
//!
//! What is taken out is installed once per process, so each saboteur is a child process: this very test binary, told by
//! an environment variable to sabotage itself and to run the simulation.

use dujiang_core::fault::{self, Faults};
use std::process::Command;

const VARIABLE: &str = "DUJIANG_TEST_SABOTEUR";
const SIMULATION: &str = "sim::p35_p36_simulation_of_every_fault";
const WITH_LOG: &str = "sim::p07_p36_simulation_of_a_capture_and_its_deliveries";

struct Saboteur(String);

impl Faults for Saboteur {
    fn at(&self, _: &'static str) {}

    fn removed(&self, step: &'static str) -> bool {
        self.0 == step
    }
}

/// In a saboteur's child process, takes its step out.
pub fn install_if_asked() {
    if let Ok(step) = std::env::var(VARIABLE) {
        fault::install(Box::new(Saboteur(step)));
    }
}

/// Runs a simulation without `step` and returns what it printed, if it failed as it should.
fn simulate_without(step: &str, simulation: &str) -> Result<String, String> {
    assert!(fault::STEPS.contains(&step), "{step} is a safety step");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", simulation, "--nocapture", "--test-threads", "1"])
        .env(VARIABLE, step)
        .env("DUJIANG_SEEDS", "400")
        .env_remove("DUJIANG_SEED")
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(told.contains("running 1 test"), "the child ran the simulation:\n{told}");
    if child.status.success() { Err(told) } else { Ok(told) }
}

fn must_turn_red(step: &str, because: &str) {
    turns_red(step, SIMULATION, because);
}

fn turns_red(step: &str, simulation: &str, because: &str) {
    let told = simulate_without(step, simulation).expect("the simulation does not miss the step that was taken out");
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
