//! The shapes of tables in the topic of a log's state: each has its number as key, so that compaction leaves all of them.

use crate::client::{blocking, of_client};
use crate::names::ReadConfig;
use crate::reading::{KEY, each};
use dujiang_core::{Code, Error, Result};
use dujiang_entries::Shapes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Reads all shapes, and where the topic goes on. Waits.
pub(crate) fn read_all_shapes(config: &ReadConfig) -> Result<(Shapes, i64)> {
    let topic = config.state_topic();
    let failed =
        |error: KafkaError| of_client(&format!("read the shapes of tables in {topic}"), &config.bootstrap, error);
    let consumer: BaseConsumer = config.client.create().map_err(failed)?;
    let (low, _) = consumer.fetch_watermarks(&topic, 0, PATIENCE).map_err(failed)?;
    let (mut shapes, mut next, mut damaged) = (Shapes::default(), low, None);
    let read = each(&consumer, &topic, low, |message| {
        next = message.offset() + 1;
        if !is_marker(message) && shapes.read(message.payload().unwrap_or_default()).is_none() {
            damaged = Some(message.offset());
        }
        damaged.is_none()
    });
    read.map_err(failed)?;
    match damaged {
        Some(offset) => Err(foreign(&topic, 0, offset)),
        None => Ok((shapes, next)),
    }
}

/// Whether a message of the topic is the record of an epoch.
pub(crate) fn is_marker(message: &impl Message) -> bool {
    message.key() == Some(KEY.as_bytes())
}

/// Reads all shapes on a thread for such work.
pub(crate) async fn read_shapes(config: &Arc<ReadConfig>) -> Result<(Shapes, i64)> {
    let config = config.clone();
    blocking(move || read_all_shapes(&config)).await
}

/// A message that no log has written so.
pub(crate) fn foreign(topic: &str, partition: i32, offset: i64) -> Error {
    Error::new(Code::LogRangeDamaged, format!("a message of {topic} is none of the log"))
        .fact("partition", partition.to_string())
        .fact("offset", offset.to_string())
        .help("let nobody else write to the log's topics; a new log needs another `topic.prefix`")
}
