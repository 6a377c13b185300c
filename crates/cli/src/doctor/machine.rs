//! What concerns this machine: the state folder.

use dujiang_core::examine::Examination;
use dujiang_core::{Code, Error, Result};
use dujiang_engine::state::inspect::Progress;
use indicatif::HumanBytes;
use rustix::fs::{Access, access, statvfs};
use std::path::{Path, PathBuf};

/// With less free space checkpoints and dead letters soon find no room.
const ROOM: u64 = 100_000_000;

/// Looks at the state folder, which need not be there yet, and at the checkpoints of loops: the check's name, with several
/// the loop's, and what is known.
pub(super) fn examine(
    state_dir: &Path,
    loops: impl Iterator<Item = (&'static str, Option<String>, Result<Progress>)>,
) -> Examination {
    let mut examination = Examination::of("this machine");
    examination.record("state folder", writable(state_dir), |_| state_dir.display().to_string());
    match room(state_dir) {
        Ok(free) if free < ROOM => {
            let message = format!("{} has {} free", state_dir.display(), HumanBytes(free));
            let error = Error::new(Code::StateFull, message).help("make room, or name another folder with --state-dir");
            examination.finding("state space", error);
        }
        Ok(free) => examination.ok("state space", format!("{} free", HumanBytes(free))),
        Err(error) => examination.unknown("state space", error.to_string()),
    }
    for (check, of, known) in loops {
        let of = of.map_or(String::new(), |name| format!("{name}: "));
        match known {
            Err(error) => examination.finding(check, error),
            Ok(Progress { checkpoint: None, .. }) => examination.ok(check, format!("{of}none yet")),
            Ok(Progress { checkpoint: Some(newest), running, .. }) => {
                let state = if running { "; it runs now" } else { "" };
                examination.ok(check, format!("{of}{} at {}{state}", newest.epoch, newest.position_text));
            }
        }
    }
    examination
}

/// The folder, or the nearest one above it that is there.
fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn writable(state_dir: &Path) -> Result<()> {
    let there = nearest(state_dir);
    let refuse = |message: String| Error::new(Code::StateUnusable, message);
    if !there.is_dir() {
        return Err(refuse(format!("{} is not a folder", there.display())).help("name a folder with --state-dir"));
    }
    access(&there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        refuse(format!("{} cannot be written to", there.display()))
            .with_source(std::io::Error::from(error))
            .help("let this user write to it, or name another folder with --state-dir")
    })
}

fn room(state_dir: &Path) -> std::io::Result<u64> {
    let volume = statvfs(nearest(state_dir))?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}
