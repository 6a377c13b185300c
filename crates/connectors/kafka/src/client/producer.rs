//! The producer of a sink and the thread that serves it.

use super::errors::{of_client, unfit};
use super::reports::Reports;
use dujiang_core::{Code, Error, Result};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use std::sync::Arc;
use std::time::Duration;

type Inner = BaseProducer<Reports>;
/// A message ready to be sent.
pub(crate) type Record<'a> = BaseRecord<'a, [u8], [u8], usize>;

/// How long the thread waits for reports before it looks whether it is still needed.
const TURN: Duration = Duration::from_millis(100);
/// How long a call waits for the brokers.
const PATIENCE: Duration = Duration::from_secs(30);

/// A producer. The last one to let go of it is its own thread: ending it waits.
#[derive(Clone)]
pub(crate) struct Producer {
    inner: Arc<Inner>,
    brokers: Arc<str>,
}

impl Producer {
    /// Connects in the background.
    pub(crate) fn start(config: &ClientConfig, brokers: &str, reports: Reports) -> Result<Self> {
        let inner: Arc<Inner> = Arc::new(config.create_with_context(reports).map_err(unfit)?);
        let served = inner.clone();
        let thread = std::thread::Builder::new().name("kafka-reports".into());
        thread.spawn(move || serve(&served)).map_err(|error| {
            Error::new(Code::SinkNotWritable, "the system gives no thread for the Kafka client").with_source(error)
        })?;
        Ok(Self { inner, brokers: brokers.into() })
    }

    pub(crate) fn reports(&self) -> &Reports {
        self.inner.context()
    }

    /// Hands a message over; false when there is no room for it yet.
    pub(crate) fn send(&self, record: Record<'_>) -> Result<bool> {
        let topic = record.topic;
        match self.inner.send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(match self.reports().failure() {
                Some(first) => first,
                None => of_client(&format!("write to the topic {topic}"), &self.brokers, error),
            }),
        }
    }

    /// Shuts out every earlier producer of the same transactional id and ends what it left open. Waits.
    pub(crate) fn init_transactions(&self) -> Result<()> {
        let mut done = self.inner.init_transactions(PATIENCE);
        // What passes by itself, such as a coordinator that moves, is the call's own affair: it goes on where it was.
        if done.as_ref().is_err_and(passes) {
            done = self.inner.init_transactions(PATIENCE);
        }
        // Nobody answered, and then the error does not say why; a refusal says it itself.
        done.map_err(|error| match self.reports().trouble().filter(|_| passes(&error)) {
            Some(why) => of_client("begin transactions", &self.brokers, error).fact("Kafka says", why),
            None => of_client("begin transactions", &self.brokers, error),
        })
    }

    pub(crate) fn begin_transaction(&self) -> Result<()> {
        self.inner.begin_transaction().map_err(|error| of_client("begin a transaction", &self.brokers, error))
    }

    /// Commits; what came out of it if that is known. Waits. To be called again when it is not.
    pub(crate) fn commit_transaction(&self) -> Outcome {
        match self.inner.commit_transaction(PATIENCE) {
            Ok(()) => Outcome::Committed,
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() || error.is_fatal() => {
                Outcome::Ended(error.string())
            }
            Err(error) => Outcome::Unknown(of_client("commit the transaction", &self.brokers, error)),
        }
    }
}

/// What is known of a commit.
pub(crate) enum Outcome {
    /// It is done.
    Committed,
    /// It may be done, and asking again will tell.
    Unknown(Error),
    /// This producer can never tell, in its own words why; the brokers can.
    Ended(String),
}

fn serve(inner: &Arc<Inner>) {
    while Arc::strong_count(inner) > 1 {
        inner.poll(TURN);
    }
}

fn passes(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable())
}
