//! The sources `mysql`, `mariadb` and `oceanbase`: tables of a MySQL or MariaDB server, first everything that is there, then every
//! change, by chunks of a snapshot and by the binlog.

pub mod catalog;
pub mod client;
pub mod config;
pub mod ddl;
pub mod decode;
pub mod examine;
pub mod gtid;
pub mod marked;
pub mod oceanbase;
pub mod place;
pub mod position;
pub mod preflight;
pub mod reader;
mod resume;
pub mod server;
pub mod shape;
pub mod snapshot;
pub mod source;
mod startup;
pub mod stream;
mod torn;

use config::{Config, MysqlOptions};
use dujiang_core::connector::{PipelineOptions, SourceSpec};
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::Source;

/// The sources of this crate. Both names read either family: the server says what it is.
pub const SPECS: [SourceSpec; 3] = [
    SourceSpec {
        kind: "mysql",
        summary: "tables of a MySQL server: a snapshot, then every change from its binlog",
        options: MysqlOptions::DEFS,
        build,
    },
    SourceSpec {
        kind: "mariadb",
        summary: "tables of a MariaDB server: a snapshot, then every change from its binlog",
        options: MysqlOptions::DEFS,
        build,
    },
    SourceSpec {
        kind: "oceanbase",
        summary: "tables of an OceanBase tenant in MySQL mode: a snapshot, then every change from its Binlog Service",
        options: &config::OCEANBASE_DEFS,
        build: build_oceanbase,
    },
];

fn build_oceanbase(options: &[RawOption], pipeline: &PipelineOptions) -> Result<Box<dyn Source>, Vec<Problem>> {
    Ok(Box::new(source::MysqlSource::new(Config::parse_oceanbase(options, pipeline)?)))
}

fn build(options: &[RawOption], pipeline: &PipelineOptions) -> Result<Box<dyn Source>, Vec<Problem>> {
    Ok(Box::new(source::MysqlSource::new(Config::parse(options, pipeline)?)))
}
