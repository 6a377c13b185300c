//! What tests of `doctor` ask of an examination of a source.

use dujiang_core::clock::Clock;
use dujiang_core::examine::{Examination, Outcome, Visit};
use dujiang_core::{Error, Lineage};
use std::sync::Arc;

/// The wall clock, moved by so many seconds.
struct Moved(i64);

impl Clock for Moved {
    fn now_micros(&self) -> i64 {
        let now = std::time::UNIX_EPOCH.elapsed().expect("a clock");
        now.as_micros() as i64 + self.0 * 1_000_000
    }
}

/// A visit for a pipeline `test` that has not run yet, by a clock that goes so many seconds ahead.
pub fn visit(clock_ahead: i64) -> Visit {
    Visit {
        pipeline: "test".into(),
        clock: Arc::new(Moved(clock_ahead)),
        lineage: Some(Lineage("00112233aabbccdd".into())),
        position: None,
        running: false,
        expected_bytes: None,
    }
}

/// What is to be mended or could be better: name, whether it is a finding, error.
pub fn complaints(examination: &Examination) -> Vec<(&'static str, bool, &Error)> {
    let mut all = Vec::new();
    for check in &examination.checks {
        match &check.outcome {
            Outcome::Finding(error) => all.push((check.name, true, error)),
            Outcome::Advice(error) => all.push((check.name, false, error)),
            Outcome::Ok(_) | Outcome::Unknown(_) => {}
        }
    }
    all
}

/// The statements that mend the complaints.
pub fn remedies(examination: &Examination) -> Vec<&str> {
    let errors = complaints(examination).into_iter();
    errors.flat_map(|(_, _, error)| error.remedies()).map(|remedy| remedy.statement.as_str()).collect()
}

/// The outcome of a check, which must have been made.
pub fn outcome<'a>(examination: &'a Examination, name: &str) -> &'a Outcome {
    let check = examination.checks.iter().find(|check| check.name == name);
    &check.unwrap_or_else(|| panic!("no check {name}: {examination:?}")).outcome
}

/// Fails unless everything is in order.
#[track_caller]
pub fn in_order(examination: &Examination) {
    let bad: Vec<_> = examination.checks.iter().filter(|check| !matches!(check.outcome, Outcome::Ok(_))).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
