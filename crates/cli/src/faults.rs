//! Faults that tests ask for: `DUJIANG_FAULTS="epoch.prepare@3,remove:directory-fsync"`.
//!
//! `point@k` kills the process with SIGKILL when the named point is met for the k-th time, `remove:step` takes a safety
//! step out. The same binary that users run is the one that the kill loops kill; without the variable nothing is
//! installed.

use dujiang_core::fault::{self, Faults, LOG_POINTS, POINTS, STEPS};
use std::sync::atomic::{AtomicU64, Ordering};

const VARIABLE: &str = "DUJIANG_FAULTS";

/// Installs what the variable asks for, with a warning nobody can miss.
///
/// # Errors
/// A sentence, when it names something that is not there.
pub fn install_from_environment() -> Result<(), String> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let plan = Plan::parse(&text)?;
    tracing::warn!(faults = text, "{VARIABLE} is set: this process will fail ON PURPOSE; for tests only");
    fault::install(Box::new(plan));
    Ok(())
}

struct Kill {
    point: &'static str,
    at: u64,
    hits: AtomicU64,
}

struct Plan {
    kills: Vec<Kill>,
    removed: Vec<&'static str>,
}

impl Plan {
    fn parse(text: &str) -> Result<Self, String> {
        let mut plan = Self { kills: Vec::new(), removed: Vec::new() };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if let Some(step) = word.strip_prefix("remove:") {
                plan.removed.push(known(STEPS, step, "safety step")?);
            } else {
                let (point, at) = word.split_once('@').unwrap_or((word, "1"));
                let at = at.parse().map_err(|_| format!("{VARIABLE}: `{word}` is not <point>@<number>"))?;
                let points = if point.starts_with("log.") { LOG_POINTS } else { POINTS };
                plan.kills.push(Kill { point: known(points, point, "fail point")?, at, hits: AtomicU64::new(0) });
            }
        }
        Ok(plan)
    }
}

fn known(names: &'static [&'static str], wanted: &str, what: &str) -> Result<&'static str, String> {
    let found = names.iter().copied().find(|name| *name == wanted);
    found.ok_or_else(|| format!("{VARIABLE}: there is no {what} `{wanted}`; there are {}", names.join(", ")))
}

impl Faults for Plan {
    fn at(&self, point: &'static str) {
        for kill in self.kills.iter().filter(|kill| kill.point == point) {
            if kill.hits.fetch_add(1, Ordering::Relaxed) + 1 == kill.at {
                die(point, kill.at);
            }
        }
    }

    fn removed(&self, step: &'static str) -> bool {
        self.removed.contains(&step)
    }
}

/// SIGKILL: no destructor runs and nothing is flushed, as when the machine's out-of-memory killer comes.
fn die(point: &str, hit: u64) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{{\"level\":\"warn\",\"message\":\"killed at {point}@{hit}\"}}");
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_and_step_can_be_named() {
        let all: Vec<String> =
            POINTS.iter().map(|p| format!("{p}@2")).chain(STEPS.iter().map(|s| format!("remove:{s}"))).collect();
        let plan = Plan::parse(&all.join(", ")).unwrap();
        assert_eq!((plan.kills.len(), plan.removed.len()), (POINTS.len(), STEPS.len()));
        assert!(plan.removed("directory-fsync"));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for wrong in ["epoch.prepar@1", "remove:everything", "epoch.prepare@x"] {
            assert!(Plan::parse(wrong).is_err(), "{wrong}");
        }
    }
}
