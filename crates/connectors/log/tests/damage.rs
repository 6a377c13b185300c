//! Whatever happens to a byte of a log at rest is noticed; a reader gets what was written, or an error that says where.

use crate::support::*;
use crate::virtual_disk::VirtualDisk;
use dujiang_core::batch::TimePrecision;
use dujiang_core::{ChangeBatch, Origin};
use dujiang_core::{Code, Result};
use dujiang_format_text::messages::{Decoder, MessageFormat, MessageOptions};
use dujiang_log::inspect::View;
use dujiang_log::walk::{walk_commits, walk_frame, walk_segment};
use dujiang_log::{Codec, Disk, Encoder, Entry, EpochEnd, Limits, Store};
use dujiang_testkit::fuzz;
use dujiang_testkit::memory::Rng;
use std::sync::Arc;
use std::time::Duration;

const SMALL: Limits = Limits { segment_bytes: 3000, max_bytes: 1 << 20, retention: Duration::from_secs(1) };

/// The table of many types that the fuzz targets have.
#[path = "../../../fuzz/table.rs"]
mod many;

/// Rows of [`many::table`], from the seed of another target.
fn many_rows() -> ChangeBatch {
    let table = many::table();
    let mut decoder = Decoder::new(&table, &MessageOptions::new(MessageFormat::Json, "fuzz")).unwrap();
    let mut rows = decoder.rows();
    let message = fuzz::seeds("messages").into_iter().find(|seed| seed.starts_with(b"0{\"id\"")).unwrap();
    let precision = TimePrecision::Micros;
    let origin = Origin { transaction: "t", position: "p", commit_micros: 1, precision, first_ordinal: 0 };
    for _ in 0..3 {
        decoder.decode(Some(&message[1..]), &origin, &mut rows).unwrap();
    }
    rows.take().unwrap()
}

/// A log with an entry of each kind.
fn log_of_many(codec: Codec) -> VirtualDisk {
    let disk = VirtualDisk::default();
    let one_segment = Limits { segment_bytes: 1 << 20, ..SMALL };
    let mut store = Store::open(Arc::new(disk.clone()), one_segment, "p", "00000000000000aa", 1).unwrap();
    let mut encoder = Encoder::new(codec).unwrap();
    let first = |after| dujiang_core::schema::SchemaChange {
        before: None,
        after,
        statement: "CREATE".to_owned(),
        ddl: Default::default(),
    };
    store.change_shapes(1, &[first(many::table())], NOW).unwrap();
    for _ in 0..2 {
        store.append(1, &encoder.batch(0, &many_rows(), true).unwrap(), NOW).unwrap();
    }
    store.append(1, &encoder.marker(dujiang_core::sink::Milestone::SnapshotDone, NOW).unwrap(), NOW).unwrap();
    let end = store.sync(1).unwrap();
    store.commit(1, &EpochEnd { epoch: 1, position: vec![1], position_text: "place".to_owned(), end }, NOW).unwrap();
    disk
}

/// The first byte of a frame behind a segment's header, and of a payload behind a frame's.
const FRAMES: usize = 64;
const PAYLOAD: usize = 56;

/// The seeds of the fuzz targets are what a log writes; `UPDATE_SEEDS=1` has it written anew.
#[test]
fn seeds_are_what_a_log_writes() {
    for (codec, name) in [(Codec::None, "none"), (Codec::Lz4, "lz4"), (Codec::Zstd, "zstd")] {
        let disk = log_of_many(codec);
        for (file, length) in disk.files() {
            let mut bytes = vec![0; length];
            disk.open(&file, false).unwrap().read_at(&mut bytes, 0).unwrap();
            let (seed, found) = match file.rsplit('.').next() {
                Some("seg") => ("log_segment", walk_segment(&bytes)),
                Some("commits") => ("log_commits", walk_commits(&bytes)),
                _ => continue,
            };
            let frames = if seed == "log_segment" { frames(&bytes) } else { Vec::new() };
            assert!(found >= if seed == "log_segment" { 4 } else { 1 }, "{file}: {found}");
            for frame in &frames {
                assert_eq!(walk_frame(&many::table(), frame).unwrap(), usize::from(frame[0] < 3), "{file}");
            }
            if fuzz::updates_seeds() {
                fuzz::write_seed(seed, name, &bytes);
                for (number, frame) in frames.iter().enumerate() {
                    fuzz::write_seed("log_frame", &format!("{name}-{number}"), frame);
                }
            }
        }
    }
    let walked =
        |target: &str, walk: fn(&[u8]) -> usize| fuzz::seeds(target).iter().map(|seed| walk(seed)).sum::<usize>();
    assert!(walked("log_segment", walk_segment) >= 9 && walked("log_commits", walk_commits) >= 3);
    assert!(walked("log_frame", |frame| walk_frame(&many::table(), frame).unwrap()) >= 9);
}

