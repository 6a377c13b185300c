//! Checkpoints on the local disk.

use super::disk;
use super::frame;
use async_trait::async_trait;
use dujiang_core::checkpoint::{
    Acquired, Checkpoint, CheckpointStore, Generation, Lineage, PipelineIdentity, Standing,
};
use dujiang_core::{Code, Epoch, Error, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity.json";
const GENERATION: &str = "generation";
const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".ckpt";

/// A [`CheckpointStore`] in one folder, held by one process at a time.
pub struct DiskStore {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    dir: PathBuf,
    name: String,
    keep: usize,
    /// Later checkpoints will be forgotten, so damaged ones among them do not matter.
    restore_from: Option<Epoch>,
    /// The lock is given back when the file is closed.
    lock: Option<File>,
    generation: Generation,
}

#[derive(Serialize, Deserialize)]
struct IdentityFile {
    version: u32,
    name: String,
    lineage: String,
}

impl DiskStore {
    /// The store of the pipeline `name` in `dir`, which keeps the newest `keep` checkpoints. Touches nothing yet.
    pub fn new(dir: &Path, name: &str, keep: usize) -> Self {
        let inner = Inner {
            dir: dir.to_owned(),
            name: name.to_owned(),
            keep: keep.max(1),
            restore_from: None,
            lock: None,
            generation: Generation::default(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The run goes back to `epoch`: damaged checkpoints after it are no obstacle.
    #[must_use]
    pub fn restoring_from(self, epoch: Option<Epoch>) -> Self {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).restore_from = epoch;
        self
    }

    /// Runs a blocking piece of work; if the caller goes away meanwhile, the work still ends before anything else
    /// begins.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.map_err(|e| Error::new(Code::Bug, "the checkpoint store broke").with_source(e))?
    }
}

#[async_trait]
impl CheckpointStore for DiskStore {
    async fn acquire(&mut self) -> Result<Acquired> {
        self.blocking(Inner::acquire).await
    }

    async fn publish(&mut self, expected: (Generation, Epoch), next: &Checkpoint) -> Result<()> {
        let next = next.clone();
        self.blocking(move |inner| inner.publish(expected, &next)).await
    }

    async fn latest(&mut self) -> Result<Option<Checkpoint>> {
        self.blocking(|inner| inner.latest()).await
    }

    async fn rewind(&mut self, epoch: Epoch) -> Result<()> {
        self.blocking(move |inner| inner.rewind(epoch)).await
    }
}

impl Inner {
    fn acquire(&mut self) -> Result<Acquired> {
        disk::create_folder(&self.dir)?;
        self.take_lock()?;
        disk::remove_temporaries(&self.dir);
        let identity = self.identity()?;
        let checkpoints = self.read_all()?;
        let newest = checkpoints.iter().map(|c| c.generation).max().unwrap_or_default();
        let generation = Generation(self.read_generation()?.max(newest).0 + 1);
        let text = format!("{}\n", generation.0);
        disk::replace(&self.dir, GENERATION, &frame::seal(text.as_bytes()), Code::StateUnusable)?;
        self.generation = generation;
        Ok(Acquired { identity, generation, checkpoints })
    }

    fn take_lock(&mut self) -> Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.dir.join(LOCK);
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|e| disk::unusable(&path, e))?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(disk::unusable(&path, error.into()));
            }
            let holder = fs::read_to_string(&path).unwrap_or_default();
            return Err(Error::new(Code::StateLocked, format!("another process runs the pipeline {}", self.name))
                .fact("process", holder.trim().to_owned())
                .fact("state directory", self.dir.display().to_string())
                .help("stop the other process, or give this pipeline a name of its own"));
        }
        let write = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        write.map_err(|e| disk::unusable(&path, e))?;
        self.lock = Some(file);
        Ok(())
    }

    fn identity(&self) -> Result<PipelineIdentity> {
        let file = match read_identity(&self.dir)? {
            Some(file) => file,
            None => self.create_identity()?,
        };
        if file.name != self.name {
            return Err(Error::new(Code::StateUnusable, "the state directory belongs to another pipeline")
                .fact("it belongs to", file.name)
                .fact("this pipeline is", self.name.clone())
                .help("give each pipeline a state directory of its own"));
        }
        Ok(PipelineIdentity { name: file.name.into(), lineage: Lineage(file.lineage.into()) })
    }

    fn create_identity(&self) -> Result<IdentityFile> {
        if let Some(file) = self.checkpoint_files()?.first() {
            return Err(Error::new(Code::StateUnusable, format!("{IDENTITY} is missing beside checkpoints"))
                .fact("checkpoint", file.1.clone())
                .help("bring the file back from a backup: it holds the pipeline's lineage, part of every event id"));
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| {
            Error::new(Code::StateUnusable, "get random bytes for the lineage").with_source(e.to_string())
        })?;
        let lineage = format!("{:016x}", u64::from_be_bytes(random));
        let file = IdentityFile { version: 1, name: self.name.clone(), lineage };
        let bytes =
            serde_json::to_vec_pretty(&file).map_err(|e| Error::new(Code::Bug, "write the identity").with_source(e))?;
        disk::replace(&self.dir, IDENTITY, &bytes, Code::StateUnusable)?;
        Ok(file)
    }

    fn read_generation(&self) -> Result<Generation> {
        let path = self.dir.join(GENERATION);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Generation::default()),
            Err(e) => return Err(disk::unusable(&path, e)),
        };
        let payload = frame::open(&bytes, &path.display().to_string())?;
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.trim().parse().ok());
        number
            .map(Generation)
            .ok_or_else(|| Error::new(Code::CheckpointDamaged, format!("{} does not hold a number", path.display())))
    }

    /// INV-11: compares (generation, epoch) where the record is stored, then sets.
    fn publish(&mut self, expected: (Generation, Epoch), next: &Checkpoint) -> Result<()> {
        self.expect_generation(expected.0)?;
        let stands_at = self.checkpoint_files()?.first().map_or(Epoch::NONE, |f| f.0);
        if stands_at != expected.1 || next.epoch < stands_at {
            return Err(Error::new(Code::Fenced, "the checkpoint store does not stand where this instance left it")
                .fact("stands at epoch", stands_at.to_string())
                .fact("expected", expected.1.to_string()));
        }
        disk::replace(&self.dir, &file_name(next.epoch), &frame::encode(next)?, Code::CheckpointWrite)?;
        if next.standing == Standing::Final {
            self.forget_old();
        }
        Ok(())
    }

    fn expect_generation(&self, expected: Generation) -> Result<()> {
        let stored = self.read_generation()?;
        if self.lock.is_some() && stored == self.generation && stored == expected {
            return Ok(());
        }
        Err(Error::new(Code::Fenced, "a newer instance has taken over the state")
            .fact("its generation", stored.to_string())
            .fact("ours", expected.to_string())
            .help("let the newer instance run; it goes on from the last checkpoint, and nothing is lost"))
    }

    /// Removes what is older than the newest `keep`. One that cannot be removed now is removed after the next publish.
    fn forget_old(&self) {
        let files = self.checkpoint_files().unwrap_or_default();
        for (epoch, name) in files.iter().skip(self.keep) {
            if let Err(error) = fs::remove_file(self.dir.join(name)) {
                tracing::warn!(epoch = epoch.0, cause = %error, "an old checkpoint could not be removed");
            }
        }
    }

    fn latest(&self) -> Result<Option<Checkpoint>> {
        // What is read back is taken for durable: the rename that failed may have happened without its folder's fsync.
        disk::sync_dir(&self.dir)?;
        self.checkpoint_files()?.first().map(|(epoch, name)| self.read(*epoch, name)).transpose()
    }

    fn rewind(&mut self, epoch: Epoch) -> Result<()> {
        self.expect_generation(self.generation)?;
        let files = self.checkpoint_files()?;
        if epoch != Epoch::NONE && !files.iter().any(|f| f.0 == epoch) {
            return Err(Error::new(Code::NoCheckpoint, format!("there is no checkpoint of epoch {epoch}")));
        }
        // Newest first: whatever remains after a crash is still a row without gaps.
        for (_, name) in files.iter().filter(|f| f.0 > epoch) {
            disk::remove(&self.dir.join(name), Code::CheckpointWrite)?;
        }
        disk::sync_dir(&self.dir)
    }

    fn read_all(&self) -> Result<Vec<Checkpoint>> {
        let mut all = Vec::new();
        for (epoch, name) in self.checkpoint_files()? {
            match self.read(epoch, &name) {
                Ok(checkpoint) => all.push(checkpoint),
                Err(error) if self.restore_from.is_some_and(|to| epoch > to) => {
                    tracing::warn!(epoch = epoch.0, cause = %error, "a damaged checkpoint is passed over: going back");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn read(&self, epoch: Epoch, name: &str) -> Result<Checkpoint> {
        read_checkpoint(&self.dir, epoch, name)
    }

    /// Published checkpoints, newest first.
    fn checkpoint_files(&self) -> Result<Vec<(Epoch, String)>> {
        checkpoint_files(&self.dir)
    }
}

/// The identity that a folder holds.
fn read_identity(dir: &Path) -> Result<Option<IdentityFile>> {
    let path = dir.join(IDENTITY);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(disk::unusable(&path, e)),
    };
    let file: IdentityFile = serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(Code::StateUnusable, format!("{} cannot be read", path.display()))
            .with_source(e)
            .help("bring the file back from a backup: it holds the pipeline's lineage, part of every event id")
    })?;
    if file.version != 1 {
        return Err(Error::new(Code::StateVersion, format!("{} is of another version", path.display()))
            .fact("found", file.version.to_string()));
    }
    Ok(Some(file))
}

