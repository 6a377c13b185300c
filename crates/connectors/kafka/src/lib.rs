//! Kafka: a sink and a source of messages, and a log of changes.
//!
//! Every change becomes a message of its table's topic, in one of the formats of `dujiang-format-text`. At least once by
//! default; exactly once by transactions, one for each epoch: all lanes write through one producer, and the transaction
//! also holds a record of the commit topic with pipeline, generation and epoch, which tells a later start what is visible.
//!
//! ```text
//! lanes -> encoder -> outbox -> gate -> producer -> topics        committer -> commit topic
//!                                 ^         (one transaction holds both)          |
//!                                 +------------------ committed ------------------+
//! ```
//!
//! The gate holds the rows of the next epoch back while the transaction of the one before waits for its commit.

#![warn(missing_docs)]

mod client;
mod config;
mod gate;
pub mod log;
mod marker;
mod names;
mod outbox;
mod partition;
mod properties;
mod reading;
mod shared;
mod sink;
mod source;
mod state;
mod topics;
mod writer;

use crate::config::SinkConfig;
use crate::sink::KafkaSink;
use dujiang_core::connector::{SinkSpec, SourceSpec};

pub use crate::config::{Count, Delivery, KafkaSinkOptions, KeyText, Strategy};
pub use crate::log::{KafkaLogOptions, KafkaLogSourceOptions, LOG, LOG_SOURCE};
pub use crate::source::{Isolation, KafkaSourceOptions, Startup};

/// The sink type, for the command's registry.
pub const SINK: SinkSpec = SinkSpec {
    kind: "kafka",
    summary: "topics of Kafka, at least once, or exactly once if asked to",
    options: KafkaSinkOptions::DEFS,
    build: |raw, pipeline| Ok(Box::new(KafkaSink::new(SinkConfig::parse(raw, pipeline)?))),
};

/// The source type, for the command's registry.
pub const SOURCE: SourceSpec = SourceSpec {
    kind: "kafka",
    summary: "topics of Kafka, in the formats of change streams",
    options: KafkaSourceOptions::DEFS,
    build: source::build,
};
