//! DataHub as a log: the sink of the capture and the source of deliveries.

use crate::support::{PROJECT_OPTIONS, Standing};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity, Token};
use dujiang_core::connector::{Log, PipelineOptions};
use dujiang_core::options::{Place, RawOption};
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::sink::{CommitRequest, Committer, Milestone, Sink, SinkContext, SinkState, Writer};
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent};
use dujiang_core::{
    ChangeBatch, Code, Epoch, Error, Kind, Origin, Origins, Position, Result, Start, TableId, TableSchema,
};
use dujiang_datahub::log::inspect;
use dujiang_testkit::conformance;
use dujiang_testkit::conformance::sink::SinkUnderTest;
use dujiang_testkit::datahub::{Datahub, Fault, Stored};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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

fn context(generation: u64) -> SinkContext {
    SinkContext {
        identity: PipelineIdentity { name: "river".into(), lineage: Lineage("00000000000000aa".into()) },
        generation: Generation(generation),
        clock: Arc::new(Standing),
        budget: Budget::new(64 << 20),
        retries: Default::default(),
    }
}

pub(crate) async fn open(source: &dyn Source, from: Option<Position>) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
    let SinkContext { identity, clock, budget, .. } = context(1);
    source.open(from, SourceContext { identity, clock, budget, work_dir: std::env::temp_dir() }).await
}

/// `id` BIGINT (the key), `text` TEXT.
pub(crate) fn table(name: &str) -> Arc<TableSchema> {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, true)];
    TableSchema::by_value(TableId::new("shop", name), fields, vec![0])
}

fn rows(schema: &Arc<TableSchema>, rows: &[(Kind, i64, &str)]) -> ChangeBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.2)));
    let batch = RecordBatch::try_new(schema.arrow.clone(), vec![ids, texts]).expect("columns fit");
    let (mut origins, transaction) = (Origins::default(), format!("tx{}", rows[0].1));
    let (precision, commit_micros) = (TimePrecision::Micros, 1_700_000_000_000_000);
    let origin = Origin { transaction: &transaction, position: "bin.1:4", commit_micros, precision, first_ordinal: 0 };
    origins.push(rows.len(), origin);
    ChangeBatch::new(schema.clone(), batch, rows.iter().map(|row| row.0).collect(), origins).expect("a batch")
}

pub(crate) fn inserts(schema: &Arc<TableSchema>, ids: std::ops::Range<i64>) -> ChangeBatch {
    rows(schema, &ids.map(|id| (Kind::Insert, id, "text")).collect::<Vec<_>>())
}

/// A process that captures.
pub(crate) struct Process {
    committer: Box<dyn Committer>,
    pub(crate) writer: Box<dyn Writer>,
    pub(crate) generation: u64,
    pub(crate) state: SinkState,
}

impl Process {
    pub(crate) async fn start(service: &Datahub, generation: u64, tables: &[Arc<TableSchema>]) -> Result<Self> {
        let sink = log(service, &[]).sink;
        let mut committer = sink.committer(context(generation)).await?;
        let state = committer.open().await?;
        committer.apply_shapes(tables).await?;
        let writer = sink.writer(0, context(generation)).await?;
        Ok(Self { committer, writer, generation, state })
    }

    pub(crate) async fn prepare(&mut self, epoch: u64, batches: &[ChangeBatch]) -> Vec<Token> {
        for batch in batches {
            assert!(self.writer.write(batch).await.expect("write").is_empty());
        }
        self.writer.prepare(Epoch(epoch)).await.expect("prepare")
    }

    pub(crate) async fn commit(&mut self, epoch: u64, tokens: Vec<Token>) -> Result<()> {
        let request = CommitRequest {
            epoch: Epoch(epoch),
            generation: Generation(self.generation),
            tokens,
            position: Position::default(),
            position_text: format!("place {epoch}"),
        };
        self.committer.commit(&request).await
    }

