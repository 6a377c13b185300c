//! Checkpoints and dead letters on a real disk.

use dujiang_core::checkpoint::{CheckpointStore, Generation, Standing};
use dujiang_core::dead_letter::{DeadLetter, DeadLetterStore, Stage};
use dujiang_core::sink::CommitRequest;
use dujiang_core::{Code, Epoch, Position};
use dujiang_engine::state::{DiskStore, FileLetters, inspect};
use dujiang_testkit::conformance::store::{self, checkpoint};
use dujiang_testkit::messages;
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

fn in_real_time<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

/// A folder in memory where there is one: what is tested is which calls are made, not how long a disk takes. The tests
/// that need a disk bring their own.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

fn open(dir: &Path) -> DiskStore {
    DiskStore::new(dir, "orders", 3)
}

/// Publishes epochs 1..=count.
async fn fill(dir: &Path, count: u64) -> Generation {
    let mut store = open(dir);
    let generation = store.acquire().await.unwrap().generation;
    for epoch in 1..=count {
        let next = checkpoint(epoch, generation, Standing::Final);
        store.publish((generation, Epoch(epoch - 1)), &next).await.unwrap();
    }
    generation
}

fn newest(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    names.filter(|p| p.extension().is_some_and(|e| e == "ckpt")).max().unwrap()
}

#[test]
fn the_disk_store_keeps_the_contract() {
    let dir = folder();
    let state = dir.path().join("new/folder");
    let mut factory = || -> Box<dyn CheckpointStore> { Box::new(open(&state)) };
    in_real_time(store::all(&mut factory, 3));
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_the_state() {
    let dir = folder();
    in_real_time(async {
        let mut first = open(dir.path());
        first.acquire().await.unwrap();
        let refused = open(dir.path()).acquire().await.unwrap_err();
        assert_eq!(refused.code(), Code::StateLocked);
        assert!(refused.facts().contains(&("process", std::process::id().to_string())), "{refused:?}");
        drop(first);
        open(dir.path()).acquire().await.unwrap();
    });
}

#[test]
fn the_folder_of_another_pipeline_is_refused() {
    let dir = folder();
    in_real_time(async {
        fill(dir.path(), 1).await;
        let refused = DiskStore::new(dir.path(), "customers", 3).acquire().await.unwrap_err();
        assert_eq!(refused.code(), Code::StateUnusable);
        fs::remove_file(dir.path().join("identity.json")).unwrap();
        let refused = open(dir.path()).acquire().await.unwrap_err();
        assert_eq!(refused.code(), Code::StateUnusable, "a lost lineage is never replaced by a new one");
    });
}

#[test]
fn damaged_checkpoints_do_not_stop_a_way_back_before_them() {
    let dir = folder();
    in_real_time(async {
        fill(dir.path(), 4).await;
        fs::write(newest(dir.path()), b"nonsense").unwrap();
        assert_eq!(open(dir.path()).acquire().await.unwrap_err().code(), Code::CheckpointDamaged);
        let mut store = open(dir.path()).restoring_from(Some(Epoch(3)));
        let kept: Vec<_> = store.acquire().await.unwrap().checkpoints.iter().map(|c| c.epoch.0).collect();
        assert_eq!(kept, [3, 2]);
        store.rewind(Epoch(3)).await.unwrap();
        drop(store);
        open(dir.path()).acquire().await.unwrap();
    });
}

/// What users read when publishing fails.
#[test]
fn messages_of_the_checkpoint_store() {
    let dir = folder();
    let hide = dir.path().display().to_string();
    let written = |error| messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[(&hide, "<folder>")]);
    in_real_time(async {
        let generation = fill(dir.path(), 1).await;
        let mut store = open(dir.path());
        let acquired = store.acquire().await.unwrap().generation;
        let next = checkpoint(2, acquired, Standing::Final);
        let late = checkpoint(2, generation, Standing::Final);
        written(store.publish((generation, Epoch(1)), &late).await.unwrap_err());
        fs::create_dir(dir.path().join(format!("checkpoint-{:020}.ckpt.tmp", 2))).unwrap();
        written(store.publish((acquired, Epoch(1)), &next).await.unwrap_err());
    });
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = folder();
    let file = dir.path().join("a-file");
    fs::write(&file, b"").unwrap();
    let refused = in_real_time(open(&file.join("state")).acquire()).unwrap_err();
    assert_eq!(refused.code(), Code::StateUnusable);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p14_restored_is_what_was_published(
        position in prop::collection::vec(any::<u8>(), 0..200),
        tokens in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6),
        text in ".*",
        candidate: bool,
    ) {
        let dir = folder();
        in_real_time(async {
            let generation = fill(dir.path(), 1).await;
            let mut store = open(dir.path());
            let generation = Generation(store.acquire().await.unwrap().generation.0.max(generation.0));
            let mut next = checkpoint(2, generation, if candidate { Standing::Candidate } else { Standing::Final });
            next.position = dujiang_core::Position::new(position);
            next.position_text = text;
            next.tokens[0].tokens = tokens.into_iter().map(|t| dujiang_core::checkpoint::Token(t.into())).collect();
            store.publish((generation, Epoch(1)), &next).await.unwrap();
            drop(store);
            assert_eq!(open(dir.path()).acquire().await.unwrap().checkpoints[0], next);
        });
    }

    /// A process that dies while it writes leaves a temporary file of any length: the last checkpoint stands.
    #[test]
    fn p15_a_torn_file_that_was_never_published_is_ignored(count in 1u64..5, part in 0.0f64..=1.0, target in 0usize..3) {
        let dir = folder();
        in_real_time(async {
            fill(dir.path(), count).await;
            let bytes = fs::read(newest(dir.path())).unwrap();
            let torn = &bytes[..(bytes.len() as f64 * part) as usize];
            let next = format!("checkpoint-{:020}.ckpt", count + 1);
            let name = [next.as_str(), "generation", "identity.json"][target];
            fs::write(dir.path().join(format!("{name}.tmp")), torn).unwrap();
            let mut store = open(dir.path());
            let acquired = store.acquire().await.unwrap();
            assert!(temporaries(dir.path()).is_empty(), "a start tidies up");
            assert_eq!(acquired.checkpoints[0].epoch, Epoch(count));
            let after = checkpoint(count + 1, acquired.generation, Standing::Final);
            store.publish((acquired.generation, Epoch(count)), &after).await.unwrap();
        });
    }

    /// Damage to a published one is never taken for anything else.
    #[test]
    fn p15_a_damaged_published_checkpoint_halts(count in 1u64..5, at in 0.0f64..1.0, bit in 0u8..8, cut: bool) {
        let dir = folder();
        in_real_time(async {
            fill(dir.path(), count).await;
            let path = newest(dir.path());
            let mut bytes = fs::read(&path).unwrap();
            let at = (bytes.len() as f64 * at) as usize;
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << bit;
            }
            fs::write(&path, bytes).unwrap();
            assert_eq!(open(dir.path()).acquire().await.unwrap_err().code(), Code::CheckpointDamaged);
        });
    }

    #[test]
    fn p17_the_newest_and_all_savepoints_are_kept(keep in 1usize..6, count in 1u64..12, savepoints in 0u64..4) {
        let dir = folder();
        in_real_time(async {
            fs::create_dir_all(dir.path()).unwrap();
            for n in 0..savepoints {
                fs::write(dir.path().join(format!("savepoint-{n:020}.ckpt")), b"kept on request").unwrap();
            }
            let mut store = DiskStore::new(dir.path(), "orders", keep);
            let generation = store.acquire().await.unwrap().generation;
            for epoch in 1..=count {
                let next = checkpoint(epoch, generation, Standing::Final);
                store.publish((generation, Epoch(epoch - 1)), &next).await.unwrap();
            }
            let listed: Vec<u64> =
                inspect::list_checkpoints(dir.path()).unwrap().iter().map(|c| c.epoch.0).collect();
            let expected: Vec<u64> = (1..=count).rev().take(keep).collect();
            assert_eq!(listed, expected);
            for n in 0..savepoints {
                assert!(dir.path().join(format!("savepoint-{n:020}.ckpt")).exists());
            }
        });
    }
}

