//! A disk whose power fails: an ext4 or XFS file system in an image, shut down without writing anything back.
//!
//! What was not made durable by fsync is gone afterwards, names as well as contents: a rename without an fsync of its
//! folder is undone. It needs root and loop devices; [`Disk::mount`] says so where they are missing.

use crate::oracle::python;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `EXT4_IOC_SHUTDOWN` (linux/fs/ext4/ext4.h), which XFS has under the same number; the flag is the second argument.
const CUT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', int(sys.argv[2])))";

/// How long a file system may be busy although nobody who matters has a file open.
const BUSY_FOR: Duration = Duration::from_secs(10);

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4 without the heuristic that hides a missing fsync before a rename (`noauto_da_alloc`).
    Ext4,
    /// XFS.
    Xfs,
}

impl FileSystem {
    /// The smallest file system that can be made.
    pub fn least_megabytes(self) -> u64 {
        match self {
            FileSystem::Ext4 => 16,
            FileSystem::Xfs => 300,
        }
    }
}

/// How much of what nobody made durable is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The file system's journal reaches the disk, data does not.
    JournalFlushed,
    /// Neither does.
    JournalLost,
}

/// A mounted file system of its own; unmounted and removed when dropped.
pub struct Disk {
    image: PathBuf,
    folder: PathBuf,
    options: &'static str,
}

impl Disk {
    /// Makes an ext4 file system of some megabytes and mounts it on `folder`.
    ///
    /// # Errors
    /// A sentence that says what this machine lacks.
    pub fn mount(folder: &Path, megabytes: u64) -> Result<Self, String> {
        Self::make(FileSystem::Ext4, "loop", folder, megabytes)
    }

    /// As [`Disk::mount`], of any kind.
    ///
    /// # Errors
    /// As [`Disk::mount`].
    pub fn mount_as(system: FileSystem, folder: &Path, megabytes: u64) -> Result<Self, String> {
        let options = if system == FileSystem::Ext4 { "loop,noauto_da_alloc" } else { "loop" };
        Self::make(system, options, folder, megabytes)
    }

    fn make(system: FileSystem, options: &'static str, folder: &Path, megabytes: u64) -> Result<Self, String> {
        let memory = Path::new("/dev/shm");
        let home = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.subsec_nanos());
        let image = home.join(format!("dujiang-disk-{}-{nanos}", std::process::id()));
        let make = || -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            fs::File::create(&image)?.set_len(megabytes << 20)
        };
        make().map_err(|e| format!("a disk image cannot be made: {e}"))?;
        let disk = Self { image, folder: folder.to_owned(), options };
        let (program, quiet) = match system {
            FileSystem::Ext4 => ("mkfs.ext4", &["-q", "-F"][..]),
            FileSystem::Xfs => ("mkfs.xfs", &["-q", "-f"][..]),
        };
        run(Command::new(program).args(quiet).arg(&disk.image))?;
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", self.options]).arg(&self.image).arg(&self.folder))
    }

    /// A child that another test is starting holds our open files until it becomes its program: that passes.
    fn detach(&self) -> Result<(), String> {
        let deadline = Instant::now() + BUSY_FOR;
        loop {
            match run(Command::new("umount").arg(&self.folder)) {
                Err(why) if why.contains("busy") && Instant::now() < deadline => std::thread::sleep(BUSY_FOR / 500),
                done => return done,
            }
        }
    }

    /// The power fails: from now on every access fails, and not even the journal is written.
    ///
    /// # Errors
    /// When the file system cannot be shut down.
    pub fn cut(&self) -> Result<(), String> {
        self.cut_as(Cut::JournalLost)
    }

    /// The power fails: from now on every access fails.
    ///
    /// # Errors
    /// As [`Disk::cut`].
    pub fn cut_as(&self, cut: Cut) -> Result<(), String> {
        let flag = match cut {
            Cut::JournalFlushed => "1",
            Cut::JournalLost => "2",
        };
        run(Command::new(python()).args(["-c", CUT]).arg(&self.folder).arg(flag))
    }

    /// The power comes back. Nobody may have a file of the disk open.
    ///
    /// # Errors
    /// When it cannot be mounted again.
    pub fn restore(&self) -> Result<(), String> {
        self.detach()?;
        self.attach()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.detach();
        let _ = fs::remove_file(&self.image);
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{program} cannot be run: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
