//! Changes whose outcome is not known yet, on disk.
//!
//! Transactions that a log shows before it shows their end (two-phase commit, streaming in progress) wait here, as raw
//! records in order, one list for each transaction. Small lists stay in memory; larger ones go to a file each. All of them
//! together keep to a limit.
//!
//! Nothing is made durable: a source keeps its resume position before the oldest list it holds, so after a crash it reads
//! them again. Whatever an earlier process has left in the folder is removed when it is opened.
//!
//! ```
//! # use dujiang_spool::{Limits, Spool};
//! # let folder = tempfile::tempdir().unwrap();
//! let mut spool = Spool::open(&folder.path().join("spool"), Limits::default())?;
//! spool.append(b"tx 7", b"a row")?;
//! let mark = spool.mark(b"tx 7");
//! spool.append(b"tx 7", b"a row of a subtransaction")?;
//! spool.roll_back_to(b"tx 7", mark)?;
//! let mut records = spool.read(b"tx 7")?;
//! assert_eq!(records.peek()?, Some(&b"a row"[..]));
//! records.advance();
//! assert_eq!(records.peek()?, None);
//! spool.discard(b"tx 7");
//! # Ok::<(), dujiang_core::Error>(())
//! ```
//!
//! On disk, and in memory alike, a record is its length (4 bytes, little-endian), the CRC-32C of its bytes (4 bytes,
//! little-endian) and its bytes.

mod file;
mod records;
#[cfg(test)]
mod tests;

pub use records::Records;

use dujiang_core::{Code, Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Length and checksum before every record.
const HEAD: usize = 8;

/// How much a spool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all lists together, in memory and on disk.
    pub bytes: u64,
    /// Bytes of one list in memory; beyond it goes to its file.
    pub list_memory: usize,
    /// Bytes of all lists in memory.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 10 << 30, list_memory: 256 << 10, memory: 8 << 20 }
    }
}

/// A place in a list, to go back to. It means nothing in another list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// One transaction's records: first those in the file, then those in memory.
struct List {
    file: PathBuf,
    /// The file exists, maybe without any bytes that count.
    written: bool,
    on_disk: u64,
    memory: Vec<u8>,
}

/// Lists of records by key.
///
/// Calls write and read at most a few hundred kilobytes at a time, without fsync; on an async thread of a multi-threaded
/// runtime they step aside for that.
pub struct Spool {
    dir: PathBuf,
    limits: Limits,
    lists: HashMap<Box<[u8]>, List>,
    in_memory: usize,
    total: u64,
    next_file: u64,
}

