//! What `doctor` is told: every check that was made, as data.
//!
//! A connector offers its checks by `examine` of [`Source`](crate::source::Source) or [`Sink`](crate::sink::Sink). It
//! looks and changes nothing. A finding is an [`Error`] with its code, facts, help and, where one exists, the exact
//! statement that mends it ([`Error::remedy`]), so that `run`, `plan` and `doctor` say the same about the same thing.

use crate::checkpoint::Lineage;
use crate::clock::Clock;
use crate::codes::Fault;
use crate::position::Position;
use crate::{Error, Result};
use std::sync::Arc;

/// What an examination is told about the pipeline.
#[derive(Clone)]
pub struct Visit {
    /// The pipeline's name.
    pub pipeline: String,
    /// Wall clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// The lineage of the pipeline's changes, if it has run before.
    pub lineage: Option<Lineage>,
    /// Where the pipeline would go on, if it has come that far.
    pub position: Option<Position>,
    /// Whether an instance of the pipeline runs now: what belongs to it is no clash.
    pub running: bool,
    /// Bytes of the rows that a first run would read, as the source estimates them; known to sinks only.
    pub expected_bytes: Option<u64>,
}

/// What was found out about one part of a pipeline.
#[derive(Debug)]
pub struct Examination {
    /// What was examined, with version and place: `MariaDB 10.11.6 at db1:3306`.
    pub of: String,
    /// The checks in the order they are told.
    pub checks: Vec<Check>,
    /// Sources: bytes of the rows that a first run would read, as the source estimates them.
    pub expected_bytes: Option<u64>,
    /// Sources that read a log: the lineage under which its changes were captured, if there are any yet.
    pub lineage: Option<Lineage>,
}

/// One thing that was looked at.
#[derive(Debug)]
pub struct Check {
    /// What was looked at, in one to three words that never change: `binlog format`.
    pub name: &'static str,
    /// What came out.
    pub outcome: Outcome,
}

/// What came out of a check.
#[derive(Debug)]
pub enum Outcome {
    /// In order; what was found, in a few words.
    Ok(String),
    /// A run works, but less well than it could.
    Advice(Error),
    /// Something to mend: a run would be refused, or would fail later.
    Finding(Error),
    /// It could not be looked at: why, in a few words.
    Unknown(String),
}

impl Examination {
    /// An examination without checks yet.
    pub fn of(what: impl Into<String>) -> Self {
        Self { of: what.into(), checks: Vec::new(), expected_bytes: None, lineage: None }
    }

    fn add(&mut self, name: &'static str, outcome: Outcome) {
        self.checks.push(Check { name, outcome });
    }

    /// The check is in order.
    pub fn ok(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(name, Outcome::Ok(found.into()));
    }

    /// The check found something that could be better.
    pub fn advice(&mut self, name: &'static str, error: Error) {
        self.add(name, Outcome::Advice(error));
    }

    /// The check found something to mend.
    pub fn finding(&mut self, name: &'static str, error: Error) {
        self.add(name, Outcome::Finding(error));
    }

    /// The check could not be made.
    pub fn unknown(&mut self, name: &'static str, why: impl Into<String>) {
        self.add(name, Outcome::Unknown(why.into()));
    }

    /// The check came to this: what the user has to mend is a finding, any other error kept it from being made.
    pub fn record<T>(&mut self, name: &'static str, result: Result<T>, found: impl FnOnce(&T) -> String) -> Option<T> {
        match result {
            Err(error) if error.fault() != Fault::User => {
                self.unknown(name, error.message());
                None
            }
            other => self.reach(name, other, found),
        }
    }

    /// The check was whether something answers: whatever keeps it from that is a finding.
    pub fn reach<T>(&mut self, name: &'static str, result: Result<T>, found: impl FnOnce(&T) -> String) -> Option<T> {
        match result {
            Ok(value) => {
                self.ok(name, found(&value));
                Some(value)
            }
            Err(error) => {
                self.finding(name, error);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn what_the_user_can_mend_and_what_does_not_answer_are_findings() {
        let mut examination = Examination::of("a server");
        assert_eq!(examination.record("one", Ok(1), |n| n.to_string()), Some(1));
        for code in [Code::BinlogOff, Code::ConnectionLost] {
            assert_eq!(examination.record::<()>("two", Err(Error::new(code, "why")), |()| String::new()), None);
        }
        let lost = Error::new(Code::ConnectionLost, "why");
        assert_eq!(examination.reach::<()>("three", Err(lost), |()| String::new()), None);
        let outcomes: Vec<_> = examination.checks.iter().map(|check| &check.outcome).collect();
        let [first, mended, unknown, silent] = outcomes[..] else { panic!("{outcomes:?}") };
        assert!(matches!((first, mended), (Outcome::Ok(_), Outcome::Finding(_))), "{outcomes:?}");
        assert!(matches!((unknown, silent), (Outcome::Unknown(_), Outcome::Finding(_))), "{outcomes:?}");
    }
}
