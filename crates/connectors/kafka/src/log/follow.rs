//! Follows a log, on a thread of its own: reads epochs, by them the partitions, and puts the entries back into order.

use super::look::{Epoch, trimmed};
use super::partitions::{PartitionId, Partitions};
use super::place::{FromEpoch, Item, Piece, Spot};
use crate::client::of_client;
use crate::names::ReadConfig;
use crate::reading::{Client, is_marker};
use crate::state::foreign;
use dujiang_core::Result;
use dujiang_core::budget::Budget;
use dujiang_core::sink::Milestone;
use dujiang_entries::{Entry, HEADER, Head, Joined, Part, Rows, Shapes, messages};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A piece ends at so many bytes, or when nothing more is there at once.
const PIECE_BYTES: usize = 1 << 20;
/// How long a poll waits when nothing is there.
const TURN: Duration = Duration::from_millis(100);

/// An epoch that was read to its end: number behind its last entry, place behind its record, what that says.
pub(crate) type Ended = (u64, i64, Part);

/// Entries in order, and the epochs that end in them.
pub(crate) type Told = (Piece, Vec<Ended>);

/// What waits for entries before it.
enum Waiting {
    Change(Head, Vec<u8>, PartitionId),
    Schema,
}

pub(crate) struct Follow {
    config: Arc<ReadConfig>,
    client: Arc<Client>,
    budget: Budget,
    /// Number of the next entry, and from where the epochs go on that hold it.
    number: u64,
    epochs_from: i64,
    epochs: VecDeque<Epoch>,
    waiting: BTreeMap<u64, Waiting>,
    partitions: Partitions,
    shapes: Shapes,
    rows: Rows,
    items: Vec<Item>,
    bytes: usize,
    ended: Vec<Ended>,
}

impl Follow {
    /// Begins at `spot`; the shapes are those of all entries up to a place of their topic.
    pub(crate) fn new(
        config: Arc<ReadConfig>,
        client: Arc<Client>,
        budget: Budget,
        spot: &Spot,
        (shapes, shapes_next): (Shapes, i64),
    ) -> Result<Self> {
        let failed = |error: KafkaError| of_client("read the log", &config.bootstrap, error);
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(&config.prefix, 0, Offset::Offset(spot.at.epochs)).map_err(failed)?;
        assigned.add_partition_offset(&config.state_topic(), 0, Offset::Offset(shapes_next)).map_err(failed)?;
        client.assign(&assigned).map_err(failed)?;
        let mut follow = Self {
            rows: Rows::new(messages(&config.prefix)),
            config,
            client,
            budget,
            number: spot.number,
            epochs_from: spot.at.epochs,
            epochs: VecDeque::new(),
            waiting: BTreeMap::new(),
            partitions: Partitions::default(),
            shapes,
            items: Vec::new(),
            bytes: 0,
            ended: Vec::new(),
        };
        // What has been read of them already comes at its place.
        let told: Vec<u64> = follow.shapes.from(spot.number).collect();
        follow.waiting.extend(told.into_iter().map(|number| (number, Waiting::Schema)));
        Ok(follow)
    }

