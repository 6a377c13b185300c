//! How far the loops of a pipeline have come: without a log one, with it the capture and a delivery for each sink.

use crate::{loops, state_dir};
use dujiang_core::Result;
use dujiang_core::sink::Sink;
use dujiang_engine::state::inspect::{Progress, progress};
use dujiang_spec::{Loaded, Pipeline};
use std::path::Path;

/// Every loop's state.
pub(super) struct States<'a> {
    /// With a log: from the source into it.
    pub(super) capture: Option<Result<Progress>>,
    /// Into the sinks.
    pub(super) deliveries: Vec<Delivery<'a>>,
}

/// The loop into one sink.
pub(super) struct Delivery<'a> {
    /// Whose output it is.
    pub(super) identity: String,
    /// With a log: the sink's name.
    pub(super) name: Option<String>,
    /// The pipeline as it is for this sink.
    pub(super) pipeline: &'a Pipeline,
    pub(super) sink: &'a dyn Sink,
    pub(super) known: Result<Progress>,
}

impl<'a> States<'a> {
    pub(super) fn of(loaded: &'a Loaded, state_dir: &Path) -> Self {
        let sinks =
            std::iter::once((&loaded.pipeline, &loaded.sink)).chain(loaded.more.iter().map(|(p, sink)| (p, sink)));
        let deliveries = sinks.map(|(pipeline, sink)| {
            let name = loaded.log.as_ref().map(|_| pipeline.sink_name().to_owned());
            let folder = name.as_ref().map_or(state_dir.to_owned(), |name| state_dir.join(state_dir::delivery(name)));
            let identity = loops::identity(pipeline, !loaded.more.is_empty());
            Delivery { identity, name, pipeline, sink: &**sink, known: progress(&folder) }
        });
        let capture = loaded.log.as_ref().map(|_| progress(&state_dir.join(state_dir::CAPTURE)));
        Self { capture, deliveries: deliveries.collect() }
    }
}
