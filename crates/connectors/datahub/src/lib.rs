//! DataHub of Alibaba Cloud: a sink, a source of records, and a log.
//!
//! As a sink: one topic a table, made and widened as the table is. A record is the row after a change (of a delete: the row before it) as text
//! values; attributes say what happened, when and where. A key's records go through one shard, one request at a time, so that their
//! order is kept while shards split and merge. The service knows no producers and no transactions: after an answer that was lost,
//! records may stand there twice, with equal event ids.
//!
//! - `client`: requests, signatures, frames, answers.
//! - `topic`, `shards`: what a topic holds, and which shard takes a record.
//! - `records`: rows into records.
//! - `writer`, `sink`: the contract.
//! - `source`: records into rows.
//! - `log`: a durable log between source and sinks, exactly once.

#![warn(missing_docs)]

mod client;
mod clock;
mod config;
pub mod log;
mod records;
mod shards;
mod shared;
mod sink;
mod source;
mod topic;
mod writer;

#[doc(hidden)]
pub mod walk {
    //! For fuzzing.
    pub use crate::client::{walk_answer, walk_batch};
}
pub use config::DatahubOptions;
pub use log::{DatahubLogOptions, DatahubLogSourceOptions, LOG, LOG_SOURCE};
pub use source::{DatahubSourceOptions, Startup, TupleChanges};

use config::Config;
use dujiang_core::connector::{SinkSpec, SourceSpec};

/// The sink type, for the command's registry.
pub const SINK: SinkSpec = SinkSpec {
    kind: "datahub",
    summary: "writes changes into topics of Alibaba Cloud DataHub, one a table, at least once and in order per key",
    options: DatahubOptions::DEFS,
    build: |raw, _| Ok(Box::new(sink::DatahubSink::new(Config::from_options(DatahubOptions::parse(raw)?)?))),
};

/// The source type, for the command's registry.
pub const SOURCE: SourceSpec = SourceSpec {
    kind: "datahub",
    summary: "reads records of topics of Alibaba Cloud DataHub, shard by shard",
    options: DatahubSourceOptions::DEFS,
    build: source::build,
};
