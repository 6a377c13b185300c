//! Makes epochs visible.
//!
//! The order of `commit` is: (0) every file is found staged, with its size; (1) the epoch's record, as `pending`;
//! (2) every staged file is renamed to its final name, folders fsynced; (3) the record is renamed to `manifest`. The
//! checkpoint that names the files is already published, so a commit that stops anywhere is simply done again:
//!
//! - before (1): nothing of the epoch is visible, everything is staged, and that is checked;
//! - in (2): the `pending` record proves that every file was staged. Only (2) takes files out of the staging folder, so
//!   one that is no longer there has become visible, once. Where it is now is its readers' business: they may move it
//!   away the moment they see it, and its folder with it;
//! - after (3): the manifest proves it, the call returns at once.
//!
//! The record comes before the first visible file, so that nothing is ever visible that no record names: a pipeline
//! whose state was lost finds out here. Records carry the generation; the owner's record is read before every commit,
//! and an instance that finds a newer generation there stops (INV-11). A paused old instance that wakes up between this
//! check and a rename does no harm: it can only repeat a published epoch.

use crate::config::FileConfig;
use crate::durable::{
    create_folder, entries, parent, remove, rename, size, sync_folder, sync_folder_or_above, write_record,
};
use crate::events;
use crate::manifests::{read_manifest, read_owner, record_path, stages, withdrawing};
use crate::metadata::Layout;
use crate::records::{FileRecord, Folders, Manifest, Owner, Stage, to_json};
use crate::shared::Counters;
use crate::withdraw;
use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::evolution::{SchemaEvent, SinkChange};
use dujiang_core::sink::{CommitRequest, Committer, SinkContext, SinkState};
use dujiang_core::{Code, Epoch, Error, Generation, Result, ResultExt, TableSchema, fault};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The one committer of a pipeline.
pub(crate) struct FileCommitter {
    config: Arc<FileConfig>,
    place: Place,
    counters: Arc<Counters>,
}

/// Everything the blocking part needs.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) folders: Folders,
    pub(crate) context: SinkContext,
    /// The last epoch whose manifest is complete.
    last: Option<u64>,
    /// The last epoch, if it made nothing visible: its manifest is replaced by the next.
    empty: Option<u64>,
}

impl FileCommitter {
    pub(crate) fn new(config: Arc<FileConfig>, context: SinkContext, counters: Arc<Counters>) -> Self {
        let folders = Folders::new(&config.path);
        Self { config, place: Place { folders, context, last: None, empty: None }, counters }
    }

    /// Runs blocking work on a thread for it.
    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Place) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut place = self.place.clone();
        let task = tokio::task::spawn_blocking(move || {
            let result = work(&mut place);
            (place, result)
        });
        let (place, result) = task.await.or_code(Code::Bug, || "change the sink's folders".to_owned())?;
        self.place = place;
        result
    }
}

#[async_trait]
impl Committer for FileCommitter {
    async fn open(&mut self) -> Result<SinkState> {
        let counters = self.counters.clone();
        self.blocking(move |place| place.open(&counters)).await
    }

    async fn commit(&mut self, epoch: &CommitRequest) -> Result<()> {
        let request = epoch.clone();
        self.blocking(move |place| place.commit(&request)).await
    }

    async fn abort_except(&mut self, keep: &[Token]) -> Result<()> {
        let keep = keep.iter().map(FileRecord::from_token).collect::<Result<Vec<_>>>()?;
        self.blocking(move |place| place.abort_except(&keep)).await
    }

    async fn apply_schema(&mut self, _expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        // Every version has files of its own: there is nothing to change, only to check.
        Layout::new(next, &self.config).map(drop)
    }

    async fn apply_event(&mut self, change: &SinkChange) -> Result<()> {
        match change.event {
            SchemaEvent::TruncateTable | SchemaEvent::DropTable => {
                let change = change.clone();
                self.blocking(move |place| {
                    place.check_owner()?;
                    let now = place.context.clock.now_micros();
                    events::record(&place.folders, &change, place.last.unwrap_or(0), now)
                })
                .await
            }
            _ => self.apply_schema(change.before.as_ref(), &change.after).await,
        }
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        self.blocking(move |place| {
            place.check_owner()?;
            withdraw::after(&place.folders, epoch)?;
            events::withdraw_after(&place.folders, epoch)?;
            place.last = place.last.map(|last| last.min(epoch.0));
            place.empty = None;
            Ok(())
        })
        .await
    }
}

