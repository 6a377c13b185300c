//! Places in the log.

use dujiang_core::{Code, Error, Position, Result};
use serde::{Deserialize, Serialize};

/// A place in the log, as the checkpoints of a delivery hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spot {
    /// Which log.
    pub(crate) log: String,
    /// Number of the next entry.
    pub(crate) number: u64,
    /// Offset, in the topic of the epochs, from which the epoch of that entry is found.
    pub(crate) epochs: i64,
}

impl Spot {
    pub(crate) fn of(position: &Position) -> Result<Self> {
        serde_json::from_slice(position.as_bytes()).map_err(|error| {
            Error::new(Code::LogOther, "the checkpoint's position is not one of a log in Kafka")
                .help("the pipeline has read from another source until now; give this one another `pipeline.name`")
                .with_source(error)
        })
    }

    pub(crate) fn write(&self) -> Result<Position> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Position::new).map_err(|e| Error::new(Code::Bug, "a position cannot be written").with_source(e))
    }
}
