//! Safety steps are taken out of the real binary, one at a time; each time the oracle must notice, and without the
//! sabotage it must have nothing to say.
//!
//! `hand-off-in-snapshot`, `position-at-transaction-end` and `directory-fsync` are shown here; the others live in the
//! engine and are shown by its simulation.

use crate::river::{Log, River, Settings};
use dujiang_scratch::Options;
use dujiang_testkit::oracle::{self, Report};
use dujiang_testkit::power::Disk;
use dujiang_testkit::workload::{Plan, specs};

/// Folders that are given a disk of their own.
const SINK_DISK: &str = "out-0";
const STATE_DISK: &str = "state";

fn river(interval: &'static str, facts: u64) -> River {
    let plan = Plan { facts, chains: 200, accounts: 50, ..Plan::default() };
    River::new(&Options::default(), plan, Settings { chunk: 1_000, interval, lanes: 2, log: Log::None, proxied: false })
}

/// A snapshot is read while a transaction is in the log but not visible yet: its commit waits for a replica that does
/// not exist.
fn snapshot_beside_a_waiting_commit(faults: &str) -> Report {
    let mut river = river("100ms", 100);
    let mut session = river.server.session().expect("a session");
    let semi_sync = "SET GLOBAL rpl_semi_sync_master_timeout = 600000, rpl_semi_sync_master_wait_point = AFTER_SYNC, \
                     rpl_semi_sync_master_wait_no_slave = ON, rpl_semi_sync_master_enabled = ";
    session.run(&format!("{semi_sync} ON")).expect("semi-synchronous replication");
    let end = |session: &mut dujiang_scratch::Session| session.run("SHOW MASTER STATUS").expect("the log's end");
    let before = end(&mut session);
    let mut writer = river.server.session().expect("a session");
    let waiting = std::thread::spawn(move || {
        writer
            .run("UPDATE river.accounts SET version = version + 1, balance = balance + 7 WHERE id = 7")
            .expect("update");
    });
    while end(&mut session) == before {
        std::thread::yield_now();
    }
    // A snapshot that would not show the row is given up and opened again: that goes on until the commit is through.
    let opened = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'COM_BEGIN'";
    let enough = session.number(opened).expect("a number") + 40;
    let mut run = river.spawn(faults, &["--until", "snapshot"]);
    run.wait_until(|| session.number(opened).expect("a number") > enough);
    assert!(!waiting.is_finished(), "{}", river.log());
    session.run(&format!("{semi_sync} OFF")).expect("the end of the wait");
    waiting.join().expect("the waiting commit");
    let status = run.wait();
    assert!(status.success(), "{status}: {}", river.log());
    river.settle_with(faults)
}

#[test]
fn a_row_in_the_log_but_not_in_the_snapshot_is_not_lost() {
    snapshot_beside_a_waiting_commit("").must_be_clean();
}

#[test]
fn saboteur_hand_off_in_snapshot_is_noticed() {
    let report = snapshot_beside_a_waiting_commit("remove:hand-off-in-snapshot");
    assert!(report.problems.iter().any(|p| p.starts_with("river.accounts")), "nothing was noticed: {report:?}");
}

/// Epochs end within one large transaction, and the process is killed after each.
fn kills_within_a_transaction(faults: &str) -> Report {
    let mut river = river("20ms", 20_000);
    assert!(river.spawn(faults, &["--until", "caught-up"]).wait().success(), "{}", river.log());
    let mut session = river.server.session().expect("a session");
    let once = "UPDATE river.facts SET version = version + 1, place = 'within';";
    session.run(&format!("BEGIN; {} COMMIT", once.repeat(10))).expect("a large transaction");
    // Something always follows, so that a run that takes the transaction for done gets on and ends by itself.
    let mut follow = || session.run("UPDATE river.accounts SET version = version + 1 WHERE id = 1").expect("a row");
    for _ in 0..6 {
        follow();
        let epoch = river.epoch();
        let mut run = river.spawn(faults, &["--until", "caught-up"]);
        run.wait_until(|| river.epoch() > epoch);
        run.kill();
    }
    follow();
    river.settle_with(faults)
}

