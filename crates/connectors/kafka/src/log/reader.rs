//! The reading end: hands out what the thread has put into order.

use super::follow::{Entry, Follow, Item, Piece};
use super::place::Spot;
use crate::reading::Client;
use async_trait::async_trait;
use dujiang_core::clock::Clock;
use dujiang_core::sink::Milestone;
use dujiang_core::source::{Acker, Reader, SourceEvent, SourceStatus};
use dujiang_core::{ChangeBatch, Code, Error, Position, Result};
use dujiang_entries::{Here, Part};
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
pub(crate) type Ended = Arc<Mutex<VecDeque<(u64, i64, Part)>>>;

pub(crate) struct LogReader {
    client: Arc<Client>,
    here: Arc<Here>,
    pieces: mpsc::Receiver<Result<Piece>>,
    ready: VecDeque<Item>,
    /// The place of the next entry that has not been handed out.
    spot: Spot,
    /// The place behind the change of a shape that was handed out last: it passes with the next call.
    pending: Option<(u64, i64)>,
    /// Where the log ended when the reader was opened.
    target: u64,
    told_caught_up: bool,
    end: u64,
    last_commit: Option<i64>,
    mid_cut: bool,
    ended: Ended,
    clock: Arc<dyn Clock>,
}

impl LogReader {
    pub(crate) fn start(
        follow: Follow,
        client: Arc<Client>,
        here: Arc<Here>,
        (spot, target): (Spot, u64),
        ended: Ended,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (sender, pieces) = mpsc::channel(PIECES);
        std::thread::Builder::new().name("kafka-log".into()).spawn(move || follow.run(&sender)).map_err(|error| {
            Error::new(Code::Bug, "the system gives no thread for the Kafka client").with_source(error)
        })?;
        Ok(Self {
            client,
            here,
            pieces,
            ready: VecDeque::new(),
            spot,
            pending: None,
            target,
            told_caught_up: false,
            end: target,
            last_commit: None,
            mid_cut: false,
            ended,
            clock,
        })
    }

    fn take(&mut self, piece: Piece) {
        self.end = self.end.max(piece.end);
        self.ready.extend(piece.items);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).extend(piece.ended);
        self.client.context().clear();
    }

    fn pass(&mut self, (number, epochs): (u64, i64)) {
        (self.spot.number, self.spot.epochs) = (number, epochs);
    }

    /// The event of an entry; `None` for one that says nothing to this reader.
    fn event(&mut self, item: Item) -> Option<SourceEvent> {
        let behind = (item.number, item.epochs);
        match item.entry {
            Entry::Schema(change) => {
                self.pending = Some(behind);
                Some(SourceEvent::SchemaChange(change))
            }
            Entry::Batch { batch, goes_on } => {
                self.pass(behind);
                self.last_commit = batch.origins.iter().map(|(_, origin)| origin.commit_micros).max();
                self.mid_cut = goes_on;
                Some(SourceEvent::Batch(batch))
            }
            Entry::Milestone(milestone, generation) => {
                self.pass(behind);
                self.milestone(milestone, generation)
            }
        }
    }

    fn milestone(&mut self, milestone: Milestone, generation: u64) -> Option<SourceEvent> {
        let event = SourceEvent::of_milestone(milestone, self.here.capture() == Some(generation));
        self.told_caught_up |= matches!(event, Some(SourceEvent::CaughtUp));
        event
    }

    /// Where nobody of this process captures, a delivery has caught up at what was there when it began.
    fn caught_up(&mut self) -> bool {
        let reached = self.here.capture().is_none() && self.spot.number >= self.target;
        reached && !std::mem::replace(&mut self.told_caught_up, true)
    }
}

#[async_trait]
impl Reader for LogReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        if let Some(behind) = self.pending.take() {
            self.pass(behind);
        }
        loop {
            if let Some(item) = self.ready.pop_front() {
                match self.event(item) {
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            if self.caught_up() {
                return Ok(SourceEvent::CaughtUp);
            }
            match tokio::time::timeout(PATIENCE, self.pieces.recv()).await {
                Err(_) => return Ok(SourceEvent::Idle),
                Ok(Some(Ok(piece))) => self.take(piece),
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) => return Err(Error::new(Code::Bug, "the thread that follows the log has ended")),
            }
        }
    }

    fn barrier(&mut self, _out: &mut Vec<ChangeBatch>) -> Result<Position> {
        self.spot.write()
    }

    fn is_mid_cut(&self) -> bool {
        self.mid_cut
    }

    fn status(&self) -> SourceStatus {
        let lag = match self.last_commit {
            Some(commit) if self.spot.number < self.end => (self.clock.now_micros() - commit).max(0),
            _ => 0,
        };
        SourceStatus {
            disconnected: self.client.context().trouble(),
            last_commit_micros: self.last_commit,
            lag_micros: Some(lag),
            position: format!("offset {} of {}", self.spot.number, self.end),
            ..SourceStatus::default()
        }
    }
}

/// Keeps the consumer group's places up to date, for whoever watches it; nothing is read back from there.
pub(crate) struct LogAcker {
    pub(crate) client: Arc<Client>,
    pub(crate) prefix: String,
    pub(crate) ended: Ended,
}

#[async_trait]
impl Acker for LogAcker {
    async fn ack(&mut self, position: &Position) -> Result<()> {
        let spot = Spot::of(position)?;
        let mut all = TopicPartitionList::new();
        {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
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
