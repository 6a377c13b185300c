//! A crash between any two steps on the file system, at every step of a run of several epochs.
//!
//! The program passes the fail point `file.step` before each step. The sweep ends the run at step 1, 2, 3, ... until a
//! run meets no more; after each end a new instance starts as the engine would: it commits the published checkpoint
//! again, discards what no checkpoint names, and goes on. Recovery itself is swept as well.

use crate::support::*;
use dujiang_core::checkpoint::Token;
use dujiang_core::fault::{self, Faults};
use dujiang_core::sink::{Committer, SinkState};
use dujiang_core::{Epoch, Error};
use dujiang_file::FileSink;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

/// Threads of the sweep's runtimes have this name; other tests of the process are left alone.
const THREAD: &str = "crash-sweep";

/// The lane of the sweep; its thread has this name.
const LANE: usize = 77;
const LANE_THREAD: &str = "file-lane-77";

/// Threads of this name never make a folder durable.
pub const SABOTEUR: &str = "no-directory-fsync";

/// Steps until the next crash; negative when none is wanted.
static STEPS_LEFT: AtomicI64 = AtomicI64::new(-1);

struct Crash;

impl Faults for Crash {
    fn at(&self, _point: &'static str) {
        let ours = matches!(std::thread::current().name(), Some(THREAD | LANE_THREAD));
        if !ours || STEPS_LEFT.load(Ordering::SeqCst) < 0 {
            return;
        }
        if STEPS_LEFT.fetch_sub(1, Ordering::SeqCst) <= 0 {
            STEPS_LEFT.store(0, Ordering::SeqCst);
            // Unwinds without the panic hook's noise: the step does not happen, nor does any after it.
            std::panic::resume_unwind(Box::new("crash"));
        }
    }

    fn removed(&self, step: &'static str) -> bool {
        step == "directory-fsync" && std::thread::current().name() == Some(SABOTEUR)
    }
}

/// Installs the faults of this process; they touch only runtimes whose threads have one of the two names.
pub fn install() {
    fault::install(Box::new(Crash));
}

/// What the checkpoint store would hold.
#[derive(Default)]
struct Published {
    epoch: u64,
    tokens: Vec<Token>,
}

const EPOCHS: u64 = 3;

fn rows_of(epoch: u64) -> std::ops::Range<i64> {
    epoch as i64 * 100..epoch as i64 * 100 + 7
}

/// One life of the program: recovery, then epochs until the last one.
async fn live(path: &Path, generation: u64, published: &mut Published) -> Result<(), Error> {
    let sink: FileSink = sink(path, &[("format", "json"), ("roll.size", "300")]);
    let context = context(generation);
    let mut committer: Box<dyn Committer> = dujiang_core::sink::Sink::committer(&sink, context.clone()).await?;
    let state = committer.open().await?;
    let held = match state {
        SinkState::Holds { epoch, .. } => epoch.0,
        _ => 0,
    };
    assert!(held <= published.epoch, "the sink holds epoch {held}, published is {}", published.epoch);
    if published.epoch > 0 {
        committer.commit(&request(published.epoch, generation, &published.tokens)).await?;
    }
    committer.abort_except(&published.tokens).await?;
    let mut writer = writer(&sink, LANE, &context).await;
    while published.epoch < EPOCHS {
        let epoch = published.epoch + 1;
        let rows = rows_of(epoch);
        writer.write(&inserts(&table("t"), rows.start..rows.end - 2)).await?;
        writer.write(&inserts(&table("u"), rows.end - 2..rows.end)).await?;
        let tokens = writer.prepare(Epoch(epoch)).await?;
        *published = Published { epoch, tokens };
        committer.commit(&request(epoch, generation, &published.tokens)).await?;
    }
    Ok(())
}

/// Runs one life that ends after `steps` steps; whether it came to its end unharmed.
fn life(path: &Path, generation: u64, published: &mut Published, steps: i64) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().thread_name(THREAD).build().unwrap();
    STEPS_LEFT.store(steps, Ordering::SeqCst);
    let outcome = runtime.block_on(live(path, generation, published));
    drop(runtime);
    STEPS_LEFT.store(-1, Ordering::SeqCst);
    if let Err(error) = &outcome {
        assert_eq!(error.code(), dujiang_core::Code::Bug, "only the crash may fail: {error}");
    }
    outcome.is_ok()
}

/// INV-2: visible is what was published, at most.
fn assert_nothing_early(path: &Path, published: &Published) {
    let allowed: Vec<_> = (1..=published.epoch).flat_map(rows_of).collect();
    let ids = visible_ids(path);
    assert!(ids.iter().all(|id| allowed.contains(id)), "{ids:?} visible, {} published", published.epoch);
}

fn assert_complete(path: &Path) {
    let mut ids = visible_ids(path);
    ids.sort_unstable();
    assert_eq!(ids, (1..=EPOCHS).flat_map(rows_of).collect::<Vec<_>>());
    assert!(files(&path.join(".dujiang/staged"), |_| true).is_empty(), "nothing is left behind");
    assert_eq!(files(&path.join(".dujiang/manifests"), |f| f.ends_with(".manifest")).len(), EPOCHS as usize);
}

#[test]
fn p35_p36_a_crash_at_any_step_and_another_in_recovery_lose_and_repeat_nothing() {
    install();
    let mut swept = 0;
    for first in 0.. {
        let dir = scratch();
        let mut published = Published::default();
        if life(dir.path(), 1, &mut published, first) {
            assert_complete(dir.path());
            swept = first;
            break;
        }
        assert_nothing_early(dir.path(), &published);
        // The second crash comes early in the next life, that is, in its recovery.
        life(dir.path(), 2, &mut published, first % 13);
        assert_nothing_early(dir.path(), &published);
        assert!(life(dir.path(), 3, &mut published, -1));
        assert_complete(dir.path());
    }
    assert!(swept > 60, "the sweep met only {swept} steps");
}
