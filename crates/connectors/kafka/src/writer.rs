//! One lane: encodes batches and hands their messages to the client in order.

use crate::client::{Producer, unconfirmed};
use crate::config::Delivery;
use crate::outbox::{Outbox, Way};
use crate::partition::Spread;
use crate::shared::Shared;
use async_trait::async_trait;
use bytes::Bytes;
use dujiang_core::checkpoint::Token;
use dujiang_core::sink::{Detached, Milestone, Retries, SinkContext, SinkFigures, Writer};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Result, TableId, TableSchema};
use dujiang_entries::{Heads, Numbering, encoded, size, without_large};
use dujiang_format_text::messages::{Encoder, MessageOptions, Messages};
use rdkafka::message::{Header, OwnedHeaders};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of messages that wait for the client before a batch has to wait.
const MOST_WAITING: usize = 8 << 20;

/// Takes the batches of one lane.
pub(crate) struct KafkaWriter {
    shared: Arc<Shared>,
    lane: usize,
    options: MessageOptions,
    tables: HashMap<TableId, Table>,
    outbox: Outbox,
    most_waiting: usize,
    line: Line,
    /// Messages since the last barrier.
    in_epoch: u64,
    /// Of a log: the next batch is followed by another one of its cut.
    goes_on: bool,
    figures: SinkFigures,
    /// How often the brokers are asked to confirm an epoch before it fails.
    retries: Retries,
}

struct Table {
    schema: Arc<TableSchema>,
    encoder: Encoder,
    way: Arc<Way>,
}

/// The producer at hand and how much went into it.
#[derive(Clone)]
struct Line {
    number: u64,
    producer: Producer,
    lane: usize,
    sent: Arc<AtomicU64>,
}

impl Line {
    fn new(shared: &Shared, lane: usize) -> Result<Self> {
        let (number, producer) = shared.producer()?;
        let sent = Arc::new(AtomicU64::new(producer.reports().ended(lane)));
        Ok(Self { number, producer, lane, sent })
    }

    fn unconfirmed(&self) -> u64 {
        self.sent.load(Ordering::Acquire).saturating_sub(self.producer.reports().ended(self.lane))
    }

    fn pump(&self, outbox: &mut Outbox) -> Result<()> {
        let sent = outbox.pump(&self.producer)?;
        self.sent.fetch_add(sent, Ordering::AcqRel);
        Ok(())
    }

    /// Waits until another message of any lane has come to an end since `seen` were.
    async fn progress(&self, seen: u64, patience: Duration, brokers: &str) -> Result<()> {
        let reports = self.producer.reports();
        if reports.wait_beyond(seen, patience).await {
            return Ok(());
        }
        Err(unconfirmed(self.unconfirmed(), brokers, reports.trouble()))
    }

    /// Waits until everything is handed over and confirmed.
    async fn settle(&self, outbox: &mut Outbox, patience: Duration, brokers: &str) -> Result<()> {
        loop {
            let seen = self.producer.reports().ended_of_all();
            self.pump(outbox)?;
            if let Some(error) = self.producer.reports().failure() {
                return Err(error);
            }
            if outbox.is_empty() && self.unconfirmed() == 0 {
                return Ok(());
            }
            self.progress(seen, patience, brokers).await?;
        }
    }

    /// The same, tried again.
    async fn settle_patiently(&self, mut outbox: Outbox, shared: &Shared, retries: Retries) -> Result<()> {
        let (mut tries, config) = (0, &shared.config);
        loop {
            let done = match self.settle(&mut outbox, config.publish_timeout, &config.bootstrap).await {
                Ok(()) => return Ok(()),
                Err(error) => Err(shared.explain(error).await),
            };
            match done {
                Err(error) if error.code() == Code::SinkUnwritten && tries < retries.attempts => {
                    tracing::warn!(lane = self.lane, %error, "the brokers are asked again");
                    tries += 1;
                    tokio::time::sleep(retries.pause).await;
                }
                done => return done,
            }
        }
    }
}

