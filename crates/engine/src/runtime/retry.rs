//! When to try again, and how long to wait: the one policy for every call that can fail.

use super::health::{Concern, Health};
use super::job::{ErrorPolicy, Settings};
use dujiang_core::codes::Retry;
use dujiang_core::source::Source;
use dujiang_core::{Code, Error, Result};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The longest pause between two tries of something that is tried for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What to do about an error after `failures` failed tries (this one included): the pause before the next try, or
/// `None` to give up.
pub fn pause_before_next(error: &Error, failures: u32, settings: &Settings) -> Option<Duration> {
    match error.retry() {
        Retry::Never => None,
        Retry::Bounded => (failures <= settings.retry_attempts).then_some(settings.retry_pause),
        Retry::Endless => Some(growing_pause(failures, settings)),
    }
}

/// What a source answers.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Carries the policy out, and tells of it.
#[derive(Clone)]
pub(crate) struct Retrier {
    pub(crate) settings: Arc<Settings>,
    pub(crate) health: Health,
}

impl Retrier {
    /// Waits before the next try; returns `failures`, this one included.
    ///
    /// # Errors
    /// `error` itself, when it is not to be tried again.
    pub(crate) async fn pause_after(&self, concern: Concern, error: Error, failures: u32) -> Result<u32> {
        let Some(pause) = pause_before_next(&error, failures, &self.settings) else {
            // An error that nobody tries again is told by whoever meets it.
            if failures > 1 {
                self.health.gave_up(concern, &error);
            }
            return Err(error);
        };
        self.health.fault(concern, &error.to_string(), "it is tried again after a pause");
        self.health.board().update(|s| s.retries += 1);
        tokio::time::sleep(pause).await;
        Ok(failures)
    }

    /// Asks the source for what a start needs. One that is [awaited](Source::is_awaited) is asked until it can be reached; what
    /// others fail with is final, because they have tried as often as they were told.
    ///
    /// # Errors
    /// What trying again cannot mend.
    pub(crate) async fn ask<'a, T>(
        &self,
        source: &'a dyn Source,
        question: impl Fn(&'a dyn Source) -> Answer<'a, T>,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            match question(source).await {
                Ok(answer) => {
                    self.health.recovered(Concern::Source);
                    return Ok(answer);
                }
                Err(error) if source.is_awaited() && error.retry() != Retry::Never => {
                    failures += 1;
                    self.health.fault(
                        Concern::Source,
                        &error.to_string(),
                        "the source is asked again until it answers",
                    );
                    self.health.board().update(|s| s.retries += 1);
                    tokio::time::sleep(growing_pause(failures, &self.settings)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A pause that doubles with every failure, up to a minute.
pub fn growing_pause(failures: u32, settings: &Settings) -> Duration {
    let doubled = settings.retry_pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE.max(settings.retry_pause))
}

/// Whether a record whose last try failed with this error goes to the dead letters; otherwise the pipeline halts.
///
/// Only faults of a write or of a record: a sink that belongs to someone else, or a disk that cannot sync, is not the
/// record's fault.
pub fn is_dead_letter(error: &Error, policy: ErrorPolicy) -> bool {
    let of_the_record = matches!(error.code(), Code::BadRecord | Code::SinkWrite | Code::SinkName);
    of_the_record && policy == ErrorPolicy::DeadLetter
}

/// Whether something that is tried for ever must nevertheless end the process: trying again could do harm.
pub fn ends_the_process(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::SyncFailed
            | Code::Fenced
            | Code::StateLocked
            | Code::CheckpointDamaged
            | Code::StateVersion
            | Code::SinkMismatch
            | Code::SinkTaken
            | Code::Bug
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_error_is_tried_as_often_as_asked() {
        let settings = Settings::default();
        let error = Error::new(Code::SinkWrite, "write a file");
        let pauses: Vec<_> = (1..6).map(|n| pause_before_next(&error, n, &settings)).collect();
        let pause = Some(Duration::from_secs(2));
        assert_eq!(pauses, [pause, pause, pause, None, None]);
    }

    #[test]
    fn an_endless_error_waits_longer_each_time() {
        let settings = Settings::default();
        let pauses: Vec<_> = (1..8).map(|n| growing_pause(n, &settings).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
    }
}
