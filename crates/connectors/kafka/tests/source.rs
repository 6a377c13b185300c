//! Kafka as a source.

use crate::support::*;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Lineage, PipelineIdentity};
use dujiang_core::connector::PipelineOptions;
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent};
use dujiang_core::{ChangeBatch, Code, Kind, Position, Result};
use dujiang_testkit::conformance;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::time::{Duration, Instant};

const SHAPE: (&str, &str) = ("schema", "id BIGINT NOT NULL, text STRING, PRIMARY KEY (id)");

fn source(topic: &str, more: &[(&str, &str)]) -> Box<dyn Source> {
    let options: Vec<_> = [("topic", topic), SHAPE].iter().chain(more).copied().collect();
    let pipeline = PipelineOptions { name: "test".into(), parallelism: 1, memory_limit: 64 << 20 };
    (dujiang_kafka::SOURCE.build)(&raw(&broker().bootstrap(), &options), &pipeline).expect("good options")
}

async fn open(source: &dyn Source, from: Option<Position>) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
    let context = SourceContext {
        identity: PipelineIdentity { name: "test".into(), lineage: Lineage("00000000000000aa".into()) },
        clock: context(1).clock,
        budget: Budget::new(64 << 20),
        work_dir: std::env::temp_dir(),
    };
    source.open(from, context).await
}

/// Fills a topic by the sink.
async fn filled(options: &[(&str, &str)], ids: std::ops::Range<i64>) -> String {
    let orders = table(&fresh("read"));
    let mut process = start(&broker().bootstrap(), 1, options, std::slice::from_ref(&orders)).await;
    process.writer.write(&inserts(&orders, ids)).await.expect("write");
    process.writer.flush().await.expect("flush");
    orders.id.to_string()
}

async fn until_caught_up(reader: &mut Box<dyn Reader>) -> Vec<ChangeBatch> {
    let (mut batches, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    loop {
        assert!(Instant::now() < deadline, "it never catches up");
        match reader.next().await.expect("next") {
            SourceEvent::Batch(batch) => batches.push(batch),
            SourceEvent::CaughtUp => return batches,
            _ => {}
        }
    }
}

fn ids_in(batches: &[ChangeBatch]) -> Vec<i64> {
    let mut ids: Vec<i64> = Vec::new();
    for batch in batches {
        let column = batch.rows.column(0).as_any().downcast_ref::<arrow_array::Int64Array>().expect("ids");
        ids.extend(column.values());
    }
    ids.sort_unstable();
    ids
}

fn send(topic: &str, partition: i32, payloads: &[&str]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker().bootstrap());
    let producer: BaseProducer = config.create().expect("a producer");
    for payload in payloads {
        producer.send(BaseRecord::<[u8], str>::to(topic).partition(partition).payload(*payload)).expect("room");
    }
    producer.flush(Duration::from_secs(20)).expect("sent");
}

fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker().bootstrap());
    config.create().expect("an admin")
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_conforms_as_a_source() {
    for format in ["debezium-json", "canal-json", "json"] {
        let topic = filled(&[("topic.partitions", "3"), ("value.format", format)], 0..500).await;
        conformance::source::all(|| source(&topic, &[("value.format", format)]), 500).await;
    }
}

