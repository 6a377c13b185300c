//! Named points at which a test may kill the process or take a safety step out.
//!
//! Outside tests nothing is installed, and a point costs one atomic load.

use std::sync::OnceLock;

/// What a test installs, once per process.
pub trait Faults: Send + Sync {
    /// Called at a named point; may end the process or block.
    fn at(&self, point: &'static str);
    /// Whether the safety step of this name is taken out (a saboteur run, whose tests must turn red).
    fn removed(&self, step: &'static str) -> bool;
}

static INSTALLED: OnceLock<Box<dyn Faults>> = OnceLock::new();

/// Installs the faults of this process. Later calls have no effect.
pub fn install(faults: Box<dyn Faults>) {
    let _ = INSTALLED.set(faults);
}

/// Marks a point at which a crash must be survivable.
#[inline]
pub fn point(name: &'static str) {
    if let Some(faults) = INSTALLED.get() {
        faults.at(name);
    }
}

/// Whether a saboteur run takes out the safety step of this name. Always false outside such a run.
#[inline]
pub fn removed(step: &'static str) -> bool {
    INSTALLED.get().is_some_and(|faults| faults.removed(step))
}

/// Every fail point of the program, so that a kill loop can prove it met each.
pub const POINTS: &[&str] = &[
    "snapshot.chunk-read",
    "snapshot.hand-off",
    "stream.batch",
    "epoch.prepare",
    "epoch.before-publish",
    "epoch.after-publish",
    "epoch.commit",
    "epoch.after-commit",
    "recovery.acquired",
    "recovery.committed",
    "file.step",
    "file.staged",
    "file.manifest-written",
    "file.published",
];

/// Fail points of the embedded log, which a pipeline without one never meets.
pub const LOG_POINTS: &[&str] = &["log.sync", "log.commit", "log.committed", "log.acked", "log.trimmed"];

/// Every safety step that a saboteur run can take out; each must turn a test red.
pub const STEPS: &[&str] = &[
    "ack-after-publish",
    "commit-after-publish",
    "carry-tokens",
    "hand-off-in-snapshot",
    "lane-by-comparable-key",
    "directory-fsync",
    "position-at-transaction-end",
    "ddl-barrier",
];
