//! Places in the log.

use dujiang_entries::{self as entries, Place};
use serde::{Deserialize, Serialize};

/// From where an entry is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FromEpoch {
    /// Offset, in the topic of the epochs, from which the epoch of that entry is found.
    pub(crate) epochs: i64,
}

impl Place for FromEpoch {
    const SYSTEM: &'static str = "Kafka";
}

/// A place in the log.
pub(crate) type Spot = entries::Spot<FromEpoch>;
/// An entry and the place behind it.
pub(crate) type Item = entries::Item<FromEpoch>;
/// Entries in order.
pub(crate) type Piece = entries::Piece<FromEpoch>;