/// What the sink wrote is what the source reads; the group hears of progress, and the pipeline's own place decides.
#[tokio::test(flavor = "multi_thread")]
async fn p03_what_is_written_is_read_and_the_group_hears_of_it() {
    let bootstrap = broker().bootstrap();
    let orders = table(&fresh("both-ways"));
    let topic = orders.id.to_string();
    let mut process = start(&bootstrap, 1, &[], std::slice::from_ref(&orders)).await;
    let changes = [
        (Kind::Read, 1, "a"),
        (Kind::Insert, 2, "ü\"\\"),
        (Kind::UpdateBefore, 2, "ü\"\\"),
        (Kind::UpdateAfter, 2, "c"),
        (Kind::Delete, 1, "a"),
    ];
    process.writer.write(&rows(&orders, &changes)).await.unwrap();
    process.writer.flush().await.unwrap();
    let group = fresh("group");
    let source = source(&topic, &[("group.id", group.as_str())]);
    assert_eq!(source.discover().await.unwrap()[0].id, orders.id);
    let (mut reader, mut acker) = open(source.as_ref(), None).await.unwrap();
    let batches = until_caught_up(&mut reader).await;
    let mut seen = Vec::new();
    for batch in &batches {
        let text = batch.rows.column(1).as_any().downcast_ref::<arrow_array::StringArray>().unwrap();
        let id = batch.rows.column(0).as_any().downcast_ref::<arrow_array::Int64Array>().unwrap();
        seen.extend((0..batch.images()).map(|row| (batch.kinds[row], id.value(row), text.value(row).to_owned())));
    }
    let expected: Vec<_> = changes.iter().map(|(kind, id, text)| (*kind, *id, (*text).to_owned())).collect();
    assert_eq!(seen, expected);
    let position = reader.barrier(&mut Vec::new()).unwrap();
    assert_eq!(source.describe(&position), format!("{topic} 0:4"));
    acker.ack(&position).await.unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &bootstrap).set("group.id", &group);
    let watcher: BaseConsumer = config.create().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&topic, 0);
        let told = watcher.committed_offsets(asked, Duration::from_secs(10)).unwrap();
        if told.elements()[0].offset().to_raw() == Some(4) {
            break;
        }
        assert!(Instant::now() < deadline, "the group does not hear of it: {told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Uncommitted messages are not read; those of an aborted transaction never are.
#[tokio::test(flavor = "multi_thread")]
async fn inv_2_what_is_not_committed_is_not_read() {
    let bootstrap = broker().bootstrap();
    let (topic, commits) = (fresh("uncommitted"), fresh("commits"));
    let options = [
        ("topic", topic.as_str()),
        ("sink.commit-topic", commits.as_str()),
        ("sink.delivery-guarantee", "exactly-once"),
    ];
    let orders = table("orders");
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    for epoch in 1..=2u64 {
        process.writer.write(&inserts(&orders, epoch as i64 * 10..epoch as i64 * 10 + 5)).await.unwrap();
        let tokens = process.writer.prepare(dujiang_core::Epoch(epoch)).await.unwrap();
        if epoch == 1 {
            process.commit(1, tokens).await.unwrap();
        }
    }
    let (mut reader, _) = open(source(&topic, &[]).as_ref(), None).await.unwrap();
    assert_eq!(ids_in(&until_caught_up(&mut reader).await), (10..15).collect::<Vec<i64>>());
}

/// A message that is none of its table costs its own record only (P10), and says what was in it.
#[tokio::test(flavor = "multi_thread")]
async fn p10_poison_costs_its_own_record() {
    let topic = filled(&[("value.format", "json")], 0..3).await;
    send(&topic, 0, &["{\"id\":3,\"text\":\"x\"}", "poison", "{\"id\":\"a\"}", "{\"id\":4,\"text\":null}"]);
    let (mut reader, _) = open(source(&topic, &[("value.format", "json")]).as_ref(), None).await.unwrap();
    let batches = until_caught_up(&mut reader).await;
    let bad: Vec<_> = batches.iter().flat_map(ChangeBatch::unfit_records).collect();
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert!(bad[0].1.message().contains("poison"), "{:?}", bad[0].1);
    let good: Vec<ChangeBatch> = batches.into_iter().filter(|batch| batch.unfit.is_empty()).collect();
    assert_eq!(ids_in(&good), [0, 1, 2, 3, 4]);
}

/// K9: partitions that are added are read from their beginning, while running and by a later start.
#[tokio::test(flavor = "multi_thread")]
async fn k9_added_partitions_are_read_from_their_beginning() {
    let topic = filled(&[("value.format", "json")], 0..3).await;
    let options = [("value.format", "json"), ("scan.topic-partition-discovery.interval", "100ms")];
    let source = source(&topic, &options);
    let (mut reader, _acker) = open(source.as_ref(), None).await.unwrap();
    until_caught_up(&mut reader).await;
    let position = reader.barrier(&mut Vec::new()).unwrap();
    admin().create_partitions(&[NewPartitions::new(&topic, 2)], &AdminOptions::new()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while BaseConsumer::fetch_metadata(&watcher(), Some(&topic), Duration::from_secs(5)).unwrap().topics()[0]
        .partitions()
        .len()
        < 2
    {
        assert!(Instant::now() < deadline, "the partition does not appear");
    }
    send(&topic, 1, &["{\"id\":7,\"text\":\"x\"}"]);
    let batch = loop {
        assert!(Instant::now() < deadline, "the added partition is not read");
        if let SourceEvent::Batch(batch) = reader.next().await.unwrap() {
            break batch;
        }
    };
    assert_eq!(ids_in(&[batch]), [7]);
    let (mut later, _acker) = open(source.as_ref(), Some(position)).await.unwrap();
    assert_eq!(ids_in(&until_caught_up(&mut later).await), [7]);
}

fn watcher() -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker().bootstrap()).set("group.id", "watcher");
    config.create().expect("a consumer")
}

