//! Which server a position belongs to.

use serde::{Deserialize, Serialize};

/// The server a position belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerName {
    /// The system identifier, which a server keeps for life and its standbys share.
    pub system: String,
    /// The timeline: it rises with every promotion.
    pub timeline: u32,
}
