//! The suite that every sink passes which makes visible at once.

use crate::support::{options, pipeline};
use dujiang_core::sink::Sink;
use dujiang_testkit::conformance::queue::{self, QueueUnderTest, Seen};
use dujiang_testkit::datahub::Datahub;

struct Topics {
    service: Datahub,
    protocol: &'static str,
}

impl QueueUnderTest for Topics {
    fn open(&mut self) -> Box<dyn Sink> {
        let raw = options(&self.service.endpoint(), &[("protocol", self.protocol), ("request.max-records", "7")]);
        (dujiang_datahub::SINK.build)(&raw, &pipeline()).unwrap_or_else(|all| panic!("{all:?}"))
    }

    fn visible(&mut self) -> Vec<Seen> {
        let number = |value: &Option<String>| value.as_ref().map(|value| value.parse().unwrap());
        let seen = |record: &dujiang_testkit::datahub::Stored| Seen {
            id: number(&record.values[0]).unwrap(),
            twice: number(&record.values[1]),
            event_id: record.attribute("dujiang.event-id").to_owned(),
        };
        self.service.records("rows").iter().map(seen).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datahub_conforms_as_a_sink() {
    for protocol in ["protobuf", "batch", "json"] {
        let mut topics = Topics { service: Datahub::start().await, protocol };
        queue::all(&mut topics).await;
        assert_eq!(topics.service.violations(), Vec::<String>::new());
    }
}