/// INV-6, K9: a place that is gone and a topic that is gone are told; the source never jumps.
#[tokio::test(flavor = "multi_thread")]
async fn inv_6_what_is_gone_is_told() {
    let topic = filled(&[("value.format", "json")], 0..10).await;
    let options = [("value.format", "json"), ("scan.topic-partition-discovery.interval", "100ms")];
    let source = source(&topic, &options);
    let (mut reader, _acker) = open(source.as_ref(), None).await.unwrap();
    let begin = reader.barrier(&mut Vec::new()).unwrap();
    until_caught_up(&mut reader).await;
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(5)).unwrap();
    admin().delete_records(&before, &AdminOptions::new()).await.unwrap();
    let (mut late, _acker) = open(source.as_ref(), Some(begin)).await.unwrap();
    assert_eq!(failure(&mut late).await.code(), Code::PositionLost);
    admin().delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    assert_eq!(failure(&mut reader).await.code(), Code::KafkaTopic);
    assert_eq!(source.discover().await.unwrap_err().code(), Code::KafkaTopic);
}

async fn failure(reader: &mut Box<dyn Reader>) -> dujiang_core::Error {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "nothing is told");
        match reader.next().await {
            Err(error) => return error,
            Ok(SourceEvent::Batch(batch)) => panic!("it jumps: {:?}", ids_in(&[batch])),
            Ok(_) => {}
        }
    }
}

/// INV-5: places of one cluster mean nothing in another one.
#[tokio::test(flavor = "multi_thread")]
async fn inv_5_another_cluster_is_refused() {
    let topic = filled(&[("value.format", "json")], 0..1).await;
    let source = source(&topic, &[("value.format", "json")]);
    let (mut reader, _acker) = open(source.as_ref(), None).await.unwrap();
    let position = reader.barrier(&mut Vec::new()).unwrap();
    let text = String::from_utf8(position.as_bytes().to_vec()).unwrap();
    let (head, rest) = text.split_once("\"cluster\":\"").expect("a cluster");
    let foreign = format!("{head}\"cluster\":\"x{rest}");
    let error = open(source.as_ref(), Some(Position::new(foreign.into_bytes()))).await.err().expect("refused");
    assert_eq!(error.code(), Code::OtherServer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_begins_where_it_is_told() {
    let topic = filled(&[("value.format", "json")], 0..3).await;
    let start = |mode: &'static str| [("value.format", "json"), ("scan.startup.mode", mode)];
    let (mut reader, _acker) = open(source(&topic, &start("latest-offset")).as_ref(), None).await.unwrap();
    let at = reader.barrier(&mut Vec::new()).unwrap();
    send(&topic, 0, &["{\"id\":9,\"text\":\"x\"}"]);
    let (mut again, _acker) = open(source(&topic, &start("latest-offset")).as_ref(), Some(at)).await.unwrap();
    assert_eq!(ids_in(&until_caught_up(&mut again).await), [9], "a position wins over the mode");
    let mut options = start("timestamp").to_vec();
    options.push(("scan.startup.timestamp-millis", "0"));
    let (mut reader, _acker) = open(source(&topic, &options).as_ref(), None).await.unwrap();
    assert_eq!(ids_in(&until_caught_up(&mut reader).await), [0, 1, 2, 9]);
}
