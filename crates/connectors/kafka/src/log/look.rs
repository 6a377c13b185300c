//! What a log holds, as a look at its epochs tells. Everything here waits for brokers.

use super::place::{FromEpoch, Spot};
use crate::client::{blocking, of_client, topics_of};
use crate::marker::{Marker, parse};
use crate::names::ReadConfig;
use crate::reading::{self, Client, each};
use crate::state::{State, foreign, read_all};
use dujiang_core::{Code, Error, Result, Start};
use dujiang_entries::Part;
use dujiang_entries::Shapes;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The record of an epoch.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    /// Its offset in the topic of the epochs.
    pub(crate) offset: i64,
    /// When it was written, by the capture's clock.
    pub(crate) millis: i64,
    pub(crate) marker: Marker,
    pub(crate) part: Part,
}

impl Epoch {
    /// Reads a message of the topic of the epochs.
    pub(crate) fn of(message: &impl Message) -> Result<Self> {
        let bytes = message.payload().unwrap_or_default();
        let damaged = || foreign(message.topic(), message.partition(), message.offset());
        let mut marker = parse(bytes, message.topic()).map_err(|_| damaged())?;
        let part = marker.log.take().ok_or_else(damaged)?;
        let millis = message.timestamp().to_millis().unwrap_or_default();
        Ok(Self { offset: message.offset(), millis, marker, part })
    }
}

/// A log that is there.
pub(crate) struct Seen {
    pub(crate) client: Arc<Client>,
    /// Its cluster, prefix and lineage: offsets of another one mean something else (INV-5).
    pub(crate) log: String,
    /// In the topic of the epochs: the oldest record that is still there, and a place behind which there is nothing older
    /// than the newest one.
    low: i64,
    high: i64,
    /// The newest record.
    pub(crate) last: Marker,
    /// Number behind the last entry.
    pub(crate) end: u64,
    /// All shapes that were told, and where their topic goes on.
    pub(crate) shapes: Shapes,
    pub(crate) shapes_next: i64,
}

/// The log, once it has been begun. `client` is one of [`connect`].
pub(crate) fn look(config: &ReadConfig, client: &Arc<Client>) -> Result<Option<Seen>> {
    let turn = |pause| {
        client.poll(pause);
    };
    let metadata = topics_of(client.client(), turn, PATIENCE, &config.bootstrap)?;
    let there = |topic: &str| metadata.topics().iter().any(|t| t.name() == topic && !t.partitions().is_empty());
    if !there(&config.prefix) || !there(&config.state_topic()) {
        return Ok(None);
    }
    let failed = |error: KafkaError| of_client("read the epochs of the log", &config.bootstrap, error);
    let (low, high) = client.fetch_watermarks(&config.prefix, 0, PATIENCE).map_err(failed)?;
    let State { shapes, next, last } = read_all(client, config)?;
    let Some((last, end)) = last.and_then(|last| last.log.as_ref().map(|part| part.end).map(|end| (last, end))) else {
        return Ok(None);
    };
    let cluster = client.client().fetch_cluster_id(PATIENCE).unwrap_or_default();
    let log = format!("{cluster}/{}/{}", config.prefix, last.lineage);
    Ok(Some(Seen { client: client.clone(), log, low, high, last, end, shapes, shapes_next: next }))
}

/// A client that looks, and then follows, as a consumer group. Connects in the background.
pub(crate) fn connect(config: &ReadConfig, group: &str) -> Result<Arc<Client>> {
    reading::connect(&config.of_group(group)).map(Arc::new)
}

/// Every record from an offset on, as long as `take` says so.
pub(crate) fn epochs(
    client: &Client,
    config: &ReadConfig,
    from: i64,
    mut take: impl FnMut(Epoch) -> Result<bool>,
) -> Result<()> {
    let mut outcome = Ok(());
    let read = each(client, &config.prefix, from, |message| match Epoch::of(message).and_then(&mut take) {
        Ok(more) => more,
        Err(error) => {
            outcome = Err(error);
            false
        }
    });
    read.map_err(|error| of_client("read the epochs of the log", &config.bootstrap, error))?;
    outcome
}

impl Seen {
    fn spot(&self, number: u64, epochs: i64) -> Spot {
        Spot { log: self.log.clone(), number, at: FromEpoch { epochs } }
    }

    /// The place behind everything.
    pub(crate) fn end(&self) -> Spot {
        self.spot(self.end, self.high)
    }

    /// The oldest record that is still there.
    pub(crate) fn low(&self) -> i64 {
        self.low
    }

