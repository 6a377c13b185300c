//! What the sink writes about its files: tokens, manifests and the owner's record. Paths are relative to the sink's
//! `path`, with `/`.

use dujiang_core::checkpoint::Token;
use dujiang_core::{Code, Error, Generation, Lineage, PipelineIdentity, Result};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

/// Version of the records' format.
const FORMAT: u32 = 1;

/// The sink's folders.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    pub(crate) root: PathBuf,
}

impl Folders {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Everything that is not data. No file in it ends like a data file.
    pub(crate) fn own(&self) -> PathBuf {
        self.root.join(".dujiang")
    }

    /// Durable files that no epoch has made visible yet.
    pub(crate) fn staged(&self) -> PathBuf {
        self.own().join("staged")
    }

    /// One record per epoch.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.own().join("manifests")
    }

    /// One record per table that was emptied or dropped at the source.
    pub(crate) fn events(&self) -> PathBuf {
        self.own().join("events")
    }

    /// Files of epochs that were taken back.
    pub(crate) fn withdrawn(&self) -> PathBuf {
        self.own().join("withdrawn")
    }

    /// Whose place this is.
    pub(crate) fn owner(&self) -> PathBuf {
        self.own().join("owner.record")
    }

    /// A path of a record, which must stay under the root.
    ///
    /// # Errors
    /// `SinkMismatch` for a path that leads elsewhere.
    pub(crate) fn inside(&self, relative: &str) -> Result<PathBuf> {
        let path = Path::new(relative);
        if !relative.is_empty() && path.components().all(|c| matches!(c, Component::Normal(_))) {
            return Ok(self.root.join(path));
        }
        Err(Error::new(Code::SinkMismatch, "a record of the sink names a path outside of it")
            .fact("path", self.root.display().to_string())
            .fact("found", relative.to_owned()))
    }
}

/// One file of an epoch: the token of `prepare`, and one entry of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// Where it waits.
    pub(crate) staged: String,
    /// Where it becomes visible.
    pub(crate) file: String,
    pub(crate) database: String,
    pub(crate) table: String,
    /// Version of the table's schema.
    pub(crate) version: u32,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// CRC32C of the whole file, eight hexadecimal digits.
    pub(crate) crc32c: String,
    /// Earliest commit time in it, microseconds since 1970 UTC.
    pub(crate) first_commit_micros: i64,
    /// Latest commit time in it.
    pub(crate) last_commit_micros: i64,
    /// The time in its name.
    pub(crate) name_micros: i64,
}

impl FileRecord {
    pub(crate) fn to_token(&self) -> Token {
        Token(to_json(self).into())
    }

    pub(crate) fn from_token(token: &Token) -> Result<Self> {
        serde_json::from_slice(&token.0).map_err(|e| {
            Error::new(Code::SinkMismatch, "the checkpoint names files in a way this version cannot read")
                .help("run the version of the program that wrote the checkpoint")
                .with_source(e)
        })
    }
}

/// The record of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) pipeline: String,
    pub(crate) lineage: String,
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
    /// Source position after the epoch, for people.
    pub(crate) position: String,
    /// When it was written, microseconds since 1970 UTC.
    pub(crate) written_micros: i64,
    pub(crate) files: Vec<FileRecord>,
}

/// Whose place this is, and which instance may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) format: u32,
    pub(crate) pipeline: String,
    pub(crate) lineage: String,
    pub(crate) generation: u64,
}

impl Owner {
    pub(crate) fn new(identity: &PipelineIdentity, generation: Generation) -> Self {
        Self {
            format: FORMAT,
            pipeline: identity.name.to_string(),
            lineage: identity.lineage.to_string(),
            generation: generation.0,
        }
    }

    /// Refuses the output of another pipeline, and that of an earlier life of this one. Without a `lineage` the pipeline's
    /// state is gone.
    ///
    /// # Errors
    /// `SinkTaken`, `StateLost`.
    pub(crate) fn must_be(&self, root: &Path, pipeline: &str, lineage: Option<&Lineage>) -> Result<()> {
        let place = root.display();
        if self.pipeline != pipeline {
            return Err(Error::new(Code::SinkTaken, format!("{place} belongs to pipeline `{}`", self.pipeline))
                .fact("this pipeline", pipeline)
                .help("give every pipeline a `path` of its own"));
        }
        if lineage.is_none_or(|ours| *ours.0 != *self.lineage) {
            let message = format!("{place} holds output of an earlier life of pipeline `{}`", self.pipeline);
            return Err(Error::new(Code::StateLost, message)
                .fact("written with state", self.lineage.clone())
                .fact("state now", lineage.map_or_else(|| "none".to_owned(), Lineage::to_string))
                .help("restore the pipeline's state directory, or begin anew with another `path`"));
        }
        Ok(())
    }
}

impl Manifest {
    pub(crate) fn new(identity: &PipelineIdentity, generation: Generation) -> Self {
        Self {
            format: FORMAT,
            pipeline: identity.name.to_string(),
            lineage: identity.lineage.to_string(),
            epoch: 0,
            generation: generation.0,
            position: String::new(),
            written_micros: 0,
            files: Vec::new(),
        }
    }
}

pub(crate) fn to_json<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("invariant: records have only strings and numbers")
}

/// How far an epoch's record is; the extension of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its files are becoming visible.
    Pending,
    /// All its files are visible.
    Complete,
    /// Its files are being taken back.
    Withdrawing,
}

impl Stage {
    const ALL: [Stage; 3] = [Stage::Pending, Stage::Complete, Stage::Withdrawing];

    fn extension(self) -> &'static str {
        match self {
            Stage::Pending => "pending",
            Stage::Complete => "manifest",
            Stage::Withdrawing => "withdrawing",
        }
    }

    /// Name of the record of an epoch.
    pub(crate) fn file_name(self, epoch: u64) -> String {
        format!("e{epoch:010}.{}", self.extension())
    }

    /// The epoch and stage of a record's name, if it is one.
    pub(crate) fn parse(name: &str) -> Option<(u64, Stage)> {
        let (stem, extension) = name.split_once('.')?;
        let stage = Stage::ALL.into_iter().find(|s| s.extension() == extension)?;
        Some((stem.strip_prefix('e')?.parse().ok()?, stage))
    }
}
