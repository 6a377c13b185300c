//! DataHub as a source.

use crate::support::CLOCK;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Lineage, PipelineIdentity};
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Place, RawOption};
use dujiang_core::schema::SchemaChange;
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent};
use dujiang_core::{ChangeBatch, Code, Error, Kind, Position, Result};
use dujiang_testkit::conformance;
use dujiang_testkit::datahub::{ACCESS_ID, ACCESS_KEY, Datahub, Fault, PROJECT};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const FIELDS: [(&str, &str); 2] = [("id", "BIGINT"), ("text", "STRING")];

fn source(hub: &Datahub, more: &[(&str, &str)]) -> Box<dyn Source> {
    let endpoint = hub.endpoint();
    let mut options = vec![
        ("endpoint", endpoint.as_str()),
        ("project", PROJECT),
        ("topic", "orders"),
        ("access-id", ACCESS_ID),
        ("access-key", ACCESS_KEY),
        ("scan.shard-discovery.interval", "5ms"),
        ("poll.interval", "2ms"),
    ];
    options.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    options.extend_from_slice(more);
    let raw: Vec<_> = options.iter().map(|(key, value)| RawOption::new(*key, *value, Place::CommandLine)).collect();
    let pipeline = PipelineOptions { name: "river".into(), parallelism: 1, memory_limit: 64 << 20 };
    (dujiang_datahub::SOURCE.build)(&raw, &pipeline).unwrap_or_else(|all| panic!("{all:?}"))
}

async fn open(source: &dyn Source, from: Option<Position>) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
    let context = SourceContext {
        identity: PipelineIdentity { name: "river".into(), lineage: Lineage("00000000000000aa".into()) },
        clock: Arc::new(CLOCK),
        budget: Budget::new(64 << 20),
        work_dir: std::env::temp_dir(),
    };
    source.open(from, context).await
}

/// A topic of so many shards, all of them open.
async fn orders(shards: u32) -> Datahub {
    let hub = Datahub::start().await;
    hub.make_topic("orders", &FIELDS, shards);
    hub.open("orders");
    hub
}

fn put(hub: &Datahub, shard: u32, ids: std::ops::Range<i64>) {
    for id in ids {
        hub.put("orders", shard, &[Some(&id.to_string()), Some("é")], &[]);
    }
}

fn put_batch(hub: &Datahub, shard: u32, ids: std::ops::Range<i64>) {
    let rows: Vec<_> = ids.map(|id| vec![Some(id.to_string()), Some("longer than seven".to_owned())]).collect();
    hub.put_batch("orders", shard, &rows);
}

/// What came until so many images were there.
#[derive(Default)]
struct Read {
    batches: Vec<ChangeBatch>,
    changes: Vec<SchemaChange>,
    caught_up: bool,
}

impl Read {
    fn images(&self) -> usize {
        self.batches.iter().map(ChangeBatch::images).sum()
    }

