//! The source `postgres`: tables of a PostgreSQL database, first everything that is there, then every change, by chunks of
//! a snapshot and by logical replication.

pub mod catalog;
pub mod client;
pub mod config;
pub mod discovery;
pub mod evolve;
pub mod examine;
pub mod followed;
pub mod lineage;
pub mod lsn;
pub mod owner;
pub mod pgoutput;
pub mod position;
pub mod preflight;
pub mod reader;
pub mod selector;
pub mod server;
pub mod shape;
pub mod snapshot;
pub mod source;
pub mod stream;
pub mod timelines;
pub mod values;

use config::{Config, PostgresOptions};
use dujiang_core::connector::{PipelineOptions, SourceSpec};
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::Source;

/// The source of this crate.
pub const SPEC: SourceSpec = SourceSpec {
    kind: "postgres",
    summary: "tables of a PostgreSQL database: a snapshot, then every change from its logical replication",
    options: PostgresOptions::DEFS,
    build,
};

fn build(options: &[RawOption], pipeline: &PipelineOptions) -> Result<Box<dyn Source>, Vec<Problem>> {
    Ok(Box::new(source::PostgresSource::new(Config::parse(options, pipeline)?)))
}
