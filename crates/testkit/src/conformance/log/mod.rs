//! What every log in a queue promises, whose entries are changes: as the sink of a capture and as the source of deliveries.
//!
//! What they promise as any sink and any source is tested by those suites.

mod capture;
mod delivery;

pub use capture::{Capture, context};
pub use delivery::{Told, ids, next, open, told, until_error};

use super::source;
use crate::sample::{inserts, rows, table, wider};
use arrow_array::{RecordBatch, UInt64Array};
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::sink::{Milestone, Sink, SinkState};
use dujiang_core::source::Source;
use dujiang_core::{ChangeBatch, Code, Epoch, Kind, Result, TableSchema};
use std::ops::Range;
use std::sync::Arc;

/// A log under test, in which there is nothing yet.
pub trait LogUnderTest {
    /// The pipeline that captures into it.
    fn pipeline(&self) -> String;
    /// The log as a process finds it that captures.
    fn sink(&self) -> Box<dyn Sink>;
    /// The log as another process finds it, in which nobody captures.
    fn source(&self, start: &str) -> Box<dyn Source>;
    /// Puts there what no log has written.
    fn spoil(&self);
    /// The oldest expires, as the system itself lets it: of the table `shop.orders` all ids below a number, and some behind them. What
    /// the newest instance has written stays.
    fn expire(&self, below: i64) -> impl Future<Output = ()>;
}

async fn capture(test: &impl LogUnderTest, generation: u64, tables: &[Arc<TableSchema>]) -> Result<Capture> {
    Capture::start(&*test.sink(), &test.pipeline(), generation, tables).await
}

/// The suite of sources.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn conforms_as_a_source(test: &impl LogUnderTest) {
    let (one, two) = (table("one"), table("two"));
    let mut process = capture(test, 1, &[one.clone(), two.clone()]).await.expect("a capture");
    for epoch in 0..12 {
        let batches = [inserts(&one, epoch * 10..epoch * 10 + 2), inserts(&two, 1000 + epoch * 10..1001 + epoch * 10)];
        process.epoch(epoch as u64 + 1, &batches).await;
    }
    source::all(|| test.source("earliest"), 36).await;
    drop(process);
    source::all(|| test.source("earliest"), 36).await;
}

/// P03, INV-7: what is captured comes back in its order: rows of several tables, a changed key, a milestone, a change of a shape
/// between the rows before and behind it; and from any place in between.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn comes_back_in_order(test: &impl LogUnderTest) {
    let alter = capture_all_sorts(test).await;
    let reading = test.source("earliest");
    let known = reading.discover().await.expect("discover");
    assert_eq!(known.len(), 2, "shapes that are told before the first change are known");
    let (mut reader, mut acker) = open(&*reading, None).await.expect("open");
    let inserted = |ids: Range<i64>| ids.map(|id| (Kind::Insert, id)).collect::<Vec<_>>();
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
    let end = reader.barrier(&mut Vec::new()).expect("a position");
    acker.ack(&end).await.expect("ack");
    reading.lineage().await.expect("the lineage");
    let shapes = reading.schemas_at(&end).await.expect("shapes");
    assert_eq!(shapes.len(), 2);
    assert_eq!(shapes[1].arrow.fields().len(), 3, "the shape at this place");
    let starts = [
        ("offset:2", 0),
        ("offset:30", 28),
        ("offset:64", 60),
        ("offset:65", 61),
        ("offset:10000", -1),
        ("latest", -1),
    ];
    for (start, first) in starts {
        let (mut reader, _acker) = open(&*test.source(start), None).await.expect("open");
        let found = told(&mut reader).await;
        assert_eq!(ids(&found).first().copied().unwrap_or(-1), first, "{start}");
    }
}

/// Two epochs, with the change of a shape between them, which is told twice.
async fn capture_all_sorts(test: &impl LogUnderTest) -> SchemaChange {
    let (orders, items) = (table("orders"), table("items"));
    let mut process = capture(test, 1, &[orders.clone(), items.clone()]).await.expect("a capture");
    process.writer.cut_goes_on(true);
    let snapshot: Vec<_> = (0..50).map(|id| (Kind::Read, id, "a")).collect();
    process.writer.write(&rows(&orders, &snapshot)).await.expect("write");
    process.writer.cut_goes_on(false);
    process.writer.write(&inserts(&items, 0..5)).await.expect("write");
    process.writer.mark(Milestone::SnapshotDone).await.expect("a milestone");
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
    let narrow = inserts(&orders, 60..90);
    let mut columns = narrow.rows.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from(vec![u64::MAX; 30])));
    let batch = RecordBatch::try_new(wide.arrow.clone(), columns).expect("columns fit");
    let behind = ChangeBatch::new(wide, batch, vec![Kind::Insert; 30], (*narrow.origins).clone()).expect("a batch");
    process.epoch(2, &[behind]).await;
    alter
}

