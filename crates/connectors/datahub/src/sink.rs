//! The sink: topics, shapes, lanes.

use crate::client::Connection;
use crate::config::Config;
use crate::shared::Shared;
use crate::writer::DatahubWriter;
use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, SinkState, Writer};
use dujiang_core::{Code, Epoch, Error, Result, TableId, TableSchema};
use std::sync::{Arc, OnceLock};

/// DataHub as a sink.
pub(crate) struct DatahubSink {
    config: Config,
    shared: OnceLock<Arc<Shared>>,
}

impl DatahubSink {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, shared: OnceLock::new() }
    }

    /// One for all lanes: a shard takes one request at a time, whoever sends it.
    fn shared(&self, context: &SinkContext) -> Arc<Shared> {
        self.shared.get_or_init(|| Arc::new(Shared::new(self.config.clone(), context.clock.clone()))).clone()
    }
}

#[async_trait]
impl Sink for DatahubSink {
    fn class(&self) -> SinkClass {
        SinkClass::AtLeastOnce
    }

    fn unit(&self) -> (&'static str, &'static str) {
        ("record", "records")
    }

    fn place_of(&self, table: &TableId) -> Option<String> {
        let name = crate::topic::topic_name(&self.config.options.topic, table).ok()?;
        Some(format!("{}.{name}", self.config.options.project))
    }

    async fn examine(&self, visit: &Visit) -> Examination {
        let shared = Shared::new(self.config.clone(), visit.clock.clone());
        let mut examination = Examination::of(format!("DataHub at {}", shared.client.endpoint.authority()));
        let project = &self.config.options.project;
        let seen = shared.client.project(&mut Connection::default(), project).await;
        let seen = seen.map_err(|failure| failure.into_error(&format!("project `{project}`"), Code::SinkWrite));
        examination.reach("project", seen, |()| format!("project `{project}` answers to this access key"));
        examination
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(DatahubCommitter { shared: self.shared(&context) }))
    }

    async fn writer(&self, _lane: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(DatahubWriter::new(self.shared(&context), context)))
    }
}

/// Makes topics fit. There is nothing to commit: what is written is visible.
struct DatahubCommitter {
    shared: Arc<Shared>,
}

#[async_trait]
impl Committer for DatahubCommitter {
    async fn open(&mut self) -> Result<SinkState> {
        Ok(SinkState::Unknown)
    }

    async fn commit(&mut self, _epoch: &CommitRequest) -> Result<()> {
        Ok(())
    }

    async fn abort_except(&mut self, _keep: &[Token]) -> Result<()> {
        Ok(())
    }

    async fn apply_schema(&mut self, _expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        self.shared.prepare(next).await.map(drop)
    }

    async fn withdraw_after(&mut self, _epoch: Epoch) -> Result<()> {
        Err(Error::new(Code::NotSupported, "records of DataHub cannot be taken back")
            .help("start without `--restore-from`, or begin anew with another `topic`"))
    }
}
