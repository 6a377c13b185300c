//! A broker for all tests of this binary, and an ordinary reader of its topics.

use dujiang_core::TableSchema;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Place, RawOption};
use dujiang_core::sink::{Sink, SinkContext};
use dujiang_scratch::{Kafka, KafkaOptions};
pub use dujiang_testkit::conformance::log::{Capture as Process, context as context_of};
pub use dujiang_testkit::sample::{inserts, rows, table};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The broker of tests that do it no harm; its watchdog ends it with this process. It gives transactions up as soon as they
/// are due, and has a listener with TLS and a password.
pub fn broker() -> &'static Kafka {
    static BROKER: OnceLock<Kafka> = OnceLock::new();
    BROKER.get_or_init(|| {
        let options = KafkaOptions {
            settings: vec!["transaction.abort.timed.out.transaction.cleanup.interval.ms=50".into()],
            secure: Some(certificate().clone()),
            ..KafkaOptions::default()
        };
        Kafka::start_with(&options).expect("a Kafka broker")
    })
}

/// The broker's certificate, signed by itself, and its key.
pub fn certificate() -> &'static (String, String) {
    static CERTIFICATE: OnceLock<(String, String)> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
        params.subject_alt_names.push(rcgen::SanType::IpAddress([127, 0, 0, 1].into()));
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    })
}

/// A name nobody else has.
pub fn fresh(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn raw(bootstrap: &str, more: &[(&str, &str)]) -> Vec<RawOption> {
    let first = ("properties.bootstrap.servers", bootstrap);
    std::iter::once(&first).chain(more).map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect()
}

pub fn sink(bootstrap: &str, more: &[(&str, &str)]) -> Box<dyn Sink> {
    let pipeline = PipelineOptions { name: "test".into(), parallelism: 3, memory_limit: 64 << 20 };
    (dujiang_kafka::SINK.build)(&raw(bootstrap, more), &pipeline).expect("good options")
}

/// Of a pipeline that shares its name: those that write in transactions to the same brokers shut each other out.
pub fn context(generation: u64) -> SinkContext {
    context_of("test", generation)
}

/// A process that writes.
pub async fn start(bootstrap: &str, generation: u64, options: &[(&str, &str)], tables: &[Arc<TableSchema>]) -> Process {
    let commits = options.iter().find(|(name, _)| *name == "sink.commit-topic");
    let pipeline = commits.map_or("test", |(_, topic)| topic);
    Process::start(&*sink(bootstrap, options), pipeline, generation, tables).await.expect("a process")
}

/// A message as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, String)>,
}

impl Seen {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.value.as_deref().unwrap_or("null")).expect("JSON")
    }
}

/// Every message of a topic that an ordinary reader sees; of each partition in order.
pub fn read(bootstrap: &str, topic: &str, isolation: &str) -> Vec<Seen> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "reader").set("isolation.level", isolation);
    config.set("enable.partition.eof", "true").set("enable.auto.commit", "false").set("fetch.wait.max.ms", "50");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let patience = Duration::from_secs(20);
    let metadata = consumer.fetch_metadata(None, patience).expect("metadata");
    let partitions = metadata.topics().iter().find(|t| t.name() == topic).map_or(0, |t| t.partitions().len());
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("a place");
    }
    consumer.assign(&all).expect("assign");
    let (mut seen, mut ended, deadline) = (Vec::new(), 0, Instant::now() + Duration::from_secs(60));
    while ended < partitions {
        assert!(Instant::now() < deadline, "{topic} has no end; so far {}", seen.len());
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => seen.push(as_seen(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{topic}: {error}"),
            None => {}
        }
    }
    seen
}

fn as_seen(message: &impl Message) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|h| (h.key.to_owned(), h.value.map_or_else(String::new, text))).collect()
    });
    Seen { partition: message.partition(), key: message.key().map(text), value: message.payload().map(text), headers }
}

/// The ids of a topic's JSON rows.
pub fn ids(bootstrap: &str, topic: &str, isolation: &str) -> Vec<i64> {
    let all = read(bootstrap, topic, isolation);
    let id = |seen: &Seen| {
        let json = seen.json();
        json["after"]["id"].as_i64().or(json["id"].as_i64()).expect("an id")
    };
    all.iter().map(id).collect()
}

/// Demands that an error reads as it is written down; what the client says differs from run to run.
#[track_caller]
pub fn reads_as_written(error: &dujiang_core::Error, brokers: &str) {
    let mut hide = vec![];
    hide.extend(
        error.facts().iter().filter(|(name, _)| *name == "Kafka says").map(|(_, v)| (v.as_str(), "<its words>")),
    );
    hide.push((brokers, "<brokers>"));
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, &hide);
}
