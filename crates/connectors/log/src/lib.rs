//! The embedded log: between source and sinks, in files of this machine.
//!
//! It is a transactional [`Sink`](dujiang_core::sink::Sink) for the loop that captures and a
//! [`Source`](dujiang_core::source::Source) for every loop that delivers. Entries (batches of changes, changes of shapes,
//! milestones) are appended to segments and become visible by commit records, each of which carries epoch, generation and
//! the source's position. Layout of the files: `docs/reference/log-segment.md`.
//!
//! ```text
//! capture -> writer (thread) -> store -> segments, commits      deliver <- reader <- cursor <- segments
//!                                 ^                                |
//!                                 +------ consumers (acks) <-------+
//! ```

#![warn(missing_docs)]

mod arrange;
mod codec;
mod config;
mod consumers;
mod cursor;
mod disk;
mod encoder;
mod errors;
mod files;
mod found;
mod frame;
pub mod inspect;
mod payload;
mod place;
mod sink;
mod source;
mod store;
pub mod walk;
mod writer;

use crate::config::{EmbeddedConfig, check_path};
use crate::place::Place;
use crate::sink::LogSink;
use crate::source::LogSource;
use dujiang_core::connector::{Log, LogSpec, PipelineOptions, SourceSpec};
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::Source;
use std::path::Path;
use std::sync::Arc;

pub use crate::config::{EmbeddedOptions, LogSourceOptions};
pub use crate::cursor::{Bound, Entry, Placed};
pub use crate::disk::{Disk, DiskFile, Folder};
pub use crate::encoder::Encoder;
pub use crate::files::CommitRecord;
pub use crate::found::{Identity, SegmentInfo};
pub use crate::frame::{Codec, FrameHeader, FrameKind};
pub use crate::store::{End, EpochEnd, Limits, Prepared, Store};

/// The log type, for the command's registry.
pub const LOG: LogSpec = LogSpec {
    kind: "embedded",
    summary: "a durable log in files of this machine",
    options: EmbeddedOptions::DEFS,
    build: |raw, _| {
        let config = EmbeddedConfig::parse(raw)?;
        Ok(embedded(Place::of(&config.path), config))
    },
};

/// The source type, for the command's registry.
pub const SOURCE: SourceSpec = SourceSpec {
    kind: "log",
    summary: "a log that another pipeline captures into",
    options: LogSourceOptions::DEFS,
    build,
};

fn build(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Box<dyn Source>, Vec<Problem>> {
    let options = LogSourceOptions::parse(raw)?;
    let mut problems = Vec::new();
    check_path(&options.path, options.place("path"), &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let consumer = options.consumer.unwrap_or_else(|| pipeline.name.clone());
    Ok(Box::new(LogSource::new(Place::of(Path::new(&options.path)), consumer, options.start)))
}

/// The embedded log on another disk than a folder's, for example one in memory. Whoever shares the disk has to share this.
///
/// # Errors
/// Every mistake of the options at once; `path` is asked for and not used.
pub fn on_disk(disk: Arc<dyn Disk>, raw: &[RawOption]) -> Result<Log, Vec<Problem>> {
    Ok(embedded(Place::on(disk), EmbeddedConfig::parse(raw)?))
}

fn embedded(place: Arc<Place>, config: EmbeddedConfig) -> Log {
    let config = Arc::new(config);
    // Who has the block captures, in this process.
    place.expect_capture();
    let (commit_interval, epoch_bytes, start) = (config.commit_interval, config.epoch_bytes, config.start);
    let readers = place.clone();
    Log {
        sink: Box::new(LogSink { place, config }),
        deliver: Box::new(move |consumer| Box::new(LogSource::new(readers.clone(), consumer.to_owned(), start))),
        commit_interval,
        epoch_bytes,
    }
}
