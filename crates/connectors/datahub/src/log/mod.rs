//! A log in DataHub: between source and sinks, in one shard of a topic whose records are bytes.
//!
//! The service knows no transactions and no producers, and a request whose answer was lost may have been carried out. What it
//! has is the one order of a shard, in which every record has a number without gaps. On that the log stands:
//!
//! - Every entry has a number of its own (`dujiang-entries`), by which a repeat is known and a loss is told.
//! - An instance begins with a *fence* and reads the shard up to it. Behind a fence nothing counts that older instances write.
//! - An epoch is committed by its *mark*. What stands before a fence without a mark is forgotten. That a mark counts is made
//!   sure of before anybody is told: nobody newer stands before it.
//! - A *segment* tells the last mark and all shapes anew, from time to time, because records expire. Each record names the last
//!   segment, so that a start reads from there.
//!
//! ```text
//! capture -> entries (numbers) -> outbox -> line -> shard          deliver <- reader <- follow (order) <- tail <- shard
//!                                            ^ fence, mark, segment
//! ```

mod config;
mod follow;
pub mod inspect;
mod line;
mod look;
mod order;
mod outbox;
mod place;
mod reader;
mod record;
#[cfg(test)]
mod segments;
mod sink;
mod source;
mod tail;
mod topic;
mod writer;

pub use config::{DatahubLogOptions, DatahubLogSourceOptions};

use self::config::LogConfig;
use self::line::Renewal;
use self::sink::LogSink;
use self::source::LogSource;
use dujiang_core::connector::{Built, Log, LogSpec, PipelineOptions, SourceSpec};
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::Source;
use dujiang_core::{Code, Error, Result as CoreResult};
use dujiang_entries::Here;
use std::future::Future;
use std::sync::Arc;

/// The log type, for the command's registry.
pub const LOG: LogSpec = LogSpec {
    kind: "datahub",
    summary: "a durable log in a topic of Alibaba Cloud DataHub",
    options: DatahubLogOptions::DEFS,
    build: log,
};

/// The source type that reads such a log, for the command's registry.
pub const LOG_SOURCE: SourceSpec = SourceSpec {
    kind: "datahub-log",
    summary: "a log in DataHub that another pipeline captures into",
    options: DatahubLogSourceOptions::DEFS,
    build: source,
};

/// Bytes in memory after which an epoch of the capture ends. A delivery keeps an epoch until it has seen its mark.
const EPOCH_BYTES: u64 = 8 << 20;

fn log(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Log, Vec<Problem>> {
    let config = LogConfig::parse(raw, pipeline)?;
    let (hub, start) = (config.hub.clone(), config.start);
    let here = Here::of(&hub.service(), &hub.topic);
    // Who has the block captures, in this process.
    here.expect_capture();
    let sink = Box::new(LogSink::new(&config, here.clone(), Renewal::default()));
    let deliver = Box::new(move |_: &str| {
        let source: Box<dyn Source> = Box::new(LogSource::new(hub.clone(), here.clone(), start));
        source
    });
    Ok(Log { sink, deliver, commit_interval: config.commit_interval, epoch_bytes: EPOCH_BYTES })
}

fn source(raw: &[RawOption], _pipeline: &PipelineOptions) -> Built<dyn Source> {
    let (hub, start) = config::source(raw)?;
    let here = Here::of(&hub.service(), &hub.topic);
    Ok(Box::new(LogSource::new(Arc::new(hub), here, start)))
}

/// Waits for what is asked of the service, on a thread of its own: whoever calls may be on one that must not wait.
fn waiting<T: Send + 'static>(work: impl Future<Output = CoreResult<T>> + Send + 'static) -> CoreResult<T> {
    let failed = |error: std::io::Error| Error::new(Code::Bug, "the system gives no thread").with_source(error);
    let thread = std::thread::Builder::new().name("datahub-log".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(work)
    });
    let joined = thread.map_err(failed)?.join();
    joined.unwrap_or_else(|_| Err(Error::new(Code::Bug, "a look at the log broke off")))
}