    /// Works until nobody listens; an error is the last thing told.
    pub(crate) fn run(mut self, out: &mpsc::Sender<Result<Told>>) {
        loop {
            match self.turn(out) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // Nobody listens any more: then nobody needs it.
                    let _ = out.blocking_send(Err(error));
                    return;
                }
            }
        }
    }

    /// One poll; false when nobody listens.
    pub(crate) fn turn(&mut self, out: &mpsc::Sender<Result<Told>>) -> Result<bool> {
        let client = self.client.clone();
        let idle = self.items.is_empty() && self.ended.is_empty();
        let polled = client.poll(if idle { TURN } else { Duration::ZERO });
        let more = matches!(polled, Some(Ok(_)));
        match polled {
            Some(Ok(message)) => self.take(&message)?,
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => self.fault(error)?,
        }
        self.advance()?;
        self.hold_back()?;
        if more && self.bytes < PIECE_BYTES {
            return Ok(true);
        }
        if !more {
            self.check_missing()?;
        }
        self.tell(out)
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<()> {
        if message.topic() == self.config.prefix {
            return self.take_epoch(Epoch::of(message)?);
        }
        let damaged = || foreign(message.topic(), message.partition(), message.offset());
        if message.topic() == self.config.state_topic() {
            if !is_marker(message) {
                let number = self.shapes.read(message.payload().unwrap_or_default()).ok_or_else(damaged)?;
                self.wait(number, Waiting::Schema);
            }
            return Ok(());
        }
        let head = message.headers().and_then(|headers| headers.iter().find(|header| header.key == HEADER));
        let head = head.and_then(|header| Head::read(header.value?)).ok_or_else(damaged)?;
        let from = self.partitions.read(message.topic(), message.partition(), message.offset());
        let from = from.ok_or_else(damaged)?;
        let payload = message.payload().ok_or_else(damaged)?;
        if head.n == self.number && !self.waiting.contains_key(&head.n) {
            return self.append(&head, payload);
        }
        self.wait(head.n, Waiting::Change(head, payload.to_vec(), from));
        Ok(())
    }

    /// Keeps an entry until those before it are there; what is there or has been handed out before is dropped.
    fn wait(&mut self, number: u64, entry: Waiting) {
        if number < self.number || self.waiting.contains_key(&number) {
            return;
        }
        if let Waiting::Change(_, payload, from) = &entry {
            self.partitions.wait(*from, payload.len());
        }
        self.waiting.insert(number, entry);
    }

    fn take_epoch(&mut self, epoch: Epoch) -> Result<()> {
        let known = self.epochs.back().map_or(self.number, |last| last.part.end);
        if epoch.part.end <= known {
            if self.epochs.is_empty() {
                self.epochs_from = epoch.offset + 1;
            }
            return Ok(());
        }
        if epoch.part.from > known {
            return Err(trimmed(&self.config, known, Some(epoch.part.from)));
        }
        let failed = |error: KafkaError| of_client("read the log", &self.config.bootstrap, error);
        let mut added = TopicPartitionList::new();
        for (topic, partitions) in &epoch.part.topics {
            for (partition, (first, _)) in partitions {
                if self.partitions.add(topic, *partition, *first) {
                    added.add_partition_offset(topic, *partition, Offset::Offset(*first)).map_err(failed)?;
                }
            }
        }
        if added.count() > 0 {
            self.client.incremental_assign(&added).map_err(failed)?;
        }
        self.epochs.push_back(epoch);
        Ok(())
    }

    /// Hands out what is there in order.
    fn advance(&mut self) -> Result<()> {
        loop {
            let number = self.number;
            let milestone = self.epochs.front().and_then(|epoch| {
                let (_, name) = epoch.part.milestones.iter().find(|(at, _)| *at == number)?;
                Some((name.clone(), epoch.marker.generation, epoch.offset))
            });
            if let Some((name, generation, offset)) = milestone {
                let milestone = Milestone::ALL.into_iter().find(|milestone| milestone.name() == name);
                let milestone = milestone.ok_or_else(|| foreign(&self.config.prefix, 0, offset))?;
                self.end_batch()?;
                self.number += 1;
                self.hand_out(Entry::Milestone(milestone, generation));
            } else if let Some(entry) = self.waiting.remove(&number) {
                match entry {
                    Waiting::Schema => {
                        self.end_batch()?;
                        self.number += 1;
                        if let Some(change) = self.shapes.get(number).cloned() {
                            self.hand_out(Entry::Schema(change));
                        }
                    }
                    Waiting::Change(head, payload, from) => {
                        self.partitions.pass(from, payload.len());
                        self.append(&head, &payload)?;
                    }
                }
            } else if !self.end_epoch()? {
                return Ok(());
            }
        }
    }

    /// Ends the epoch at hand if all of it is there.
    fn end_epoch(&mut self) -> Result<bool> {
        if self.epochs.front().is_none_or(|epoch| epoch.part.end > self.number) {
            return Ok(false);
        }
        let Some(epoch) = self.epochs.pop_front() else { return Ok(false) };
        self.epochs_from = epoch.offset + 1;
        // Rows of later epochs may have come before this record.
        if epoch.part.end == self.number {
            self.end_batch()?;
        }
        self.ended.push((epoch.part.end, self.epochs_from, epoch.part));
        Ok(true)
    }

    /// All partitions have been read beyond the epoch, and an entry of it was in none (INV-6).
    fn check_missing(&self) -> Result<()> {
        let Some(epoch) = self.epochs.front() else { return Ok(()) };
        let mut ranges = epoch.part.topics.iter().flat_map(|(topic, ranges)| ranges.iter().map(move |r| (topic, r)));
        if epoch.part.shapes.contains(&self.number)
            || !ranges.all(|(t, (partition, (_, end)))| self.partitions.has_passed(t, *partition, *end))
        {
            return Ok(());
        }
        Err(trimmed(&self.config, self.number, None).fact("what is missing", format!("entry {}", self.number)))
    }

    fn append(&mut self, head: &Head, payload: &[u8]) -> Result<()> {
        let ended = self.rows.append(&self.shapes, head, payload)?;
        self.hand_out_rows(ended);
        self.number += 1;
        Ok(())
    }

    fn end_batch(&mut self) -> Result<()> {
        let ended = self.rows.end()?;
        self.hand_out_rows(ended);
        Ok(())
    }

    fn hand_out_rows(&mut self, joined: Option<Joined>) {
        let Some(Joined { batch, goes_on }) = joined else { return };
        self.bytes += batch.memory();
        self.hand_out(Entry::Batch { batch, goes_on });
    }

    fn hand_out(&mut self, entry: Entry) {
        self.items.push(Item { entry, number: self.number, at: FromEpoch { epochs: self.epochs_from } });
    }

    /// Partitions that are far ahead of the others are read on later.
    fn hold_back(&mut self) -> Result<()> {
        let failed = |error: KafkaError| of_client("read the log", &self.config.bootstrap, error);
        let moved = self.partitions.hold_back();
        if !moved.rest.is_empty() {
            self.client.pause(&listed(&moved.rest)).map_err(failed)?;
        }
        if !moved.go_on.is_empty() {
            self.client.resume(&listed(&moved.go_on)).map_err(failed)?;
        }
        Ok(())
    }

    fn tell(&mut self, out: &mpsc::Sender<Result<Told>>) -> Result<bool> {
        if self.items.is_empty() && self.ended.is_empty() {
            return Ok(!out.is_closed());
        }
        let (items, ended) = (std::mem::take(&mut self.items), std::mem::take(&mut self.ended));
        let end = self.epochs.back().map_or(self.number, |epoch| epoch.part.end);
        let piece = Piece { items, end, held: self.budget.hold(std::mem::take(&mut self.bytes)) };
        Ok(out.blocking_send(Ok((piece, ended))).is_ok())
    }

    fn fault(&self, error: KafkaError) -> Result<()> {
        use RDKafkaErrorCode as N;
        match error.rdkafka_error_code() {
            Some(N::OffsetOutOfRange | N::AutoOffsetReset) => {
                Err(trimmed(&self.config, self.number, None).with_source(error))
            }
            Some(
                N::UnknownTopicOrPartition
                | N::UnknownTopic
                | N::UnknownPartition
                | N::TopicAuthorizationFailed
                | N::GroupAuthorizationFailed
                | N::ClusterAuthorizationFailed
                | N::SaslAuthenticationFailed
                | N::Fatal,
            ) => Err(of_client("read the log", &self.config.bootstrap, error)),
            // A lost connection is taken up again by the client.
            _ => {
                tracing::debug!(%error, "the client reports");
                Ok(())
            }
        }
    }
}

fn listed(partitions: &[(String, i32)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}
