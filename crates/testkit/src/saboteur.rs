//! Saboteur runs: a test that stays green without the safety step it is there for is none.
//!
//! What is taken out is taken out of a whole process, once; so the test runs in a child, which is this very program.

use dujiang_core::fault::{self, Faults};
use std::process::Command;

/// Names the safety step that this process does without.
const REMOVED: &str = "DUJIANG_TEST_REMOVED";

struct Saboteur(String);

impl Faults for Saboteur {
    fn at(&self, _point: &'static str) {}

    fn removed(&self, step: &'static str) -> bool {
        self.0 == step
    }
}

/// In a saboteur's process, takes the step out; whatever may be run in one begins with it.
pub fn take_out() {
    if let Ok(step) = std::env::var(REMOVED) {
        fault::install(Box::new(Saboteur(step)));
    }
}

/// Runs a test of this program without a safety step; what it prints if it fails then, and as an error if it does not.
///
/// # Errors
/// When it stays green.
///
/// # Panics
/// When there is no such test.
pub fn run_without(step: &str, test: &str, adjust: impl FnOnce(&mut Command)) -> Result<String, String> {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(REMOVED, step);
    adjust(&mut child);
    let output = child.output().expect("it starts");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("running 1 test"), "{test}: {told}");
    if output.status.success() { Err(told) } else { Ok(told) }
}

/// Demands that a test of this program fails without a safety step.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn turns_red(step: &str, test: &str) {
    if let Err(told) = run_without(step, test, |_| ()) {
        panic!("without {step}, {test} is still green:\n{told}");
    }
}