    async fn epoch(&mut self, epoch: u64, batches: &[ChangeBatch]) {
        let tokens = self.prepare(epoch, batches).await;
        self.commit(epoch, tokens).await.expect("commit");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_datahub_conforms_as_a_source() {
    let service = Datahub::start().await;
    let (one, two) = (table("one"), table("two"));
    let mut process = Process::start(&service, 1, &[one.clone(), two.clone()]).await.unwrap();
    for epoch in 0..12 {
        let batches = [inserts(&one, epoch * 10..epoch * 10 + 2), inserts(&two, 1000 + epoch * 10..1001 + epoch * 10)];
        process.epoch(epoch as u64 + 1, &batches).await;
    }
    conformance::source::all(|| source(&service, &[]), 36).await;
    drop(process);
    conformance::source::all(|| source(&service, &[("request.max-records", "7")]), 36).await;
    assert_eq!(service.violations(), Vec::<String>::new());
}

/// What a delivery is told, with the rows of batches as kinds and ids.
#[derive(Debug, PartialEq)]
enum Told {
    Rows(String, Vec<(Kind, i64)>, bool),
    Shape(Box<SchemaChange>),
    SnapshotDone,
}

pub(crate) async fn next(reader: &mut Box<dyn Reader>) -> Result<SourceEvent> {
    let waited = tokio::time::timeout(Duration::from_secs(60), reader.next()).await;
    waited.expect("`next` answers, if only with `Idle`")
}

/// Everything up to the end.
async fn told(reader: &mut Box<dyn Reader>) -> Vec<Told> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        match next(reader).await.expect("next") {
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
    panic!("it never catches up: {all:?}")
}

/// The ids of all rows, in order.
fn ids(told: &[Told]) -> Vec<i64> {
    let rows = told.iter().filter_map(|told| match told {
        Told::Rows(_, rows, _) => Some(rows),
        _ => None,
    });
    rows.flatten().map(|(_, id)| *id).collect()
}

async fn until_error(reader: &mut Box<dyn Reader>) -> Error {
    for _ in 0..60 {
        match next(reader).await {
            Err(error) => return error,
            Ok(SourceEvent::Batch(batch)) => panic!("rows behind a gap: {batch:?}"),
            Ok(_) => {}
        }
    }
    panic!("nothing is told")
}

fn wider(table: &Arc<TableSchema>) -> Arc<TableSchema> {
    let mut fields: Vec<_> = table.arrow.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("more", DataType::UInt64, true)));
    let arrow = Arc::new(arrow_schema::Schema::new(fields));
    Arc::new(TableSchema { version: table.version + 1, arrow, ..(**table).clone() })
}

