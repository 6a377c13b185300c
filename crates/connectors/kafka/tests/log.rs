//! Kafka as a log: the sink of the capture and the source of deliveries.

use crate::support::*;
use dujiang_core::checkpoint::Lineage;
use dujiang_core::connector::{Log, PipelineOptions};
use dujiang_core::sink::Sink;
use dujiang_core::source::{Source, SourceEvent};
use dujiang_core::{Code, Epoch};
use dujiang_kafka::log::inspect;
use dujiang_testkit::conformance;
use dujiang_testkit::conformance::log::{Capture, LogUnderTest, ids as ids_of, open, told};
use dujiang_testkit::conformance::sink::SinkUnderTest;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

fn pipeline() -> PipelineOptions {
    PipelineOptions { name: "test".into(), parallelism: 3, memory_limit: 64 << 20 }
}

fn log(prefix: &str) -> Log {
    let options = [("topic.prefix", prefix), ("topic.partitions", "3")];
    (dujiang_kafka::LOG.build)(&raw(&broker().bootstrap(), &options), &pipeline()).expect("good options")
}

/// As another process sees it: nobody of this one captures.
fn source_at(bootstrap: &str, prefix: &str, more: &[(&str, &str)]) -> Box<dyn Source> {
    let options: Vec<_> = std::iter::once(&("topic.prefix", prefix)).chain(more).copied().collect();
    // By another name of the brokers it is another log to this process, which captures into none of that name.
    let bootstrap = bootstrap.replace("127.0.0.1", "localhost");
    (dujiang_kafka::LOG_SOURCE.build)(&raw(&bootstrap, &options), &pipeline()).expect("good options")
}

fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", broker().bootstrap());
    config.create().expect("an admin")
}

struct Topics(String);

impl SinkUnderTest for Topics {
    fn open(&mut self) -> Box<dyn Sink> {
        log(&self.0).sink
    }

    fn visible(&mut self) -> Vec<i64> {
        ids(&broker().bootstrap(), &format!("{}.conformance.rows", self.0), "read_committed")
    }

