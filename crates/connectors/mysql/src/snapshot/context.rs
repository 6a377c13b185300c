//! What the connections of a snapshot have in common.

use super::lagging::LaggingLog;
use super::told_place::Heads;
use crate::client::{Connection, Endpoint, ServerFamily};
use crate::config::Config;
use crate::oceanbase;
use crate::server::Instance;
use dujiang_core::Result;
use dujiang_core::budget::Budget;
use dujiang_core::clock::Clock;
use dujiang_core::source::SourceContext;
use std::sync::Arc;

/// What all connections share.
pub struct SnapshotContext {
    /// The server's address.
    pub endpoint: Endpoint,
    /// The server itself: behind one address there may be several.
    pub server: Instance,
    /// Rows of a chunk at most.
    pub chunk_rows: u32,
    /// For the time of views.
    pub clock: Arc<dyn Clock>,
    /// Chunks count against it.
    pub budget: Budget,
    /// What the connections have learnt of the server's binlog files.
    pub heads: Heads,
    /// The log, where it lags behind the database.
    pub lagging: Option<Arc<dyn LaggingLog>>,
}

impl SnapshotContext {
    /// What connections of this source to that very server share.
    pub fn new(
        config: &Config,
        source: &SourceContext,
        server: Instance,
        lagging: Option<Arc<dyn LaggingLog>>,
    ) -> Self {
        Self {
            endpoint: config.endpoint.clone(),
            server,
            chunk_rows: config.options.chunk_size.get(),
            clock: source.clock.clone(),
            budget: source.budget.clone(),
            heads: Heads::default(),
            lagging,
        }
    }

    /// A session with the server that the stream follows: a view's place means nothing in the log of another.
    ///
    /// # Errors
    /// `OtherServer`, and those of [`Connection::connect`].
    pub async fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::connect(&self.endpoint).await?;
        self.server.check(&mut connection).await?;
        connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        connection.execute("SET SESSION character_set_results = NULL").await?;
        if connection.server().family == ServerFamily::OceanBase {
            for statement in oceanbase::SESSION {
                connection.execute(statement).await?;
            }
        }
        Ok(connection)
    }
}
