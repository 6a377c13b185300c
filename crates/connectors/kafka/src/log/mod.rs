//! A log in Kafka: between source and sinks, in topics.
//!
//! Every change is a message of its table's topic, as debezium-json, in the partition of its key. Changes of shapes are
//! messages of `<prefix>-state`, a compacted topic. All of them, and milestones, are numbered in the order in which they
//! were captured, without a gap; a header of the message carries the number. An epoch is one transaction, which ends with
//! a record in the topic `<prefix>`: the numbers it holds, and which offsets of which partitions hold them. The last record
//! also stands in `<prefix>-state`, for the next start of the capture: there it stays, however old it gets.
//!
//! ```text
//! capture -> entries (numbers) -> topics, one transaction an epoch      deliver <- reader <- follow <- topics
//!                                 record: numbers, offsets                          (order by number)
//! ```
//!
//! A delivery reads the records, by them the partitions, and puts the entries back into the order of their numbers. So it
//! knows that a change of a shape has been reached in every partition: all numbers before it have been handed out. A number
//! that is missing is told, never passed over.

mod config;
mod follow;
pub mod inspect;
mod look;
mod partitions;
mod place;
mod reader;
mod sink;
mod source;

pub use config::{KafkaLogOptions, KafkaLogSourceOptions};

use self::config::LogConfig;
use self::sink::LogSink;
use self::source::KafkaLogSource;
use dujiang_core::connector::{Built, Log, LogSpec, PipelineOptions, SourceSpec};
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::Source;
use dujiang_entries::Here;
use std::sync::Arc;

/// The log type, for the command's registry.
pub const LOG: LogSpec =
    LogSpec { kind: "kafka", summary: "a durable log in topics of Kafka", options: KafkaLogOptions::DEFS, build: log };

/// The source type that reads such a log, for the command's registry.
pub const LOG_SOURCE: SourceSpec = SourceSpec {
    kind: "kafka-log",
    summary: "a log in Kafka that another pipeline captures into",
    options: KafkaLogSourceOptions::DEFS,
    build: source,
};

/// Bytes in memory after which an epoch of the capture ends.
const EPOCH_BYTES: u64 = 32 << 20;

fn log(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Log, Vec<Problem>> {
    let LogConfig { sink, read, commit_interval, start } = LogConfig::parse(raw, pipeline)?;
    let here = Here::of(&read.bootstrap, &read.prefix);
    // Who has the block captures, in this process.
    here.expect_capture();
    let read = Arc::new(read);
    Ok(Log {
        sink: Box::new(LogSink::new(sink, here.clone())),
        deliver: Box::new(move |consumer| {
            Box::new(KafkaLogSource::new(read.clone(), here.clone(), consumer.to_owned(), start))
        }),
        commit_interval,
        epoch_bytes: EPOCH_BYTES,
    })
}

fn source(raw: &[RawOption], pipeline: &PipelineOptions) -> Built<dyn Source> {
    let (read, consumer, start) = config::source(raw, pipeline)?;
    let here = Here::of(&read.bootstrap, &read.prefix);
    Ok(Box::new(KafkaLogSource::new(Arc::new(read), here, consumer, start)))
}