impl Place {
    fn open(&mut self, counters: &Counters) -> Result<SinkState> {
        create_folder(&self.folders.staged())?;
        create_folder(&self.folders.manifests())?;
        let records = stages(&self.folders)?;
        self.take_over(records.is_empty())?;
        self.last = records.iter().filter(|(_, stage)| *stage == Stage::Complete).map(|(epoch, _)| *epoch).next_back();
        // An epoch whose withdrawal was interrupted is held no more: only going back again can end it.
        let held = records.iter().rfind(|(_, stage)| *stage != Stage::Withdrawing);
        let Some((epoch, stage)) = held.copied() else { return Ok(SinkState::Empty) };
        let manifest = read_manifest(&self.folders, epoch, stage)?.ok_or_else(|| {
            Error::new(Code::SinkMismatch, "a record of the sink vanished while it was read")
                .help("let only one process change the sink's folder")
        })?;
        self.empty = (stage == Stage::Complete && manifest.files.is_empty()).then_some(epoch);
        for file in &manifest.files {
            counters.not_before(file.name_micros);
        }
        Ok(SinkState::Holds { generation: Generation(manifest.generation), epoch: Epoch(epoch) })
    }

    /// Writes our generation into the owner's record, unless the place is another's or a newer instance has it.
    fn take_over(&self, holds_nothing: bool) -> Result<()> {
        let ours = Owner::new(&self.context.identity, self.context.generation);
        match read_owner(&self.folders)? {
            None if !holds_nothing => {
                return Err(Error::new(Code::SinkMismatch, "the sink has manifests but no owner")
                    .fact("path", self.folders.owner().display().to_string())
                    .help("restore the file from a backup, or write to another `path`"));
            }
            None => {}
            Some(found) if found == ours => return Ok(()),
            Some(found) => {
                // The pipeline began anew before anything became visible.
                let adopt = holds_nothing && found.pipeline == ours.pipeline && found.lineage != ours.lineage;
                if !adopt {
                    self.compare(&found)?;
                }
            }
        }
        write_record(&self.folders.owner(), &to_json(&ours))
    }

    fn check_owner(&self) -> Result<()> {
        match read_owner(&self.folders)? {
            Some(found) => self.compare(&found),
            None => Err(Error::new(Code::SinkMismatch, "the sink's owner record is gone")
                .fact("path", self.folders.owner().display().to_string())
                .help(
                    "something outside the pipeline removed files under `path`; restore them or choose another `path`",
                )),
        }
    }

    fn compare(&self, found: &Owner) -> Result<()> {
        let identity = &self.context.identity;
        found.must_be(&self.folders.root, &identity.name, Some(&identity.lineage))?;
        if found.generation > self.context.generation.0 {
            return Err(Error::new(Code::Fenced, "a newer instance of the pipeline writes to the sink")
                .fact("its generation", found.generation.to_string())
                .fact("ours", self.context.generation.to_string()));
        }
        Ok(())
    }

    fn commit(&mut self, request: &CommitRequest) -> Result<()> {
        self.check_owner()?;
        let files = request.tokens.iter().map(FileRecord::from_token).collect::<Result<Vec<_>>>()?;
        let epoch = request.epoch.0;
        if self.last.is_some_and(|last| epoch <= last) {
            return self.already_committed(epoch, &files);
        }
        if withdrawing(&self.folders, epoch)? {
            return Err(Error::new(Code::SinkMismatch, format!("the withdrawal of epoch {epoch} was interrupted"))
                .help("repeat the command with the same `--restore-from`"));
        }
        let repeated = self.begun(epoch, &files)?;
        if !repeated {
            all_staged(&self.folders, &files)?;
        }
        let manifest = Manifest {
            epoch,
            generation: request.generation.0,
            position: request.position_text.clone(),
            written_micros: self.context.clock.now_micros(),
            files,
            ..Manifest::new(&self.context.identity, request.generation)
        };
        let pending = record_path(&self.folders, epoch, Stage::Pending);
        write_record(&pending, &to_json(&manifest))?;
        fault::point("file.manifest-written");
        publish(&self.folders, &manifest.files)?;
        fault::point("file.published");
        rename(&pending, &record_path(&self.folders, epoch, Stage::Complete))?;
        sync_folder(&self.folders.manifests())?;
        self.forget_empty()?;
        self.last = Some(epoch);
        self.empty = manifest.files.is_empty().then_some(epoch);
        Ok(())
    }

