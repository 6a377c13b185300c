//! The storage rule: temporary file in the same folder, write, fsync, rename, fsync the folder.

use dujiang_core::{Code, Error, Result, fault};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Suffix of files that were never published.
pub(super) const TEMPORARY: &str = ".tmp";

/// Writes `bytes` durably under `name`, replacing what is there in one step.
///
/// # Errors
/// `StateFull` or `failed` when the old content is still there; `SyncFailed` when the disk cannot say (INV-9);
/// `CheckpointUnknown` when the rename gave an error.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8], failed: Code) -> Result<()> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    let written = File::create(&temporary).and_then(|mut file| file.write_all(bytes).map(|()| file));
    let file = written.map_err(|error| {
        // A torn file is of no use, and on a full disk it takes the room that the next try needs.
        let _ = fs::remove_file(&temporary);
        write_error(&temporary, error, failed)
    })?;
    sync(&file, &temporary)?;
    let target = dir.join(name);
    fs::rename(&temporary, &target).map_err(|e| {
        Error::new(Code::CheckpointUnknown, format!("cannot rename {} into place", temporary.display()))
            .with_source(e)
            .help("check the disk; whether the checkpoint stands is read back before anything else is done")
    })?;
    sync_dir(dir)
}

/// fsync of a file. Never tried again: after an error the kernel may have dropped the data (INV-9).
///
/// # Errors
/// `SyncFailed`.
pub(super) fn sync(file: &File, path: &Path) -> Result<()> {
    file.sync_all().map_err(|e| sync_error(path, e))
}

/// fsync of a folder, so that renames in it are durable.
///
/// # Errors
/// `SyncFailed`.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    if fault::removed("directory-fsync") {
        return Ok(());
    }
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| sync_error(dir, e))
}

/// Makes a folder and those above it, as far as they are missing, durably.
///
/// # Errors
/// `StateUnusable` when it cannot be made, `SyncFailed`.
pub(super) fn create_folder(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folder(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unusable(dir, error)),
        Err(error) if !dir.is_dir() => Err(unusable(dir, error)),
        _ => sync_dir(parent),
    }
}

/// The error of a write that left the old content in place.
pub(super) fn write_error(path: &Path, error: io::Error, code: Code) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    Error::new(if full { Code::StateFull } else { code }, format!("cannot write {}", path.display()))
        .with_source(error)
        .help("make room or mend the disk; nothing is lost, the last checkpoint stands")
}

/// The error of a state folder that cannot be used at all.
pub(super) fn unusable(path: &Path, error: io::Error) -> Error {
    let help = match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "a part of this path is a file: name a folder with --state-dir"
        }
        _ => "let this user write there, or name another folder with --state-dir",
    };
    Error::new(Code::StateUnusable, format!("cannot use the state directory {}", path.display()))
        .with_source(error)
        .help(help)
}

fn sync_error(path: &Path, error: io::Error) -> Error {
    Error::new(Code::SyncFailed, format!("fsync of {} failed", path.display()))
        .with_source(error)
        .help("check the disk; the process ends, because what the disk holds is unknown, and a new start reads it back")
}

/// Removes what writes that never came to their end have left behind, as far as that goes.
pub(super) fn remove_temporaries(dir: &Path) {
    for name in file_names(dir).unwrap_or_default() {
        if name.ends_with(TEMPORARY) {
            let _ = fs::remove_file(dir.join(name));
        }
    }
}

/// Names of the files in a folder, sorted; none when the folder does not exist.
///
/// # Errors
/// `StateUnusable`.
pub(super) fn file_names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unusable(dir, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| unusable(dir, e))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file; one that is not there is removed.
///
/// # Errors
/// As [`write_error`].
pub(super) fn remove(path: &Path, code: Code) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(write_error(path, e, code)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What users read when nobody knows whether a checkpoint stands.
    #[test]
    fn a_rename_without_an_answer_reads_as_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = "checkpoint-00000000000000000003.ckpt";
        // Something that no rename replaces.
        fs::create_dir(folder.path().join(name)).expect("a folder in its place");
        let error = replace(folder.path(), name, b"x", Code::CheckpointWrite).expect_err("it cannot be replaced");
        let hide = folder.path().display().to_string();
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[(&hide, "<folder>")]);
    }
}
