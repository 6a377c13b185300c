//! What a reader is made of, and the stream that it begins with.

use super::partitions::Partitions;
use super::snapshot_side::SnapshotSide;
use crate::config::Config;
use crate::discovery::Facts;
use crate::followed::Followed;
use crate::lineage::ServerName;
use crate::lsn::Lsn;
use crate::preflight::Agreement;
use crate::server::Resume;
use crate::stream::{Durable, Feed, FeedOptions, Machine, Tables};
use dujiang_core::source::SourceContext;
use std::sync::Arc;

/// What a reader is made of.
pub struct Start {
    /// The options.
    pub config: Arc<Config>,
    /// From the engine.
    pub context: SourceContext,
    /// The captured tables.
    pub tables: Tables,
    /// The stream's state at the start.
    pub machine: Machine,
    /// The server.
    pub server: ServerName,
    /// The same, for other sessions.
    pub followed: Followed,
    /// The snapshot, if there is anything left of it.
    pub snapshot: SnapshotSide,
    /// End when the snapshot is complete.
    pub bounded: bool,
    /// The end of the log when the reader was opened.
    pub end_at_open: Lsn,
    /// How far things are durable.
    pub durable: Arc<Durable>,
    /// The database.
    pub facts: Facts,
    /// Partitions of the captured tables.
    pub partitions: Partitions,
    /// How they are published.
    pub agreement: Agreement,
}

impl Start {
    /// The stream from where the machine stands.
    pub(super) fn feed(&self, failures: u32, streaming: bool) -> Feed {
        let options = FeedOptions {
            endpoint: self.config.endpoint.clone(),
            publication: self.config.publication.clone(),
            binary: self.tables.reads_binary(),
            streaming,
            origin: self.config.options.origin,
            durable: self.durable.clone(),
            clock: self.context.clock.clone(),
            interval: self.config.options.heartbeat_interval,
        };
        let resume = Resume {
            server: self.server.clone(),
            slot: self.config.slot.clone(),
            database: self.config.endpoint.database.clone(),
            boundary: self.machine.boundary(),
            from: self.machine.resume_from(),
            // Those of this moment are looked at when the server is known.
            views: Vec::new(),
        };
        Feed::start(options, resume, failures, &self.context.budget)
    }
}
