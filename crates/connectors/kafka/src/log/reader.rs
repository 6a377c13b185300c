//! The reading end: what the thread has put into order, and what consumer groups hear of it.

use super::follow::{Ended, Follow, Told};
use super::place::{FromEpoch, Piece, Spot};
use crate::reading::Client;
use async_trait::async_trait;
use dujiang_core::source::Acker;
use dujiang_core::{Code, Error, Position, Result};
use dujiang_entries::Pieces;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces that may wait.
const PIECES: usize = 4;
/// Longest wait before the reader says that nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

/// Epochs that were read to their end and not yet acknowledged.
pub(crate) type Unacked = Arc<Mutex<VecDeque<Ended>>>;

/// The thread that follows the log.
pub(crate) struct Thread {
    client: Arc<Client>,
    pieces: mpsc::Receiver<Result<Told>>,
    unacked: Unacked,
}

impl Thread {
    pub(crate) fn start(follow: Follow, client: Arc<Client>, unacked: Unacked) -> Result<Self> {
        let (sender, pieces) = mpsc::channel(PIECES);
        std::thread::Builder::new().name("kafka-log".into()).spawn(move || follow.run(&sender)).map_err(|error| {
            Error::new(Code::Bug, "the system gives no thread for the Kafka client").with_source(error)
        })?;
        Ok(Self { client, pieces, unacked })
    }
}

#[async_trait]
impl Pieces for Thread {
    type Place = FromEpoch;

    async fn next(&mut self) -> Result<Option<Piece>> {
        match tokio::time::timeout(PATIENCE, self.pieces.recv()).await {
            Err(_) => Ok(None),
            Ok(Some(told)) => {
                let (piece, ended) = told?;
                self.unacked.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
                self.client.context().clear();
                Ok(Some(piece))
            }
            Ok(None) => Err(Error::new(Code::Bug, "the thread that follows the log has ended")),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.client.context().trouble()
    }
}

/// Keeps the consumer group's places up to date, for whoever watches it; nothing is read back from there.
pub(crate) struct LogAcker {
    pub(crate) client: Arc<Client>,
    pub(crate) prefix: String,
    pub(crate) unacked: Unacked,
}

#[async_trait]
impl Acker for LogAcker {
    async fn ack(&mut self, position: &Position) -> Result<()> {
        let spot = Spot::of(position)?;
        let mut all = TopicPartitionList::new();
        {
            let mut ended = self.unacked.lock().unwrap_or_else(PoisonError::into_inner);
            let passed = ended.iter().take_while(|(number, _, _)| *number <= spot.number).count();
            for (_, epochs, part) in ended.drain(..passed) {
                let ranges = part.topics.iter().flat_map(|(t, ranges)| ranges.iter().map(move |range| (t, range)));
                for (topic, (partition, (_, end))) in ranges {
                    place(&mut all, topic, *partition, *end);
                }
                place(&mut all, &self.prefix, 0, epochs);
            }
        }
        if all.count() == 0 {
            return Ok(());
        }
        if let Err(error) = self.client.commit(&all, CommitMode::Async) {
            tracing::debug!(%error, "the consumer group does not hear of progress");
        }
        Ok(())
    }
}

fn place(all: &mut TopicPartitionList, topic: &str, partition: i32, next: i64) {
    let known = all.find_partition(topic, partition).is_some();
    let _ = match known {
        true => all.set_partition_offset(topic, partition, Offset::Offset(next)),
        false => all.add_partition_offset(topic, partition, Offset::Offset(next)),
    };
}
