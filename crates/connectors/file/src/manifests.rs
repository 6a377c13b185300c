//! The records of epochs and of the owner, on disk.

use crate::durable::{damaged, entries, read_record, size};
use crate::records::{Folders, Manifest, Owner, Stage};
use dujiang_core::Result;
use std::path::PathBuf;

/// All records, by epoch.
pub(crate) fn stages(folders: &Folders) -> Result<Vec<(u64, Stage)>> {
    let mut records: Vec<_> = entries(&folders.manifests())?.iter().filter_map(|name| Stage::parse(name)).collect();
    records.sort_by_key(|(epoch, _)| *epoch);
    Ok(records)
}

pub(crate) fn record_path(folders: &Folders, epoch: u64, stage: Stage) -> PathBuf {
    folders.manifests().join(stage.file_name(epoch))
}

pub(crate) fn read_manifest(folders: &Folders, epoch: u64, stage: Stage) -> Result<Option<Manifest>> {
    let path = record_path(folders, epoch, stage);
    let Some(json) = read_record(&path)? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|e| damaged(&path).with_source(e))
}

/// Whose place it is; `None` when nobody has taken it.
pub(crate) fn read_owner(folders: &Folders) -> Result<Option<Owner>> {
    let path = folders.owner();
    let Some(json) = read_record(&path)? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|e| damaged(&path).with_source(e))
}

/// Whether the epoch is being taken back.
pub(crate) fn withdrawing(folders: &Folders, epoch: u64) -> Result<bool> {
    Ok(size(&record_path(folders, epoch, Stage::Withdrawing))?.is_some())
}