fn temporaries(dir: &std::path::Path) -> Vec<std::ffi::OsString> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".tmp")).collect()
}

/// What a machine may lack (it takes root and mounts). In CI nothing may be lacking.
fn injector<T>(what: &str, found: Result<T, String>) -> Option<T> {
    match found {
        Ok(injector) => Some(injector),
        Err(why) if std::env::var_os("CI").is_none() => {
            println!("not tested on this machine: {what}: {why}");
            None
        }
        Err(why) => panic!("{what} cannot be tested here: {why}"),
    }
}

/// A file system of one megabyte, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path());
        let output = mount.output().map_err(|e| format!("mount cannot be run: {e}"))?;
        if output.status.success() {
            Ok(Self(folder))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

/// A full disk refuses the next checkpoint by name; the last one stands, and with room again the stream goes on (P09).
#[test]
fn a_full_disk_refuses_a_checkpoint_and_loses_none() {
    let Some(disk) = injector("a full disk", SmallDisk::mount()) else { return };
    let dir = disk.0.path().join("state");
    in_real_time(async {
        let mut store = open(&dir);
        let generation = store.acquire().await.unwrap().generation;
        store.publish((generation, Epoch(0)), &checkpoint(1, generation, Standing::Final)).await.unwrap();
        let ballast = disk.0.path().join("ballast");
        let full = fs::write(&ballast, vec![1; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let refused = store.publish((generation, Epoch(1)), &checkpoint(2, generation, Standing::Final)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::StateFull);
        let hide = dir.display().to_string();
        messages::check(env!("CARGO_MANIFEST_DIR"), &refused, &[(&hide, "<folder>")]);
        assert!(temporaries(&dir).is_empty(), "a torn file does not keep the room that the next try needs");
        assert_eq!(store.latest().await.unwrap().map(|c| c.epoch), Some(Epoch(1)));
        fs::remove_file(ballast).unwrap();
        store.publish((generation, Epoch(1)), &checkpoint(3, generation, Standing::Final)).await.unwrap();
        drop(store);
        assert_eq!(open(&dir).acquire().await.unwrap().checkpoints.len(), 2);
    });
}

/// The power fails right after each call that said it was durable: what it said holds (P15). A rename without an fsync
/// of its folder would be undone here.
#[test]
fn p15_what_is_published_survives_a_power_failure() {
    use dujiang_testkit::power::Disk;
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = injector("a power failure", Disk::mount(folder.path(), 16)) else { return };
    let dir = folder.path().join("state");
    in_real_time(async {
        for epoch in 1..=12 {
            let mut store = open(&dir);
            let acquired = store.acquire().await.unwrap();
            assert_eq!(acquired.checkpoints.first().map_or(0, |c| c.epoch.0), epoch - 1);
            assert!(acquired.generation.0 >= epoch, "the raised generation is durable too");
            let next = checkpoint(epoch, acquired.generation, Standing::Final);
            store.publish((acquired.generation, Epoch(epoch - 1)), &next).await.unwrap();
            disk.cut().unwrap();
            drop(store);
            disk.restore().unwrap();
        }
    });
}

fn letter(number: u64) -> DeadLetter {
    DeadLetter {
        event_id: format!("aa/tx/shop.orders/{number}"),
        table: "shop.orders".to_owned(),
        op: "u",
        before: Some(r#"{"z":1.10,"a":18446744073709551615}"#.to_owned()),
        after: Some(r#"{"z":1.20,"a":"ö \" \n"}"#.to_owned()),
        position: "bin.000003:4711".to_owned(),
        transaction: "0-1-99".to_owned(),
        commit_micros: 1_700_000_000_000_000,
        stage: Stage::Sink,
        code: Code::BadRecord,
        message: "E0700: a value too long".to_owned(),
    }
}

fn request(epoch: u64, tokens: Vec<dujiang_core::checkpoint::Token>) -> CommitRequest {
    let (position, position_text) = (Position::default(), String::new());
    CommitRequest { epoch: Epoch(epoch), generation: Generation(1), tokens, position, position_text }
}

/// What users read when letters cannot be put in their place.
#[test]
fn messages_of_the_dead_letters() {
    let dir = folder();
    in_real_time(async {
        let mut letters = FileLetters::new(dir.path());
        letters.add(letter(1));
        let tokens = letters.prepare(Epoch(2)).await.unwrap();
        // In their place, something that no rename replaces.
        let staged = fs::read_dir(dir.path().join("dlq")).unwrap().next().unwrap().unwrap().file_name();
        letters.commit(&request(2, tokens.clone())).await.unwrap();
        let committed = fs::read_dir(dir.path().join("dlq")).unwrap().next().unwrap().unwrap().path();
        fs::rename(&committed, dir.path().join("dlq").join(staged)).unwrap();
        fs::create_dir(&committed).unwrap();
        let error = letters.commit(&request(2, tokens)).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadLetterWrite);
        messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[(&dir.path().display().to_string(), "<folder>")]);
    });
}

#[test]
fn dead_letters_are_invisible_until_their_epoch_commits() {
    let dir = folder();
    in_real_time(async {
        let mut letters = FileLetters::new(dir.path());
        assert!(inspect::list_dead_letters(dir.path()).unwrap().is_empty());
        assert!(letters.prepare(Epoch(1)).await.unwrap().is_empty(), "no letter, no token");
        letters.add(letter(1));
        letters.add(letter(2));
        let mut tokens = letters.prepare(Epoch(2)).await.unwrap();
        letters.add(letter(3));
        tokens.extend(letters.prepare(Epoch(3)).await.unwrap());
        letters.add(letter(4));
        letters.prepare(Epoch(4)).await.unwrap();
        assert!(inspect::list_dead_letters(dir.path()).unwrap().is_empty());
        for _ in 0..2 {
            letters.commit(&request(3, tokens.clone())).await.unwrap();
        }
        letters.abort_except(&tokens).await.unwrap();
        let found = inspect::list_dead_letters(dir.path()).unwrap();
        let ids: Vec<_> = found.iter().map(|l| l.id.as_str()).collect();
        assert_eq!(ids, ["2-1", "2-2", "3-1"]);
        let shown = inspect::show_dead_letter(dir.path(), "2-2").unwrap();
        assert_eq!((shown.before, shown.after), (letter(2).before, letter(2).after), "the text is kept as it was");
        assert_eq!((shown.event_id, shown.stage), (letter(2).event_id, Stage::Sink));
        assert_eq!(inspect::show_dead_letter(dir.path(), "9-9").unwrap_err().code(), Code::Usage);
        letters.withdraw_after(Epoch(2)).await.unwrap();
        assert_eq!(inspect::list_dead_letters(dir.path()).unwrap().len(), 2);
        let gone = letters.commit(&request(3, tokens)).await.unwrap_err();
        assert_eq!(gone.code(), Code::SinkMismatch, "letters that a checkpoint names cannot be gone");
    });
}
