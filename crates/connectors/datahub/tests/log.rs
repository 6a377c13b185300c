//! DataHub as a log: the sink of the capture and the source of deliveries.

use crate::support::PROJECT_OPTIONS;
use dujiang_core::connector::{Log, PipelineOptions};
use dujiang_core::options::{Place, RawOption};
use dujiang_core::sink::Sink;
use dujiang_core::source::{Source, SourceEvent};
use dujiang_core::{Code, Epoch, Kind, Result, Start, TableSchema};
use dujiang_datahub::log::inspect;
use dujiang_testkit::conformance;
use dujiang_testkit::conformance::log::{Capture, LogUnderTest, context, ids, open, told, until_error};
use dujiang_testkit::conformance::sink::SinkUnderTest;
use dujiang_testkit::datahub::{Datahub, Fault, Stored};
use dujiang_testkit::sample::{inserts, rows, table};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

const TOPIC: &str = "river";

fn raw(endpoint: &str, more: &[(&str, &str)]) -> Vec<RawOption> {
    let mut options: Vec<(&str, &str)> = vec![("endpoint", endpoint), ("topic", TOPIC), ("poll.interval", "5ms")];
    options.extend(PROJECT_OPTIONS);
    options.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    options.extend_from_slice(more);
    options.iter().map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect()
}

fn pipeline() -> PipelineOptions {
    PipelineOptions { name: "river".into(), parallelism: 1, memory_limit: 64 << 20 }
}

fn log(service: &Datahub, more: &[(&str, &str)]) -> Log {
    let built = (dujiang_datahub::LOG.build)(&raw(&service.endpoint(), more), &pipeline());
    built.unwrap_or_else(|all| panic!("{all:?}"))
}

/// As another process sees it: nobody of this one captures.
pub(crate) fn source(service: &Datahub, more: &[(&str, &str)]) -> Box<dyn Source> {
    // By another name of the service it is another log to this process, which captures into none of that name.
    let endpoint = service.endpoint().replace("127.0.0.1", "localhost");
    let built = (dujiang_datahub::LOG_SOURCE.build)(&raw(&endpoint, more), &pipeline());
    built.unwrap_or_else(|all| panic!("{all:?}"))
}

/// A process that captures.
pub(crate) async fn capture(service: &Datahub, generation: u64, tables: &[Arc<TableSchema>]) -> Result<Capture> {
    Capture::start(&*log(service, &[]).sink, "river", generation, tables).await
}

/// The ids that count, by the rules that the guide tells: an independent reader.
fn committed(records: &[Stored]) -> Vec<i64> {
    let (mut generation, mut epoch, mut open, mut out) = (0, 0, BTreeMap::new(), Vec::new());
    for record in records {
        let by: Vec<&str> = record.attribute("dujiang.by").split('/').collect();
        let theirs: u64 = by[1].parse().expect("a generation");
        if theirs < generation {
            continue;
        }
        if theirs > generation {
            generation = theirs;
            open.clear();
        }
        let json = || serde_json::from_str::<Value>(record.values[0].as_deref().expect("content")).expect("JSON");
        match record.attribute("dujiang.record") {
            "change" => {
                let head: Value = serde_json::from_str(record.attribute("dujiang.log")).expect("JSON");
                let row = json();
                let id = row["after"]["id"].as_i64().or(row["before"]["id"].as_i64()).expect("an id");
                open.entry(head["n"].as_u64().expect("a number")).or_insert(id);
            }
            "mark" => {
                let mark = json();
                if mark["epoch"].as_u64().expect("an epoch") > epoch {
                    epoch = mark["epoch"].as_u64().expect("an epoch");
                    let later = open.split_off(&mark["log"]["end"].as_u64().expect("an end"));
                    out.extend(std::mem::replace(&mut open, later).into_values());
                }
            }
            _ => {}
        }
    }
    out
}

struct Topic(Datahub);

impl SinkUnderTest for Topic {
    fn open(&mut self) -> Box<dyn Sink> {
        log(&self.0, &[]).sink
    }

