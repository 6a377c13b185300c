//! The suite that every sink passes.

use crate::support::*;
use dujiang_core::sink::Sink;
use dujiang_testkit::conformance;
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
