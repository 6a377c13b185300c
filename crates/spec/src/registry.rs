//! Which connectors there are.

use crate::sql::SqlChecker;
use dujiang_core::connector::{LogSpec, SinkSpec, SourceSpec};

/// The connectors a build has; the command line hands in its list.
pub trait Registry {
    /// Every source type.
    fn sources(&self) -> &[SourceSpec];

    /// Every sink type.
    fn sinks(&self) -> &[SinkSpec];

    /// Every log type.
    fn logs(&self) -> &[LogSpec] {
        &[]
    }

    /// Who checks the SQL of transforms; without one it is not checked.
    fn sql(&self) -> Option<&dyn SqlChecker> {
        None
    }

    /// The source type of that name.
    fn source(&self, kind: &str) -> Option<&SourceSpec> {
        self.sources().iter().find(|spec| spec.kind == kind)
    }

    /// The log type of that name.
    fn log(&self, kind: &str) -> Option<&LogSpec> {
        self.logs().iter().find(|spec| spec.kind == kind)
    }

    /// The sink type of that name.
    fn sink(&self, kind: &str) -> Option<&SinkSpec> {
        self.sinks().iter().find(|spec| spec.kind == kind)
    }
}
