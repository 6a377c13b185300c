//! The `file` sink: a folder per table, JSON, CSV or Parquet files in it, visible when their epoch commits.
//!
//! `prepare` makes files durable under `<path>/.dujiang/staged`, the published checkpoint names them, `commit` writes
//! the epoch's manifest and renames them to where readers look. Every step can be repeated; see `committer.rs` for why
//! no crash between two of them loses or shows anything. Layout and names: `docs/guide/file-sink.md`.

#![warn(missing_docs)]

mod committer;
mod config;
mod durable;
mod encoder;
mod events;
mod examine;
mod lane;
mod manifests;
mod metadata;
mod names;
mod records;
mod shared;
mod staged;
mod withdraw;
mod writer;

use crate::committer::FileCommitter;
use crate::config::FileConfig;
use crate::lane::Lane;
use crate::shared::Counters;
use crate::writer::FileWriter;
use async_trait::async_trait;
use dujiang_core::connector::SinkSpec;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::sink::{Committer, Sink, SinkClass, SinkContext, Writer};
use dujiang_core::{Result, TableId};
use std::sync::Arc;

pub use crate::config::{BeforeImages, CompressionOption, FileOptions, Format, PartitionBy, Switch};

/// The sink type, for the command's registry.
pub const SPEC: SinkSpec = SinkSpec {
    kind: "file",
    summary: "JSON, CSV or Parquet files on a local disk, exactly once",
    options: FileOptions::DEFS,
    build: |raw, pipeline| {
        let sink = FileSink::from_options(raw)?;
        Ok(Box::new(sink.sharing(pipeline.memory_limit, pipeline.parallelism)))
    },
};

/// The sink.
#[derive(Debug)]
pub struct FileSink {
    config: Arc<FileConfig>,
    counters: Arc<Counters>,
    /// Bytes that may wait for each lane's thread.
    queue_bytes: usize,
}

impl FileSink {
    /// Builds the sink from its block; touches nothing.
    ///
    /// # Errors
    /// Every mistake of the block at once.
    pub fn from_options(raw: &[RawOption]) -> Result<Self, Vec<Problem>> {
        let config = Arc::new(FileConfig::parse(raw)?);
        Ok(Self { config, counters: Arc::default(), queue_bytes: writer::QUEUE_BYTES })
    }

    /// The queues of all lanes together take an eighth of the pipeline's memory at most.
    fn sharing(self, memory_limit: u64, lanes: usize) -> Self {
        let share = usize::try_from(memory_limit / 8).unwrap_or(usize::MAX) / lanes.max(1);
        Self { queue_bytes: share.min(writer::QUEUE_BYTES), ..self }
    }
}

#[async_trait]
impl Sink for FileSink {
    fn class(&self) -> SinkClass {
        SinkClass::Staged
    }

    fn unit(&self) -> (&'static str, &'static str) {
        ("file", "files")
    }

    fn place_of(&self, table: &TableId) -> Option<String> {
        Some(self.config.path.join(names::table_folder(table)).display().to_string())
    }

    async fn examine(&self, visit: &Visit) -> Examination {
        examine::examine(&self.config, visit)
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(FileCommitter::new(self.config.clone(), context, self.counters.clone())))
    }

    async fn writer(&self, lane: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        let state = Lane::new(lane, self.config.clone(), context.clone(), self.counters.clone());
        Ok(Box::new(FileWriter::start(state, self.config.clone(), context, self.queue_bytes)?))
    }
}
