//! What is kept, what is removed, and what happens when there is no room.

use crate::support::*;
use crate::virtual_disk::VirtualDisk;
use dujiang_core::source::{Reader, SourceEvent};
use dujiang_core::{Code, Position};
use dujiang_log::inspect::View;
use dujiang_log::{Codec, Encoder, EpochEnd, Limits, Store};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::tempdir;

const SMALL: [(&str, &str); 3] = [("segment.size", "8kb"), ("max-bytes", "64kb"), ("compression", "none")];

fn first(path: &Path) -> u64 {
    View::open(path).unwrap().offsets().start
}

async fn read(reader: &mut Box<dyn Reader>, batches: usize) -> Position {
    let mut found = 0;
    while found < batches {
        if let SourceEvent::Batch(_) = reader.next().await.unwrap() {
            found += 1;
        }
    }
    reader.barrier(&mut Vec::new()).unwrap()
}

/// A full log refuses nothing for good: what waits is written as soon as a delivery has made room.
#[tokio::test]
async fn a_full_log_waits_for_its_slowest_consumer() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let shape = table("t");
    let mut capture = Capture::open(&path, &SMALL, 1, std::slice::from_ref(&shape)).await;
    let (fast, slow) = (source(&path, &[("consumer", "fast")]), source(&path, &[("consumer", "slow")]));
    let (mut fast, mut fast_acker) = fast.open(None, source_context()).await.unwrap();
    let (mut slow, mut slow_acker) = slow.open(None, source_context()).await.unwrap();
    let wide: Vec<i64> = (0..100).collect();
    let mut epochs = 0;
    // Fill it until an epoch does not come to its end.
    let mut waiting = loop {
        capture.write(&rows(&shape, &wide)).await;
        let mut prepared = capture.writer.prepare(dujiang_core::Epoch(epochs + 1));
        match tokio::time::timeout(Duration::from_millis(500), &mut prepared).await {
            Ok(tokens) => capture.commit(tokens.unwrap()).await,
            Err(_) => break prepared,
        }
        epochs += 1;
        assert!(epochs < 100, "the log never becomes full");
    };
    assert!(epochs > 10);
    let trouble = capture.writer.trouble().expect("it says why");
    assert!(trouble.contains("max-bytes"), "{trouble}");
    let at = read(&mut fast, epochs as usize).await;
    fast_acker.ack(&at).await.unwrap();
    let still = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(still.is_err(), "the slow one has not passed anything");
    assert_eq!(first(&path), 0);
    let at = read(&mut slow, epochs as usize).await;
    slow_acker.ack(&at).await.unwrap();
    let tokens = tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("there is room").unwrap();
    capture.commit(tokens).await;
    assert!(first(&path) > 0, "what both have passed is gone");
    read(&mut slow, 1).await;
    assert_eq!(capture.writer.trouble(), None);
}

/// Age alone removes nothing that has not been delivered; what has been is kept for the retention.
#[test]
fn an_age_limit_governs_replay_only() {
    let disk = VirtualDisk::default();
    let limits = Limits { segment_bytes: 4096, max_bytes: 1 << 20, retention: Duration::from_secs(60) };
    let mut store = Store::open(Arc::new(disk.clone()), limits, "p", "00000000000000aa", 1).unwrap();
    let (shape, mut encoder) = (table("t"), Encoder::new(Codec::None).unwrap());
    let change = dujiang_core::schema::SchemaChange {
        before: None,
        after: shape.clone(),
        statement: String::new(),
        ddl: Default::default(),
    };
    store.change_shapes(1, &[change], 0).unwrap();
    let second = 1_000_000;
    for epoch in 1..=40_i64 {
        let told = store.shape(&shape.id).unwrap().0;
        let batch = rows(&shape, &(0..40).collect::<Vec<_>>());
        store.append(1, &encoder.batch(told, &batch, false).unwrap(), epoch * second).unwrap();
        let end = store.sync(1).unwrap();
        let end = EpochEnd { epoch: epoch as u64, position: Vec::new(), position_text: String::new(), end };
        store.commit(1, &end, epoch * second).unwrap();
    }
    let segments = store.segments().len();
    assert!(segments > 5);
    let hour = 3600 * second;
    store.trim(hour, 0).unwrap();
    assert_eq!(store.segments().len(), segments, "nobody has read it");
    acknowledge(&disk, 20, hour).unwrap();
    store.trim(42 * second, 0).unwrap();
    assert_eq!(store.segments().len(), segments, "delivered, but young");
    store.trim(hour, 0).unwrap();
    let left = store.first();
    assert!(left > 0 && left <= 20, "delivered and old: {left}");
}

