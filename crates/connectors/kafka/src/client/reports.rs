//! What the client hears from the brokers: confirmations, failures, lost connections.

use super::errors;
use dujiang_core::{Code, Error};
use dujiang_entries::Ranges;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Confirmations by lane; the last place is the committer's.
pub(crate) struct Reports {
    brokers: String,
    /// Messages that have come to an end, one way or the other.
    ended: Box<[AtomicU64]>,
    failed: Mutex<Option<Failure>>,
    trouble: Mutex<Option<String>>,
    /// Whether there is a trouble that the next confirmation ends.
    troubled: AtomicBool,
    /// Rings when something was confirmed or has failed.
    progress: Notify,
    /// Where confirmed messages stand, if that is kept.
    ranges: Option<Mutex<Ranges>>,
}

#[derive(Clone)]
struct Failure {
    number: Option<RDKafkaErrorCode>,
    topic: String,
    said: String,
}

impl Reports {
    pub(crate) fn new(lanes: usize, brokers: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            ended: (0..=lanes).map(|_| AtomicU64::new(0)).collect(),
            failed: Mutex::default(),
            trouble: Mutex::default(),
            troubled: AtomicBool::new(false),
            progress: Notify::new(),
            ranges: None,
        }
    }

    /// Keeps where confirmed messages stand.
    pub(crate) fn with_ranges(self) -> Self {
        Self { ranges: Some(Mutex::default()), ..self }
    }

    /// Where the messages stand that were confirmed since the last call.
    pub(crate) fn take_ranges(&self) -> Ranges {
        let ranges = self.ranges.as_ref().map(|ranges| ranges.lock().unwrap_or_else(PoisonError::into_inner));
        ranges.map(|mut ranges| std::mem::take(&mut *ranges)).unwrap_or_default()
    }

    fn note_place(&self, message: &impl Message) {
        let Some(ranges) = &self.ranges else { return };
        let mut ranges = ranges.lock().unwrap_or_else(PoisonError::into_inner);
        if !ranges.contains_key(message.topic()) {
            ranges.insert(message.topic().to_owned(), BTreeMap::new());
        }
        let (topic, offset) = (ranges.get_mut(message.topic()), message.offset());
        let range = topic.expect("invariant: it has just been put there").entry(message.partition());
        let range = range.or_insert((offset, offset + 1));
        *range = (range.0.min(offset), range.1.max(offset + 1));
    }

    pub(crate) fn ended(&self, lane: usize) -> u64 {
        self.ended[lane].load(Ordering::Acquire)
    }

    /// Over all lanes: whatever is confirmed makes room for everybody.
    pub(crate) fn ended_of_all(&self) -> u64 {
        self.ended.iter().map(|ended| ended.load(Ordering::Acquire)).sum()
    }

    /// Waits until more messages have come to an end than `seen` of all lanes; false when that takes too long.
    pub(crate) async fn wait_beyond(&self, seen: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let mut rung = pin!(self.progress.notified());
            rung.as_mut().enable();
            if self.ended_of_all() != seen {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, rung).await.is_err() {
                return false;
            }
        }
    }

    /// Why the brokers do not answer, if they do not.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The first message that was refused or given up, as an error.
    pub(crate) fn failure(&self) -> Option<Error> {
        let failure = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let doing = format!("write to the topic {}", failure.topic);
        let error = errors::told(&doing, &self.brokers, failure.number).fact("Kafka says", failure.said);
        Some(match error.code() {
            // A message that was given up is not on its way any more: no later try can bring it.
            Code::KafkaUnreachable => error.with_code(Code::KafkaAborted),
            _ => error,
        })
    }

    fn fail(&self, failure: Failure) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(failure);
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "dujiang_kafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "dujiang_kafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "dujiang_kafka", %error, reason, "the client reports");
        self.set_trouble(Some(reason.to_owned()));
        self.troubled.store(true, Ordering::Relaxed);
        self.progress.notify_waiters();
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, lane: usize) {
        match result {
            Ok(message) => {
                self.note_place(message);
                if self.troubled.swap(false, Ordering::Relaxed) {
                    self.set_trouble(None);
                }
            }
            Err((error, message)) => self.fail(Failure {
                number: error.rdkafka_error_code(),
                topic: message.topic().to_owned(),
                said: error.to_string(),
            }),
        }
        self.ended[lane].fetch_add(1, Ordering::Release);
        self.progress.notify_waiters();
    }
}