impl KafkaWriter {
    pub(crate) fn new(shared: Arc<Shared>, lane: usize, context: &SinkContext) -> Result<Self> {
        if lane >= shared.config.lanes {
            return Err(Error::new(Code::Bug, format!("the Kafka sink has no lane {lane}")));
        }
        let headers = shared.config.event_headers.then(|| context.identity.lineage.clone());
        let options = MessageOptions { headers, ..shared.config.messages.clone() };
        shared.gate(|gate| gate.join(lane));
        Ok(Self {
            lane,
            options,
            tables: HashMap::new(),
            outbox: Outbox::new(lane, &context.budget),
            most_waiting: (context.budget.limit() / 16).min(MOST_WAITING),
            line: Line::new(&shared, lane)?,
            in_epoch: 0,
            goes_on: false,
            figures: SinkFigures::default(),
            retries: context.retries,
            shared,
        })
    }

    fn transactional(&self) -> bool {
        self.shared.config.delivery == Delivery::ExactlyOnce
    }

    fn may_send(&self) -> bool {
        !self.transactional() || self.shared.may_send(self.lane)
    }

    /// After a commit that had to be looked up another producer may be in place; what went into the one before is done with.
    fn refresh(&mut self) -> Result<()> {
        if self.shared.producer()?.0 != self.line.number {
            self.line = Line::new(&self.shared, self.lane)?;
        }
        Ok(())
    }

    /// Hands over what there is room for, if it is its turn.
    fn pump(&mut self) -> Result<()> {
        self.refresh()?;
        if let Some(error) = self.line.producer.reports().failure() {
            return Err(error);
        }
        if self.outbox.is_empty() || !self.may_send() {
            return Ok(());
        }
        if self.transactional() {
            self.shared.gate(crate::gate::Gate::fill);
        }
        self.line.pump(&mut self.outbox)
    }

    /// Waits until another batch may be taken.
    async fn make_room(&mut self) -> Result<()> {
        loop {
            let shared = self.shared.clone();
            let mut opened = pin!(shared.opened.notified());
            opened.as_mut().enable();
            let seen = self.line.producer.reports().ended_of_all();
            self.pump()?;
            if self.outbox.bytes() < self.most_waiting {
                return Ok(());
            }
            if self.may_send() {
                let config = &shared.config;
                if let Err(error) = self.line.progress(seen, config.publish_timeout, &config.bootstrap).await {
                    return Err(shared.explain(error).await);
                }
            } else {
                // The epoch before waits for its commit, which is told elsewhere.
                opened.await;
            }
        }
    }

    async fn prepare_table(&mut self, schema: &Arc<TableSchema>) -> Result<()> {
        let same = |table: &Table| Arc::ptr_eq(&table.schema, schema) || table.schema == *schema;
        if self.tables.get(&schema.id).is_some_and(same) {
            return Ok(());
        }
        let encoder = Encoder::new(schema, &self.options)?;
        let target = self.shared.target(&schema.id).await?;
        let spread = Spread::of(schema, target.partitions, self.shared.config.strategy);
        let way = Arc::new(Way { target, spread, headers: self.headers(&schema.id) });
        self.tables.insert(schema.id.clone(), Table { schema: schema.clone(), encoder, way });
        Ok(())
    }

    fn take_rows(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        let mut messages = self.outbox.buffer();
        let table = self.tables.get_mut(&batch.schema.id).expect("invariant: it has just been prepared");
        let failed = encode(table, batch, &mut messages)?;
        let way = table.way.clone();
        self.keep(messages, None, way);
        Ok(failed)
    }

    /// Of a log: the rows as numbered entries.
    fn take_entries(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        let shared = self.shared.clone();
        let id = &batch.schema.id;
        let shape = match shared.entries.shape(id) {
            Some((shape, known)) if known == batch.schema && batch.source_table() == id => shape,
            _ => {
                let what = "rows come in a shape that the log has not been told";
                return Err(Error::new(Code::Bug, what).fact("table", id.to_string()));
            }
        };
        let (outbox, table) = (&mut self.outbox, self.tables.get_mut(id));
        let table = table.expect("invariant: it has just been prepared");
        let (encoded, failed) = encoded(batch, || outbox.buffer(), |rows, out| encode(table, rows, out))?;
        let way = table.way.clone();
        let mut numbering = Numbering::new(&shared.entries, shape, self.goes_on);
        for (rows, messages) in encoded {
            let heads = numbering.heads(&rows, &messages)?;
            self.keep(messages, Some(heads), way.clone());
        }
        Ok(failed)
    }

