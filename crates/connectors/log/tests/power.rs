//! D1, D2: the power of a real file system fails while the log is written. What was committed is there afterwards.
//!
//! `DUJIANG_POWER_CUTS` sets how many cuts there are for each kind of file system (200 by default). Needs the right to mount.

use crate::support::*;
use dujiang_core::Result;
use dujiang_core::schema::SchemaChange;
use dujiang_log::inspect::View;
use dujiang_log::{Codec, Encoder, EpochEnd, Folder, Limits, Store};
use dujiang_testkit::memory::Rng;
use dujiang_testkit::power::{Cut, Disk, FileSystem};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::tempdir;

const LIMITS: Limits = Limits { segment_bytes: 16 << 10, max_bytes: 4 << 20, retention: Duration::ZERO };

/// Opens the log, commits a few epochs, and leaves one half-written. Returns the last epoch that was acknowledged.
fn write(path: &Path, generation: u64, rng: &mut Rng, acked: u64) -> Result<u64> {
    let disk = Arc::new(Folder::new(path));
    let mut store = Store::open(disk.clone(), LIMITS, "p", "00000000000000aa", generation)?;
    let (shape, mut encoder) = (table("t"), Encoder::new(Codec::Zstd)?);
    let (after, statement) = (shape.clone(), String::new());
    let change = SchemaChange { before: None, after, statement, ddl: Default::default() };
    store.change_shapes(generation, &[change], NOW)?;
    let held = store.committed().epoch;
    assert!(held >= acked, "epoch {acked} was acknowledged, but the log holds {held}");
    let mut epoch = held;
    for _ in 0..1 + rng.below(4) {
        epoch += 1;
        append(&mut store, &mut encoder, generation, epoch, rng)?;
        let end = store.sync(generation)?;
        let end = EpochEnd { epoch, position: Vec::new(), position_text: epoch.to_string(), end };
        store.commit(generation, &end, NOW)?;
    }
    if epoch > 20 {
        acknowledge(&*disk, store.committed().end - 20, NOW)?;
        store.trim(i64::MAX, 0)?;
    }
    append(&mut store, &mut encoder, generation, epoch + 1, rng)?;
    if rng.chance(500) {
        store.sync(generation)?;
    }
    Ok(epoch)
}

/// The rows of an epoch: its number, and noise that does not compress.
fn append(store: &mut Store, encoder: &mut Encoder, generation: u64, epoch: u64, rng: &mut Rng) -> Result<()> {
    let shape = table("t");
    let told = store.shape(&shape.id).expect("it has been told").0;
    let mut ids = vec![epoch as i64];
    ids.extend((0..rng.below(200)).map(|_| rng.next_u64() as i64 >> 8 | 1 << 50));
    store.append(generation, &encoder.batch(told, &rows(&shape, &ids), false)?, NOW)
}

fn check(path: &Path, acked: u64) {
    let view = View::open(path).unwrap();
    let problems = view.verify().problems;
    assert!(problems.is_empty(), "{problems:?}");
    let epochs: Vec<i64> = ids(path).into_iter().filter(|id| *id < 1 << 40 && *id > 0).collect();
    let first = epochs.first().copied().unwrap_or(1);
    let held = view.summary().unwrap().committed.epoch;
    assert!(held >= acked);
    assert_eq!(epochs, (first..=held as i64).collect::<Vec<_>>(), "each committed epoch, once, in order");
}

fn cuts(system: FileSystem) {
    let wanted = std::env::var("DUJIANG_POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let folder = tempdir().unwrap();
    let disk = Disk::mount_as(system, folder.path(), system.least_megabytes())
        .unwrap_or_else(|why| panic!("the test needs to mount a disk: {why}"));
    let path = folder.path().join("log");
    let mut acked = 0;
    for cut in 0..wanted {
        let mut rng = Rng::new(cut);
        acked =
            write(&path, cut + 1, &mut rng, acked).unwrap_or_else(|error| panic!("{system:?} cut {cut}: {error:?}"));
        // Both kinds: the journal of the file system is lost as well, or reaches the disk without the data.
        disk.cut_as(if cut % 2 == 0 { Cut::JournalLost } else { Cut::JournalFlushed }).unwrap();
        disk.restore().unwrap();
        check(&path, acked);
    }
}

#[test]
fn d1_power_cuts_of_ext4_lose_nothing_committed() {
    cuts(FileSystem::Ext4);
}

#[test]
fn d2_power_cuts_of_xfs_lose_nothing_committed() {
    cuts(FileSystem::Xfs);
}