#[test]
fn epochs_that_end_within_a_transaction_lose_and_repeat_nothing() {
    kills_within_a_transaction("").must_be_clean();
}

#[test]
fn saboteur_position_at_transaction_end_is_noticed() {
    let report = kills_within_a_transaction("remove:position-at-transaction-end");
    assert!(report.problems.iter().any(|p| p.starts_with("river.facts")), "nothing was noticed: {report:?}");
}

/// One disk loses its power again and again while the others do not: of what is committed nothing may be gone.
fn power_failures(disk: &str, faults: &str) -> Option<Result<Report, String>> {
    let mut river = river("50ms", 2_000);
    let disk = match Disk::mount(&river.place.path(disk), 96) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("no power failures here: {why}");
            return None;
        }
    };
    river.load.start();
    for cut in 0..8 {
        let epoch = river.epoch();
        let mut run = river.spawn(faults, &[]);
        if !run.wait_until(|| river.epoch() > epoch + cut % 3) {
            return Some(Err(river.log()));
        }
        disk.cut().expect("cut the power");
        run.kill();
        disk.restore().expect("restore the power");
    }
    river.load.stop();
    let status = river.spawn(faults, &["--until", "caught-up"]).wait();
    if !status.success() {
        return Some(Err(river.log()));
    }
    Some(oracle::check(&river.server, &specs(), &river.out()))
}

#[test]
fn nothing_committed_is_lost_with_the_power() {
    for disk in [SINK_DISK, STATE_DISK] {
        if let Some(report) = power_failures(disk, "") {
            report.unwrap_or_else(|log| panic!("{disk}: a start failed:\n{log}")).must_be_clean();
        }
    }
}

/// The sink's renames become durable with the next file's fsync, by the way ext4 keeps its journal; so it is the state
/// whose loss shows: the sink is then ahead of it.
#[test]
fn saboteur_directory_fsync_is_noticed() {
    let noticed = match power_failures(STATE_DISK, "remove:directory-fsync") {
        Some(Ok(report)) => !report.problems.is_empty(),
        Some(Err(log)) => log.contains("\"code\":\"E05") || log.contains("\"code\":\"E06"),
        None => folders_go_unsynced("remove:directory-fsync"),
    };
    assert!(noticed, "nothing was noticed");
}

#[test]
fn every_folder_of_the_sink_is_synced_after_a_rename() {
    assert!(!folders_go_unsynced(""), "a rename is not followed by an fsync of its folder");
    assert!(folders_go_unsynced("remove:directory-fsync"), "the trace does not show what was taken out");
}

/// Whether some file of the sink was renamed into a folder that was not synced afterwards; by the process's own system
/// calls, where a disk cannot be cut off.
fn folders_go_unsynced(faults: &str) -> bool {
    let river = river("50ms", 200);
    let trace = river.place.path("trace");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-e", "trace=rename,renameat,renameat2,fsync", "-o"]).arg(&trace);
    let status = river.spawn_under(strace, faults, &["--until", "snapshot"]).wait();
    assert!(status.success(), "{}", river.log());
    let mut open: Vec<String> = Vec::new();
    let mut renames = 0;
    for line in std::fs::read_to_string(&trace).expect("a trace").lines() {
        let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        if line.contains("rename") && quoted.len() == 2 && line.ends_with("= 0") {
            renames += 1;
            let folder = quoted[1].rsplit_once('/').map_or("", |(folder, _)| folder);
            open.push(folder.to_owned());
        } else if let Some(synced) = line.split_once("fsync(").and_then(|(_, rest)| rest.split(['<', '>']).nth(1)) {
            open.retain(|folder| folder != synced);
        }
    }
    assert!(renames > 5, "the trace shows {renames} renames");
    !open.is_empty()
}
