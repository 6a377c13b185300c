//! The files of a spool.

use dujiang_core::{Code, Error, Result};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use tokio::runtime::{Handle, RuntimeFlavor};

/// How the names of files of ours end.
pub(crate) const SUFFIX: &str = ".spool";

/// Removes files of ours, if there is such a folder.
pub(crate) fn empty_folder(dir: &Path) -> Result<()> {
    aside(|| {
        if !dir.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(SUFFIX) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    })
    .map_err(|e| failed("empty", dir, e))
}

/// Writes `bytes` behind the first `at` bytes. A write that failed before may have left more there: it is written over.
pub(crate) fn append(path: &Path, at: u64, bytes: &[u8]) -> Result<()> {
    aside(|| {
        if at == 0 {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
        }
        let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    })
    .map_err(|e| failed("write", path, e))
}

/// Cuts the file.
pub(crate) fn truncate(path: &Path, length: u64) -> Result<()> {
    aside(|| File::options().write(true).open(path)?.set_len(length)).map_err(|e| failed("cut", path, e))
}

/// Opens the file for reading.
pub(crate) fn open(path: &Path) -> Result<File> {
    aside(|| File::open(path)).map_err(|e| failed("open", path, e))
}

/// Fills `buffer`.
pub(crate) fn read(file: &mut File, path: &Path, buffer: &mut [u8]) -> Result<()> {
    aside(|| file.read_exact(buffer)).map_err(|e| failed("read", path, e))
}

/// Runs blocking work where it stops no other task.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cold]
pub(crate) fn damaged(path: &Path) -> Error {
    Error::new(Code::SpoolUnusable, format!("what was written to {} has changed since", path.display()))
        .help("check the disk; a restart reads it from the source again")
}

#[cold]
fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let code = if full { Code::StateFull } else { Code::SpoolUnusable };
    Error::new(code, format!("{what} {}, where transactions wait for their outcome", path.display()))
        .with_source(error)
        .help("make room or mend the disk; nothing is lost, a restart reads them from the source again")
}