/// P03: what is captured comes back: rows of several tables, a changed key, a milestone, a change of a shape between the rows
/// before and behind it; and from any place in between.
#[tokio::test(flavor = "multi_thread")]
async fn p03_what_is_captured_comes_back_in_order() {
    let service = Datahub::start().await;
    let (orders, items) = (table("orders"), table("items"));
    let mut process = Process::start(&service, 1, &[orders.clone(), items.clone()]).await.unwrap();
    process.writer.cut_goes_on(true);
    let snapshot: Vec<_> = (0..50).map(|id| (Kind::Read, id, "a")).collect();
    process.writer.write(&rows(&orders, &snapshot)).await.unwrap();
    process.writer.cut_goes_on(false);
    process.writer.write(&inserts(&items, 0..5)).await.unwrap();
    process.writer.mark(Milestone::SnapshotDone).await.unwrap();
    let changes = [
        (Kind::UpdateBefore, 7, "a"),
        (Kind::UpdateAfter, 7, "b"),
        (Kind::UpdateBefore, 8, "a"),
        (Kind::UpdateAfter, 800, "a"),
        (Kind::Delete, 9, "a"),
        (Kind::Insert, 8, "c"),
    ];
    process.epoch(1, &[rows(&orders, &changes)]).await;
    let wide = wider(&orders);
    let statement = "ALTER TABLE orders ADD more BIGINT UNSIGNED".to_owned();
    let alter = SchemaChange { before: Some(orders.clone()), after: wide.clone(), statement, ddl: Ddl::default() };
    for _ in 0..2 {
        process.committer.apply_change(&alter).await.expect("a change of the shape; again: idempotent");
    }
    let mut columns = inserts(&orders, 60..90).rows.columns().to_vec();
    columns.push(Arc::new(arrow_array::UInt64Array::from(vec![u64::MAX; 30])));
    let batch = RecordBatch::try_new(wide.arrow.clone(), columns).unwrap();
    let origins = (*inserts(&orders, 60..90).origins).clone();
    process.epoch(2, &[ChangeBatch::new(wide.clone(), batch, vec![Kind::Insert; 30], origins).unwrap()]).await;

    let reading = source(&service, &[]);
    assert_eq!(reading.discover().await.unwrap().len(), 2, "shapes that are told before the first change are known");
    let (mut reader, _acker) = open(reading.as_ref(), None).await.unwrap();
    let inserted = |ids: std::ops::Range<i64>| ids.map(|id| (Kind::Insert, id)).collect::<Vec<_>>();
    let moved = [
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
        Told::Rows("shop.orders".into(), moved.to_vec(), false),
        Told::Shape(Box::new(alter)),
        Told::Rows("shop.orders".into(), inserted(60..90), false),
    ];
    assert_eq!(told(&mut reader).await, expected);
    let end = reader.barrier(&mut Vec::new()).unwrap();
    assert_eq!(reading.schemas_at(&end).len(), 2);
    assert_eq!(reading.schemas_at(&end)[1].arrow.fields().len(), 3, "the shape at this place");

    // From any place in between: by number, and by time.
    for (start, first) in
        [("offset:2", 0), ("offset:30", 28), ("offset:64", 60), ("offset:65", 61), ("offset:10000", -1), ("latest", -1)]
    {
        let (mut reader, _acker) = open(source(&service, &[("start", start)]).as_ref(), None).await.unwrap();
        let found = told(&mut reader).await;
        assert_eq!(ids(&found).first().copied().unwrap_or(-1), first, "{start}");
    }
    assert_eq!(service.violations(), Vec::<String>::new());
}

/// INV-11, INV-12: a process that was given up for dead goes on writing; what it writes counts for nobody, and its commit is
/// refused. What it had not marked is forgotten, and captured again.
#[tokio::test(flavor = "multi_thread")]
async fn inv11_what_an_older_instance_writes_does_not_count() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut old = Process::start(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
    old.epoch(1, &[inserts(&orders, 0..10)]).await;
    let lost = old.prepare(2, &[inserts(&orders, 10..20)]).await;
    let mut new = Process::start(&service, 2, std::slice::from_ref(&orders)).await.unwrap();
    assert!(matches!(new.state, SinkState::Holds { epoch: Epoch(1), .. }), "{:?}", new.state);
    let refused = old.commit(2, lost).await.expect_err("a newer instance has begun");
    assert_eq!(refused.code(), Code::Fenced, "{refused:?}");
    old.prepare(3, &[inserts(&orders, 20..30)]).await;
    new.epoch(2, &[inserts(&orders, 100..110)]).await;
    let expected: Vec<i64> = (0..10).chain(100..110).collect();
    let (mut reader, _acker) = open(source(&service, &[]).as_ref(), None).await.unwrap();
    assert_eq!(ids(&told(&mut reader).await), expected);
    assert_eq!(committed(&service.records(TOPIC)), expected);
    let refused = Process::start(&service, 1, &[]).await.err().expect("an older one cannot begin");
    assert_eq!(refused.code(), Code::Fenced, "{refused:?}");
}

/// K7, K8 for DataHub: answers are lost after and before a request was carried out, others are refused for a while, cursors expire.
/// Everything is there once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn k7_k8_lost_answers_and_refusals_repeat_nothing() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut process = Process::start(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
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

