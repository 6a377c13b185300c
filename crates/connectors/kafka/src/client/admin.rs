//! Topics: what there is, and making what is missing.

use super::blocking;
use super::errors::{of_client, told, unfit};
use super::heard::{Heard, topics_of};
use dujiang_core::{Code, Error, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as Request, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
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
            let asker: BaseProducer<Heard> = config.create_with_context(Heard::default()).map_err(unfit)?;
            let turn = |pause| {
                asker.poll(pause);
            };
            let metadata = topics_of(asker.client(), turn, patience, &brokers)?;
            let topics = metadata.topics().iter();
            Ok(topics.map(|t| Topic { name: t.name().to_owned(), partitions: t.partitions().len() as i32 }).collect())
        })
        .await
    }

    /// The topic, made now if it is not among those that are there.
    pub(crate) async fn topic_or_new(&self, new: &NewTopic<'_>, there: &[Topic]) -> Result<Topic> {
        if let Some(topic) = there.iter().find(|topic| topic.name == new.name && topic.partitions > 0) {
            return Ok(topic.clone());
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
