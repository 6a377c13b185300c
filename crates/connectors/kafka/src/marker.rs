//! What the commit topic keeps of a pipeline: who writes, and which epoch was committed last.
//!
//! One record for every epoch, written in the epoch's own transaction, and one whenever an instance begins, by which its
//! generation can be seen (INV-11). All have the same key, so that the topic can be compacted; the last one counts.

use crate::client::{Admin, NewTopic, Topic, blocking, of_client};
use crate::reading::{Client, PATIENCE, each, is_marker};
use dujiang_core::checkpoint::Generation;
use dujiang_core::sink::SinkContext;
use dujiang_core::{Code, Error, Result};
use dujiang_entries::Part;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many records at the end are looked at first; a transaction takes two places, its record and its end.
const TAIL: i64 = 400;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// Name of the pipeline.
    pub(crate) pipeline: String,
    /// Its lineage.
    pub(crate) lineage: String,
    /// The instance that wrote the record.
    pub(crate) generation: u64,
    /// The last epoch whose data is visible; 0 for none.
    pub(crate) epoch: u64,
    /// The source's position after it, for people.
    pub(crate) position: String,
    /// Of a log: the entries of the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<Part>,
}

impl Marker {
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::new(Code::Bug, "a commit record cannot be written").with_source(e))
    }

    /// A topic belongs to one pipeline.
    pub(crate) fn check_owner(&self, topic: &str, context: &SinkContext) -> Result<()> {
        let (name, lineage) = (&*context.identity.name, &*context.identity.lineage.0);
        if (self.pipeline.as_str(), self.lineage.as_str()) == (name, lineage) {
            return Ok(());
        }
        Err(Error::new(Code::SinkTaken, format!("the commit topic {topic} belongs to another pipeline"))
            .fact("its pipeline", self.pipeline.as_str())
            .fact("its lineage", self.lineage.as_str())
            .fact("ours", format!("{name}, lineage {lineage}"))
            .help(
                "name another one in `sink.commit-topic`; or, if the state of this pipeline was lost and its topics are to be \
                 written anew, delete the commit topic and those topics",
            ))
    }
}

/// Makes the commit topic if it is not among those that are there.
pub(crate) async fn make_topic(admin: &Admin, there: &[Topic], topic: &str, replicas: i32) -> Result<()> {
    let settings = vec![
        ("cleanup.policy", "compact"),
        // Compaction looks at closed segments only: small ones keep the topic small.
        ("segment.ms", "3600000"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.1"),
    ];
    make_single(admin, there, &NewTopic { name: topic, partitions: 1, replicas, settings }).await
}

/// Makes a topic of one partition if it is not among those that are there.
pub(crate) async fn make_single(admin: &Admin, there: &[Topic], new: &NewTopic<'_>) -> Result<()> {
    let made = admin.topic_or_new(new, there).await?;
    if made.partitions == 1 {
        return Ok(());
    }
    let message = format!("the commit topic {} has {} partitions instead of one", new.name, made.partitions);
    Err(Error::new(Code::KafkaTopic, message)
        .help("name another one in `sink.commit-topic`, or another `topic.prefix` of a log; it is made by itself"))
}

/// The last record that counts; what is not committed does not.
pub(crate) async fn last(client: &Arc<Client>, brokers: &str, topic: &str) -> Result<Option<Marker>> {
    let (client, brokers, topic) = (client.clone(), brokers.to_owned(), topic.to_owned());
    blocking(move || read_last(&client, &brokers, &topic)).await
}

/// The latest instance of the pipeline of `ours` that has written a record, committed or not: `client` has to read those too. A
/// commit that was confirmed may not be visible yet, because the brokers end it behind their answer.
pub(crate) async fn newest(client: Client, brokers: &str, topic: &str, ours: Marker) -> Result<Generation> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    blocking(move || {
        let failed = |error: KafkaError| of_client(&format!("read the commit topic {topic}"), &brokers, error);
        let (low, high) = client.fetch_watermarks(&topic, 0, PATIENCE).map_err(failed)?;
        let mut newest = ours.generation;
        let read = each(&client, &topic, low.max(high - TAIL), |message| {
            let marker = message.payload().filter(|_| is_marker(message)).and_then(|bytes| parse(bytes, &topic).ok());
            let same = |marker: &Marker| marker.pipeline == ours.pipeline && marker.lineage == ours.lineage;
            newest = newest.max(marker.filter(same).map_or(0, |marker| marker.generation));
            true
        });
        read.map_err(failed)?;
        Ok(Generation(newest))
    })
    .await
}

fn read_last(client: &Client, brokers: &str, topic: &str) -> Result<Option<Marker>> {
    let failed = |error: KafkaError| of_client(&format!("read the commit topic {topic}"), brokers, error);
    let (low, high) = client.fetch_watermarks(topic, 0, PATIENCE).map_err(failed)?;
    let tail = low.max(high - TAIL);
    let last = |from: i64| {
        let mut last = None;
        let read = each(client, topic, from, |message| {
            if is_marker(message) {
                last = message.payload().map(<[u8]>::to_vec).or(last.take());
            }
            true
        });
        read.map(|()| last).map_err(failed)
    };
    match last(tail)? {
        None if tail > low => last(low)?,
        found => found,
    }
    .map(|bytes| parse(&bytes, topic))
    .transpose()
}

pub(crate) fn parse(bytes: &[u8], topic: &str) -> Result<Marker> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(Code::SinkTaken, format!("the commit topic {topic} holds a record that is no commit record"))
            .help("name another one in `sink.commit-topic`, which the sink makes itself")
            .with_source(error)
    })
}
