//! The connectors of this build: adding one is one line here.

use dujiang_core::connector::{SinkSpec, SourceSpec};
use dujiang_spec::Registry;

const SOURCES: &[SourceSpec] = &[];

const SINKS: &[SinkSpec] = &[dujiang_blackhole::SPEC];

/// Hands the lists to whoever resolves a pipeline file.
pub struct Connectors;

impl Registry for Connectors {
    fn sources(&self) -> &[SourceSpec] {
        SOURCES
    }

    fn sinks(&self) -> &[SinkSpec] {
        SINKS
    }
}
