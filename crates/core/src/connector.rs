//! How a connector presents itself to the command line.

use crate::options::{OptionDef, Problem, RawOption};
use crate::sink::Sink;
use crate::source::Source;
use std::time::Duration;

/// What the pipeline block gives to every connector.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// `pipeline.name`.
    pub name: String,
    /// Lanes.
    pub parallelism: usize,
    /// Bytes the pipeline may hold.
    pub memory_limit: u64,
}

/// What a connector makes of its block: itself, or every problem at once.
pub type Built<T> = Result<Box<T>, Vec<Problem>>;

/// A source type, as listed in the command's registry.
#[derive(Clone, Copy)]
pub struct SourceSpec {
    /// `source.type`.
    pub kind: &'static str,
    /// One line for listings.
    pub summary: &'static str,
    /// Its options.
    pub options: &'static [OptionDef],
    /// Builds it from its block; touches nothing outside the process. Reports every problem at once.
    pub build: fn(&[RawOption], &PipelineOptions) -> Built<dyn Source>,
}

/// A sink type, as listed in the command's registry.
#[derive(Clone, Copy)]
pub struct SinkSpec {
    /// `sink.type`.
    pub kind: &'static str,
    /// One line for listings.
    pub summary: &'static str,
    /// Its options.
    pub options: &'static [OptionDef],
    /// Builds it from its block; touches nothing outside the process. Reports every problem at once.
    pub build: fn(&[RawOption], &PipelineOptions) -> Built<dyn Sink>,
}

/// Makes a reader by the name of its consumer group.
pub type Deliver = dyn Fn(&str) -> Box<dyn Source> + Send + Sync;

/// A log between source and sinks. It is nothing but the sink of one loop and the source of the others.
pub struct Log {
    /// Takes what is captured; [`Sink::is_log`].
    pub sink: Box<dyn Sink>,
    /// A reader by the name of its consumer group. Whoever has a name goes on where that name has stopped.
    pub deliver: Box<Deliver>,
    /// Time between two commits of what is captured.
    pub commit_interval: Duration,
    /// Bytes (in memory) after which what is captured is committed before its time.
    pub epoch_bytes: u64,
}

/// A log type, as listed in the command's registry.
#[derive(Clone, Copy)]
pub struct LogSpec {
    /// `log.type`.
    pub kind: &'static str,
    /// One line for listings.
    pub summary: &'static str,
    /// Its options.
    pub options: &'static [OptionDef],
    /// Builds it from its block; touches nothing outside the process. Reports every problem at once.
    pub build: fn(&[RawOption], &PipelineOptions) -> Result<Log, Vec<Problem>>,
}
