//! The reading end: hands out what the thread has decoded.

use super::Client;
use super::options::SourceConfig;
use super::place::Place;
use super::thread::{Decoding, Piece, Told};
use async_trait::async_trait;
use dujiang_core::source::{Acker, Reader, SourceContext, SourceEvent, SourceStatus};
use dujiang_core::{ChangeBatch, Code, Error, Position, Result};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces that may wait.
const PIECES: usize = 4;
/// Longest wait before the reader says that nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct KafkaReader {
    client: Arc<Client>,
    pieces: mpsc::Receiver<Result<Told>>,
    ready: VecDeque<ChangeBatch>,
    /// Behind what is ready.
    place: Place,
    status: SourceStatus,
    told_snapshot_done: bool,
    clock: Arc<dyn dujiang_core::clock::Clock>,
}

impl KafkaReader {
    pub(crate) fn start(
        config: Arc<SourceConfig>,
        client: Arc<Client>,
        place: Place,
        context: SourceContext,
    ) -> Result<Self> {
        let (sender, pieces) = mpsc::channel(PIECES);
        let decoding = Decoding::new(config, client.clone(), &place, context.budget.clone())?;
        std::thread::Builder::new().name("kafka-source".into()).spawn(move || decoding.run(&sender)).map_err(
            |error| Error::new(Code::Bug, "the system gives no thread for the Kafka client").with_source(error),
        )?;
        let status = SourceStatus::default();
        let clock = context.clock;
        Ok(Self { client, pieces, ready: VecDeque::new(), place, status, told_snapshot_done: false, clock })
    }

    fn take(&mut self, piece: Piece) {
        for (topic, partition, next) in piece.next {
            self.place.set(&topic, partition, next);
        }
        self.ready.extend(piece.batches);
        if let Some(micros) = piece.newest_micros {
            self.status.last_commit_micros = Some(micros);
            self.status.lag_micros = Some((self.clock.now_micros() - micros).max(0));
        }
        self.client.context().clear();
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        if !std::mem::replace(&mut self.told_snapshot_done, true) {
            return Ok(SourceEvent::SnapshotDone);
        }
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(SourceEvent::Batch(batch));
            }
            match tokio::time::timeout(PATIENCE, self.pieces.recv()).await {
                Err(_) => return Ok(SourceEvent::Idle),
                Ok(Some(Ok(Told::Piece(piece)))) => self.take(piece),
                Ok(Some(Ok(Told::CaughtUp))) => {
                    self.status.lag_micros = Some(0);
                    return Ok(SourceEvent::CaughtUp);
                }
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) => return Err(Error::new(Code::Bug, "the thread of the Kafka source has ended")),
            }
        }
    }

    fn barrier(&mut self, out: &mut Vec<ChangeBatch>) -> Result<Position> {
        out.extend(self.ready.drain(..));
        self.place.write()
    }

    fn status(&self) -> SourceStatus {
        let (disconnected, position) = (self.client.context().trouble(), self.place.describe());
        SourceStatus { disconnected, position, ..self.status.clone() }
    }
}

/// Keeps the consumer group's places up to date, for whoever watches it.
pub(crate) struct GroupAcker {
    pub(crate) client: Arc<Client>,
}

#[async_trait]
impl Acker for GroupAcker {
    async fn ack(&mut self, position: &Position) -> Result<()> {
        let place = Place::read(position)?;
        let mut all = TopicPartitionList::new();
        for (topic, partitions) in &place.next {
            for (partition, next) in partitions {
                let _ = all.add_partition_offset(topic, *partition, Offset::Offset(*next));
            }
        }
        if let Err(error) = self.client.commit(&all, CommitMode::Async) {
            tracing::debug!(%error, "the consumer group does not hear of progress");
        }
        Ok(())
    }
}
