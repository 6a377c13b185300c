//! The folder of a log, as far as the log uses it. A trait, so that tests can put a disk underneath whose power fails.

use rustix::fs::{FlockOperation, flock};
use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A flat folder of files.
pub trait Disk: Send + Sync + Debug {
    /// Makes the folder if it is missing, durably.
    ///
    /// # Errors
    /// As the system says; so with all calls.
    fn make(&self) -> io::Result<()>;
    /// Names of the files, in any order; none when there is no folder.
    ///
    /// # Errors
    /// As the system says.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file; with `create` it is made if it is missing.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, over what has that name.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; one that is not there is removed.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the folder's entries durable.
    ///
    /// # Errors
    /// As the system says; the process ends (INV-9).
    fn sync(&self) -> io::Result<()>;
    /// Keeps other processes from writing until the guard is dropped; `None` when one does already.
    ///
    /// # Errors
    /// As the system says.
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// The name of a file for people.
    fn describe(&self, name: &str) -> String;
}

/// A file of the folder.
pub trait DiskFile: Send + Sync {
    /// Reads as much as there is, up to the length of `into`.
    ///
    /// # Errors
    /// As the system says; so with all calls.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of it.
    ///
    /// # Errors
    /// As the system says; what is there then is unknown.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;
    /// Cuts it or fills it with zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    ///
    /// # Errors
    /// As the system says; the process ends (INV-9).
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Touches nothing.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

const LOCK: &str = "lock";

impl Disk for Folder {
    fn make(&self) -> io::Result<()> {
        make_folder(&self.0)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = if create {
            File::options().read(true).write(true).create(true).truncate(false).open(self.0.join(name))?
        } else {
            // A reader of another process may have no right to write.
            let path = self.0.join(name);
            File::options().read(true).write(true).open(&path).or_else(|_| File::open(&path))?
        };
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        if dujiang_core::fault::removed("directory-fsync") {
            return Ok(());
        }
        File::open(&self.0)?.sync_all()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let path = self.0.join(LOCK);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn describe(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

impl DiskFile for File {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len() {
            match FileExt::read_at(self, &mut into[read..], at + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}