/// The frames of a segment, as `walk_frame` takes them: kind, compression, length, payload.
fn frames(segment: &[u8]) -> Vec<Vec<u8>> {
    let (mut frames, mut at) = (Vec::new(), FRAMES);
    let word = |at: usize| u32::from_le_bytes(segment[at..at + 4].try_into().unwrap()) as usize;
    while at + PAYLOAD <= segment.len() && segment[at..].starts_with(b"DJLF") {
        let payload = &segment[at + PAYLOAD..at + PAYLOAD + word(at + 8)];
        // Batch, marker, schema, shape.
        let kind = [3, 2, 0, 1][usize::from(segment[at + 4]) - 1];
        let raw = (word(at + 12) as u16).to_le_bytes();
        frames.push([&[kind, segment[at + 5], raw[0], raw[1]], payload].concat());
        at += PAYLOAD + payload.len();
    }
    frames
}

/// A log of several small segments, and its entries.
fn small_log(codec: Codec) -> (VirtualDisk, Vec<Entry>) {
    let disk = VirtualDisk::default();
    let shape = table("t");
    let mut encoder = Encoder::new(codec).unwrap();
    let mut store = open(&disk, 1).unwrap();
    let first = dujiang_core::schema::SchemaChange {
        before: None,
        after: shape.clone(),
        statement: String::new(),
        ddl: Default::default(),
    };
    store.change_shapes(1, std::slice::from_ref(&first), NOW).unwrap();
    let mut entries = vec![Entry::Schema(first)];
    for epoch in 1..=5 {
        for part in 0..2 {
            let batch = mixed(&shape, epoch * 100 + part * 10);
            let shape = store.shape(&batch.schema.id).unwrap().0;
            store.append(1, &encoder.batch(shape, &batch, false).unwrap(), NOW).unwrap();
            entries.push(Entry::Batch(batch));
        }
        let end = store.sync(1).unwrap();
        let (position, position_text) = (vec![1, 2], "place".to_owned());
        store.commit(1, &EpochEnd { epoch: epoch as u64, position, position_text, end }, NOW).unwrap();
    }
    acknowledge(&disk, 3, NOW).unwrap();
    (disk, entries)
}

fn open(disk: &VirtualDisk, generation: u64) -> Result<Store> {
    Store::open(Arc::new(disk.clone()), SMALL, "p", "00000000000000aa", generation)
}

/// What a reader gets: entries, the error that ended them, and how many epochs are committed.
fn read(disk: &VirtualDisk) -> (Vec<Entry>, Option<Code>, u64) {
    let mut entries = Vec::new();
    let view = match View::on(Arc::new(disk.clone())) {
        Ok(view) => view,
        Err(error) => return (entries, Some(error.code()), 0),
    };
    let epoch = view.summary().map_or(0, |summary| summary.committed.epoch);
    let done = view.each(view.offsets().start, |placed| {
        entries.extend(placed.entry);
        Ok(true)
    });
    let problem = view.verify().problems.into_iter().next().map(|problem| problem.code());
    (entries, done.err().map(|error| error.code()).or(problem), epoch)
}