    /// Where a first start begins. What is no longer there as a whole does not count: the oldest is the first epoch of
    /// which, and of all later ones, everything is there.
    ///
    /// # Errors
    /// `LogTrimmed` when that is not there any more.
    pub(crate) fn find(&self, config: &ReadConfig, start: Start) -> Result<Spot> {
        if start == Start::Latest {
            return Ok(self.end());
        }
        let mut lows = Lows { client: &self.client, brokers: &config.bootstrap, known: HashMap::new() };
        // The first one that is whole, and the first one that is wanted.
        let (mut whole, mut wanted): (Option<Spot>, Option<Spot>) = (None, None);
        epochs(&self.client, config, self.low, |epoch| {
            let spot = self.spot(epoch.part.from, epoch.offset);
            if lows.cut(&epoch.part)? {
                (whole, wanted) = (None, None);
                return Ok(true);
            }
            let is_wanted = match start {
                Start::Offset(number) => epoch.part.end > number,
                Start::Time(micros) => epoch.millis.saturating_mul(1000) >= micros && epoch.part.end > epoch.part.from,
                Start::Earliest | Start::Latest => true,
            };
            if is_wanted && wanted.is_none() {
                wanted = Some(spot.clone());
            }
            whole.get_or_insert(spot);
            Ok(true)
        })?;
        let mut spot = wanted.unwrap_or_else(|| self.end());
        if let Start::Offset(number) = start {
            let first = whole.map_or(self.end, |whole| whole.number);
            if number < first {
                return Err(trimmed(config, number, Some(first)));
            }
            spot.number = spot.number.max(number.min(self.end));
        }
        Ok(spot)
    }

    /// Checks that a place is one of this log, and still there as far as the epochs tell.
    ///
    /// # Errors
    /// `LogOther`, `LogTrimmed`.
    pub(crate) fn check(&self, config: &ReadConfig, spot: &Spot) -> Result<()> {
        spot.check(&self.log, self.end)?;
        if spot.at.epochs >= self.low {
            return Ok(());
        }
        // Old records are gone, which is a loss only if they tell of entries that come next.
        let mut first = None;
        epochs(&self.client, config, self.low, |epoch| {
            first = Some(epoch.part.from);
            Ok(false)
        })?;
        match first.unwrap_or(self.end) {
            first if first > spot.number => Err(trimmed(config, spot.number, Some(first))),
            _ => Ok(()),
        }
    }

    /// The same place, with epochs that are still there.
    pub(crate) fn held(&self, spot: Spot) -> Spot {
        Spot { at: FromEpoch { epochs: spot.at.epochs.max(self.low) }, ..spot }
    }
}

/// The oldest offsets of partitions.
struct Lows<'a> {
    client: &'a Client,
    brokers: &'a str,
    known: HashMap<(String, i32), i64>,
}

impl Lows<'_> {
    /// Whether some of it is gone.
    fn cut(&mut self, part: &Part) -> Result<bool> {
        for (topic, partitions) in &part.topics {
            for (partition, (first, _)) in partitions {
                let place = (topic.clone(), *partition);
                let low = match self.known.get(&place) {
                    Some(low) => *low,
                    None => {
                        let low = self.low(topic, *partition)?;
                        self.known.insert(place, low);
                        low
                    }
                };
                if *first < low {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A topic that is gone has nothing; whatever else the brokers say tells nothing about it.
    fn low(&self, topic: &str, partition: i32) -> Result<i64> {
        use rdkafka::error::RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
        match self.client.fetch_watermarks(topic, partition, PATIENCE) {
            Ok((low, _)) => Ok(low),
            Err(error) => match error.rdkafka_error_code() {
                Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition) => Ok(i64::MAX),
                _ => Err(of_client(&format!("ask where the topic {topic} begins"), self.brokers, error)),
            },
        }
    }
}

/// What comes next is gone (INV-6).
pub(crate) fn trimmed(config: &ReadConfig, number: u64, first: Option<u64>) -> Error {
    let error = Error::new(Code::LogTrimmed, "the log no longer holds this position")
        .fact("log", config.prefix.as_str())
        .fact("position", format!("offset {number}"));
    let error = match first {
        Some(first) => error.fact("the log begins at", format!("offset {first}")),
        None => error,
    };
    error.help(
        "begin the delivery anew: empty its state directory and its sink; Kafka keeps what its topics' `retention.ms` and \
         `retention.bytes` say, so raise them (`topic.properties.*` for topics that are yet to be made)",
    )
}

/// The log is not there.
pub(crate) fn missing(config: &ReadConfig) -> Error {
    Error::new(Code::LogMissing, format!("there is no log {}", config.prefix))
        .fact("brokers", config.bootstrap.as_str())
        .help("check `topic.prefix`; the log is made by the pipeline that captures into it")
}

/// A log that is waited for in pieces.
pub(crate) async fn look_once(config: &Arc<ReadConfig>, client: &Arc<Client>) -> Result<Option<Seen>> {
    let (config, client) = (config.clone(), client.clone());
    blocking(move || look(&config, &client)).await
}
