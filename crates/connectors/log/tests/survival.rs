//! What survives the log exactly: rows, kinds, origins, ids, changes of shapes, milestones, and their order.

use crate::support::*;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Decimal256Array, DictionaryArray, Float32Array, Int8Array, Int64Array,
    ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt16Array,
};
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::batch::TimePrecision;
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::sink::Milestone;
use dujiang_core::source::{Reader, SourceEvent};
use dujiang_core::{ChangeBatch, Kind, Origin, Origins, TableSchema};
use dujiang_log::Entry;
use dujiang_log::inspect::View;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

fn entries(path: &Path) -> Vec<Entry> {
    let view = View::open(path).unwrap();
    let mut entries = Vec::new();
    view.each(view.offsets().start, |placed| {
        entries.push(placed.entry.unwrap());
        Ok(true)
    })
    .unwrap();
    entries
}

fn first(after: &Arc<TableSchema>) -> Entry {
    Entry::Schema(SchemaChange { before: None, after: after.clone(), statement: String::new(), ddl: Ddl::default() })
}

#[tokio::test]
async fn p03_what_is_captured_is_what_the_log_holds() {
    for codec in ["none", "lz4", "zstd"] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("log");
        let before = table("t");
        let mut fields = before.arrow.fields().to_vec();
        fields.push(Arc::new(Field::new("label", DataType::Utf8, true)));
        let after = Arc::new(TableSchema { version: 2, arrow: Arc::new(Schema::new(fields)), ..(*before).clone() });
        let change = SchemaChange {
            before: Some(before.clone()),
            after: after.clone(),
            statement: "ALTER TABLE t ADD label TEXT".to_owned(),
            ddl: Ddl::Columns { renamed: vec![("a".into(), "b".into())] },
        };
        let truncate = SchemaChange { before: Some(after.clone()), ddl: Ddl::Truncate, ..change.clone() };
        let drop = SchemaChange { before: Some(after.clone()), ddl: Ddl::Drop, ..change.clone() };
        let mut capture = Capture::open(&path, &[("compression", codec)], 1, std::slice::from_ref(&before)).await;
        let batches = [mixed(&before, 1), mixed(&before, 100)];
        capture.write(&batches[0]).await;
        capture.writer.mark(Milestone::SnapshotDone).await.unwrap();
        capture.write(&batches[1]).await;
        let tokens = capture.prepare().await;
        capture.commit(tokens).await;
        for change in [&change, &change, &truncate, &truncate, &drop] {
            capture.committer.apply_change(change).await.unwrap();
        }
        let [one, two] = batches.map(Entry::Batch);
        let changes = [change, truncate, drop].map(Entry::Schema);
        let mut expected = vec![first(&before), one, Entry::Marker(Milestone::SnapshotDone), two];
        expected.extend(changes);
        assert_eq!(entries(&path), expected, "{codec}");
    }
}

/// Columns of every width, of the kinds of values that databases hold.
fn columns(count: i64) -> Vec<(&'static str, ArrayRef)> {
    let numbers = || 0..count;
    let text = |n: i64| (n % 7 != 3).then(|| format!("text {}", n % 20));
    let texts: StringArray = numbers().map(text).collect();
    let lists = numbers().map(|n| (n % 5 != 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>()));
    let decimals = Decimal128Array::from_iter_values(numbers().map(|n| i128::from(n * 7919 % 1000)));
    let wide = Decimal256Array::from_iter_values(numbers().map(i256::from));
    let inner = Arc::new(Field::new("inner", DataType::Utf8, true));
    vec![
        ("id", Arc::new(Int64Array::from_iter_values(numbers()))),
        ("twice", Arc::new(Int64Array::from_iter_values(numbers().map(|n| -n)))),
        ("tiny", Arc::new(Int8Array::from_iter_values(numbers().map(|n| n as i8)))),
        ("small", Arc::new(UInt16Array::from_iter_values(numbers().map(|n| n as u16)))),
        ("real", Arc::new(Float32Array::from_iter_values(numbers().map(|n| n as f32 / 3.0)))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(numbers().map(|n| 1_700_000_000_000_000 + n * n)))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(10, 2).unwrap())),
        ("wide", Arc::new(wide.with_precision_and_scale(50, 0).unwrap())),
        ("flag", Arc::new(numbers().map(|n| (n % 3 != 0).then_some(n % 2 == 0)).collect::<BooleanArray>())),
        ("label", Arc::new(texts.iter().collect::<DictionaryArray<Int32Type>>())),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("nested", Arc::new(StructArray::from(vec![(inner, Arc::new(texts.clone()) as ArrayRef)]))),
        ("text", Arc::new(texts)),
    ]
}

/// Numbers that are arranged for the compressor come back as they were, whatever stands between them.
#[tokio::test]
async fn p03_columns_of_every_width_survive() {
    for (codec, count) in ["none", "lz4", "zstd"].into_iter().flat_map(|codec| [1, 31, 32, 3000].map(|n| (codec, n))) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("log");
        let record = RecordBatch::try_from_iter(columns(count)).unwrap();
        let shape = Arc::new(TableSchema { arrow: record.schema(), ..(*table("t")).clone() });
        let kinds = [Kind::Insert, Kind::Delete, Kind::Read].into_iter().cycle().take(count as usize).collect();
        let mut origins = Origins::default();
        for n in 0..count {
            let (transaction, position) = (format!("tx {}", n / 3), format!("bin.1:{}", 100 * n));
            let (commit_micros, precision) = (NOW + n, TimePrecision::Micros);
            let (transaction, position) = (transaction.as_str(), position.as_str());
            let origin = Origin { transaction, position, commit_micros, precision, first_ordinal: n as u64 % 3 };
            origins.push_in_turn(n as usize + 1, origin, n as u64 / 2);
        }
        let batch = ChangeBatch::new(shape.clone(), record, kinds, origins).unwrap();
        let mut capture = Capture::open(&path, &[("compression", codec)], 1, std::slice::from_ref(&shape)).await;
        // A slice too: its buffers begin elsewhere.
        let slice = batch.slice(count as usize / 3..count as usize).unwrap();
        capture.write_epoch(&[batch.clone(), slice.clone()]).await;
        let expected = [first(&shape), Entry::Batch(batch), Entry::Batch(slice)];
        assert_eq!(entries(&path), expected, "{codec}, {count} rows");
    }
}