    fn visible(&mut self) -> Vec<i64> {
        committed(&self.0.records(TOPIC))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_datahub_conforms_as_a_sink() {
    let mut topic = Topic(Datahub::start().await);
    conformance::sink::all(&mut topic).await;
    assert_eq!(topic.0.violations(), Vec::<String>::new());
}

/// A log in a service of its own.
struct River(Datahub);

impl LogUnderTest for River {
    fn pipeline(&self) -> String {
        "river".to_owned()
    }

    fn sink(&self) -> Box<dyn Sink> {
        log(&self.0, &[]).sink
    }

    fn source(&self, start: &str) -> Box<dyn Source> {
        source(&self.0, &[("start", start), ("request.max-records", "7")])
    }

    fn spoil(&self) {
        self.0.put(TOPIC, 0, &[Some("hello")], &[]);
    }

    /// The newest instance tells the shapes anew: all before its segment may go.
    async fn expire(&self, _below: i64) {
        let all = self.0.records(TOPIC);
        let segment = all.iter().rev().find(|record| record.attribute("dujiang.record") == "segment");
        self.0.expire(TOPIC, 0, segment.expect("a segment").sequence - 1);
    }
}

impl River {
    async fn start() -> Self {
        Self(Datahub::start().await)
    }

    fn fair(&self) {
        assert_eq!(self.0.violations(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_datahub_conforms_as_a_source() {
    let river = River::start().await;
    conformance::log::conforms_as_a_source(&river).await;
    river.fair();
}

#[tokio::test(flavor = "multi_thread")]
async fn p03_what_is_captured_comes_back_in_order() {
    let river = River::start().await;
    conformance::log::comes_back_in_order(&river).await;
    river.fair();
}

/// A reader that is independent of this project's sees the same.
#[tokio::test(flavor = "multi_thread")]
async fn inv11_what_an_older_instance_writes_does_not_count() {
    let river = River::start().await;
    conformance::log::what_an_older_instance_writes_does_not_count(&river).await;
    assert_eq!(committed(&river.0.records(TOPIC)), (0..10).chain(100..110).collect::<Vec<_>>());
}

/// INV-6: also under a reader that is slower than the lifecycle.
#[tokio::test(flavor = "multi_thread")]
async fn r13_what_has_expired_is_told() {
    let river = River::start().await;
    conformance::log::what_has_expired_is_told(&river).await;
    let (service, orders) = (&river.0, table("orders"));
    let (mut slow, _acker) = open(&*source(service, &[]), None).await.unwrap();
    assert_eq!(ids(&told(&mut slow).await), (60..90).collect::<Vec<_>>());
    let mut process = capture(service, 3, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(4, &[inserts(&orders, 90..100)]).await;
    service.lose(TOPIC, 0, 3);
    process.epoch(5, &[inserts(&orders, 100..110)]).await;
    let error = until_error(&mut slow).await;
    assert_eq!(error.code(), Code::LogTrimmed, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r14_a_foreign_record_in_the_log_is_told() {
    let river = River::start().await;
    conformance::log::what_is_foreign_is_told(&river).await;
}

/// K7, K8 for DataHub: answers are lost after and before a request was carried out, others are refused for a while, cursors expire.
/// Everything is there once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn k7_k8_lost_answers_and_refusals_repeat_nothing() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut process = capture(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
    for epoch in 0..12u64 {
        let fault = match epoch % 6 {
            0 => Fault::LoseAnswer,
            1 => Fault::LoseRequest,
            2 => Fault::Refuse(500, "InternalServerError"),
            3 => Fault::Refuse(403, "LimitExceeded"),
            4 => Fault::DamageAnswer,
            _ => Fault::Refuse(503, "ServiceUnavailable"),
        };
        service.pass(epoch as usize % 2);
        service.fail([fault.clone(), fault]);
        let from = epoch as i64 * 10;
        process.epoch(epoch + 1, &[inserts(&orders, from..from + 10)]).await;
        service.recover();
    }
    let (mut reader, _acker) = open(source(&service, &[("request.max-records", "9")]).as_ref(), None).await.unwrap();
    service.fail_reads([
        Fault::LoseAnswer,
        Fault::Refuse(400, "InvalidCursor"),
        Fault::Refuse(500, "InternalServerError"),
        Fault::DamageAnswer,
    ]);
    assert_eq!(ids(&told(&mut reader).await), (0..120).collect::<Vec<_>>());
    assert_eq!(committed(&service.records(TOPIC)), (0..120).collect::<Vec<_>>());
    assert!(service.records(TOPIC).len() > 140, "some stand there twice");
    assert_eq!(service.violations(), Vec::<String>::new());
}

/// K9 for DataHub: a record that is too large comes back by name; a topic that is none, and a shard that is split, are named.
#[tokio::test(flavor = "multi_thread")]
async fn k9_large_records_and_other_topics_are_refused_by_name() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut process = capture(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
    let large = "x".repeat(3 << 20);
    let batch = rows(&orders, &[(Kind::Insert, 1, "a"), (Kind::Insert, 2, &large), (Kind::Insert, 3, "b")]);
    let failed = process.writer.write(&batch).await.unwrap();
    assert_eq!((failed.len(), failed[0].row, failed[0].error.code()), (1, 1, Code::BadRecord));
    let tokens = process.prepare(1, &[]).await;
    process.commit(1, tokens).await.unwrap();
    let (mut reader, _acker) = open(source(&service, &[]).as_ref(), None).await.unwrap();
    assert_eq!(ids(&told(&mut reader).await), [1, 3]);

    service.split(TOPIC, 0);
    process.writer.write(&inserts(&orders, 10..11)).await.unwrap();
    let error = process.writer.prepare(Epoch(2)).await.expect_err("the shard is closed");
    assert_eq!(error.code(), Code::DatahubTopic, "{error:?}");
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    assert_eq!(until_error(&mut reader).await.code(), Code::DatahubTopic);
    let error = capture(&service, 2, &[]).await.err().expect("it has three shards");
    assert_eq!(error.code(), Code::DatahubTopic, "{error:?}");
    service.make_topic("rows", &[("id", "BIGINT")], 1);
    let sink = log(&service, &[("topic", "rows")]).sink;
    let error = sink.committer(context("river", 1)).await.unwrap().open().await.expect_err("it holds rows");
    assert_eq!(error.code(), Code::DatahubTopic, "{error:?}");
}

/// A log is looked at from outside, as `dujiang log` does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_datahub_is_looked_at() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut process = capture(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(1, &[inserts(&orders, 0..20)]).await;
    process.prepare(2, &[inserts(&orders, 20..25)]).await;
    let mut process = capture(&service, 2, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(2, &[inserts(&orders, 30..40)]).await;
    let endpoint = service.endpoint();
    let looked = tokio::task::spawn_blocking(move || {
        let view = || inspect::View::open(inspect::of_source(&raw(&endpoint, &[])).unwrap()).unwrap();
        let summary = view().summary().unwrap();
        assert_eq!((summary.first, summary.end, summary.epoch, summary.generation), (0, 31, 2, 2), "{summary:?}");
        assert_eq!((summary.pipeline.as_str(), summary.parts.0.as_str(), summary.parts.1), ("river", TOPIC, 0));
        let mut seen = Vec::new();
        let each = view().each(Start::Offset(21), |number, event| {
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
