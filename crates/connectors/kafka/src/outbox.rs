//! Messages that wait to be handed to the client, in order.

use crate::client::Producer;
use crate::partition::Spread;
use crate::topics::Target;
use dujiang_core::Result;
use dujiang_core::budget::{Budget, Held};
use dujiang_entries::{HEADER, Heads};
use dujiang_format_text::messages::{Message, Messages};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use std::collections::VecDeque;
use std::sync::Arc;

/// Where the messages of a chunk go.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) target: Arc<Target>,
    pub(crate) spread: Spread,
    /// Headers that all of them have.
    pub(crate) headers: Option<OwnedHeaders>,
}

/// The messages of one batch.
struct Chunk {
    messages: Messages,
    /// Of a log: a further header for each.
    heads: Option<Heads>,
    /// The next one to be handed over.
    next: usize,
    way: Arc<Way>,
    bytes: usize,
    _held: Held,
}

/// Chunks in order.
pub(crate) struct Outbox {
    lane: usize,
    chunks: VecDeque<Chunk>,
    bytes: usize,
    budget: Budget,
    /// Buffers to be used again.
    spare: Vec<Messages>,
}

/// More buffers than this are not kept.
const SPARE: usize = 4;

impl Outbox {
    pub(crate) fn new(lane: usize, budget: &Budget) -> Self {
        Self { lane, chunks: VecDeque::new(), bytes: 0, budget: budget.clone(), spare: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// An empty buffer for [`Outbox::push`].
    pub(crate) fn buffer(&mut self) -> Messages {
        self.spare.pop().unwrap_or_default()
    }

    pub(crate) fn push(&mut self, messages: Messages, heads: Option<Heads>, way: Arc<Way>) {
        let bytes = messages.memory() + heads.as_ref().map_or(0, Heads::memory);
        self.bytes += bytes;
        let _held = self.budget.hold(bytes);
        self.chunks.push_back(Chunk { messages, heads, next: 0, way, bytes, _held });
    }

    /// Everything in it, as an outbox of its own.
    pub(crate) fn take(&mut self) -> Self {
        let spare = std::mem::take(&mut self.spare);
        let empty = Self { spare, ..Self::new(self.lane, &self.budget) };
        std::mem::replace(self, empty)
    }

    /// Hands over what the client has room for; how many messages that were.
    ///
    /// # Errors
    /// When the client refuses one; it stays first.
    pub(crate) fn pump(&mut self, producer: &Producer) -> Result<u64> {
        let mut sent = 0;
        while let Some(chunk) = self.chunks.front_mut() {
            while chunk.next < chunk.messages.len() {
                let head = chunk.heads.as_ref().and_then(|heads| heads.get(chunk.next));
                if !producer.send(record(&chunk.messages.get(chunk.next), head, &chunk.way, self.lane))? {
                    return Ok(sent);
                }
                chunk.next += 1;
                sent += 1;
            }
            let Some(mut done) = self.chunks.pop_front() else { break };
            self.bytes -= done.bytes;
            done.messages.clear();
            if self.spare.len() < SPARE {
                self.spare.push(done.messages);
            }
        }
        Ok(sent)
    }
}

fn record<'a>(
    message: &Message<'a>,
    head: Option<&[u8]>,
    way: &'a Way,
    lane: usize,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut record = BaseRecord::with_opaque_to(&way.target.topic, lane);
    record.partition = Some(way.spread.partition(message.key));
    record.key = message.key;
    record.payload = message.value;
    record.headers = headers(message, head, way);
    record
}

fn headers(message: &Message<'_>, head: Option<&[u8]>, way: &Way) -> Option<OwnedHeaders> {
    let mut headers = way.headers.clone();
    for (key, value) in message.headers().chain(head.map(|head| (HEADER, head))) {
        let all = headers.unwrap_or_else(|| OwnedHeaders::new_with_capacity(3));
        headers = Some(all.insert(Header { key, value: Some(value) }));
    }
    headers
}
