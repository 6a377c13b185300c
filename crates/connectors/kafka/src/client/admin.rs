//! Topics: what there is, and making what is missing.

use super::blocking;
use super::errors::{denied, of_client, told};
use dujiang_core::{Code, Error, Result};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as Request, ResourceSpecifier, TopicReplication};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// How long the client is given to tell what it has heard.
const TURN: Duration = Duration::from_millis(50);
/// How often it is given that, until it has told something.
const TURNS: u32 = 20;
/// How often a topic that was made is looked for before that counts as a failure, and the pause in between.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Asks brokers about topics.
pub(crate) struct Admin {
    client: Arc<AdminClient<Heard>>,
    config: ClientConfig,
    brokers: String,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
}

/// A topic to be made.
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) replicas: i32,
    pub(crate) settings: Vec<(&'a str, &'a str)>,
}

/// The last thing that the connection told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Option<(bool, String)>>>);

impl ClientContext for Heard {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "dujiang_kafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let denies = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL)
        );
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What the user can mend outweighs that no broker is left after it.
        if !heard.as_ref().is_some_and(|(mendable, _)| *mendable) || denies {
            *heard = Some((denies, reason.to_owned()));
        }
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn unfit(error: KafkaError) -> Error {
    Error::new(Code::KafkaSetting, "the Kafka client does not accept its settings").with_source(error.to_string())
}

impl Admin {
    pub(crate) fn new(config: &ClientConfig, brokers: &str) -> Result<Self> {
        let client = config.create_with_context(Heard::default()).map_err(unfit)?;
        Ok(Self { client: Arc::new(client), config: config.clone(), brokers: brokers.to_owned() })
    }

    /// Every topic; nothing is made by asking.
    pub(crate) async fn topics(&self) -> Result<Vec<Topic>> {
        self.topics_within(PATIENCE).await
    }

    /// The same with less patience.
    pub(crate) async fn topics_within(&self, patience: Duration) -> Result<Vec<Topic>> {
        let (config, brokers) = (self.config.clone(), self.brokers.clone());
        blocking(move || {
            // A client of its own: the other one is told of no connections that are lost or refused.
            let heard = Heard::default();
            let asker: BaseProducer<Heard> = config.create_with_context(heard.clone()).map_err(unfit)?;
            let metadata = asker.client().fetch_metadata(None, patience).map_err(|error| {
                let told = || heard.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let heard = (0..TURNS).find_map(|_| {
                    asker.poll(TURN);
                    told()
                });
                match heard {
                    Some((true, reason)) => denied(&brokers, &reason),
                    Some((false, reason)) => of_client("ask for topics", &brokers, error).fact("Kafka says", reason),
                    None => of_client("ask for topics", &brokers, error),
                }
            })?;
            let topics = metadata.topics().iter();
            Ok(topics.map(|t| Topic { name: t.name().to_owned(), partitions: t.partitions().len() as i32 }).collect())
        })
        .await
    }

    /// The topic, made now if it is missing.
    pub(crate) async fn topic_or_new(&self, new: &NewTopic<'_>) -> Result<Topic> {
        if let Some(topic) = self.topic(new.name).await? {
            return Ok(topic);
        }
        self.make(new).await?;
        for _ in 0..LOOKS {
            if let Some(topic) = self.topic(new.name).await? {
                return Ok(topic);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::new(Code::KafkaTopic, format!("the topic {} was made and does not appear", new.name))
            .fact("brokers", self.brokers.as_str())
            .help("check the brokers' logs"))
    }

    async fn topic(&self, name: &str) -> Result<Option<Topic>> {
        Ok(self.topics().await?.into_iter().find(|topic| topic.name == name && topic.partitions > 0))
    }

    async fn make(&self, new: &NewTopic<'_>) -> Result<()> {
        let mut request = Request::new(new.name, new.partitions, TopicReplication::Fixed(new.replicas));
        for (name, value) in &new.settings {
            request = request.set(name, value);
        }
        let doing = || format!("make the topic {}", new.name);
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let made = self.client.create_topics([&request], &options).await;
        let made = made.map_err(|error| of_client(&doing(), &self.brokers, error))?;
        for result in made {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, number)) => {
                    return Err(told(&doing(), &self.brokers, Some(number)).fact("Kafka says", number.to_string()));
                }
            }
        }
        Ok(())
    }

    /// The largest batch of records that the topic takes; `None` when the user may not know.
    pub(crate) async fn largest_batch(&self, topic: &str) -> Option<usize> {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let told = self.client.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await.ok()?;
        let resource = told.into_iter().next()?.ok()?;
        resource.get("max.message.bytes")?.value.as_deref()?.parse().ok()
    }
}