/// D11. The last commit record is the exception that is none: a damaged one looks as if it had never been written, and then
/// the log holds an epoch less than the checkpoint says, which stops the pipeline (`SinkMismatch`).
#[test]
fn every_flip_of_a_byte_is_noticed() {
    for codec in [Codec::None, Codec::Zstd, Codec::Lz4] {
        let (disk, entries) = small_log(codec);
        let whole = read(&disk);
        assert_eq!(whole, (entries.clone(), None, 5));
        let mut flips = 0;
        for (name, length) in disk.files() {
            for at in 0..length {
                let damaged = disk.copy();
                damaged.flip(&name, at, (at % 8) as u8);
                let (found, error, epoch) = read(&damaged);
                let noticed = error.is_some() || epoch < 5;
                assert!(noticed, "{name} byte {at}: not noticed");
                assert!(entries.starts_with(&found), "{name} byte {at}: wrong data");
                flips += 1;
            }
        }
        println!("{codec:?}: {flips} flips, all noticed");
        assert!(flips > 3000);
    }
}

/// R14: damage at any place ends reading with an error. No loop, no hang, no wrong data.
#[test]
fn r14_damage_at_each_page_is_an_error_with_its_range() {
    let (disk, entries) = small_log(Codec::None);
    for (name, length) in disk.files().into_iter().filter(|(name, _)| name.ends_with(".seg")) {
        for page in (0..length).step_by(512) {
            let damaged = disk.copy();
            for at in page..length.min(page + 512) {
                damaged.flip(&name, at, 3);
            }
            let view = View::on(Arc::new(damaged.clone()));
            let outcome = view.and_then(|view| {
                view.each(0, |placed| {
                    assert!(entries.contains(&placed.entry.unwrap()));
                    Ok(true)
                })
            });
            let error = outcome.unwrap_err();
            assert_eq!(error.code(), Code::LogRangeDamaged, "{name} page {page}");
            let facts: Vec<&str> = error.facts().iter().map(|(fact, _)| *fact).collect();
            assert_eq!(facts, ["file", "bytes"], "{error:?}");
            if page == 0 && name.starts_with("000") {
                reads_as_written(&error, &[]);
            }
        }
    }
}

/// D12, D14: files cut, gone, or in each other's place.
#[test]
fn files_cut_gone_or_swapped_are_noticed() {
    let (disk, entries) = small_log(Codec::Zstd);
    let files = disk.files();
    let mut tried = 0;
    for (name, length) in &files {
        for cut in [None, Some(0), Some(length / 2), Some(length - 1)] {
            let damaged = disk.copy();
            damaged.cut(name, cut);
            let (found, error, epoch) = read(&damaged);
            // A consumer whose record is gone holds nothing back; that is all it was for.
            let harmless = name.starts_with("consumer-") && cut.is_none();
            // The oldest segment may be gone because it was delivered.
            let trimmed = cut.is_none() && found.len() < entries.len() && entries.ends_with(&found);
            let commits_gone = name.ends_with(".commits") && cut.is_none() && found == entries;
            assert!(error.is_some() || epoch < 5 || harmless || trimmed || commits_gone, "{name} {cut:?}");
            assert!(entries.starts_with(&found) || entries.ends_with(&found), "{name} {cut:?}: wrong data");
            tried += 1;
        }
        for (other, _) in files.iter().filter(|(other, _)| other != name && other.ends_with(&name[name.len() - 4..])) {
            let damaged = disk.copy();
            damaged.swap(name, other);
            let (found, error, epoch) = read(&damaged);
            assert!(error.is_some() || epoch < 5, "{name} in place of {other}");
            assert!(entries.starts_with(&found), "{name} in place of {other}: wrong data");
        }
    }
    assert!(tried >= 20);
}

/// Deterministic fuzz of segments and commits: many bytes at once, zeros, and repetitions of other parts.
#[test]
fn fuzz_segments_and_commits() {
    let seed = std::env::var("DUJIANG_SEED").ok().and_then(|seed| seed.parse().ok());
    let (disk, entries) = small_log(Codec::Lz4);
    let files = disk.files();
    for case in seed.map_or(0..3000, |seed: u64| seed..seed + 1) {
        let mut rng = Rng::new(case);
        let damaged = disk.copy();
        for _ in 0..1 + rng.below(8) {
            let (name, length) = &files[rng.below(files.len() as u64) as usize];
            let (from, many) = (rng.below(*length as u64) as usize, 1 + rng.below(64) as usize);
            for at in from..(*length).min(from + many) {
                damaged.flip(name, at, rng.below(8) as u8);
            }
        }
        let (found, error, epoch) = read(&damaged);
        let same = found == entries && epoch == 5;
        assert!(error.is_some() || epoch < 5 || same, "DUJIANG_SEED={case}: not noticed");
        assert!(entries.starts_with(&found), "DUJIANG_SEED={case}: wrong data");
        // Opening it for writing is an answer too, not a panic.
        let _ = open(&damaged, 2).map(|mut store| store.cut_tail(2));
    }
}