    fn ids(&self) -> Vec<i64> {
        self.batches
            .iter()
            .flat_map(|batch| batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect()
    }

    fn sorted_ids(&self) -> Vec<i64> {
        let mut ids = self.ids();
        ids.sort_unstable();
        ids
    }
}

async fn next(reader: &mut Box<dyn Reader>) -> Result<SourceEvent> {
    tokio::time::timeout(Duration::from_secs(30), reader.next()).await.expect("`next` answers")
}

async fn try_read(reader: &mut Box<dyn Reader>, enough: impl Fn(&Read) -> bool) -> Result<Read> {
    let mut read = Read::default();
    for _ in 0..10_000 {
        if enough(&read) {
            return Ok(read);
        }
        match next(reader).await? {
            SourceEvent::Batch(batch) => read.batches.push(batch),
            SourceEvent::SchemaChange(change) => read.changes.push(change),
            SourceEvent::CaughtUp => read.caught_up = true,
            _ => {}
        }
    }
    panic!("{} images and {} changes have come, and no more", read.images(), read.changes.len());
}

async fn read(reader: &mut Box<dyn Reader>, images: usize) -> Read {
    try_read(reader, |read| read.images() >= images).await.expect("read")
}

async fn until_caught_up(reader: &mut Box<dyn Reader>) -> Read {
    try_read(reader, |read| read.caught_up).await.expect("read")
}

async fn halted(reader: &mut Box<dyn Reader>) -> Error {
    try_read(reader, |_| false).await.map(|_| ()).expect_err("it halts")
}

fn place(reader: &mut Box<dyn Reader>) -> Position {
    let mut rest = Vec::new();
    let position = reader.barrier(&mut rest).expect("barrier");
    assert!(rest.is_empty(), "all was handed out");
    position
}

#[tokio::test(flavor = "multi_thread")]
async fn datahub_conforms_as_a_source() {
    for (protocol, compression) in [("protobuf", "lz4"), ("json", "none"), ("batch", "zstd"), ("json", "deflate")] {
        let hub = orders(2).await;
        put(&hub, 0, 0..10);
        put_batch(&hub, 0, 10..20);
        put(&hub, 1, 20..40);
        hub.split("orders", 0);
        hub.open("orders");
        put(&hub, 2, 40..50);
        put(&hub, 3, 50..60);
        hub.merge("orders", 3, 1);
        hub.open("orders");
        put(&hub, 4, 60..70);
        let options =
            [("protocol", protocol), ("compression", compression), ("request.max-records", "7"), ("key", "id")];
        conformance::source::all(|| source(&hub, &options), 70).await;
        assert_eq!(hub.violations(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_keep_what_they_are_and_a_record_that_does_not_fit_is_an_error_of_its_own() {
    for protocol in ["protobuf", "batch", "json"] {
        let hub = Datahub::start().await;
        let fields = [
            ("id", "BIGINT"),
            ("at", "TIMESTAMP"),
            ("price", "DECIMAL"),
            ("flag", "BOOLEAN"),
            ("real", "DOUBLE"),
            ("small", "TINYINT"),
            ("doc", "JSON"),
        ];
        hub.make_topic("orders", &fields, 1);
        hub.open("orders");
        let some = [
            Some("1"),
            Some("-1"),
            Some("12345678901234567890.50"),
            Some("true"),
            Some("0.1"),
            Some("-128"),
            Some("{}"),
        ];
        hub.put("orders", 0, &some, &[("dujiang.op", "c")]);
        hub.put("orders", 0, &[None; 7], &[]);
        let sparse = [Some("2"), None, None, None, None, None, None];
        hub.put("orders", 0, &sparse, &[("dujiang.op", "u")]);
        hub.put("orders", 0, &sparse, &[("dujiang.op", "d")]);
        let source = source(&hub, &[("protocol", protocol), ("key", "ID")]);
        let (mut reader, _acker) = open(&*source, None).await.unwrap();
        let read = read(&mut reader, 4).await;
        let unfit: Vec<_> = read.batches.iter().flat_map(ChangeBatch::unfit_records).collect();
        let told: Vec<_> = unfit.iter().map(|(_, error)| error.to_string()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("column `id`: it is NULL"), "{told:?}");
        assert!(told[1].contains("an update without the old row"), "{told:?}");
        let rows = &read.batches[0].rows;
        assert_eq!(rows.column(1).as_primitive::<TimestampMicrosecondType>().value(0), -1);
        assert_eq!(rows.column(2).as_string::<i32>().value(0), "12345678901234567890.50");
        assert_eq!(rows.column(6).as_string::<i32>().value(0), "{}");
        let last = read.batches.last().unwrap();
        assert_eq!((last.kinds[0], last.rows.column(3).is_null(0)), (Kind::Delete, true));
        assert_eq!(last.schema.key_names().collect::<Vec<_>>(), ["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_messages_of_a_format() {
    for protocol in ["protobuf", "batch", "json"] {
        let hub = Datahub::start().await;
        hub.make_blob_topic("orders", 1);
        hub.open("orders");
        let update = r#"{"data":[{"id":"1","text":"b"},{"id":"2","text":"d"}],"old":[{"text":"a"},{"text":"c"}],"type":"UPDATE","database":"shop","table":"orders","es":1,"ts":1,"isDdl":false}"#;
        hub.put("orders", 0, &[Some(update)], &[]);
        hub.put("orders", 0, &[Some("no message")], &[]);
        hub.put("orders", 0, &[Some(update)], &[]);
        let shape = ("schema", "id BIGINT NOT NULL, text STRING, PRIMARY KEY (id)");
        let options = [("protocol", protocol), shape, ("value.format", "canal-json"), ("table", "ods.orders")];
        conformance::source::all(|| source(&hub, &options), 9).await;
        let source = source(&hub, &options);
        let (mut reader, _acker) = open(&*source, None).await.unwrap();
        let read = read(&mut reader, 9).await;
        assert_eq!(read.batches.iter().map(ChangeBatch::images).collect::<Vec<_>>(), [4, 1, 4]);
        assert_eq!(read.batches[1].unfit_records()[0].1.code(), Code::BadRecord);
        assert_eq!(read.batches[0].schema.id.to_string(), "ods.orders");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_split_and_merge_while_they_are_read_keep_the_order() {
    let hub = orders(1).await;
    put(&hub, 0, 0..10);
    let source = source(&hub, &[("request.max-records", "3")]);
    let (mut reader, _acker) = open(&*source, None).await.unwrap();
    let mut ids = read(&mut reader, 10).await.ids();
    put(&hub, 0, 10..15);
    hub.split("orders", 0);
    hub.open("orders");
    put(&hub, 1, 15..20);
    put(&hub, 2, 20..25);
    let middle = read(&mut reader, 15).await.ids();
    assert_eq!(middle[..5], [10, 11, 12, 13, 14], "the parent first");
    ids.extend(middle);
    // In the middle of it the reader is closed.
    let position = place(&mut reader);
    drop(reader);
    hub.merge("orders", 1, 2);
    put(&hub, 3, 25..30);
    let (mut reader, _acker) = open(&*source, Some(position)).await.unwrap();
    ids.extend(read(&mut reader, 5).await.ids());
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..30).collect::<Vec<_>>());
    assert_eq!(ids[25..], [25, 26, 27, 28, 29], "after a merge, behind both");
    assert!(reader.status().position.contains("0:end 1:end 2:end 3:5"), "{}", reader.status().position);
    assert_eq!(hub.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_within_a_batch_is_kept() {
    for (protocol, other) in [("protobuf", "batch"), ("batch", "json"), ("json", "protobuf")] {
        let hub = orders(1).await;
        put_batch(&hub, 0, 0..10);
        put_batch(&hub, 0, 10..13);
        hub.subscribe("orders", "sub1");
        let options = |protocol| [("protocol", protocol), ("request.max-records", "4"), ("subscription.id", "sub1")];
        let first = source(&hub, &options(protocol));
        let (mut reader, mut acker) = open(&*first, None).await.unwrap();
        let mut ids = read(&mut reader, 4).await.ids();
        let position = place(&mut reader);
        acker.ack(&position).await.unwrap();
        // Read on in another way: the places are the same.
        let second = source(&hub, &options(other));
        let (mut reader, _acker) = open(&*second, Some(position)).await.unwrap();
        let count = ids.len();
        ids.extend(read(&mut reader, 13 - count).await.ids());
        assert_eq!(ids, (0..13).collect::<Vec<_>>(), "{protocol}, then {other}");
        assert_eq!(hub.violations(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_begins_where_it_is_told() {
    let hub = orders(2).await;
    put(&hub, 0, 0..5);
    put(&hub, 1, 5..10);
    let begin = async |options: &[(&str, &str)]| {
        let source = source(&hub, options);
        let (mut reader, _acker) = open(&*source, None).await.unwrap();
        until_caught_up(&mut reader).await.sorted_ids()
    };
    assert_eq!(begin(&[]).await, (0..10).collect::<Vec<_>>());
    assert_eq!(begin(&[("scan.startup.mode", "latest-offset")]).await, [0; 0]);
    let at = |millis| [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", millis)];
    assert_eq!(begin(&at("1700000000003")).await, [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(begin(&at("1900000000000")).await, [0; 0], "nothing is as new");
    let of = |offsets| [("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", offsets)];
    assert_eq!(begin(&of("0:4;1:3")).await, [4, 8, 9]);
    let nowhere = source(&hub, &of("0:5"));
    assert_eq!(open(&*nowhere, None).await.map(drop).unwrap_err().code(), Code::StartNotPossible);
    // What comes next, and nothing twice.
    let source = source(&hub, &[("scan.startup.mode", "latest-offset")]);
    let (mut reader, _acker) = open(&*source, None).await.unwrap();
    until_caught_up(&mut reader).await;
    assert_eq!(reader.status().lag_micros, Some(0), "nothing is newer");
    put(&hub, 1, 10..12);
    assert_eq!(read(&mut reader, 2).await.ids(), [10, 11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_borne_and_nothing_comes_twice() {
    for protocol in ["protobuf", "batch", "json"] {
        let hub = orders(1).await;
        put(&hub, 0, 0..20);
        let faults = [
            Fault::Refuse(500, "InternalServerError"),
            Fault::LoseAnswer,
            Fault::Refuse(400, "LimitExceeded"),
            Fault::Refuse(400, "InvalidCursor"),
            Fault::Refuse(503, "NewlyInvented"),
        ];
        hub.fail_reads(faults);
        if protocol != "json" {
            hub.fail_reads([Fault::DamageAnswer]);
        }
        let source = source(&hub, &[("protocol", protocol), ("request.max-records", "4")]);
        let (mut reader, _acker) = open(&*source, None).await.unwrap();
        let first = read(&mut reader, 4).await;
        hub.expire_cursors();
        let rest = read(&mut reader, 16).await;
        assert_eq!([first.ids(), rest.ids()].concat(), (0..20).collect::<Vec<_>>(), "{protocol}");
        let refused = [Fault::Refuse(403, "NoPermission")];
        hub.fail_reads(refused);
        let halted = halted(&mut reader).await;
        assert!(halted.code() == Code::DatahubRefused && halted.message().contains("NoPermission"), "{halted}");
    }
}

/// A shard that was split and of which nothing is left is as good as read: those behind it are begun with.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_shard_of_which_nothing_is_left_is_no_obstacle() {
    let hub = orders(1).await;
    put(&hub, 0, 0..3);
    hub.split("orders", 0);
    hub.open("orders");
    hub.expire("orders", 0, 3);
    put(&hub, 1, 10..12);
    for mode in ["earliest-offset", "latest-offset"] {
        let (mut reader, _acker) = open(&*source(&hub, &[("scan.startup.mode", mode)]), None).await.unwrap();
        if mode == "latest-offset" {
            put(&hub, 2, 20..21);
        }
        let wanted = if mode == "earliest-offset" { vec![10, 11] } else { vec![20] };
        assert_eq!(read(&mut reader, wanted.len()).await.ids(), wanted, "{mode}");
    }
    assert_eq!(hub.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn inv6_records_that_expired_before_they_were_read_halt_it() {
    let hub = orders(1).await;
    put(&hub, 0, 0..10);
    let source = source(&hub, &[("request.max-records", "5")]);
    let (mut reader, _acker) = open(&*source, None).await.unwrap();
    read(&mut reader, 10).await;
    let position = place(&mut reader);
    put(&hub, 0, 10..20);
    // What is gone was read: nothing is lost.
    hub.expire("orders", 0, 10);
    let (mut again, _acker) = open(&*source, Some(position.clone())).await.unwrap();
    assert_eq!(read(&mut again, 10).await.ids(), (10..20).collect::<Vec<_>>());
    let later = place(&mut again);
    hub.expire("orders", 0, 20);
    let (mut again, _acker) = open(&*source, Some(later)).await.unwrap();
    assert!(until_caught_up(&mut again).await.batches.is_empty());
    // One that was not read is gone.
    let (mut again, _acker) = open(&*source, Some(position.clone())).await.unwrap();
    put(&hub, 0, 20..21);
    assert_eq!(halted(&mut again).await.code(), Code::PositionLost);
    hub.expire("orders", 0, 11);
    let (mut again, _acker) = open(&*source, Some(position.clone())).await.unwrap();
    assert_eq!(halted(&mut again).await.code(), Code::PositionLost);
    // Another topic of the same name.
    hub.remake("orders");
    assert_eq!(open(&*source, Some(position)).await.map(drop).unwrap_err().code(), Code::OtherServer);
}

#[tokio::test(flavor = "multi_thread")]
async fn inv6_records_that_expire_under_a_slow_reader_halt_it() {
    let hub = orders(1).await;
    put(&hub, 0, 0..3);
    let source = source(&hub, &[]);
    let (mut reader, _acker) = open(&*source, None).await.unwrap();
    until_caught_up(&mut reader).await;
    // Between two requests; the service does not tell.
    hub.lose("orders", 0, 4);
    put(&hub, 0, 7..8);
    let halted = halted(&mut reader).await;
    assert_eq!(halted.code(), Code::PositionLost);
    assert!(format!("{halted:?}").contains("expected number"), "{halted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_appended_become_columns() {
    for protocol in ["protobuf", "batch", "json"] {
        let hub = orders(2).await;
        put(&hub, 0, 0..3);
        let source = source(&hub, &[("protocol", protocol), ("key", "id")]);
        let (mut reader, _acker) = open(&*source, None).await.unwrap();
        read(&mut reader, 3).await;
        hub.append_field("orders", "more", "DOUBLE");
        put(&hub, 1, 3..4);
        hub.put("orders", 0, &[Some("4"), None, Some("1.5")], &[]);
        hub.put("orders", 1, &[Some("5"), None, Some("2.5")], &[]);
        let told = try_read(&mut reader, |read| read.changes.len() == 1).await.unwrap();
        let change = &told.changes[0];
        assert_eq!(change.statement, "appendfield more DOUBLE");
        assert_eq!((change.after.version, change.after.arrow.fields().len()), (2, 3));
        // A crash before the next call meets the change again.
        let position = place(&mut reader);
        let rest = read(&mut reader, 3 - told.images()).await;
        let all = [told.sorted_ids(), rest.sorted_ids()].concat();
        assert!(all.len() == 3 && [3, 4, 5].iter().all(|id| all.contains(id)), "{all:?}");
        assert!(rest.changes.is_empty() && rest.batches.iter().any(|batch| batch.rows.num_columns() == 3));
        let behind = place(&mut reader);
        let (mut again, _acker) = open(&*source, Some(position)).await.unwrap();
        let once_more = read(&mut again, 3 - told.images()).await;
        assert_eq!(once_more.changes.len(), 1);
        // Behind it the position carries the shape.
        assert_eq!(source.schemas_at(&behind).await.unwrap()[0].arrow.fields().len(), 3);
        let (mut later, _acker) = open(&*source, Some(behind)).await.unwrap();
        hub.put("orders", 0, &[Some("6"), None, None], &[]);
        let later = read(&mut later, 1).await;
        assert!(later.changes.is_empty() && later.ids() == [6]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_told_and_never_followed() {
    let hub = orders(2).await;
    hub.subscribe("orders", "sub1");
    put(&hub, 0, 0..5);
    put(&hub, 1, 5..8);
    let source = source(&hub, &[("subscription.id", "sub1"), ("scan.startup.mode", "subscription")]);
    let (mut reader, mut acker) = open(&*source, None).await.unwrap();
    read(&mut reader, 8).await;
    let position = place(&mut reader);
    assert!(hub.offsets("orders", "sub1").values().all(|offset| *offset == -1), "nothing is durable yet");
    acker.ack(&position).await.unwrap();
    let offsets: Vec<_> = hub.offsets("orders", "sub1").into_iter().collect();
    assert_eq!(offsets, [("0".to_owned(), 4), ("1".to_owned(), 2)]);
    // A pipeline without position begins there.
    put(&hub, 1, 8..9);
    let (mut other, mut other_acker) = open(&*source, None).await.unwrap();
    assert_eq!(read(&mut other, 1).await.ids(), [8]);
    // The first one is fenced and says so.
    read(&mut reader, 1).await;
    let position = place(&mut reader);
    let fenced = acker.ack(&position).await.unwrap_err();
    assert_eq!(fenced.code(), Code::DatahubSubscription);
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &fenced, &[]);
    hub.reset_offset("orders", "sub1", "1", 0);
    let reset = other_acker.ack(&place(&mut other)).await.unwrap_err();
    assert!(reset.code() == Code::DatahubSubscription && reset.message().contains("reset"), "{reset}");
    assert_eq!(hub.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_must_be_mended_before_it_is_read_is_said() {
    let hub = orders(1).await;
    hub.make_blob_topic("blobs", 1);
    let found = async |options: &[(&str, &str)]| source(&hub, options).discover().await.map(drop).unwrap_err();
    assert_eq!(found(&[("topic", "blobs")]).await.code(), Code::Conflict);
    assert_eq!(found(&[("schema", "id BIGINT")]).await.code(), Code::Conflict);
    assert_eq!(found(&[("key", "nothing")]).await.code(), Code::BadValue);
    assert_eq!(found(&[("topic", "missing")]).await.code(), Code::DatahubRefused);
    assert_eq!(found(&[("access-key", "another")]).await.code(), Code::DatahubRefused);
    hub.append_field("orders", "odd", "ARRAY");
    assert_eq!(found(&[]).await.code(), Code::UnknownType);
    let pipeline = PipelineOptions { name: "river".into(), parallelism: 1, memory_limit: 64 << 20 };
    let wrong = [
        ("endpoint", "nowhere"),
        ("project", PROJECT),
        ("topic", "a;b"),
        ("access-id", "i"),
        ("access-key", "k"),
        ("subscription.id", "1"),
        ("schema", "id"),
        ("scan.startup.mode", "timestamp"),
        ("scan.startup.specific-offsets", "0"),
        ("table", "one.table"),
    ];
    let raw: Vec<_> = wrong.iter().map(|(key, value)| RawOption::new(*key, *value, Place::CommandLine)).collect();
    let problems = (dujiang_datahub::SOURCE.build)(&raw, &pipeline).map(drop).unwrap_err();
    assert_eq!(problems.len(), 7, "{problems:?}");
}

#[derive(Debug, Clone)]
enum Step {
    /// Records of these keys.
    Put(Vec<u8>),
    Split(usize),
    Merge(usize),
    /// At least so many images, as far as there are some.
    Read(usize),
    Checkpoint,
    /// The reader is gone, and what it had read since the checkpoint.
    Crash,
    Fail(u8),
    ExpireCursors,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::collection::vec(0..12_u8, 1..15).prop_map(Step::Put),
        2 => any::<usize>().prop_map(Step::Split),
        2 => any::<usize>().prop_map(Step::Merge),
        3 => (1..20_usize).prop_map(Step::Read),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Crash),
        1 => any::<u8>().prop_map(Step::Fail),
        1 => Just(Step::ExpireCursors),
    ]
}

/// A reader, what it has handed out, and how much of that a checkpoint holds.
struct Follower {
    source: Box<dyn Source>,
    reader: Box<dyn Reader>,
    ids: Vec<i64>,
    checkpoint: (Option<Position>, usize),
}

impl Follower {
    async fn until(&mut self, count: usize) {
        let more = count.saturating_sub(self.ids.len());
        let read = read(&mut self.reader, more).await;
        self.ids.extend(read.ids());
    }

    fn checkpoint(&mut self) {
        let mut rest = Vec::new();
        let position = self.reader.barrier(&mut rest).expect("barrier");
        self.ids.extend(Read { batches: rest, ..Read::default() }.ids());
        self.checkpoint = (Some(position), self.ids.len());
    }

    async fn crash(&mut self) {
        self.ids.truncate(self.checkpoint.1);
        self.reader = open(&*self.source, self.checkpoint.0.clone()).await.expect("open again").0;
    }
}

async fn follow(steps: &[Step], protocol: &str) {
    let hub = orders(2).await;
    let source = source(&hub, &[("protocol", protocol), ("request.max-records", "4")]);
    let reader = open(&*source, None).await.expect("open").0;
    let mut follower = Follower { source, reader, ids: Vec::new(), checkpoint: (None, 0) };
    // Records are numbered as they are put; of each, its key.
    let mut keys: Vec<u8> = Vec::new();
    for step in steps {
        hub.open("orders");
        let active = hub.active("orders");
        match step {
            Step::Put(all) => {
                for key in all {
                    hub.put_key("orders", key * 21, &[Some(&keys.len().to_string()), None]);
                    keys.push(*key);
                }
            }
            Step::Split(place) => hub.split("orders", active[place % active.len()]),
            Step::Merge(place) if active.len() > 1 => {
                let first = place % (active.len() - 1);
                hub.merge("orders", active[first], active[first + 1]);
            }
            Step::Merge(_) => {}
            Step::Read(more) => follower.until(keys.len().min(follower.ids.len() + more)).await,
            Step::Checkpoint => follower.checkpoint(),
            Step::Crash => follower.crash().await,
            Step::Fail(number) => hub.fail_reads([match number % 4 {
                0 => Fault::LoseAnswer,
                1 => Fault::Refuse(400, "InvalidCursor"),
                2 if protocol != "json" => Fault::DamageAnswer,
                _ => Fault::Refuse(503, "ServiceUnavailable"),
            }]),
            Step::ExpireCursors => hub.expire_cursors(),
        }
    }
    hub.open("orders");
    follower.until(keys.len()).await;
    follower.checkpoint();
    assert_eq!(hub.violations(), Vec::<String>::new());
    for key in 0..12 {
        let of_key = |id: &&i64| keys[**id as usize] == key;
        let seen: Vec<i64> = follower.ids.iter().filter(of_key).copied().collect();
        let put: Vec<i64> = (0..keys.len() as i64).filter(|id| keys[*id as usize] == key).collect();
        assert_eq!(seen, put, "INV-7: the records of key {key}, once each and in order");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn p07_a_keys_records_are_read_in_order_through_splits_merges_and_crashes(
        steps in prop::collection::vec(step(), 1..16),
        protocol in prop::sample::select(vec!["protobuf", "batch", "json"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow(&steps, protocol));
    }
}
