//! Topics as an ordinary reader of committed messages sees them.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Reads topics of so many partitions to their end, and follows every row from image to image: per key each change finds the
/// image that the one before it left. `fresh` is told the topic and the text of a header of every message; a message that is not
/// fresh is passed over.
pub fn follow(
    bootstrap: &str,
    topics: &[String],
    partitions: i32,
    header: &str,
    patience: Duration,
    mut fresh: impl FnMut(&str, &str) -> bool,
) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "reader").set("isolation.level", "read_committed");
    config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    for topic in topics {
        let mut places = TopicPartitionList::new();
        for partition in 0..partitions {
            places.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
        }
        consumer.assign(&places).expect("assign");
        let deadline = Instant::now() + patience;
        follow_topic(&consumer, topic, partitions, header, deadline, &mut fresh);
    }
}

fn follow_topic(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: i32,
    header: &str,
    deadline: Instant,
    fresh: &mut impl FnMut(&str, &str) -> bool,
) {
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    let mut ended = 0;
    while ended < partitions {
        assert!(Instant::now() < deadline, "{topic} has no end");
        let message = match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => {
                ended += 1;
                continue;
            }
            Some(Err(error)) => panic!("{topic}: {error}"),
            None => continue,
        };
        let found = message.headers().expect("headers").iter().find(|h| h.key == header).expect("the header");
        let head = String::from_utf8_lossy(found.value.expect("a value")).into_owned();
        if !fresh(topic, &head) {
            continue;
        }
        let key = String::from_utf8_lossy(message.key().expect("a key")).into_owned();
        let value: Value = serde_json::from_slice(message.payload().expect("a value")).expect("JSON");
        let before = rows.remove(&key).unwrap_or(Value::Null);
        assert_eq!(value["before"], before, "{topic} {key} {head}: the change before is missing, or came later");
        if value["op"] != "d" {
            rows.insert(key, value["after"].clone());
        }
    }
}
