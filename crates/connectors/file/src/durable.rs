//! The file system, as far as the sink changes it: every step either happens durably or is an error with a code.
//!
//! Each function that changes something passes the fail point `file.step` first, so that a test can stop the program
//! between any two steps.

use dujiang_core::{Code, Error, Result, fault};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Turns an I/O error into ours: full, not writable, or a write that may pass.
pub(crate) fn io_error(action: &str, path: &Path, error: io::Error) -> Error {
    let errno = Errno::from_io_error(&error);
    let place = path.display().to_string();
    let (code, help) = match errno {
        Some(Errno::NOSPC | Errno::DQUOT) => (Code::SinkFull, "free space there; the pipeline waits and loses nothing"),
        Some(Errno::ACCESS | Errno::PERM) => {
            (Code::SinkNotWritable, "give the user that runs the pipeline the right to write there, or change `path`")
        }
        Some(Errno::ROFS) => (Code::SinkNotWritable, "mount the file system writable, or change `path`"),
        Some(Errno::NOTDIR) => (Code::SinkNotWritable, "a part of `path` is a file; choose a folder"),
        Some(Errno::XDEV) => {
            (Code::SinkNotWritable, "keep everything under `path` on one file system: files become visible by renaming")
        }
        _ => (Code::SinkWrite, "check the disk; the write is tried again, and nothing is lost if the pipeline stops"),
    };
    Error::new(code, format!("cannot {action}")).fact("path", place).help(help).with_source(error)
}

/// INV-9: what the disk holds after a failed fsync is unknown; it is never tried again on that descriptor.
fn sync_error(path: &Path, error: io::Error) -> Error {
    Error::new(Code::SyncFailed, "fsync of the sink's files failed")
        .fact("path", path.display().to_string())
        .help("check the disk; after the restart everything since the last checkpoint is written again")
        .with_source(error)
}

/// Makes a file's bytes durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<()> {
    fault::point("file.step");
    file.sync_all().map_err(|e| sync_error(path, e))
}

/// Makes a folder's entries durable: names made, renamed or removed in it.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if fault::removed("directory-fsync") {
        return Ok(());
    }
    fault::point("file.step");
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| sync_error(folder, e))
}

/// As [`sync_folder`], for a folder that readers may have removed after they took the files out of it: then what is
/// left to make durable is its absence, in the nearest folder above it. `root` is the sink's own.
pub(crate) fn sync_folder_or_above(folder: &Path, root: &Path) -> Result<()> {
    if folder == root {
        return sync_folder(folder);
    }
    if fault::removed("directory-fsync") {
        return Ok(());
    }
    fault::point("file.step");
    match File::open(folder) {
        Ok(opened) => opened.sync_all().map_err(|e| sync_error(folder, e)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            sync_folder_or_above(&parent(folder), root)
        }
        Err(error) => Err(sync_error(folder, error)),
    }
}

/// Makes a folder and those above it, as far as they are missing, durably.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(io_error("make a folder", folder, Errno::NOTDIR.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("look at the sink's folder", folder, error)),
    }
    let parent = parent(folder);
    create_folder(&parent)?;
    fault::point("file.step");
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("make a folder", folder, error)),
        _ => sync_folder(&parent),
    }
}

/// The folder a path lies in; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}

/// Renames within one file system. Durable after [`sync_folder`] of both folders.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fault::point("file.step");
    fs::rename(from, to).map_err(|e| io_error("rename a file", to, e))
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    fault::point("file.step");
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove a file", path, error)),
        _ => Ok(()),
    }
}

/// Size of a regular file, `None` when there is nothing. Links are not followed.
///
/// # Errors
/// `SinkMismatch` when something else has the name.
pub(crate) fn size(path: &Path) -> Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found.len())),
        Ok(_) => Err(Error::new(Code::SinkMismatch, "something that is no regular file has the name of one of ours")
            .fact("path", path.display().to_string())
            .help("move it away")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(io_error("look at a file", path, error)),
    }
}

/// Names of the entries of a folder, sorted; none when it is missing.
pub(crate) fn entries(folder: &Path) -> Result<Vec<String>> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list a folder", folder, error)),
    };
    let mut names = Vec::new();
    for entry in list {
        let entry = entry.map_err(|e| io_error("list a folder", folder, e))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Replaces a record: temporary file in the same folder, write, fsync, rename, fsync the folder. The record is one line
/// of JSON followed by a line with its length and CRC32C.
pub(crate) fn write_record(path: &Path, json: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    fault::point("file.step");
    let mut file = File::create(&temporary).map_err(|e| io_error("write a record", &temporary, e))?;
    let trailer = format!("\n{{\"bytes\":{},\"crc32c\":\"{:08x}\"}}\n", json.len(), crc32c::crc32c(json));
    file.write_all(json)
        .and_then(|()| file.write_all(trailer.as_bytes()))
        .map_err(|e| io_error("write a record", &temporary, e))?;
    sync_file(&file, &temporary)?;
    rename(&temporary, path)?;
    sync_folder(&parent(path))
}

/// Reads a record back; `None` when there is none.
///
/// # Errors
/// `SinkMismatch` when it is damaged.
pub(crate) fn read_record(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read a record", path, error)),
    };
    let end = bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len());
    let trailer = format!("\n{{\"bytes\":{end},\"crc32c\":\"{:08x}\"}}\n", crc32c::crc32c(&bytes[..end]));
    if bytes[end..] != *trailer.as_bytes() {
        return Err(damaged(path));
    }
    bytes.truncate(end);
    Ok(Some(bytes))
}

/// A record of ours that cannot be read.
pub(crate) fn damaged(path: &Path) -> Error {
    Error::new(Code::SinkMismatch, "a record of the sink is damaged")
        .fact("path", path.display().to_string())
        .help("restore the file from a backup, or write to another `path`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fsync_reads_as_written() {
        let error = sync_error(Path::new("/data/ods/.dujiang/staged/0"), io::Error::from_raw_os_error(5));
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }
}