/// R13: a consumer's progress is durable before anything is removed for it, so a power failure between the two leaves a log
/// that every consumer can read on from.
#[test]
fn r13_power_loss_between_ledger_and_removal() {
    let mut removed = 0;
    for seed in 0..200 {
        let mut rng = dujiang_testkit::memory::Rng::new(seed);
        let disk = VirtualDisk::default();
        let limits = Limits { segment_bytes: 4096, max_bytes: 1 << 20, retention: Duration::ZERO };
        let mut store = Store::open(Arc::new(disk.clone()), limits, "p", "00000000000000aa", 1).unwrap();
        let (shape, mut encoder) = (table("t"), Encoder::new(Codec::Zstd).unwrap());
        let change = dujiang_core::schema::SchemaChange {
            before: None,
            after: shape.clone(),
            statement: String::new(),
            ddl: Default::default(),
        };
        store.change_shapes(1, &[change], 0).unwrap();
        for epoch in 1..=40_u64 {
            let told = store.shape(&shape.id).unwrap().0;
            let ids: Vec<i64> = (0..60).map(|_| rng.next_u64() as i64 >> 8).collect();
            store.append(1, &encoder.batch(told, &rows(&shape, &ids), false).unwrap(), 0).unwrap();
            let end = store.sync(1).unwrap();
            store.commit(1, &EpochEnd { epoch, position: Vec::new(), position_text: String::new(), end }, 0).unwrap();
        }
        disk.die_in(rng.below(14));
        let done = acknowledge(&disk, 30, 1).and_then(|()| store.trim(i64::MAX, 0));
        drop(store);
        disk.crash(&mut rng);
        let consumer = acknowledged(&disk).unwrap().unwrap_or(0);
        let view = View::on(Arc::new(disk.clone())).unwrap();
        assert!(view.offsets().start <= consumer, "seed {seed}: removed before it was noted");
        assert!(view.verify().problems.is_empty(), "seed {seed}");
        let mut next = consumer;
        view.each(consumer, |placed| {
            assert_eq!(placed.header.offset, next);
            next += 1;
            Ok(true)
        })
        .unwrap();
        assert_eq!(next, 41, "seed {seed}");
        removed += u64::from(done.is_err() && view.offsets().start > 0);
        let mut store = Store::open(Arc::new(disk.clone()), limits, "p", "00000000000000aa", 2).unwrap();
        store.cut_tail(2).unwrap();
        store.trim(i64::MAX, 0).unwrap();
    }
    assert!(removed > 10, "the power never failed between two removals: {removed}");
}

/// INV-6: a delivery never jumps over what is gone.
#[tokio::test]
async fn a_position_that_is_gone_is_refused_by_name() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let shape = table("t");
    let options = [("segment.size", "4kb"), ("max-bytes", "64kb"), ("retention.age", "0s"), ("compression", "none")];
    let mut capture = Capture::open(&path, &options, 1, std::slice::from_ref(&shape)).await;
    let reader = source(&path, &[("consumer", "r")]);
    let (mut reading, mut acker) = reader.open(None, source_context()).await.unwrap();
    let old = reading.barrier(&mut Vec::new()).unwrap();
    for epoch in 0..40 {
        capture.write_epoch(&[rows(&shape, &(epoch * 100..epoch * 100 + 40).collect::<Vec<_>>())]).await;
    }
    let at = read(&mut reading, 40).await;
    acker.ack(&at).await.unwrap();
    assert!(first(&path) > 1);
    let gone = reader.open(Some(old), source_context()).await.err().expect("it is gone");
    assert_eq!(gone.code(), Code::LogTrimmed);
    reads_as_written(&gone, &[]);
    let other = tempdir().unwrap();
    let mut capture = Capture::open(&other.path().join("log"), &[], 1, std::slice::from_ref(&shape)).await;
    capture.write_epoch(&[rows(&shape, &[1])]).await;
    let elsewhere = source(&other.path().join("log"), &[]).open(Some(at), source_context()).await.err();
    let elsewhere = elsewhere.expect("it is another log");
    assert_eq!(elsewhere.code(), Code::LogOther);
    reads_as_written(&elsewhere, &[(&other.path().display().to_string(), "<folder>")]);
}

/// What users read of a log that is full, or not there.
#[test]
fn a_full_log_and_none_read_as_written() {
    let disk = VirtualDisk::default();
    let gone = View::on(Arc::new(disk.clone())).err().expect("there is none");
    assert_eq!(gone.code(), Code::LogMissing);
    reads_as_written(&gone, &[]);
    let limits = Limits { segment_bytes: 4096, max_bytes: 16 << 10, retention: Duration::ZERO };
    let mut store = Store::open(Arc::new(disk.clone()), limits, "p", "00000000000000aa", 1).unwrap();
    acknowledge(&disk, 0, 1).unwrap();
    let mut encoder = Encoder::new(Codec::None).unwrap();
    let full = loop {
        let marker = encoder.marker(dujiang_core::sink::Milestone::SnapshotDone, NOW).unwrap();
        if let Err(error) = store.append(1, &marker, NOW) {
            break error;
        }
    };
    assert_eq!(full.code(), Code::LogFull);
    reads_as_written(&full, &[]);
}
