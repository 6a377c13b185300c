//! A file before its epoch is visible: bytes appended in order, each exactly once, whatever fails in between.

use crate::durable::{io_error, sync_file};
use crate::records::FileRecord;
use dujiang_core::{Result, fault};
use dujiang_format_parquet::Pieces;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Takes the bytes of one file. Nothing is on disk before the first [`StagedFile::flush`].
///
/// A flush that fails (a full disk) has lost nothing: what was not written is kept, and the next flush goes on at the
/// byte where it stopped.
pub(crate) struct StagedFile {
    path: PathBuf,
    file: Option<File>,
    /// Bytes handed in and not yet written, of the first piece from `sent` on.
    pub(crate) pending: Pieces,
    sent: usize,
    written: u64,
    crc: u32,
}

impl StagedFile {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self { path: folder.join(name), file: None, pending: Pieces::default(), sent: 0, written: 0, crc: 0 }
    }

    /// Bytes not yet written.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len() - self.sent
    }

    /// Writes what is pending.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.waiting() == 0 {
            return Ok(());
        }
        if self.file.is_none() {
            fault::point("file.step");
            let created = OpenOptions::new().write(true).create_new(true).open(&self.path);
            self.file = Some(created.map_err(|e| io_error("make a file", &self.path, e))?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        while let Some(piece) = self.pending.first() {
            match file.write(&piece[self.sent..]) {
                Ok(0) => return Err(io_error("write a file", &self.path, std::io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.crc = crc32c::crc32c_append(self.crc, &piece[self.sent..self.sent + n]);
                    self.sent += n;
                    self.written += n as u64;
                    if self.sent == piece.len() {
                        self.pending.drop_first();
                        self.sent = 0;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("write a file", &self.path, error)),
            }
        }
        Ok(())
    }
}

/// A file that has all its bytes.
pub(crate) struct ClosedFile {
    file: Option<File>,
    path: PathBuf,
    pub(crate) record: FileRecord,
}

impl ClosedFile {
    /// Takes over a staged file whose bytes are all written.
    pub(crate) fn new(staged: StagedFile, record: FileRecord) -> Self {
        let record = FileRecord { bytes: staged.written, crc32c: format!("{:08x}", staged.crc), ..record };
        Self { file: staged.file, path: staged.path, record }
    }

    /// Makes its bytes durable and gives the descriptor back.
    pub(crate) fn sync(&mut self) -> Result<()> {
        match self.file.take() {
            Some(file) => sync_file(&file, &self.path),
            None => Ok(()),
        }
    }
}
