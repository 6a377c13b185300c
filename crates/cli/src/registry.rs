//! The connectors of this build: adding one is one line here.

use crate::wiring::Sql;
use dujiang_core::connector::{LogSpec, SinkSpec, SourceSpec};
use dujiang_spec::{Registry, SqlChecker};

const SOURCES: &[SourceSpec] = &[
    dujiang_mysql::SPECS[0],
    dujiang_mysql::SPECS[1],
    dujiang_mysql::SPECS[2],
    dujiang_postgres::SPEC,
    dujiang_generator::SPEC,
    dujiang_kafka::SOURCE,
    dujiang_datahub::SOURCE,
    dujiang_log::SOURCE,
    dujiang_kafka::LOG_SOURCE,
    dujiang_datahub::LOG_SOURCE,
];

const SINKS: &[SinkSpec] =
    &[dujiang_file::SPEC, dujiang_blackhole::SPEC, dujiang_values::SPEC, dujiang_datahub::SINK, dujiang_kafka::SINK];

const LOGS: &[LogSpec] = &[dujiang_log::LOG, dujiang_kafka::LOG, dujiang_datahub::LOG];

/// Hands the lists to whoever resolves a pipeline file.
pub struct Connectors;

impl Registry for Connectors {
    fn sources(&self) -> &[SourceSpec] {
        SOURCES
    }

    fn sinks(&self) -> &[SinkSpec] {
        SINKS
    }

    fn logs(&self) -> &[LogSpec] {
        LOGS
    }

    fn sql(&self) -> Option<&dyn SqlChecker> {
        Some(&Sql)
    }
}