/// The bounded run of the fuzz targets: damage that checksums do not show is an error, too, or is read; nothing panics.
#[test]
fn damage_with_the_right_checksums_is_borne() {
    let (mut whole, mut broken) = (0, 0);
    for codec in [Codec::None, Codec::Zstd, Codec::Lz4] {
        let (disk, entries) = small_log(codec);
        let mut files: Vec<(String, Vec<u8>)> = disk.files().into_iter().map(|(n, l)| (n, vec![0; l])).collect();
        files.retain(|(name, _)| name.ends_with(".seg") || name.ends_with(".commits"));
        for (name, bytes) in &mut files {
            disk.open(name, false).unwrap().read_at(bytes, 0).unwrap();
        }
        let walk = |name: &str, bytes: &[u8]| match name.ends_with(".seg") {
            true => walk_segment(bytes),
            false => walk_commits(bytes),
        };
        let of = |end: &str| files.iter().filter(|(n, _)| n.ends_with(end)).map(|(n, b)| walk(n, b)).sum::<usize>();
        assert_eq!((of(".seg"), of(".commits")), (entries.len(), 6));
        for case in 0..1500 {
            let mut rng = Rng::new(case);
            let (name, bytes) = &files[rng.below(files.len() as u64) as usize];
            let mut damaged = bytes.clone();
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                damaged[at] ^= 1 << rng.below(8);
            }
            let (before, after) = (walk(name, bytes), walk(name, &damaged));
            if after < before {
                broken += 1
            } else {
                whole += 1
            }
            let frame = &damaged[64.min(damaged.len())..];
            walk_frame(&table("t"), frame).unwrap();
        }
    }
    let mut read = [0; 3];
    fuzz::run("log_segment", |bytes| read[0] += walk_segment(bytes));
    fuzz::run("log_commits", |bytes| read[1] += walk_commits(bytes));
    fuzz::run("log_frame", |bytes| read[2] += walk_frame(&many::table(), bytes).unwrap());
    assert!(read.iter().all(|read| *read > 100), "{read:?} were read");
    println!("{whole} read as before, {broken} not");
    assert!(whole > 100 && broken > 100);
}

/// The page of the manual says how another program reads a segment; this is that program.
#[tokio::test]
async fn pyarrow_reads_a_segment() {
    for codec in ["none", "lz4", "zstd"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let shape = table("t");
        let mut capture = Capture::open(&path, &[("compression", codec)], 1, std::slice::from_ref(&shape)).await;
        let many: Vec<i64> = (1_000..1_100).collect();
        capture.write_epoch(&[mixed(&shape, 1), mixed(&shape, 50), rows(&shape, &many)]).await;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_segment.py");
        let mut command = std::process::Command::new(dujiang_testkit::oracle::python());
        let output = command.arg(script).arg(path.join("00000000000000000000.seg")).output().expect("run Python");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 112, "{text}");
        assert_eq!(lines[0], "1 d.t read snapshot:1 bin.1:4 7 1 {'id': 1, 'twice': 2}");
        assert_eq!(lines[2], "1 d.t update-before 0-1-17 bin.1:99 1 1 {'id': 3, 'twice': 6}");
        assert_eq!(lines[3], "1 d.t update-after 0-1-17 bin.1:99 1 1 {'id': 4, 'twice': 8}");
        assert_eq!(lines[6], "2 d.t read snapshot:1 bin.1:4 7 50 {'id': 50, 'twice': 100}");
        for (line, id) in lines[12..].iter().zip(many) {
            assert!(line.ends_with(&format!("{{'id': {id}, 'twice': {}}}", 2 * id)), "{line}");
        }
    }
}