impl Spool {
    /// An empty spool in a folder of its own. Files of an earlier one are removed; the folder itself is made when something
    /// goes to disk, and removed with the spool.
    ///
    /// # Errors
    /// `SpoolUnusable`.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self> {
        file::empty_folder(dir)?;
        Ok(Self { dir: dir.to_owned(), limits, lists: HashMap::new(), in_memory: 0, total: 0, next_file: 0 })
    }

    /// Adds a record at the end of a list, which begins with its first record.
    ///
    /// # Errors
    /// `SpoolFull` when the limit is reached, `StateFull` when the disk is, `SpoolUnusable` for other failures. The list is
    /// then as before.
    pub fn append(&mut self, key: &[u8], record: &[u8]) -> Result<()> {
        let size = HEAD + record.len();
        if u32::try_from(record.len()).is_err() || self.total + size as u64 > self.limits.bytes {
            return Err(self.full(key, size as u64));
        }
        self.make_room(key, size)?;
        let list = self.list(key);
        list.memory.extend_from_slice(&(record.len() as u32).to_le_bytes());
        list.memory.extend_from_slice(&crc32c::crc32c(record).to_le_bytes());
        list.memory.extend_from_slice(record);
        self.in_memory += size;
        self.total += size as u64;
        Ok(())
    }

    /// The end of a list, to go back to. Of a list that has not begun it is the beginning.
    pub fn mark(&self, key: &[u8]) -> Mark {
        Mark(self.lists.get(key).map_or(0, List::len))
    }

    /// Takes back every record after the mark. A list that is shorter stays as it is: a mark further back was gone to
    /// before.
    ///
    /// # Errors
    /// `SpoolUnusable`.
    pub fn roll_back_to(&mut self, key: &[u8], mark: Mark) -> Result<()> {
        let Some(list) = self.lists.get_mut(key).filter(|list| list.len() > mark.0) else { return Ok(()) };
        self.in_memory -= list.memory.len();
        self.total -= list.len() - mark.0;
        if mark.0 >= list.on_disk {
            list.memory.truncate((mark.0 - list.on_disk) as usize);
        } else {
            list.memory = Vec::new();
            file::truncate(&list.file, mark.0)?;
            list.on_disk = mark.0;
        }
        self.in_memory += list.memory.len();
        Ok(())
    }

    /// Reads a list from its beginning; one that has not begun is empty. The list stays, so that it can be read again, until
    /// it is discarded; the reader goes on to the end it has now even if that happens meanwhile.
    ///
    /// # Errors
    /// `SpoolUnusable`.
    pub fn read(&self, key: &[u8]) -> Result<Records> {
        match self.lists.get(key) {
            Some(list) if list.on_disk > 0 => Records::of_file(&list.file, list.on_disk, list.memory.clone()),
            Some(list) => Ok(Records::of_memory(list.memory.clone())),
            None => Ok(Records::of_memory(Vec::new())),
        }
    }

    /// Drops a list.
    pub fn discard(&mut self, key: &[u8]) {
        if let Some(list) = self.lists.remove(key) {
            self.in_memory -= list.memory.len();
            self.total -= list.len();
            list.remove();
        }
    }

    /// Whether a list has begun.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.lists.contains_key(key)
    }

    /// Number of lists.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Bytes of all lists, in memory and on disk.
    pub fn bytes(&self) -> u64 {
        self.total
    }

    /// Bytes of all lists in memory, to be counted against the pipeline's budget.
    pub fn memory_bytes(&self) -> usize {
        self.in_memory
    }

    fn list(&mut self, key: &[u8]) -> &mut List {
        if !self.lists.contains_key(key) {
            self.next_file += 1;
            let file = self.dir.join(format!("{:08}{}", self.next_file, file::SUFFIX));
            self.lists.insert(key.into(), List { file, written: false, on_disk: 0, memory: Vec::new() });
        }
        self.lists.get_mut(key).expect("invariant: just made")
    }

    /// Moves the list's memory to its file if it is too much with `more` bytes, alone or together with all others.
    fn make_room(&mut self, key: &[u8], more: usize) -> Result<()> {
        let Some(list) = self.lists.get_mut(key).filter(|list| !list.memory.is_empty()) else { return Ok(()) };
        if list.memory.len() + more <= self.limits.list_memory && self.in_memory + more <= self.limits.memory {
            return Ok(());
        }
        list.written = true;
        file::append(&list.file, list.on_disk, &list.memory)?;
        list.on_disk += list.memory.len() as u64;
        self.in_memory -= list.memory.len();
        list.memory = Vec::new();
        Ok(())
    }

    #[cold]
    fn full(&self, key: &[u8], more: u64) -> Error {
        let held = self.lists.get(key).map_or(0, List::len);
        let message = format!(
            "transactions whose outcome is not known yet need more than {} bytes of disk (`spool.max-bytes`)",
            self.limits.bytes
        );
        Error::new(Code::SpoolFull, message)
            .fact("transactions", self.lists.len().to_string())
            .fact("bytes held", self.total.to_string())
            .fact("this transaction", (held + more).to_string())
            .fact("folder", self.dir.display().to_string())
            .help("end the open or prepared transactions at the source, or set `spool.max-bytes` higher")
    }
}

impl List {
    fn len(&self) -> u64 {
        self.on_disk + self.memory.len() as u64
    }

    /// What is left behind by a failure here is removed when the folder is opened the next time.
    fn remove(self) {
        if self.written {
            let _ = std::fs::remove_file(&self.file);
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.lists.drain().for_each(|(_, list)| list.remove());
        // Fails when somebody else keeps something there, or when it was never made.
        let _ = std::fs::remove_dir(&self.dir);
    }
}
