//! What the service holds.

use super::read::{Refusal, Sent, check_value};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::watch;

/// What goes wrong with a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this status and code.
    Refuse(u16, &'static str),
    /// It is carried out, and the connection breaks before the answer.
    LoseAnswer,
    /// The connection breaks, and nothing is carried out.
    LoseRequest,
    /// It is carried out, and a byte of the answer is another one.
    DamageAnswer,
    /// JSON: the records at these places are refused with a code, the others are taken.
    Partly(Vec<usize>, &'static str),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) faults: VecDeque<Option<Fault>>,
    pub(super) puts: watch::Sender<u64>,
    pub(super) read_faults: VecDeque<Fault>,
    pub(super) pulls: watch::Sender<u64>,
    /// Cursors of another number have expired.
    pub(super) cursors: u32,
    /// By topic and number.
    pub(super) subscriptions: BTreeMap<(String, String), Subscription>,
    /// What a client must never do.
    pub(super) violations: Vec<String>,
}

impl State {
    pub(super) fn topic(&self, name: &str) -> Result<&Topic, Refusal> {
        self.topics.get(name).ok_or_else(|| no_topic(name))
    }

    pub(super) fn topic_mut(&mut self, name: &str) -> Result<&mut Topic, Refusal> {
        self.topics.get_mut(name).ok_or_else(|| no_topic(name))
    }
}

fn no_topic(name: &str) -> Refusal {
    (404, "NoSuchTopic", format!("The specified topic name does not exist: {name}"))
}

/// How far a subscription has come in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) sequence: i64,
    pub(super) timestamp: i64,
    pub(super) version: i64,
    pub(super) session: i64,
    pub(super) batch_index: i64,
}

pub(super) const NEVER: Offset = Offset { sequence: -1, timestamp: -1, version: 0, session: 0, batch_index: 0 };

/// The shards of a subscription.
#[derive(Debug, Default)]
pub(super) struct Subscription(pub(super) BTreeMap<String, Offset>);

impl Subscription {
    /// As an operator does.
    pub(super) fn reset(&mut self, shard: &str, sequence: i64) {
        let offset = self.0.entry(shard.to_owned()).or_insert(NEVER);
        (offset.sequence, offset.version) = (sequence, offset.version + 1);
    }
}

/// A record that stands in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its shard.
    pub shard: u32,
    /// Its number in the shard.
    pub sequence: usize,
    /// Which of its batch it is: the records of one batch have one number.
    pub batch_index: usize,
    /// When it came, milliseconds since 1970-01-01 UTC.
    pub millis: i64,
    /// Its values, in the order of the topic's fields at that time.
    pub values: Vec<Option<String>>,
    /// Its attributes.
    pub attributes: Vec<(String, String)>,
}

impl Stored {
    /// The value of an attribute; empty without one.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) state: &'static str,
    /// How often the list is read until it is active.
    pub(super) opening: u32,
    pub(super) begin: u128,
    pub(super) end: u128,
    pub(super) records: Vec<Stored>,
    /// Number of the oldest record that has not expired.
    pub(super) first: usize,
    pub(super) in_flight: u32,
    pub(super) parents: Vec<u32>,
    /// Whether it is closed and a reader has come to its end.
    pub(super) read_to_end: bool,
}

#[derive(Debug)]
pub(super) struct Topic {
    /// Name, type.
    pub(super) fields: Vec<(String, String)>,
    pub(super) shards: BTreeMap<u32, Shard>,
    /// All stored records in the order in which they came.
    pub(super) order: Vec<(u32, usize)>,
    /// Whether its records are bytes.
    pub(super) blob: bool,
    /// When it was made, seconds since 1970-01-01 UTC.
    pub(super) created: i64,
}

impl Topic {
    pub(super) fn new(fields: Vec<(String, String)>, shards: u32) -> Self {
        // Both halves of a bound are divided for themselves.
        let bound = |index: u32| match index {
            0 => 0,
            _ if index == shards => u128::MAX,
            _ => {
                let half = u128::from(u64::MAX / u64::from(shards) * u64::from(index));
                half << 64 | half
            }
        };
        let shard = |index| (index, Shard::new(bound(index), bound(index + 1), 1));
        Self { fields, shards: (0..shards).map(shard).collect(), order: Vec::new(), blob: false, created: 1 }
    }

    /// Closes a shard and opens two for its hashes.
    pub(super) fn split(&mut self, shard: u32) {
        let next = self.shards.len() as u32;
        let parent = self.shards.get_mut(&shard).expect("the shard is there");
        parent.state = "CLOSED";
        let (begin, end) = (parent.begin, parent.end);
        let middle = begin + (end - begin) / 2;
        self.shards.insert(next, Shard::child(begin, middle, 2, &[shard]));
        self.shards.insert(next + 1, Shard::child(middle, end, 3, &[shard]));
    }

    /// Closes two neighbours and opens one for the hashes of both.
    pub(super) fn merge(&mut self, first: u32, second: u32) {
        let next = self.shards.len() as u32;
        let (begin, end) = (self.shards[&first].begin, self.shards[&second].end);
        assert_eq!(self.shards[&first].end, self.shards[&second].begin, "only neighbours can be merged");
        for shard in [first, second] {
            self.shards.get_mut(&shard).expect("the shard is there").state = "CLOSED";
        }
        self.shards.insert(next, Shard::child(begin, end, 2, &[first, second]));
    }

    /// Why a record is none of this topic.
    pub(super) fn misfit(&self, (values, _): &Sent) -> Option<String> {
        if values.len() != self.fields.len() {
            return Some("Record field size not match".into());
        }
        let pairs = self.fields.iter().zip(values);
        let wrong = |((name, kind), value): (&(String, String), &Option<String>)| {
            let value = value.as_ref().filter(|value| !check_value(kind, value))?;
            Some(format!("Parse field value [{name}] to {kind} failed: {}", &value[..value.len().min(20)]))
        };
        pairs.filter_map(wrong).next()
    }

    pub(super) fn store(&mut self, shard: u32, sent: Sent) {
        self.store_batch(shard, vec![sent]);
    }

    /// All records of a batch have one number and one time.
    pub(super) fn store_batch(&mut self, shard: u32, batch: Vec<Sent>) {
        let millis = 1_700_000_000_000 + self.order.len() as i64;
        let records = &mut self.shards.get_mut(&shard).expect("the shard is there").records;
        let sequence = records.last().map_or(0, |last| last.sequence + 1);
        for (batch_index, (values, attributes)) in batch.into_iter().enumerate() {
            self.order.push((shard, records.len()));
            records.push(Stored { shard, sequence, batch_index, millis, values, attributes });
        }
    }
}

impl Shard {
    fn new(begin: u128, end: u128, opening: u32) -> Self {
        Self::child(begin, end, opening, &[])
    }

    /// Where the first record of at least this number and place in its batch stands.
    pub(super) fn place(&self, at: (usize, usize)) -> usize {
        self.records.partition_point(|record| (record.sequence, record.batch_index) < at)
    }

    /// The number that comes next.
    pub(super) fn end(&self) -> usize {
        self.records.last().map_or(0, |last| last.sequence + 1)
    }

    fn child(begin: u128, end: u128, opening: u32, parents: &[u32]) -> Self {
        let (records, parents) = (Vec::new(), parents.to_vec());
        Self { state: "OPENING", opening, begin, end, records, first: 0, in_flight: 0, parents, read_to_end: false }
    }
}
