//! Segments that begin by themselves: with limits that are reached soon.

use super::config::{Hub, LogConfig};
use super::line::Renewal;
use super::place::Spot;
use super::sink::LogSink;
use super::source::LogSource;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Place, RawOption};
use dujiang_core::sink::SinkState;
use dujiang_core::{Epoch, Start, TableSchema};
use dujiang_entries::Here;
use dujiang_testkit::conformance::log::{Capture, ids, open, told};
use dujiang_testkit::datahub::{ACCESS_ID, ACCESS_KEY, Datahub, PROJECT, Stored};
use dujiang_testkit::sample::{inserts, table};
use std::sync::Arc;
use std::time::Duration;

const TOPIC: &str = "river";
/// Never, for a test.
const LATER: Duration = Duration::from_secs(3_600);

struct River {
    service: Datahub,
    orders: Arc<TableSchema>,
}

impl River {
    async fn start() -> Self {
        Self { service: Datahub::start().await, orders: table("orders") }
    }

    fn config(&self) -> LogConfig {
        let endpoint = self.service.endpoint();
        let options = [
            ("endpoint", endpoint.as_str()),
            ("project", PROJECT),
            ("topic", TOPIC),
            ("access-id", ACCESS_ID),
            ("access-key", ACCESS_KEY),
            ("poll.interval", "5ms"),
        ];
        let raw = options.map(|(key, value)| RawOption::new(key, value, Place::CommandLine));
        let pipeline = PipelineOptions { name: "river".into(), parallelism: 1, memory_limit: 64 << 20 };
        LogConfig::parse(&raw, &pipeline).unwrap_or_else(|all| panic!("{all:?}"))
    }

    async fn capture(&self, generation: u64, renewal: Renewal) -> Capture {
        let sink = LogSink::new(&self.config(), Arc::default(), renewal);
        Capture::start(&sink, "river", generation, std::slice::from_ref(&self.orders)).await.unwrap()
    }

    fn source(&self) -> LogSource {
        let hub: Arc<Hub> = self.config().hub;
        LogSource::new(hub, Arc::new(Here::default()), Start::Earliest)
    }

    fn records(&self) -> Vec<Stored> {
        self.service.records(TOPIC)
    }

    /// The numbers of the records that begin a segment.
    fn segments(&self) -> Vec<usize> {
        let all = self.records().into_iter();
        all.filter(|record| kind(record) == "segment").map(|record| record.sequence).collect()
    }
}

fn kind(record: &Stored) -> &str {
    record.attribute("dujiang.record")
}

/// A segment begins where the last one has grown large, between two epochs, and tells all shapes. Readers begin with it when
/// everything before it is gone, and go on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_begins_after_so_many_bytes() {
    let river = River::start().await;
    let mut process = river.capture(1, Renewal { bytes: 60_000, every: LATER }).await;
    let early = river.source();
    for epoch in 0..20 {
        process.epoch(epoch as u64 + 1, &[inserts(&river.orders, epoch * 50..epoch * 50 + 50)]).await;
    }
    let (records, segments) = (river.records(), river.segments());
    assert!((4..20).contains(&segments.len()), "one at the start, and some later: {segments:?}");
    for segment in &segments[1..] {
        assert_eq!(kind(&records[segment - 1]), "mark", "no epoch is open before it");
        assert_eq!(kind(&records[segment + 1]), "known", "the shape stands behind it");
    }
    let whole: Vec<i64> = (0..1000).collect();
    let (mut reader, _acker) = open(&early, None).await.unwrap();
    assert_eq!(ids(&told(&mut reader).await), whole);
    let end = reader.barrier(&mut Vec::new()).unwrap();
    let last = segments[segments.len() - 1];
    let spot = Spot::of(&end).unwrap();
    assert!(
        segments[segments.len() - 2..].contains(&(spot.at.segment as usize)),
        "{spot:?} is found from one of the last"
    );
    let before = records.iter().take(last).filter(|record| kind(record) == "change").count();
    river.service.expire(TOPIC, 0, last);
    let late = river.source();
    let (mut reader, _acker) = open(&late, None).await.unwrap();
    assert_eq!(ids(&told(&mut reader).await), whole[before..], "what stands behind the last one");
    process.epoch(21, &[inserts(&river.orders, 1000..1010)]).await;
    let (mut reader, _acker) = open(&late, Some(end)).await.unwrap();
    assert_eq!(ids(&told(&mut reader).await), (1000..1010).collect::<Vec<_>>());
    assert_eq!(river.service.violations(), Vec::<String>::new());
}

/// While nothing happens the last mark is written again and again, so that a capture still finds it, and a delivery its place, when
/// all that was put before has expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_which_nothing_happens_is_kept_from_expiring() {
    let river = River::start().await;
    let mut process = river.capture(1, Renewal { bytes: u64::MAX, every: Duration::from_millis(5) }).await;
    process.epoch(1, &[inserts(&river.orders, 0..10)]).await;
    let (mut reader, _acker) = open(&river.source(), None).await.unwrap();
    assert_eq!(ids(&told(&mut reader).await), (0..10).collect::<Vec<_>>());
    let place = reader.barrier(&mut Vec::new()).unwrap();
    // A segment goes in one request with its shapes.
    let quiet = tokio::time::timeout(Duration::from_secs(60), river.service.had(river.service.puts() + 5));
    quiet.await.expect("the last mark is written again");
    drop(process);
    let segments = river.segments();
    assert!(segments.len() > 3, "{segments:?}");
    river.service.expire(TOPIC, 0, segments[segments.len() - 2]);
    let mut process = river.capture(2, Renewal { bytes: u64::MAX, every: LATER }).await;
    assert!(matches!(process.state, SinkState::Holds { epoch: Epoch(1), .. }), "{:?}", process.state);
    process.epoch(2, &[inserts(&river.orders, 10..20)]).await;
    let (mut reader, _acker) = open(&river.source(), Some(place)).await.unwrap();
    assert_eq!(ids(&told(&mut reader).await), (10..20).collect::<Vec<_>>());
}

/// Nothing of an epoch may stand on both sides of a segment: while one is open, the time passes without.
#[tokio::test(flavor = "multi_thread")]
async fn no_segment_begins_in_an_epoch() {
    let river = River::start().await;
    let sink = LogSink::new(&river.config(), Arc::default(), Renewal { bytes: 1, every: LATER });
    let mut process = Capture::start(&sink, "river", 1, std::slice::from_ref(&river.orders)).await.unwrap();
    process.epoch(1, &[inserts(&river.orders, 0..10)]).await;
    let before = river.segments();
    let tokens = process.prepare(2, &[inserts(&river.orders, 10..20)]).await;
    sink.line().renew(true).await.unwrap();
    assert_eq!(river.segments(), before);
    process.commit(2, tokens).await.unwrap();
    assert_eq!(river.segments().len(), before.len() + 1, "but right behind it");
}