    fn lineage(&self) -> Lineage {
        Lineage("00000000000000bb".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_kafka_conforms_as_a_sink() {
    conformance::sink::all(&mut Topics(fresh("log-sink"))).await;
}

/// A log with topics of its own.
struct Prefix(String);

impl Prefix {
    fn topic(&self) -> String {
        format!("{}.shop.orders", self.0)
    }
}

impl LogUnderTest for Prefix {
    fn pipeline(&self) -> String {
        self.0.clone()
    }

    fn sink(&self) -> Box<dyn Sink> {
        log(&self.0).sink
    }

    fn source(&self, start: &str) -> Box<dyn Source> {
        source_at(&broker().bootstrap(), &self.0, &[("start", start)])
    }

    fn spoil(&self) {
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", broker().bootstrap());
        let producer: BaseProducer = config.create().expect("a producer");
        for partition in 0..3 {
            let topic = self.topic();
            let record = BaseRecord::<[u8], str>::to(&topic).partition(partition).payload("hello");
            producer.send(record).expect("room");
        }
        producer.flush(Duration::from_secs(20)).expect("sent");
    }

    async fn expire(&self, below: i64) {
        let mut gone = TopicPartitionList::new();
        let all = read(&broker().bootstrap(), &self.topic(), "read_committed");
        for partition in 0..3 {
            let old = all.iter().filter(|seen| seen.partition == partition);
            let old = old.filter(|seen| seen.json()["after"]["id"].as_i64().expect("an id") < below).count() as i64;
            // The end of their transaction, and the first message behind it.
            gone.add_partition_offset(&self.topic(), partition, Offset::Offset(old + 2)).expect("a place");
        }
        admin().delete_records(&gone, &AdminOptions::new()).await.expect("the brokers delete");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_kafka_conforms_as_a_source() {
    conformance::log::conforms_as_a_source(&Prefix(fresh("log-source"))).await;
}

/// P03, INV-7: over three partitions all comes back in the order of the capture. A reader of one partition sees a changed key as a
/// delete of the old one and an insert of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn p03_partitions_come_back_in_one_order() {
    let log = Prefix(fresh("log-order"));
    conformance::log::comes_back_in_order(&log).await;
    // Any other program: per partition a key's changes in order, and a moved row in the partitions of both keys.
    let messages = read(&broker().bootstrap(), &log.topic(), "read_committed");
    let of = |key: &str| -> Vec<(String, i32)> {
        let of_key = messages.iter().filter(|seen| seen.key.as_deref() == Some(&format!("{{\"id\":{key}}}")));
        of_key.map(|seen| (seen.json()["op"].as_str().unwrap().to_owned(), seen.partition)).collect()
    };
    let kinds = |key| of(key).into_iter().map(|(op, _)| op).collect::<Vec<_>>();
    assert_eq!((kinds("8"), kinds("800")), (vec!["r".into(), "d".into(), "c".into()], vec!["c".into()]));
    let used: std::collections::BTreeSet<i32> = messages.iter().map(|seen| seen.partition).collect();
    assert_eq!(used.len(), 3, "the rows lie in all partitions");
}

#[tokio::test(flavor = "multi_thread")]
async fn inv11_what_an_older_instance_writes_does_not_count() {
    conformance::log::what_an_older_instance_writes_does_not_count(&Prefix(fresh("log-old"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_what_retention_took_is_told() {
    conformance::log::what_has_expired_is_told(&Prefix(fresh("log-cut"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r14_a_foreign_message_in_the_log_is_told() {
    conformance::log::what_is_foreign_is_told(&Prefix(fresh("log-foreign"))).await;
}

/// K7 for the log: the broker dies while an epoch is written, and comes back. Each entry is there once, and read in order.
#[tokio::test(flavor = "multi_thread")]
async fn k7_the_log_survives_a_killed_broker() {
    let mut kafka = dujiang_scratch::Kafka::start().expect("a broker");
    let bootstrap = kafka.bootstrap();
    let options = [("topic.prefix", "k7"), ("topic.partitions", "3"), ("publish.timeout", "60s")];
    let log = (dujiang_kafka::LOG.build)(&raw(&bootstrap, &options), &pipeline()).expect("good options");
    let orders = table("orders");
    let mut process = Capture::start(&*log.sink, "test", 1, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(1, &[inserts(&orders, 0..100)]).await;
    for part in 1..=20 {
        if part == 10 {
            kafka.kill9();
        }
        process.writer.write(&inserts(&orders, part * 100..part * 100 + 100)).await.unwrap();
    }
    kafka.restart().unwrap();
    let tokens = process.writer.prepare(Epoch(2)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = process.commit(2, tokens.clone()).await {
        assert!(Instant::now() < deadline && error.code() != Code::KafkaAborted, "{error:?}");
    }
    let (mut reader, _) = open(&*source_at(&bootstrap, "k7", &[]), None).await.unwrap();
    let ids = ids_of(&told(&mut reader).await);
    assert_eq!(ids, (0..2100).collect::<Vec<_>>());
}

/// A log is looked at from outside, as `dujiang log` does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_kafka_is_looked_at() {
    let prefix = fresh("log-look");
    let orders = table("orders");
    let sink = log(&prefix).sink;
    let mut process = Capture::start(&*sink, &prefix, 1, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(1, &[inserts(&orders, 0..20)]).await;
    process.epoch(2, &[inserts(&orders, 20..30)]).await;
    let lake = source_at(&broker().bootstrap(), &prefix, &[("consumer", "lake")]);
    let (mut reader, mut acker) = open(&*lake, None).await.unwrap();
    told(&mut reader).await;
    acker.ack(&reader.barrier(&mut Vec::new()).unwrap()).await.unwrap();
    let bootstrap = broker().bootstrap();
    let looked = tokio::task::spawn_blocking(move || {
        let options = raw(&bootstrap, &[("topic.prefix", prefix.as_str())]);
        let view = || inspect::View::open(inspect::of_source(&options, "x").unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        // The group's commit is on its way.
        let summary = loop {
            let summary = view().summary().unwrap();
            if !summary.consumers.is_empty() {
                break summary;
            }
            assert!(Instant::now() < deadline, "the group has heard of nothing");
        };
        assert_eq!((summary.first, summary.end, summary.epoch), (0, 31, 2), "{summary:?}");
        assert_eq!(summary.consumers, [("lake".to_owned(), 31)]);
        assert_eq!(summary.parts.len(), 3);
        let mut seen = Vec::new();
        let each = view().each(dujiang_core::Start::Offset(21), |number, event| {
            seen.push((number, matches!(event, SourceEvent::Batch(_))));
            Ok(true)
        });
        each.unwrap();
        assert_eq!(seen, [(21, true)]);
        let verified = view().verify();
        assert_eq!((verified.entries, verified.images, verified.epochs), (31, 30, 2), "{verified:?}");
        assert!(verified.problem.is_none());
        assert_eq!(view().offset_at(0).unwrap(), 0);
        assert_eq!(view().offset_at(i64::MAX / 2).unwrap(), 31);
        assert_eq!(view().forget("lake").unwrap_err().code(), Code::NotSupported);
    });
    looked.await.unwrap();
}
