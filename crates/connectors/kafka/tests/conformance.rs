//! The suite that every sink passes.

use crate::support::*;
use dujiang_core::sink::Sink;
use dujiang_testkit::conformance;
use dujiang_testkit::conformance::queue::{QueueUnderTest, Seen as Record};
use dujiang_testkit::conformance::sink::SinkUnderTest;

struct Topic {
    topic: String,
    commits: String,
}

impl SinkUnderTest for Topic {
    fn open(&mut self) -> Box<dyn Sink> {
        let options = [
            ("topic", self.topic.as_str()),
            ("sink.commit-topic", self.commits.as_str()),
            ("sink.delivery-guarantee", "exactly-once"),
            ("topic.partitions", "3"),
            ("value.format", "json"),
        ];
        sink(&broker().bootstrap(), &options)
    }

    fn visible(&mut self) -> Vec<i64> {
        ids(&broker().bootstrap(), &self.topic, "read_committed")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_conforms_as_a_sink() {
    conformance::sink::all(&mut Topic { topic: fresh("conformance"), commits: fresh("commits") }).await;
}

struct Queue(String);

impl QueueUnderTest for Queue {
    fn open(&mut self) -> Box<dyn Sink> {
        sink(&broker().bootstrap(), &[("topic", self.0.as_str()), ("topic.partitions", "3")])
    }

    fn visible(&mut self) -> Vec<Record> {
        let record = |seen: Seen| {
            let row = &seen.json()["after"];
            let (_, event_id) = seen.headers.iter().find(|(name, _)| name == "dujiang.event-id").expect("an event id");
            Record { id: row["id"].as_i64().expect("an id"), twice: row["twice"].as_i64(), event_id: event_id.clone() }
        };
        read(&broker().bootstrap(), &self.0, "read_committed").into_iter().map(record).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_p07_kafka_conforms_as_an_at_least_once_sink() {
    conformance::queue::all(&mut Queue(fresh("queue"))).await;
}
