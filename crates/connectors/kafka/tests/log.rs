//! Kafka as a log: the sink of the capture and the source of deliveries.

use crate::support::*;
use arrow_array::Int64Array;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Lineage, PipelineIdentity};
use dujiang_core::connector::{Log, PipelineOptions};
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::sink::{Milestone, Sink};
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent};
use dujiang_core::{ChangeBatch, Code, Epoch, Kind, Position, Result, TableSchema};
use dujiang_kafka::log::inspect;
use dujiang_testkit::conformance;
use dujiang_testkit::conformance::sink::SinkUnderTest;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn pipeline() -> PipelineOptions {
    PipelineOptions { name: "test".into(), parallelism: 3, memory_limit: 64 << 20 }
}

fn log(prefix: &str) -> Log {
    let options = [("topic.prefix", prefix), ("topic.partitions", "3")];
    (dujiang_kafka::LOG.build)(&raw(&broker().bootstrap(), &options), &pipeline()).expect("good options")
}

/// As another process sees it: nobody of this one captures.
fn source(prefix: &str, more: &[(&str, &str)]) -> Box<dyn Source> {
    let options: Vec<_> = std::iter::once(&("topic.prefix", prefix)).chain(more).copied().collect();
    // By another name of the brokers it is another log to this process, which captures into none of that name.
    let bootstrap = broker().bootstrap().replace("127.0.0.1", "localhost");
    (dujiang_kafka::LOG_SOURCE.build)(&raw(&bootstrap, &options), &pipeline()).expect("good options")
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

/// The capture: a committer and a writer of a log.
async fn capture(prefix: &str, generation: u64, tables: &[Arc<TableSchema>]) -> Process {
    let sink = log(prefix).sink;
    let mut committer = sink.committer(context_of(prefix, generation)).await.expect("a committer");
    let state = committer.open().await.expect("open");
    committer.apply_shapes(tables).await.expect("shapes");
    let writer = sink.writer(0, context_of(prefix, generation)).await.expect("a writer");
    Process { committer, writer, generation, state }
}

async fn commit(process: &mut Process, epoch: u64, batches: &[ChangeBatch]) {
    for batch in batches {
        assert!(process.writer.write(batch).await.expect("write").is_empty());
    }
    let tokens = process.writer.prepare(Epoch(epoch)).await.expect("prepare");
    process.commit(epoch, tokens).await.expect("commit");
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

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_kafka_conforms_as_a_source() {
    let prefix = fresh("log-source");
    let (one, two) = (table("one"), table("two"));
    let mut process = capture(&prefix, 1, &[one.clone(), two.clone()]).await;
    for epoch in 0..12 {
        let batches = [inserts(&one, epoch * 10..epoch * 10 + 2), inserts(&two, 1000 + epoch * 10..1001 + epoch * 10)];
        commit(&mut process, epoch as u64 + 1, &batches).await;
    }
    conformance::source::all(|| source(&prefix, &[]), 36).await;
    drop(process);
    conformance::source::all(|| source(&prefix, &[]), 36).await;
}

/// What a delivery is told, with the rows of batches as kinds, ids and texts.
#[derive(Debug, PartialEq)]
enum Told {
    Rows(String, Vec<(Kind, i64)>, bool),
    Shape(Box<SchemaChange>),
    SnapshotDone,
}

/// Everything up to the end.
async fn told(reader: &mut Box<dyn Reader>) -> Vec<Told> {
    let (mut all, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    loop {
        assert!(Instant::now() < deadline, "it never catches up: {all:?}");
        match reader.next().await.expect("next") {
            SourceEvent::Batch(batch) => {
                let ids = batch.rows.column(0).as_any().downcast_ref::<Int64Array>().expect("ids");
                let rows = batch.kinds.iter().copied().zip(ids.values().iter().copied()).collect();
                all.push(Told::Rows(batch.schema.id.to_string(), rows, reader.is_mid_cut()));
            }
            SourceEvent::SchemaChange(change) => all.push(Told::Shape(Box::new(change))),
            SourceEvent::SnapshotDone => all.push(Told::SnapshotDone),
            SourceEvent::CaughtUp => return all,
            SourceEvent::Idle => {}
            SourceEvent::End => panic!("it has no end"),
        }
    }
}

fn wider(table: &Arc<TableSchema>) -> Arc<TableSchema> {
    let mut fields: Vec<_> = table.arrow.fields().iter().cloned().collect();
    fields.push(Arc::new(arrow_schema::Field::new("more", arrow_schema::DataType::UInt64, true)));
    let arrow = Arc::new(arrow_schema::Schema::new(fields));
    Arc::new(TableSchema { version: table.version + 1, arrow, ..(**table).clone() })
}

/// P03, INV-7: over three partitions all comes back in the order of the capture: rows of several tables, a changed key, a
/// milestone, a change of a shape between the rows before and behind it. A reader of one partition sees a changed key as
/// a delete of the old one and an insert of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn p03_partitions_come_back_in_one_order() {
    let prefix = fresh("log-order");
    let (orders, items) = (table("orders"), table("items"));
    let mut process = capture(&prefix, 1, &[orders.clone(), items.clone()]).await;
    process.writer.cut_goes_on(true);
    let snapshot: Vec<_> = (0..50).map(|id| (Kind::Read, id, "a")).collect();
    process.writer.write(&rows(&orders, &snapshot)).await.unwrap();
    process.writer.cut_goes_on(false);
    process.writer.write(&inserts(&items, 0..5)).await.unwrap();
    process.writer.mark(Milestone::SnapshotDone).await.unwrap();
    let changed = [(Kind::UpdateBefore, 7, "a"), (Kind::UpdateAfter, 7, "b"), (Kind::UpdateBefore, 8, "a")];
    let moved = [(Kind::UpdateAfter, 800, "a"), (Kind::Delete, 9, "a"), (Kind::Insert, 8, "c")];
    commit(&mut process, 1, &[rows(&orders, &[changed, moved].concat())]).await;
    let wide = wider(&orders);
    let statement = "ALTER TABLE orders ADD more BIGINT UNSIGNED".to_owned();
    let ddl = Ddl::default();
    let alter = SchemaChange { before: Some(orders.clone()), after: wide.clone(), statement, ddl };
    for _ in 0..2 {
        process.committer.apply_change(&alter).await.expect("a change of the shape; again: idempotent");
    }
    let mut columns = inserts(&orders, 60..90).rows.columns().to_vec();
    columns.push(Arc::new(arrow_array::UInt64Array::from(vec![u64::MAX; 30])));
    let batch = arrow_array::RecordBatch::try_new(wide.arrow.clone(), columns).unwrap();
    let origins = (*inserts(&orders, 60..90).origins).clone();
    let behind = ChangeBatch::new(wide.clone(), batch, vec![Kind::Insert; 30], origins).unwrap();
    commit(&mut process, 2, &[behind]).await;

    let reading = source(&prefix, &[]);
    assert_eq!(reading.discover().await.unwrap().len(), 2, "shapes that are told before the first change are known");
    let (mut reader, mut acker) = open(reading.as_ref(), None).await.unwrap();
    let inserted = |ids: std::ops::Range<i64>| ids.map(|id| (Kind::Insert, id)).collect::<Vec<_>>();
    let changes = [
        (Kind::UpdateBefore, 7),
        (Kind::UpdateAfter, 7),
        (Kind::Delete, 8),
        (Kind::Insert, 800),
        (Kind::Delete, 9),
        (Kind::Insert, 8),
    ];
    let expected = vec![
        Told::Rows("shop.orders".into(), (0..50).map(|id| (Kind::Read, id)).collect(), true),
        Told::Rows("shop.items".into(), inserted(0..5), false),
        Told::SnapshotDone,
        Told::Rows("shop.orders".into(), changes.to_vec(), false),
        Told::Shape(Box::new(alter)),
        Told::Rows("shop.orders".into(), inserted(60..90), false),
    ];
    assert_eq!(told(&mut reader).await, expected);
    let position = reader.barrier(&mut Vec::new()).unwrap();
    acker.ack(&position).await.unwrap();

    // Any other program: per partition a key's changes in order, and a moved row in the partitions of both keys.
    let messages = read(&broker().bootstrap(), &format!("{prefix}.shop.orders"), "read_committed");
    let of = |key: &str| -> Vec<(String, i32)> {
        let of_key = messages.iter().filter(|seen| seen.key.as_deref() == Some(&format!("{{\"id\":{key}}}")));
        of_key.map(|seen| (seen.json()["op"].as_str().unwrap().to_owned(), seen.partition)).collect()
    };
    let kinds = |key| of(key).into_iter().map(|(op, _)| op).collect::<Vec<_>>();
    assert_eq!((kinds("8"), kinds("800")), (vec!["r".into(), "d".into(), "c".into()], vec!["c".into()]));
    let used: std::collections::BTreeSet<i32> = messages.iter().map(|seen| seen.partition).collect();
    assert_eq!(used.len(), 3, "the rows lie in all partitions");
}

fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", broker().bootstrap());
    config.create().expect("an admin")
}

/// K7 for the log: the broker dies while an epoch is written, and comes back. Each entry is there once, and read in order.
#[tokio::test(flavor = "multi_thread")]
async fn k7_the_log_survives_a_killed_broker() {
    let mut kafka = dujiang_scratch::Kafka::start().expect("a broker");
    let bootstrap = kafka.bootstrap();
    let options = [("topic.prefix", "k7"), ("topic.partitions", "3"), ("publish.timeout", "60s")];
    let log = (dujiang_kafka::LOG.build)(&raw(&bootstrap, &options), &pipeline()).expect("good options");
    let orders = table("orders");
    let mut committer = log.sink.committer(context(1)).await.unwrap();
    let state = committer.open().await.unwrap();
    committer.apply_shapes(std::slice::from_ref(&orders)).await.unwrap();
    let writer = log.sink.writer(0, context(1)).await.unwrap();
    let mut process = Process { committer, writer, generation: 1, state };
    commit(&mut process, 1, &[inserts(&orders, 0..100)]).await;
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
    let options = [("topic.prefix", "k7")];
    let elsewhere = bootstrap.replace("127.0.0.1", "localhost");
    let source = (dujiang_kafka::LOG_SOURCE.build)(&raw(&elsewhere, &options), &pipeline()).expect("good options");
    let (mut reader, _) = open(source.as_ref(), None).await.unwrap();
    let mut ids = Vec::new();
    for told in told(&mut reader).await {
        let Told::Rows(_, rows, _) = told else { panic!("{told:?}") };
        ids.extend(rows.into_iter().map(|(_, id)| id));
    }
    assert_eq!(ids, (0..2100).collect::<Vec<_>>());
}

/// R13, INV-6: Kafka removes by its own rules; what retention has taken and a delivery still needs is told, whether it starts there or reads there; a new delivery
/// begins with what is there as a whole, and `start` before that is refused.
#[tokio::test(flavor = "multi_thread")]
async fn r13_what_retention_took_is_told() {
    let prefix = fresh("log-cut");
    let orders = table("orders");
    let mut process = capture(&prefix, 1, std::slice::from_ref(&orders)).await;
    commit(&mut process, 1, &[inserts(&orders, 0..30)]).await;
    let (reader, _) = open(source(&prefix, &[("start", "latest")]).as_ref(), None).await.unwrap();
    let mut reader = reader;
    let before = reader.barrier(&mut Vec::new()).unwrap();
    commit(&mut process, 2, &[inserts(&orders, 30..60)]).await;
    commit(&mut process, 3, &[inserts(&orders, 60..90)]).await;
    // As retention does it: the oldest of a partition is gone, of epoch 1 and of half of epoch 2.
    let topic = format!("{prefix}.shop.orders");
    let mut gone = TopicPartitionList::new();
    for partition in 0..3 {
        let of_partition = read(&broker().bootstrap(), &topic, "read_committed");
        let second = of_partition.iter().filter(|seen| seen.partition == partition);
        let second = second.filter(|seen| seen.json()["after"]["id"].as_i64().unwrap() < 30).count() as i64 + 2;
        gone.add_partition_offset(&topic, partition, Offset::Offset(second)).unwrap();
    }
    admin().delete_records(&gone, &AdminOptions::new()).await.expect("the brokers delete");
    let (mut stale, _) = open(source(&prefix, &[]).as_ref(), Some(before)).await.unwrap();
    let error = until_error(&mut stale).await;
    assert_eq!(error.code(), Code::LogTrimmed, "{error:?}");
    let (mut fresh_one, _) = open(source(&prefix, &[]).as_ref(), None).await.unwrap();
    let all = told(&mut fresh_one).await;
    let third: Vec<_> = (60..90).map(|id| (Kind::Insert, id)).collect();
    assert_eq!(all, [Told::Rows("shop.orders".into(), third, false)], "the first epoch that is there as a whole");
    let error = open(source(&prefix, &[("start", "offset:5")]).as_ref(), None).await.err().expect("it is gone");
    assert_eq!(error.code(), Code::LogTrimmed, "{error:?}");
}

async fn until_error(reader: &mut Box<dyn Reader>) -> dujiang_core::Error {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "nothing is told");
        match reader.next().await {
            Err(error) => return error,
            Ok(SourceEvent::Batch(batch)) => panic!("rows behind a gap: {batch:?}"),
            Ok(_) => {}
        }
    }
}