/// INV-11, INV-12: a process that was given up for dead goes on writing; what it writes counts for nobody, and its commit is refused.
/// What it had not committed is captured again.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn what_an_older_instance_writes_does_not_count(test: &impl LogUnderTest) {
    let orders = [table("orders")];
    let mut old = capture(test, 1, &orders).await.expect("a capture");
    old.epoch(1, &[inserts(&orders[0], 0..10)]).await;
    let lost = old.prepare(2, &[inserts(&orders[0], 10..20)]).await;
    let mut new = capture(test, 2, &orders).await.expect("a newer one");
    assert!(matches!(new.state, SinkState::Holds { epoch: Epoch(1), .. }), "{:?}", new.state);
    old.commit(2, lost).await.expect_err("a newer instance has begun");
    // It may be told now or later.
    if old.writer.write(&inserts(&orders[0], 20..30)).await.is_ok() {
        let _ = old.writer.prepare(Epoch(3)).await;
    }
    new.epoch(2, &[inserts(&orders[0], 100..110)]).await;
    let (mut reader, _acker) = open(&*test.source("earliest"), None).await.expect("open");
    assert_eq!(ids(&told(&mut reader).await), (0..10).chain(100..110).collect::<Vec<_>>());
    let refused = capture(test, 1, &[]).await.err().expect("an older one cannot begin");
    assert_eq!(refused.code(), Code::Fenced, "{refused:?}");
}

/// R13, INV-6: the system removes by its own rules; what has expired and a delivery still needs is told, whether it starts there or
/// reads there; a new delivery begins with what is there as a whole, and `start` before that is refused.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn what_has_expired_is_told(test: &impl LogUnderTest) {
    let orders = [table("orders")];
    let mut process = capture(test, 1, &orders).await.expect("a capture");
    process.epoch(1, &[inserts(&orders[0], 0..30)]).await;
    let mut before = Vec::new();
    for start in ["earliest", "latest"] {
        let (mut reader, _acker) = open(&*test.source(start), None).await.expect("open");
        before.push(reader.barrier(&mut Vec::new()).expect("a position"));
    }
    process.epoch(2, &[inserts(&orders[0], 30..60)]).await;
    drop(process);
    let mut process = capture(test, 2, &orders).await.expect("a newer one");
    process.epoch(3, &[inserts(&orders[0], 60..90)]).await;
    test.expire(30).await;
    for before in before {
        let error = match open(&*test.source("earliest"), Some(before)).await {
            Ok((mut stale, _acker)) => until_error(&mut stale).await,
            Err(error) => error,
        };
        assert_eq!(error.code(), Code::LogTrimmed, "{error:?}");
    }
    let (mut fresh, _acker) = open(&*test.source("earliest"), None).await.expect("open");
    let third: Vec<_> = (60..90).map(|id| (Kind::Insert, id)).collect();
    let expected = [Told::Rows("shop.orders".into(), third, false)];
    assert_eq!(told(&mut fresh).await, expected, "the first epoch that is there as a whole");
    let error = open(&*test.source("offset:5"), None).await.err().expect("it is gone");
    assert_eq!(error.code(), Code::LogTrimmed, "{error:?}");
}

/// R14: what cannot be read as an entry ends reading with its place; no loop, nothing is passed over.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn what_is_foreign_is_told(test: &impl LogUnderTest) {
    let orders = [table("orders")];
    let mut process = capture(test, 1, &orders).await.expect("a capture");
    process.epoch(1, &[inserts(&orders[0], 0..30)]).await;
    let (mut reader, _acker) = open(&*test.source("earliest"), None).await.expect("open");
    assert_eq!(ids(&told(&mut reader).await), (0..30).collect::<Vec<_>>());
    test.spoil();
    let error = until_error(&mut reader).await;
    assert_eq!(error.code(), Code::LogRangeDamaged, "{error:?}");
}