/// R13, INV-6: what has expired and a delivery still needs is told, whether it starts there or reads there; a new delivery
/// begins with what is there.
#[tokio::test(flavor = "multi_thread")]
async fn r13_what_has_expired_is_told() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut process = Process::start(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(1, &[inserts(&orders, 0..10)]).await;
    let (mut behind, _acker) = open(source(&service, &[("start", "earliest")]).as_ref(), None).await.unwrap();
    let before = behind.barrier(&mut Vec::new()).unwrap();
    drop(behind);
    process.epoch(2, &[inserts(&orders, 10..20)]).await;
    drop(process);
    // The next instance tells the shapes anew: all before its segment may go.
    let mut process = Process::start(&service, 2, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(3, &[inserts(&orders, 20..30)]).await;
    let all = service.records(TOPIC);
    let segment = all.iter().rev().find(|record| record.attribute("dujiang.record") == "segment").expect("a segment");
    service.expire(TOPIC, 0, segment.sequence - 1);
    let (mut stale, _acker) = open(source(&service, &[]).as_ref(), Some(before)).await.unwrap();
    let error = until_error(&mut stale).await;
    assert_eq!(error.code(), Code::LogTrimmed, "{error:?}");
    let (mut fresh, _acker) = open(source(&service, &[]).as_ref(), None).await.unwrap();
    assert_eq!(ids(&told(&mut fresh).await), (20..30).collect::<Vec<_>>());
    let error = open(source(&service, &[("start", "offset:5")]).as_ref(), None).await.err().expect("it is gone");
    assert_eq!(error.code(), Code::LogTrimmed, "{error:?}");
    // A reader that is slower than the lifecycle.
    process.epoch(4, &[inserts(&orders, 30..40)]).await;
    service.lose(TOPIC, 0, 3);
    process.epoch(5, &[inserts(&orders, 40..50)]).await;
    let error = until_error(&mut fresh).await;
    assert_eq!(error.code(), Code::LogTrimmed, "{error:?}");
}

/// R14: a record that cannot be read as one of the log ends reading with its place; nothing is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn r14_a_foreign_record_in_the_log_is_told() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut process = Process::start(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(1, &[inserts(&orders, 0..3)]).await;
    let (mut reader, _acker) = open(source(&service, &[]).as_ref(), None).await.unwrap();
    assert_eq!(ids(&told(&mut reader).await), [0, 1, 2]);
    service.put(TOPIC, 0, &[Some("hello")], &[]);
    let error = until_error(&mut reader).await;
    assert_eq!(error.code(), Code::LogRangeDamaged, "{error:?}");
}

/// K9 for DataHub: a record that is too large comes back by name; a topic that is none, and a shard that is split, are named.
#[tokio::test(flavor = "multi_thread")]
async fn k9_large_records_and_other_topics_are_refused_by_name() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut process = Process::start(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
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
    let error = Process::start(&service, 2, &[]).await.err().expect("it has three shards");
    assert_eq!(error.code(), Code::DatahubTopic, "{error:?}");
    service.make_topic("rows", &[("id", "BIGINT")], 1);
    let sink = log(&service, &[("topic", "rows")]).sink;
    let error = sink.committer(context(1)).await.unwrap().open().await.expect_err("it holds rows");
    assert_eq!(error.code(), Code::DatahubTopic, "{error:?}");
}

/// A log is looked at from outside, as `dujiang log` does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_datahub_is_looked_at() {
    let service = Datahub::start().await;
    let orders = table("orders");
    let mut process = Process::start(&service, 1, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(1, &[inserts(&orders, 0..20)]).await;
    process.prepare(2, &[inserts(&orders, 20..25)]).await;
    let mut process = Process::start(&service, 2, std::slice::from_ref(&orders)).await.unwrap();
    process.epoch(2, &[inserts(&orders, 30..40)]).await;
    let endpoint = service.endpoint();
    let looked = tokio::task::spawn_blocking(move || {
        let view = || inspect::View::open(inspect::of_source(&raw(&endpoint, &[])).unwrap()).unwrap();
        let summary = view().summary().unwrap();
        assert_eq!((summary.first, summary.end, summary.epoch, summary.generation), (0, 31, 2, 2), "{summary:?}");
        assert_eq!((summary.pipeline.as_str(), summary.topic.0.as_str(), summary.topic.1), ("river", TOPIC, 0));
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