/// The lineage that a folder holds.
pub(super) fn read_lineage(dir: &Path) -> Result<Option<Lineage>> {
    Ok(read_identity(dir)?.map(|file| Lineage(file.lineage.into())))
}

/// Whether a process holds the folder's lock.
pub(super) fn is_locked(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join(LOCK)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Published checkpoints in a folder, newest first.
pub(super) fn checkpoint_files(dir: &Path) -> Result<Vec<(Epoch, String)>> {
    let number = |name: &str| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok();
    let mut files: Vec<_> =
        disk::file_names(dir)?.into_iter().filter_map(|name| Some((Epoch(number(&name)?), name))).collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    Ok(files)
}

/// Reads one record and checks that it is the one its name says.
pub(super) fn read_checkpoint(dir: &Path, epoch: Epoch, name: &str) -> Result<Checkpoint> {
    let path = dir.join(name);
    let what = path.display().to_string();
    let bytes = fs::read(&path).map_err(|e| disk::unusable(&path, e))?;
    let checkpoint = frame::decode(&bytes, &what)?;
    if checkpoint.epoch != epoch {
        return Err(Error::new(Code::CheckpointDamaged, format!("{what} holds another epoch"))
            .fact("found", checkpoint.epoch.to_string()));
    }
    Ok(checkpoint)
}

fn file_name(epoch: Epoch) -> String {
    format!("{PREFIX}{:020}{SUFFIX}", epoch.0)
}