    fn keep(&mut self, messages: Messages, heads: Option<Heads>, way: Arc<Way>) {
        if messages.is_empty() {
            return;
        }
        self.in_epoch += messages.len() as u64;
        self.figures.units += messages.len() as u64;
        self.figures.bytes += messages.iter().map(|message| size(&message) as u64).sum::<u64>();
        self.outbox.push(messages, heads, way);
    }

    /// The headers that all messages of a table have. A table here has no namespace; the dialect writes an empty one.
    fn headers(&self, table: &TableId) -> Option<OwnedHeaders> {
        let config = &self.shared.config;
        let named = [("namespace", ""), ("schemaName", &*table.database), ("tableName", &*table.table)];
        let named = named.into_iter().filter(|_| config.table_headers);
        let all: Vec<_> = named.chain(config.headers.iter().map(|(k, v)| (k.as_str(), v.as_str()))).collect();
        if all.is_empty() {
            return None;
        }
        let insert = |headers: OwnedHeaders, (key, value)| headers.insert(Header { key, value: Some(value) });
        Some(all.into_iter().fold(OwnedHeaders::new(), insert))
    }
}

/// Encodes a batch without the records that are too large; those that have no message, in order.
fn encode(table: &mut Table, batch: &ChangeBatch, out: &mut Messages) -> Result<Vec<RowError>> {
    let failed = table.encoder.encode(batch, 0..batch.images(), out)?;
    Ok(without_large(batch, out, failed, table.way.target.limit, |bytes| too_large(table, bytes)))
}

fn too_large(table: &Table, bytes: usize) -> Error {
    let Table { schema, way, .. } = table;
    Error::new(Code::KafkaTooLarge, format!("a record of {} is larger than a message may be", schema.id))
        .fact("topic", way.target.topic.as_str())
        .fact("bytes", bytes.to_string())
        .fact("most", way.target.limit.to_string())
        .help("raise `properties.max.request.size` and the topic's `max.message.bytes`")
}

#[async_trait]
impl Writer for KafkaWriter {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        self.make_room().await?;
        self.prepare_table(&batch.schema).await?;
        let failed = if self.shared.config.is_log() { self.take_entries(batch)? } else { self.take_rows(batch)? };
        // The batch is taken now, whatever becomes of it: what goes wrong is told by the next call.
        if let Err(error) = self.pump() {
            tracing::debug!(lane = self.lane, %error, "messages wait");
        }
        Ok(failed)
    }

    fn cut_goes_on(&mut self, goes_on: bool) {
        self.goes_on = goes_on;
    }

    async fn mark(&mut self, milestone: Milestone) -> Result<()> {
        if self.shared.config.is_log() {
            self.shared.entries.mark(milestone);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if self.transactional() {
            return Ok(());
        }
        self.refresh()?;
        let config = &self.shared.config;
        match self.line.settle(&mut self.outbox, config.publish_timeout, &config.bootstrap).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.shared.explain(error).await),
        }
    }

    fn prepare(&mut self, epoch: Epoch) -> Detached<Vec<Token>> {
        if let Err(error) = self.refresh() {
            return Box::pin(async move { Err(error) });
        }
        let written = std::mem::take(&mut self.in_epoch);
        let rest = self.outbox.take();
        let end = if self.shared.config.is_log() { self.shared.entries.cut() } else { None };
        if self.transactional() {
            let filled = !rest.is_empty() || end.is_some();
            self.shared.gate(|gate| {
                if filled {
                    gate.fill();
                }
                gate.close(self.lane, epoch.0);
            });
        }
        let (line, shared, lane) = (self.line.clone(), self.shared.clone(), self.lane);
        let (transactional, retries) = (self.transactional(), self.retries);
        Box::pin(async move {
            line.settle_patiently(rest, &shared, retries).await?;
            if written == 0 && end.is_none() || !transactional {
                return Ok(Vec::new());
            }
            let end = end.map_or_else(String::new, |end| format!(",\"end\":{end}"));
            let token = format!("{{\"producer\":{},\"lane\":{lane},\"messages\":{written}{end}}}", line.number);
            Ok(vec![Token(Bytes::from(token))])
        })
    }

    fn buffered(&self) -> usize {
        self.outbox.bytes()
    }

    async fn spill(&mut self) -> Result<()> {
        self.pump()
    }

    fn trouble(&self) -> Option<String> {
        self.line.producer.reports().trouble().filter(|_| self.line.unconfirmed() > 0)
    }

    fn figures(&self) -> SinkFigures {
        self.figures
    }
}
