//! A process that captures into a log.

use super::super::clock;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity, Token};
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkContext, SinkState, Writer};
use dujiang_core::{ChangeBatch, Epoch, Position, Result, TableSchema};
use std::sync::Arc;

/// What a sink of the pipeline with this name is handed.
pub fn context(pipeline: &str, generation: u64) -> SinkContext {
    SinkContext {
        identity: PipelineIdentity { name: pipeline.into(), lineage: Lineage("00000000000000aa".into()) },
        generation: Generation(generation),
        clock: clock(),
        budget: Budget::new(64 << 20),
        retries: Default::default(),
    }
}

/// The committer and the one writer of an instance.
pub struct Capture {
    /// It.
    pub committer: Box<dyn Committer>,
    /// It.
    pub writer: Box<dyn Writer>,
    /// The instance.
    pub generation: u64,
    /// What the log held when it was opened.
    pub state: SinkState,
}

impl Capture {
    /// Opens the log, and tells it these shapes.
    ///
    /// # Errors
    /// As the log's.
    pub async fn start(sink: &dyn Sink, pipeline: &str, generation: u64, tables: &[Arc<TableSchema>]) -> Result<Self> {
        let mut committer = sink.committer(context(pipeline, generation)).await?;
        let state = committer.open().await?;
        committer.apply_shapes(tables).await?;
        let writer = sink.writer(0, context(pipeline, generation)).await?;
        Ok(Self { committer, writer, generation, state })
    }

    /// Writes an epoch.
    ///
    /// # Panics
    /// When that fails.
    pub async fn prepare(&mut self, epoch: u64, batches: &[ChangeBatch]) -> Vec<Token> {
        for batch in batches {
            assert!(self.writer.write(batch).await.expect("write").is_empty());
        }
        self.writer.prepare(Epoch(epoch)).await.expect("prepare")
    }

    /// Commits one.
    ///
    /// # Errors
    /// As the log's.
    pub async fn commit(&mut self, epoch: u64, tokens: Vec<Token>) -> Result<()> {
        let request = CommitRequest {
            epoch: Epoch(epoch),
            generation: Generation(self.generation),
            tokens,
            position: Position::default(),
            position_text: format!("place {epoch}"),
        };
        self.committer.commit(&request).await
    }

    /// Writes and commits one.
    ///
    /// # Panics
    /// When that fails.
    pub async fn epoch(&mut self, epoch: u64, batches: &[ChangeBatch]) {
        let tokens = self.prepare(epoch, batches).await;
        self.commit(epoch, tokens).await.expect("commit");
    }
}