/// R14: a message that cannot be read as an entry ends reading with its place; no loop, nothing is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn r14_a_foreign_message_in_the_log_is_told() {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let prefix = fresh("log-foreign");
    let orders = table("orders");
    let mut process = capture(&prefix, 1, std::slice::from_ref(&orders)).await;
    commit(&mut process, 1, &[inserts(&orders, 0..3)]).await;
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", broker().bootstrap());
    let producer: BaseProducer = config.create().expect("a producer");
    let topic = format!("{prefix}.shop.orders");
    for partition in 0..3 {
        let record = BaseRecord::<[u8], str>::to(&topic).partition(partition).payload("hello");
        producer.send(record).expect("room");
    }
    producer.flush(Duration::from_secs(20)).expect("sent");
    commit(&mut process, 2, &[inserts(&orders, 3..9)]).await;
    let (mut reader, _) = open(source(&prefix, &[]).as_ref(), None).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let error = loop {
        assert!(Instant::now() < deadline, "nothing is told");
        if let Err(error) = reader.next().await {
            break error;
        }
    };
    assert_eq!(error.code(), Code::LogRangeDamaged, "{error:?}");
}

/// A log is looked at from outside, as `dujiang log` does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_kafka_is_looked_at() {
    let prefix = fresh("log-look");
    let orders = table("orders");
    let mut process = capture(&prefix, 1, std::slice::from_ref(&orders)).await;
    commit(&mut process, 1, &[inserts(&orders, 0..20)]).await;
    commit(&mut process, 2, &[inserts(&orders, 20..30)]).await;
    let (mut reader, mut acker) = open(source(&prefix, &[("consumer", "lake")]).as_ref(), None).await.unwrap();
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
        assert_eq!(summary.partitions.len(), 3);
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
