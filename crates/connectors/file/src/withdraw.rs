//! Takes epochs back, because the pipeline returns to an older checkpoint.
//!
//! Newest first, one epoch at a time: its record is renamed to `withdrawing`, its files are moved to
//! `.dujiang/withdrawn/<record>/`, the record follows them. A withdrawal that stops anywhere is done again: what has
//! moved already is skipped. Until then a start that goes on from the old checkpoint is refused (see `commit`).

use crate::durable::{create_folder, parent, rename, size, sync_folder};
use crate::manifests::{read_manifest, record_path, stages};
use crate::records::{FileRecord, Folders, Manifest, Stage};
use dujiang_core::{Epoch, Result};
use std::path::Path;

/// Withdraws every epoch after `epoch`.
pub(crate) fn after(folders: &Folders, epoch: Epoch) -> Result<()> {
    for (number, stage) in stages(folders)?.into_iter().rev() {
        if number <= epoch.0 {
            break;
        }
        let Some(manifest) = read_manifest(folders, number, stage)? else { continue };
        withdraw(folders, number, stage, &manifest)?;
    }
    Ok(())
}

fn withdraw(folders: &Folders, epoch: u64, stage: Stage, manifest: &Manifest) -> Result<()> {
    let marked = record_path(folders, epoch, Stage::Withdrawing);
    if stage != Stage::Withdrawing {
        rename(&record_path(folders, epoch, stage), &marked)?;
        sync_folder(&folders.manifests())?;
    }
    let aside = folders.withdrawn().join(format!("e{epoch:010}-g{:010}", manifest.generation));
    create_folder(&aside)?;
    for file in &manifest.files {
        move_aside(folders, file, &aside)?;
    }
    rename(&marked, &aside.join(Stage::Withdrawing.file_name(epoch)))?;
    sync_folder(&aside)?;
    sync_folder(&folders.manifests())
}

/// A file that is not there was moved before, is still staged (then `abort_except` removes it), or was taken away by a
/// reader: in each case it is not visible.
fn move_aside(folders: &Folders, file: &FileRecord, aside: &Path) -> Result<()> {
    let visible = folders.inside(&file.file)?;
    if size(&visible)?.is_none() {
        return Ok(());
    }
    // The suffix keeps it out of every pattern that finds data files.
    let target = aside.join(format!("{}.withdrawn", file.file));
    create_folder(&parent(&target))?;
    rename(&visible, &target)?;
    sync_folder(&parent(&target))?;
    sync_folder(&parent(&visible))
}