/// A delivery that goes on anywhere, also where a segment begins, knows the tables of that place.
#[tokio::test]
async fn every_position_knows_its_tables() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let (one, two) = (table("one"), table("two"));
    let options = [("segment.size", "4kb"), ("max-bytes", "1mb"), ("compression", "none")];
    let mut capture = Capture::open(&path, &options, 1, &[one.clone(), two.clone()]).await;
    for epoch in 0..60 {
        capture.write_epoch(&[rows(&one, &[epoch; 20]), rows(&two, &[epoch; 20])]).await;
    }
    let source = source(&path, &[]);
    let (mut reader, _) = source.open(None, source_context()).await.unwrap();
    for at in 0..120 {
        batches(&mut reader, 1).await;
        let position = reader.barrier(&mut Vec::new()).unwrap();
        assert_eq!(source.schemas_at(&position).await.unwrap().len(), 2, "after batch {at}");
        if at < 119 {
            let (mut other, _) = source.open(Some(position), source_context()).await.unwrap();
            batches(&mut other, 1).await;
        }
    }
    assert!(View::open(&path).unwrap().summary().unwrap().segments.len() > 5);
}

/// What was cut together at the source is known as such to whoever reads the log and merges tables (INV-7).
#[tokio::test]
async fn cuts_survive() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let (one, two) = (table("one"), table("two"));
    let mut capture = Capture::open(&path, &[], 1, &[one.clone(), two.clone()]).await;
    for (shape, goes_on) in [(&one, true), (&two, false), (&one, false)] {
        capture.writer.cut_goes_on(goes_on);
        capture.write(&mixed(shape, 1)).await;
    }
    let tokens = capture.prepare().await;
    capture.commit(tokens).await;
    let (mut reader, _) = source(&path, &[]).open(None, source_context()).await.unwrap();
    let mut cuts = Vec::new();
    for _ in 0..3 {
        assert_eq!(batches(&mut reader, 1).await[0].origins.turns().nth(1).unwrap().1, 17);
        cuts.push(reader.is_mid_cut());
    }
    assert_eq!(cuts, [true, false, false]);
}

#[tokio::test]
async fn a_key_update_stays_an_update() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let shape = table("t");
    let mut capture = Capture::open(&path, &[], 1, std::slice::from_ref(&shape)).await;
    let batch = mixed(&shape, 1);
    assert_eq!(batch.kinds[2..4], [Kind::UpdateBefore, Kind::UpdateAfter]);
    capture.write_epoch(std::slice::from_ref(&batch)).await;
    assert!(entries(&path).contains(&Entry::Batch(batch)));
}

async fn batches(reader: &mut Box<dyn Reader>, count: usize) -> Vec<ChangeBatch> {
    let mut found = Vec::new();
    while found.len() < count {
        match reader.next().await.unwrap() {
            SourceEvent::Batch(batch) => found.push(batch),
            SourceEvent::Idle => panic!("the reader is idle after {} batches", found.len()),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn readers_of_the_same_process_are_told_at_once_and_go_at_their_own_pace() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let shape = table("t");
    let mut capture = Capture::open(&path, &[], 1, std::slice::from_ref(&shape)).await;
    let (fast, slow) = (source(&path, &[("consumer", "fast")]), source(&path, &[("consumer", "slow")]));
    let (mut fast, _) = fast.open(None, source_context()).await.unwrap();
    let (mut slow, _) = slow.open(None, source_context()).await.unwrap();
    let mut written = Vec::new();
    for epoch in 0..20 {
        let batch = rows(&shape, &[epoch]);
        capture.write_epoch(std::slice::from_ref(&batch)).await;
        // No pause: the commit itself wakes the reader.
        assert_eq!(batches(&mut fast, 1).await, std::slice::from_ref(&batch));
        written.push(batch);
    }
    assert_eq!(batches(&mut slow, 20).await, written);
}

/// A delivery may be noting how far it has come at the very moment at which a capture that takes over cleans up.
#[tokio::test]
async fn what_a_consumer_is_writing_is_not_taken_away() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let one = table("one");
    let mut capture = Capture::open(&path, &[], 1, std::slice::from_ref(&one)).await;
    capture.write_epoch(&[rows(&one, &[1; 20])]).await;
    drop(capture);
    let of_a_consumer = path.join("consumer-sink.json.tmp");
    let of_ours = path.join("identity.json.tmp");
    std::fs::write(&of_a_consumer, "half").unwrap();
    std::fs::write(&of_ours, "half").unwrap();
    let mut capture = Capture::open(&path, &[], 2, std::slice::from_ref(&one)).await;
    capture.write_epoch(&[rows(&one, &[2; 20])]).await;
    assert!(of_a_consumer.exists());
    assert!(!of_ours.exists());
}
