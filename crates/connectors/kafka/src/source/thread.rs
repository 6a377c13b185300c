//! Polls and decodes, on a thread of its own.

use super::options::SourceConfig;
use super::place::Place;
use super::{Client, gone};
use crate::client::of_client;
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::{Budget, Held};
use dujiang_core::{ChangeBatch, Code, Error, Origin, Result};
use dujiang_format_text::messages::{Decoded, DecodedRows, Decoder, MessageFormat, unreadable};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A piece ends at so many messages or bytes, or when nothing more is there at once.
const PIECE_MESSAGES: usize = 8192;
const PIECE_BYTES: usize = 1 << 20;
/// How long a poll waits when nothing is there.
const TURN: Duration = Duration::from_millis(100);
const METADATA_PATIENCE: Duration = Duration::from_secs(5);
/// Canal's messages hold several rows: an offset stands for so many changes.
const ROWS_PER_MESSAGE: u64 = 1 << 20;

/// What the thread tells.
pub(crate) enum Told {
    Piece(Piece),
    /// Every partition has been read up to its end once.
    CaughtUp,
}

/// Decoded messages, and where their partitions go on.
pub(crate) struct Piece {
    pub(crate) batches: Vec<ChangeBatch>,
    pub(crate) next: Vec<(Arc<str>, i32, i64)>,
    pub(crate) newest_micros: Option<i64>,
    /// Given back when it has been handed over.
    _held: Held,
}

pub(crate) struct Decoding {
    config: Arc<SourceConfig>,
    client: Arc<Client>,
    budget: Budget,
    tables: Vec<Table>,
    /// Partitions known by topic.
    known: BTreeMap<String, i32>,
    /// Ends met, by number of partition: the library does not tell the topic.
    ended: BTreeMap<i32, usize>,
    told_caught_up: bool,
    looked: Instant,
    batches: Vec<ChangeBatch>,
    next: BTreeMap<(usize, i32), i64>,
    newest_micros: Option<i64>,
    messages: usize,
    bytes: usize,
    transaction: String,
}

struct Table {
    topic: Arc<str>,
    decoder: Decoder,
    rows: DecodedRows,
    schema: Arc<dujiang_core::TableSchema>,
}

