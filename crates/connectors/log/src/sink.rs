//! The log as the sink of the capture.

use crate::config::EmbeddedConfig;
use crate::place::Place;
use crate::store::{End, EpochEnd, Store};
use crate::writer::LogWriter;
use async_trait::async_trait;
use dujiang_core::checkpoint::{Generation, Token};
use dujiang_core::evolution::SinkChange;
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, SinkState, Writer};
use dujiang_core::{Code, Epoch, Error, Result, TableId, TableSchema};
use std::sync::Arc;

/// The embedded log as a sink.
pub(crate) struct LogSink {
    pub(crate) place: Arc<Place>,
    pub(crate) config: Arc<EmbeddedConfig>,
}

#[async_trait]
impl Sink for LogSink {
    fn class(&self) -> SinkClass {
        SinkClass::Transactional
    }

    fn unit(&self) -> (&'static str, &'static str) {
        ("log entry", "log entries")
    }

    fn is_log(&self) -> bool {
        true
    }

    fn place_of(&self, _table: &TableId) -> Option<String> {
        Some(self.place.disk.describe(""))
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(LogCommitter { place: self.place.clone(), config: self.config.clone(), context }))
    }

    async fn writer(&self, _lane: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(LogWriter::start(self.place.clone(), self.config.codec, context)?))
    }
}

struct LogCommitter {
    place: Arc<Place>,
    config: Arc<EmbeddedConfig>,
    context: SinkContext,
}

impl LogCommitter {
    /// Works on the log where blocking is allowed. Work that has begun comes to its end even if nobody waits for it.
    async fn on<T: Send + 'static>(&self, work: impl FnOnce(&mut Store) -> Result<T> + Send + 'static) -> Result<T> {
        let place = self.place.clone();
        blocking(move || place.with(work)).await
    }

    fn generation(&self) -> u64 {
        self.context.generation.0
    }
}

/// Runs blocking work on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(Code::Bug, "work on the log broke off").with_source(e))?
}

#[async_trait]
impl Committer for LogCommitter {
    async fn open(&mut self) -> Result<SinkState> {
        let (place, identity) = (self.place.clone(), self.context.identity.clone());
        let (limits, generation) = (self.config.limits, self.generation());
        let committed = blocking(move || place.begin(limits, &identity.name, &identity.lineage.0, generation)).await?;
        Ok(match committed.epoch {
            0 => SinkState::Empty,
            epoch => SinkState::Holds { generation: Generation(committed.generation), epoch: Epoch(epoch) },
        })
    }

    async fn commit(&mut self, request: &CommitRequest) -> Result<()> {
        let Some(end) = last_end(&request.tokens)? else { return Ok(()) };
        let (generation, now) = (request.generation.0, self.context.clock.now_micros());
        let epoch = EpochEnd {
            epoch: request.epoch.0,
            position: request.position.as_bytes().to_vec(),
            position_text: request.position_text.clone(),
            end,
        };
        self.on(move |store| store.commit(generation, &epoch, now)).await
    }

    async fn abort_except(&mut self, _keep: &[Token]) -> Result<()> {
        let generation = self.generation();
        self.on(move |store| store.cut_tail(generation)).await
    }

    async fn apply_schema(&mut self, expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        self.apply_change(&SchemaChange::of_shapes(expected, next)).await
    }

    async fn apply_shapes(&mut self, shapes: &[Arc<TableSchema>]) -> Result<()> {
        let changes: Vec<SchemaChange> = shapes.iter().map(|shape| SchemaChange::of_shapes(None, shape)).collect();
        let (generation, now) = (self.generation(), self.context.clock.now_micros());
        self.on(move |store| store.change_shapes(generation, &changes, now)).await
    }

    async fn apply_change(&mut self, change: &SchemaChange) -> Result<()> {
        let (change, generation, now) = (change.clone(), self.generation(), self.context.clock.now_micros());
        self.on(move |store| store.change_shapes(generation, &[change], now)).await
    }

    async fn apply_event(&mut self, change: &SinkChange) -> Result<()> {
        self.apply_change(&change.as_told()).await
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        let generation = self.generation();
        self.on(move |store| store.withdraw_after(generation, epoch.0)).await
    }
}

/// The end of what these tokens name together: each is behind the one before.
fn last_end(tokens: &[Token]) -> Result<Option<End>> {
    let mut last: Option<End> = None;
    for token in tokens {
        let end: End = serde_json::from_slice(&token.0).map_err(|e| {
            Error::new(Code::CheckpointDamaged, "a checkpoint names a part of the log that cannot be").with_source(e)
        })?;
        if last.is_none_or(|last| last.offset < end.offset) {
            last = Some(end);
        }
    }
    Ok(last)
}