    /// Whether an earlier try has got as far as the `pending` record.
    fn begun(&self, epoch: u64, files: &[FileRecord]) -> Result<bool> {
        match read_manifest(&self.folders, epoch, Stage::Pending)? {
            None => Ok(false),
            Some(pending) if pending.files == files => Ok(true),
            Some(_) => Err(Error::new(
                Code::SinkMismatch,
                format!("the sink has begun epoch {epoch} with other files than the checkpoint names"),
            )
            .fact("path", record_path(&self.folders, epoch, Stage::Pending).display().to_string())
            .help("the state directory and the sink's folder do not belong together; restore both from one backup")),
        }
    }

    /// The manifest is there: the epoch is visible, whatever readers have done with its files since.
    fn already_committed(&self, epoch: u64, files: &[FileRecord]) -> Result<()> {
        let found = read_manifest(&self.folders, epoch, Stage::Complete)?;
        if files.is_empty() || found.is_some_and(|manifest| manifest.files == files) {
            return Ok(());
        }
        Err(Error::new(
            Code::SinkMismatch,
            format!("the sink's manifest of epoch {epoch} names other files than the checkpoint"),
        )
        .fact("path", record_path(&self.folders, epoch, Stage::Complete).display().to_string())
        .help("the state directory and the sink's folder do not belong together; restore both from one backup"))
    }

    /// A pipeline that idles would leave a manifest without files per epoch: only the last one is kept.
    fn forget_empty(&self) -> Result<()> {
        match self.empty {
            Some(epoch) => remove(&record_path(&self.folders, epoch, Stage::Complete)),
            None => Ok(()),
        }
    }

    fn abort_except(&self, keep: &[FileRecord]) -> Result<()> {
        self.check_owner()?;
        let keep: HashSet<&str> = keep.iter().filter_map(|file| file.staged.rsplit('/').next()).collect();
        for name in entries(&self.folders.staged())? {
            let ours = staged_by(&name).is_some_and(|generation| generation <= self.context.generation.0);
            if ours && !keep.contains(name.as_str()) {
                remove(&self.folders.staged().join(name))?;
            }
        }
        sync_folder(&self.folders.staged())
    }
}

/// The generation that wrote a staged file.
fn staged_by(name: &str) -> Option<u64> {
    name.strip_suffix(".staged")?.strip_prefix('g')?.split('-').next()?.parse().ok()
}

/// What the `pending` record will prove: every file waits, whole, and nothing has its name.
fn all_staged(folders: &Folders, files: &[FileRecord]) -> Result<()> {
    for file in files {
        let (waiting, visible) = (size(&folders.inside(&file.staged)?)?, size(&folders.inside(&file.file)?)?);
        if waiting != Some(file.bytes) || visible.is_some() {
            return Err(mismatch(folders, file, waiting, visible));
        }
    }
    Ok(())
}

/// Renames staged files to their final names; those that are no longer staged have been visible before.
fn publish(folders: &Folders, files: &[FileRecord]) -> Result<()> {
    let mut touched = BTreeSet::new();
    for file in files {
        let (staged, target) = (folders.inside(&file.staged)?, folders.inside(&file.file)?);
        touched.insert(parent(&target));
        let Some(waiting) = size(&staged)? else { continue };
        let visible = size(&target)?;
        if waiting != file.bytes || visible.is_some() {
            return Err(mismatch(folders, file, Some(waiting), visible));
        }
        create_folder(&parent(&target))?;
        rename(&staged, &target)?;
    }
    // A file that was renamed before a crash may not be durable yet: its folder is synced in every case.
    touched.iter().try_for_each(|folder| sync_folder_or_above(folder, &folders.root))?;
    sync_folder(&folders.staged())
}

fn mismatch(folders: &Folders, file: &FileRecord, waiting: Option<u64>, visible: Option<u64>) -> Error {
    let tell = |size: Option<u64>| size.map_or("missing".to_owned(), |n| format!("{n} bytes"));
    Error::new(Code::SinkMismatch, format!("a file of the checkpoint is not as it was staged: {}", file.file))
        .fact("path", folders.root.display().to_string())
        .fact("staged file", file.staged.clone())
        .fact("expected", format!("{} bytes", file.bytes))
        .fact("staged", tell(waiting))
        .fact("in place", tell(visible))
        .help("something outside the pipeline changed files under `path`; go back with --restore-from, or restore the folder")
}
