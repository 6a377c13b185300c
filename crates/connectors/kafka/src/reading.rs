//! Reading a topic of one partition from a place to its end.

use crate::client::{Heard, unfit};
use dujiang_core::Result;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Key of the records that tell which epoch was committed last.
pub(crate) const KEY: &str = "dujiang";

/// A consumer, and what it hears of its connections.
pub(crate) type Client = BaseConsumer<Heard>;

/// How long brokers may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The settings of connections and of security; those of producers mean nothing to a consumer.
pub(crate) fn reader_of(config: &ClientConfig) -> ClientConfig {
    let mut reader = ClientConfig::new();
    let kept = ["bootstrap.", "security.", "sasl.", "ssl.", "client.", "socket.", "broker.", "reconnect."];
    for (name, value) in config.config_map() {
        if kept.iter().any(|prefix| name.starts_with(prefix)) {
            reader.set(name, value);
        }
    }
    reader.set("group.id", "dujiang").set("enable.auto.commit", "false").set("isolation.level", "read_committed");
    reader.set("enable.partition.eof", "true").set("auto.offset.reset", "error");
    reader.set("fetch.wait.max.ms", "50");
    reader
}

/// Connects in the background.
pub(crate) fn connect(config: &ClientConfig) -> Result<Client> {
    config.create_with_context(Heard::default()).map_err(unfit)
}

/// Whether a message is a record of which epoch was committed last.
pub(crate) fn is_marker(message: &impl Message) -> bool {
    message.key() == Some(KEY.as_bytes())
}

/// Every message that is committed by now, from an offset on, as long as `take` says so.
pub(crate) fn each(
    consumer: &Client,
    topic: &str,
    offset: i64,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> bool,
) -> std::result::Result<(), KafkaError> {
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Offset(offset))?;
    consumer.assign(&place)?;
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) if !take(&message) => return Ok(()),
            Some(Ok(_)) => deadline = Instant::now() + PATIENCE,
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => return Err(error),
            None if Instant::now() < deadline => {}
            None => return Err(KafkaError::NoMessageReceived),
        }
    }
}
