//! Places in the log.

use dujiang_entries::{self as entries, Place};
use serde::{Deserialize, Serialize};

/// From where an entry is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FromSegment {
    /// The number in the shard of a segment from which that entry is found.
    pub(crate) segment: u64,
}

impl Place for FromSegment {
    const SYSTEM: &'static str = "DataHub";
}

/// A place in the log.
pub(crate) type Spot = entries::Spot<FromSegment>;
/// An entry and the place behind it.
pub(crate) type Item = entries::Item<FromSegment>;
/// Entries in order.
pub(crate) type Piece = entries::Piece<FromSegment>;
