//! What a client hears of its connections.

use super::errors::{denied, of_client};
use dujiang_core::Result;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::ProducerContext;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the client is given to tell what it has heard.
const TURN: Duration = Duration::from_millis(50);
/// How often it is given that, until it has told something.
const TURNS: u32 = 20;

/// The last trouble that the connections told, and whether the user can mend it.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<(bool, String)>>>);

impl Heard {
    fn told(&self) -> MutexGuard<'_, Option<(bool, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.told().as_ref().map(|(_, reason)| reason.clone())
    }

    pub(crate) fn clear(&self) {
        *self.told() = None;
    }
}

impl ClientContext for Heard {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "dujiang_kafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let denies = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL)
        );
        let mut told = self.told();
        // What the user can mend outweighs that no broker is left after it.
        if !told.as_ref().is_some_and(|(mendable, _)| *mendable) || denies {
            *told = Some((denies, reason.to_owned()));
        }
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl ConsumerContext for Heard {}

/// Every topic; nothing is made by asking. `turn` lets the client tell what it has heard. Waits.
///
/// # Errors
/// `KafkaDenied` when the user is not let in; `KafkaUnreachable`.
pub(crate) fn topics_of(
    client: &Client<Heard>,
    turn: impl Fn(Duration),
    patience: Duration,
    brokers: &str,
) -> Result<Metadata> {
    client.fetch_metadata(None, patience).map_err(|error| {
        let told = (0..TURNS).find_map(|_| {
            turn(TURN);
            client.context().told().clone()
        });
        match told {
            Some((true, reason)) => denied(brokers, &reason),
            Some((false, reason)) => of_client("ask for topics", brokers, error).fact("Kafka says", reason),
            None => of_client("ask for topics", brokers, error),
        }
    })
}