impl Decoding {
    pub(crate) fn new(config: Arc<SourceConfig>, client: Arc<Client>, place: &Place, budget: Budget) -> Result<Self> {
        let table = |(topic, schema): &(String, Arc<dujiang_core::TableSchema>)| {
            let decoder = Decoder::new(schema, &config.messages)?;
            Ok(Table { topic: topic.as_str().into(), rows: decoder.rows(), decoder, schema: schema.clone() })
        };
        let tables = config.topics.iter().map(table).collect::<Result<Vec<_>>>()?;
        let known = place.next.iter().map(|(topic, partitions)| (topic.clone(), partitions.len() as i32)).collect();
        Ok(Self {
            config,
            client,
            budget,
            tables,
            known,
            ended: BTreeMap::new(),
            told_caught_up: false,
            looked: Instant::now(),
            batches: Vec::new(),
            next: BTreeMap::new(),
            newest_micros: None,
            messages: 0,
            bytes: 0,
            transaction: String::new(),
        })
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
    fn turn(&mut self, out: &mpsc::Sender<Result<Told>>) -> Result<bool> {
        let client = self.client.clone();
        let patience = if self.messages == 0 { TURN } else { Duration::ZERO };
        match client.poll(patience) {
            Some(Ok(message)) => {
                self.take(&message)?;
                if self.messages < PIECE_MESSAGES && self.bytes < PIECE_BYTES {
                    return Ok(true);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => *self.ended.entry(partition).or_default() += 1,
            Some(Err(error)) => self.fault(error)?,
            None => {}
        }
        if !self.tell(out)? {
            return Ok(false);
        }
        if self.looked.elapsed() >= self.config.discovery {
            self.look_for_partitions()?;
        }
        Ok(!out.is_closed())
    }

    fn table_of(&self, topic: &str) -> Option<usize> {
        self.tables.iter().position(|table| &*table.topic == topic)
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<()> {
        let Some(index) = self.table_of(message.topic()) else { return Ok(()) };
        let (partition, offset) = (message.partition(), message.offset());
        let micros = message.timestamp().to_millis().unwrap_or_default() * 1000;
        self.transaction.clear();
        let _ = write!(self.transaction, "kafka:{}:{partition}", message.topic());
        let many = self.config.messages.value == MessageFormat::CanalJson;
        let first_ordinal = offset as u64 * if many { ROWS_PER_MESSAGE } else { 1 };
        let origin = Origin {
            transaction: &self.transaction,
            position: &self.transaction["kafka:".len()..],
            commit_micros: micros,
            precision: TimePrecision::Micros,
            first_ordinal,
        };
        let table = &mut self.tables[index];
        match table.decoder.decode(message.payload(), &origin, &mut table.rows) {
            Ok(Decoded::Changes(_) | Decoded::Nothing) => {}
            Err(error) => {
                // Order within the topic stays.
                if !table.rows.is_empty() {
                    self.batches.push(table.rows.take()?);
                }
                self.batches.push(unreadable(&table.schema, origin, message.payload(), &error)?);
            }
        }
        self.next.insert((index, partition), offset + 1);
        self.newest_micros = self.newest_micros.max(Some(micros));
        self.messages += 1;
        self.bytes += message.payload_len();
        Ok(())
    }

    /// Whether every partition has met its end. With several topics this may be told a little early, when one of them meets
    /// its end twice before another one does so once.
    fn caught_up(&self) -> bool {
        let most = self.known.values().copied().max().unwrap_or_default();
        let topics_with = |partition: i32| self.known.values().filter(|count| **count > partition).count();
        (0..most).all(|partition| self.ended.get(&partition).is_some_and(|met| *met >= topics_with(partition)))
    }

    fn tell(&mut self, out: &mpsc::Sender<Result<Told>>) -> Result<bool> {
        for table in self.tables.iter_mut().filter(|table| !table.rows.is_empty()) {
            self.batches.push(table.rows.take()?);
        }
        if !self.next.is_empty() {
            let bytes = self.batches.iter().map(ChangeBatch::memory).sum();
            let places = std::mem::take(&mut self.next);
            let piece = Piece {
                batches: std::mem::take(&mut self.batches),
                next: places.into_iter().map(|((t, p), next)| (self.tables[t].topic.clone(), p, next)).collect(),
                newest_micros: self.newest_micros.take(),
                _held: self.budget.hold(bytes),
            };
            (self.messages, self.bytes) = (0, 0);
            if out.blocking_send(Ok(Told::Piece(piece))).is_err() {
                return Ok(false);
            }
        }
        if !self.told_caught_up && self.caught_up() {
            self.told_caught_up = true;
            return Ok(out.blocking_send(Ok(Told::CaughtUp)).is_ok());
        }
        Ok(true)
    }

    fn fault(&self, error: KafkaError) -> Result<()> {
        use RDKafkaErrorCode as N;
        let (doing, brokers) = ("read messages", self.config.bootstrap.as_str());
        match error.rdkafka_error_code() {
            Some(N::OffsetOutOfRange | N::AutoOffsetReset) => {
                Err(Error::new(Code::PositionLost, "the topic no longer holds the messages that come next")
                    .fact("brokers", brokers)
                    .help("raise the topic's retention; begin with a new pipeline, or at another place")
                    .with_source(error))
            }
            Some(N::UnknownTopicOrPartition | N::UnknownTopic | N::UnknownPartition) => {
                let topics: Vec<&str> = self.tables.iter().map(|table| &*table.topic).collect();
                Err(gone(&topics.join(", "), &self.config).with_source(error))
            }
            Some(
                N::TopicAuthorizationFailed
                | N::GroupAuthorizationFailed
                | N::ClusterAuthorizationFailed
                | N::SaslAuthenticationFailed
                | N::Fatal,
            ) => Err(of_client(doing, brokers, error)),
            // A lost connection is taken up again by the client.
            _ => {
                tracing::debug!(%error, "the client reports");
                Ok(())
            }
        }
    }

    /// Partitions that were added are read from their beginning; a topic that is gone is told.
    fn look_for_partitions(&mut self) -> Result<()> {
        self.looked = Instant::now();
        let Ok(metadata) = self.client.fetch_metadata(None, METADATA_PATIENCE) else { return Ok(()) };
        let mut added = TopicPartitionList::new();
        let failed = |error: KafkaError| of_client("read added partitions", &self.config.bootstrap, error);
        for table in &self.tables {
            let found = metadata.topics().iter().find(|topic| topic.name() == &*table.topic);
            let count = found.map_or(0, |topic| topic.partitions().len() as i32);
            if count == 0 {
                return Err(gone(&table.topic, &self.config));
            }
            let known = self.known.get(&*table.topic).copied().unwrap_or_default();
            for partition in known..count {
                tracing::info!(topic = &*table.topic, partition, "a partition was added");
                added.add_partition_offset(&table.topic, partition, Offset::Beginning).map_err(failed)?;
            }
        }
        if added.count() == 0 {
            return Ok(());
        }
        self.client.incremental_assign(&added).map_err(failed)?;
        for element in added.elements() {
            self.known.insert(element.topic().to_owned(), element.partition() + 1);
        }
        Ok(())
    }
}
