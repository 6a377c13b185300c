//! Looking at a log without changing it, for people and scripts. Waits for brokers.

use super::config::{self, LogConfig};
use super::follow::Follow;
use super::look::{PATIENCE, Seen, connect, epochs, look, missing};
use crate::client::of_client;
use crate::names::ReadConfig;
use dujiang_core::budget::Budget;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::SourceEvent;
use dujiang_core::{Code, Error, Result, Start};
use dujiang_entries::{Summary, Verified, each};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Pieces that may wait, and the memory that they are counted in.
const PIECES: usize = 4;
const MEMORY: usize = 64 << 20;
/// Name of the group as which is looked; it commits nothing.
const LOOKER: &str = "look";

/// A log that is looked at. What is committed later is not seen.
pub struct View {
    config: Arc<ReadConfig>,
    seen: Seen,
}

/// The partitions of tables' topics: topic, partition, first offset, offset behind the last.
pub type Partitions = Vec<(String, i32, i64, i64)>;

/// What is to be looked at, from a `log:` block.
///
/// # Errors
/// Every mistake of the block.
pub fn of_log(raw: &[RawOption], pipeline: &str) -> std::result::Result<Place, Vec<Problem>> {
    LogConfig::parse(raw, &options(pipeline)).map(|config| Place(config.read))
}

/// The same from a `source:` block.
///
/// # Errors
/// Every mistake of the block.
pub fn of_source(raw: &[RawOption], pipeline: &str) -> std::result::Result<Place, Vec<Problem>> {
    config::source(raw, &options(pipeline)).map(|(read, _, _)| Place(read))
}

/// Where a log is.
pub struct Place(ReadConfig);

fn options(pipeline: &str) -> PipelineOptions {
    PipelineOptions { name: pipeline.to_owned(), parallelism: 1, memory_limit: MEMORY as u64 }
}

impl View {
    /// Looks at a log.
    ///
    /// # Errors
    /// `LogMissing`; as brokers answer.
    pub fn open(Place(config): Place) -> Result<Self> {
        let seen = look(&config, &connect(&config, LOOKER)?)?.ok_or_else(|| missing(&config))?;
        Ok(Self { config: Arc::new(config), seen })
    }

    /// Figures.
    ///
    /// # Errors
    /// As brokers answer.
    pub fn summary(&self) -> Result<Summary<Partitions>> {
        let last = &self.seen.last;
        Ok(Summary {
            pipeline: last.pipeline.clone(),
            lineage: last.lineage.clone(),
            first: self.seen.find(&self.config, Start::Earliest)?.number,
            end: self.seen.end,
            epoch: last.epoch,
            generation: last.generation,
            position: last.position.clone(),
            parts: self.partitions()?,
            consumers: self.consumers()?,
        })
    }

    fn failed(&self, error: KafkaError) -> Error {
        of_client("look at the log", &self.config.bootstrap, error)
    }

    fn partitions(&self) -> Result<Partitions> {
        let metadata = self.seen.client.fetch_metadata(None, PATIENCE).map_err(|error| self.failed(error))?;
        let prefix = format!("{}.", self.config.prefix);
        let mut found = Vec::new();
        for topic in metadata.topics().iter().filter(|topic| topic.name().starts_with(&prefix)) {
            for partition in topic.partitions() {
                let marks = self.seen.client.fetch_watermarks(topic.name(), partition.id(), PATIENCE);
                let (low, high) = marks.map_err(|error| self.failed(error))?;
                found.push((topic.name().to_owned(), partition.id(), low, high));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Groups of the log that Kafka knows, by what they have confirmed of the epochs.
    fn consumers(&self) -> Result<Vec<(String, u64)>> {
        let groups = self.seen.client.client().fetch_group_list(None, PATIENCE).map_err(|error| self.failed(error))?;
        let mut ends = BTreeMap::new();
        epochs(&self.seen.client, &self.config, self.seen.low(), |epoch| {
            ends.insert(epoch.offset + 1, epoch.part.end);
            Ok(true)
        })?;
        let mut found = Vec::new();
        for group in groups.groups() {
            let Some(name) = group.name().strip_prefix(&self.config.group("")) else { continue };
            let client: BaseConsumer = self.config.of_group(name).create().map_err(|error| self.failed(error))?;
            let mut asked = TopicPartitionList::new();
            asked.add_partition(&self.config.prefix, 0);
            let told = client.committed_offsets(asked, PATIENCE).map_err(|error| self.failed(error))?;
            let told = told.find_partition(&self.config.prefix, 0).map(|place| place.offset());
            if let Some(Offset::Offset(offset)) = told {
                let passed = ends.range(..=offset).next_back().map_or(0, |(_, end)| *end);
                found.push((name.to_owned(), passed));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The first entry of the epoch in which a time lies, microseconds since 1970; the end when there is none.
    ///
    /// # Errors
    /// As brokers answer.
    pub fn offset_at(&self, micros: i64) -> Result<u64> {
        Ok(self.seen.find(&self.config, Start::Time(micros))?.number)
    }

    /// Entries from a place on, one by one with the number of its first change, as long as `take` says so.
    ///
    /// # Errors
    /// `LogTrimmed`, `LogRangeDamaged`; what `take` returns.
    pub fn each(&self, from: Start, mut take: impl FnMut(u64, SourceEvent) -> Result<bool>) -> Result<()> {
        let spot = self.seen.find(&self.config, from)?;
        let spot = self.seen.held(spot);
        if spot.number >= self.seen.end {
            return Ok(());
        }
        let shapes = (self.seen.shapes.clone(), self.seen.shapes_next);
        let client = self.seen.client.clone();
        let follow = Follow::new(self.config.clone(), client, Budget::new(MEMORY), &spot, shapes)?;
        let (sender, mut pieces) = mpsc::channel(PIECES);
        let thread = std::thread::spawn(move || follow.run(&sender));
        let read = std::iter::from_fn(|| pieces.blocking_recv()).map(|told| Ok(told?.0.items));
        let outcome = each(read, |item| {
            let more = item.number < self.seen.end;
            let (first, event) = item.into_event();
            Ok(take(first, event)? && more)
        });
        drop(pieces);
        let _ = thread.join();
        outcome
    }

    /// Reads everything: every number has to be there, and to be read.
    pub fn verify(&self) -> Verified {
        let mut verified = Verified::default();
        let read = self.each(Start::Earliest, |_, event| {
            verified.count(&event);
            Ok(true)
        });
        let counted = epochs(&self.seen.client, &self.config, self.seen.low(), |_| {
            verified.epochs += 1;
            Ok(true)
        });
        verified.problem = read.and(counted).err();
        verified
    }

    /// Consumer groups are Kafka's.
    ///
    /// # Errors
    /// Always.
    pub fn forget(&self, consumer: &str) -> Result<()> {
        Err(Error::new(Code::NotSupported, "the consumers of a log in Kafka are Kafka's own, and hold nothing back")
            .help(format!(
                "remove the group with Kafka's tool: kafka-consumer-groups --delete --group {}",
                self.config.group(consumer)
            )))
    }
}
