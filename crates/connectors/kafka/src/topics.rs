//! Where each table's changes go.

use crate::client::{Admin, NewTopic, Topic};
use crate::config::{SinkConfig, is_topic};
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What the client leaves of a batch for what stands around its records.
const BATCH_OVERHEAD: usize = 512;
/// The library's own limit of a message.
const CLIENT_LIMIT: usize = 1_000_000;

/// A topic in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) topic: String,
    /// Partitions when the sink first saw it.
    pub(crate) partitions: i32,
    /// Bytes that a message may have.
    pub(crate) limit: usize,
}

/// The topics that have been seen or made.
#[derive(Default)]
pub(crate) struct Targets(Mutex<HashMap<String, Arc<Target>>>);

impl Targets {
    fn known(&self, topic: &str) -> Option<Arc<Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// A topic in use that is there no more.
    pub(crate) fn missing_from(&self, topics: &[Topic]) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.keys().find(|name| !topics.iter().any(|topic| topic.name == **name)).cloned()
    }

    /// The topics of tables, made now if they are missing.
    pub(crate) async fn of<'a>(
        &self,
        tables: impl Iterator<Item = &'a TableId>,
        config: &SinkConfig,
        admin: &Admin,
    ) -> Result<Vec<Arc<Target>>> {
        let mut there = None;
        let mut targets = Vec::new();
        for table in tables {
            let topic = topic_of(table, config)?;
            if let Some(target) = self.known(&topic) {
                targets.push(target);
                continue;
            }
            let there = match &mut there {
                Some(there) => there,
                none => none.insert(admin.topics().await?),
            };
            targets.push(self.use_topic(topic, table, config, admin, there).await?);
        }
        Ok(targets)
    }

    async fn use_topic(
        &self,
        topic: String,
        table: &TableId,
        config: &SinkConfig,
        admin: &Admin,
        there: &[Topic],
    ) -> Result<Arc<Target>> {
        let settings = config.topic_properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let new = NewTopic { name: &topic, partitions: config.partitions, replicas: config.replicas, settings };
        let Topic { name, partitions } = admin.topic_or_new(&new, there).await?;
        let limit = limit(&name, config, admin).await?;
        tracing::info!(topic = name, partitions, table = %table, "topic in use");
        let target = Arc::new(Target { topic: name, partitions, limit });
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(topic).or_insert(target).clone())
    }
}

/// The topic that a table's changes go to.
pub(crate) fn topic_of(table: &TableId, config: &SinkConfig) -> Result<String> {
    if let Some(prefix) = &config.topics.log {
        return Ok(crate::names::topic_of(prefix, table));
    }
    for (pattern, topic) in &config.topics.mapped {
        if pattern.matches(table)? {
            return Ok(topic.clone());
        }
    }
    let topic = config.topics.all.clone().unwrap_or_else(|| table.to_string());
    if is_topic(&topic) {
        return Ok(topic);
    }
    Err(Error::new(Code::SinkName, format!("the table {table} has a name that a topic cannot have"))
        .fact("topic", topic)
        .help("give it another one by `sink.tableId-to-topic.mapping`, by `topic` or by a route"))
}

/// A batch of the client may be as large as one message may be, so a topic that takes less would refuse whole batches.
async fn limit(topic: &str, config: &SinkConfig, admin: &Admin) -> Result<usize> {
    let number = |name: &str| config.client.get(name).and_then(|value| value.parse::<usize>().ok());
    let message = number("message.max.bytes").unwrap_or(CLIENT_LIMIT);
    let batch = number("batch.size").unwrap_or(CLIENT_LIMIT).min(message);
    match admin.largest_batch(topic).await {
        Some(taken) if taken < batch => {
            Err(Error::new(Code::KafkaTopic, format!("the topic {topic} takes smaller batches than the client makes"))
                .fact("max.message.bytes", taken.to_string())
                .fact("batch.size", batch.to_string())
                .help(format!(
                    "raise the topic's `max.message.bytes`, or set `properties.batch.size` and \
                     `properties.max.request.size` to at most {taken}"
                )))
        }
        taken => Ok(message.min(taken.unwrap_or(message)).saturating_sub(BATCH_OVERHEAD)),
    }
}
