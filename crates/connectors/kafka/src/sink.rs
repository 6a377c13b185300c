//! Kafka as a sink.

use crate::client::{NewTopic, Outcome, Producer, Record, Reports, blocking, unconfirmed};
use crate::config::{Delivery, SinkConfig};
use crate::marker::{self, Marker};
use crate::names::ReadConfig;
use crate::reading::{Client, KEY, connect, reader_of};
use crate::shared::Shared;
use crate::state;
use crate::topics::topic_of;
use crate::writer::KafkaWriter;
use async_trait::async_trait;
use dujiang_core::checkpoint::{Generation, Token};
use dujiang_core::evolution::{SchemaEvent, SinkChange};
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, SinkState, Writer};
use dujiang_core::{Code, Epoch, Error, Result, TableId, TableSchema};
use dujiang_entries::Part;
use rdkafka::ClientConfig;
use std::sync::Arc;

/// Kafka.
pub(crate) struct KafkaSink(Arc<Shared>);

impl KafkaSink {
    pub(crate) fn new(config: SinkConfig) -> Self {
        Self(Arc::new(Shared::new(config)))
    }

    pub(crate) fn kafka_committer(&self, context: SinkContext) -> KafkaCommitter {
        KafkaCommitter::new(self.0.clone(), context)
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn class(&self) -> SinkClass {
        match self.0.config.delivery {
            Delivery::ExactlyOnce => SinkClass::Transactional,
            Delivery::AtLeastOnce => SinkClass::AtLeastOnce,
        }
    }

    fn unit(&self) -> (&'static str, &'static str) {
        ("message", "messages")
    }

    fn place_of(&self, table: &TableId) -> Option<String> {
        topic_of(table, &self.0.config).ok().map(|topic| format!("topic {topic}"))
    }

    async fn examine(&self, _visit: &Visit) -> Examination {
        let config = &self.0.config;
        let mut examination = Examination::of(format!("Kafka at {}", config.bootstrap));
        let topics = match self.0.admin() {
            Ok(admin) => admin.topics().await,
            Err(error) => Err(error),
        };
        let Some(topics) = examination.reach("brokers", topics, |topics| format!("{} topics", topics.len())) else {
            return examination;
        };
        if config.delivery == Delivery::ExactlyOnce {
            let what = if config.is_log() { "log" } else { "commit topic" };
            let there = topics.iter().any(|topic| topic.name == config.commit_topic);
            let found = if there { "is there" } else { "is made by the first run" };
            examination.ok(what, format!("{} {found}", config.commit_topic));
        }
        examination
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(self.kafka_committer(context)))
    }

    async fn writer(&self, lane: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(KafkaWriter::new(self.0.clone(), lane, &context)?))
    }
}

pub(crate) struct KafkaCommitter {
    pub(crate) shared: Arc<Shared>,
    context: SinkContext,
    /// The last epoch whose data is visible.
    held: u64,
    /// The epoch whose record lies in the open transaction.
    marked: Option<u64>,
    /// Of a log: the epoch whose entries are known, and they.
    part: Option<(u64, Part)>,
    /// Records of ours that were handed to the producer.
    sent: u64,
}

impl KafkaCommitter {
    fn new(shared: Arc<Shared>, context: SinkContext) -> Self {
        Self { shared, context, held: 0, marked: None, part: None, sent: 0 }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.context.generation.0
    }

    fn config(&self) -> &SinkConfig {
        &self.shared.config
    }

    fn transactional_id(&self) -> String {
        format!("dujiang-{}-{}", self.context.identity.name, self.context.identity.lineage.0)
    }

    /// Reads what is committed.
    fn client(&self) -> Result<Arc<Client>> {
        connect(&reader_of(&self.config().client)).map(Arc::new)
    }

    async fn last_marker(&self, client: &Arc<Client>) -> Result<Option<Marker>> {
        let config = self.config();
        let found = marker::last(client, &config.bootstrap, &config.commit_topic).await?;
        let Some(found) = found else { return Ok(None) };
        found.check_owner(&config.commit_topic, &self.context)?;
        self.check(found.generation())?;
        Ok(Some(found))
    }

    fn start_producer(&self) -> Result<Producer> {
        let config = self.config();
        let mut client: ClientConfig = config.client.clone();
        client.set("enable.idempotence", "true");
        if config.delivery == Delivery::ExactlyOnce {
            client.set("transactional.id", self.transactional_id());
        }
        let reports = Reports::new(config.lanes, &config.bootstrap);
        Producer::start(&client, &config.bootstrap, if config.is_log() { reports.with_ranges() } else { reports })
    }

    /// A producer that has shut out every earlier one and ended what they left open. INV-11: a later instance is not shut out,
    /// whether its record is committed, about to be, or was given up.
    async fn take_over(&mut self) -> Result<Producer> {
        self.sent = 0;
        let config = self.config();
        let mut all = reader_of(&config.client);
        all.set("isolation.level", "read_uncommitted");
        let (ours, topic) = (self.marker(0, "", None), &config.commit_topic);
        let newest = marker::newest(connect(&all)?, &config.bootstrap, topic, ours).await?;
        self.check(newest)?;
        let producer = self.start_producer()?;
        blocking(move || {
            producer.init_transactions()?;
            producer.begin_transaction()?;
            Ok(producer)
        })
        .await
    }

    fn marker(&self, epoch: u64, position: &str, log: Option<Part>) -> Marker {
        Marker {
            pipeline: self.context.identity.name.to_string(),
            lineage: self.context.identity.lineage.0.to_string(),
            generation: self.context.generation.0,
            epoch,
            position: position.to_owned(),
            log,
        }
    }

    /// Puts the record of an epoch into the open transaction; of a log also where its readers find all of them.
    async fn send_mark(&mut self, producer: &Producer, request: &CommitRequest) -> Result<()> {
        let part = self.part_of(producer, request)?;
        let marker = self.marker(request.epoch.0, &request.position_text, part).bytes()?;
        let shared = self.shared.clone();
        for topic in shared.config.topics.log.iter().chain([&shared.config.commit_topic]) {
            self.send_own(producer, topic, KEY.as_bytes(), &marker).await?;
        }
        Ok(())
    }

    /// Hands a record of ours to the producer.
    pub(crate) async fn send_own(&mut self, producer: &Producer, topic: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let lane = self.config().lanes;
        loop {
            let seen = producer.reports().ended_of_all();
            let record = Record::with_opaque_to(topic, lane);
            if producer.send(record.partition(0).key(key).payload(value))? {
                self.sent += 1;
                return Ok(());
            }
            self.await_report(producer, seen).await?;
        }
    }

    /// Waits until the brokers have all of ours, one way or the other: a commit itself would wait longer for that.
    pub(crate) async fn await_own(&self, producer: &Producer) -> Result<()> {
        loop {
            let seen = producer.reports().ended_of_all();
            if producer.reports().ended(self.config().lanes) >= self.sent {
                return Ok(());
            }
            self.await_report(producer, seen).await?;
        }
    }

    /// Of a log: the entries of the epoch that is to be committed, whose messages are all confirmed.
    fn part_of(&mut self, producer: &Producer, request: &CommitRequest) -> Result<Option<Part>> {
        if !self.config().is_log() {
            return Ok(None);
        }
        let epoch = request.epoch.0;
        if let Some((_, part)) = self.part.as_ref().filter(|(of, _)| *of == epoch) {
            return Ok(Some(part.clone()));
        }
        let mut topics = producer.reports().take_ranges();
        // Records of epochs and shapes are found without.
        topics.retain(|topic, _| {
            *topic != self.config().commit_topic && self.config().topics.log.as_ref() != Some(topic)
        });
        if topics.values().flat_map(|partitions| partitions.values()).any(|(first, _)| *first < 0) {
            // Brokers may confirm a repeated message without its place; then readers could not find it.
            let why = "the brokers did not tell where messages stand".to_owned();
            return Err(self.aborted(&format!("the transaction of epoch {epoch}"), why));
        }
        let end = request.tokens.iter().filter_map(|Token(bytes)| end_of(bytes)).max().unwrap_or_default();
        let part = self.shared.entries.part(end, topics);
        self.part = Some((epoch, part.clone()));
        Ok(Some(part))
    }

    async fn await_report(&self, producer: &Producer, seen: u64) -> Result<()> {
        let config = self.config();
        if producer.reports().wait_beyond(seen, config.publish_timeout).await {
            return Ok(());
        }
        Err(unconfirmed(1, &config.bootstrap, producer.reports().trouble()))
    }

    async fn open_transactional(&mut self) -> Result<SinkState> {
        let (admin, topic) = (self.shared.admin()?, self.config().commit_topic.clone());
        let there = admin.topics().await?;
        if let Some(name) = &self.config().topics.log {
            let (settings, replicas) = (&self.config().topic_properties, self.config().replicas);
            let settings = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            marker::make_single(&admin, &there, &NewTopic { name, partitions: 1, replicas, settings }).await?;
        }
        marker::make_topic(&admin, &there, &topic, self.config().replicas).await?;
        let client = self.client()?;
        // Whoever is no owner must not shut the owner out.
        self.last_marker(&client).await?;
        let producer = self.take_over().await?;
        // A commit that was under way is decided now.
        let found = self.last_marker(&client).await?;
        let (epoch, position) = found.as_ref().map_or((0, ""), |marker| (marker.epoch, marker.position.as_str()));
        let log = self.begin_log(&client, found.as_ref()).await?;
        // INV-11: from here on the generation stands in the topic.
        let marker = self.marker(epoch, position, log).bytes()?;
        self.send_own(&producer, &topic, KEY.as_bytes(), &marker).await?;
        self.await_own(&producer).await?;
        let committing = producer.clone();
        match blocking(move || Ok(committing.commit_transaction())).await? {
            Outcome::Committed => {}
            Outcome::Unknown(error) => return Err(error),
            Outcome::Ended(why) => return Err(self.aborted("the transaction by which the sink is opened", why)),
        }
        let beginning = producer.clone();
        blocking(move || beginning.begin_transaction()).await?;
        self.shared.replace_producer(producer);
        (self.held, self.marked) = (epoch, None);
        Ok(match (epoch, found) {
            (1.., Some(marker)) => SinkState::Holds { generation: marker.generation(), epoch: Epoch(epoch) },
            _ => SinkState::Empty,
        })
    }

    /// Of a log: goes on behind the entries that are committed.
    async fn begin_log(&mut self, client: &Arc<Client>, found: Option<&Marker>) -> Result<Option<Part>> {
        let Some(prefix) = &self.config().topics.log else { return Ok(None) };
        let end = found.and_then(|marker| marker.log.as_ref()).map_or(0, |part| part.end);
        let (settings, bootstrap) = (reader_of(&self.config().client), self.config().bootstrap.clone());
        let reading = ReadConfig { client: settings, bootstrap, prefix: prefix.clone() };
        let state = state::read(client, reading).await?;
        let shapes = state.shapes.before(end).into_iter().collect();
        self.shared.entries.begin(end, shapes);
        self.part = None;
        Ok(Some(Part { from: end, end, ..Part::default() }))
    }

    fn check(&self, found: Generation) -> Result<()> {
        if found <= self.context.generation {
            return Ok(());
        }
        Err(Error::new(Code::Fenced, "a newer instance of this pipeline writes to Kafka")
            .fact("its generation", found.0.to_string())
            .fact("ours", self.context.generation.0.to_string()))
    }

    async fn committed(&mut self, producer: Producer, epoch: u64) -> Result<()> {
        blocking(move || producer.begin_transaction()).await?;
        self.now_held(epoch);
        Ok(())
    }

    fn now_held(&mut self, epoch: u64) {
        (self.held, self.marked) = (epoch, None);
        if let Some((_, part)) = self.part.take().filter(|(of, _)| *of == epoch) {
            self.shared.entries.committed(part.end);
        }
        self.shared.gate(|gate| gate.committed(epoch));
    }

    /// INV-12: this producer cannot tell what became of the commit. Its successor ends or completes it, and then the commit
    /// topic says which it was.
    async fn look_up(&mut self, epoch: u64, why: String) -> Result<()> {
        tracing::warn!(epoch, why, "the outcome of a commit is looked up");
        let producer = self.take_over().await?;
        let found = self.last_marker(&self.client()?).await?;
        if found.is_some_and(|marker| marker.epoch == epoch) {
            self.shared.replace_producer(producer);
            self.now_held(epoch);
            return Ok(());
        }
        Err(self.aborted(&format!("the transaction of epoch {epoch}"), why))
    }

    fn aborted(&self, what: &str, why: String) -> Error {
        let timeout = self.config().client.get("transaction.timeout.ms").unwrap_or_default();
        Error::new(Code::KafkaAborted, format!("{what} was aborted"))
            .fact("brokers", self.config().bootstrap.as_str())
            .fact("transaction.timeout.ms", timeout)
            .help(
                "nothing is lost: the next start goes on after the last epoch that was committed; if the brokers are well, \
                 shorten `pipeline.checkpoint.interval` or raise `properties.transaction.timeout.ms`",
            )
            .with_source(why)
    }

    fn check_tokens(&self, request: &CommitRequest, number: u64) -> Result<()> {
        let ours = format!("{{\"producer\":{number},");
        if request.tokens.iter().all(|Token(bytes)| bytes.starts_with(ours.as_bytes())) {
            return Ok(());
        }
        Err(Error::new(Code::KafkaAborted, format!("the transaction of epoch {} is not open any more", request.epoch))
            .help("nothing is lost: the next start goes on after the last epoch that was committed"))
    }
}

/// The number behind the last entry that a token of a log names.
fn end_of(token: &[u8]) -> Option<u64> {
    let token: serde_json::Value = serde_json::from_slice(token).ok()?;
    token["end"].as_u64()
}

#[async_trait]
impl Committer for KafkaCommitter {
    async fn open(&mut self) -> Result<SinkState> {
        self.shared.reset();
        if self.config().delivery == Delivery::ExactlyOnce {
            return self.open_transactional().await;
        }
        // Whether brokers answer, and let this user in, is told before anything is read.
        self.shared.admin()?.topics().await?;
        self.shared.replace_producer(self.start_producer()?);
        Ok(SinkState::Unknown)
    }

    async fn commit(&mut self, request: &CommitRequest) -> Result<()> {
        let epoch = request.epoch.0;
        if self.config().delivery == Delivery::AtLeastOnce || request.tokens.is_empty() || epoch <= self.held {
            return Ok(());
        }
        let (number, producer) = self.shared.producer()?;
        self.check_tokens(request, number)?;
        if self.marked != Some(epoch) {
            self.send_mark(&producer, request).await?;
            self.marked = Some(epoch);
        }
        self.await_own(&producer).await?;
        let committing = producer.clone();
        match blocking(move || Ok(committing.commit_transaction())).await? {
            Outcome::Committed => self.committed(producer, epoch).await,
            Outcome::Unknown(error) => Err(error),
            Outcome::Ended(why) => self.look_up(epoch, why).await,
        }
    }

    fn carried(&mut self) {
        self.shared.gate(crate::gate::Gate::carried);
    }

    async fn abort_except(&mut self, _keep: &[Token]) -> Result<()> {
        // Opening has ended whatever earlier instances had left.
        Ok(())
    }

    async fn apply_schema(&mut self, _expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        self.shared.target(&next.id).await.map(|_| ())
    }

    async fn apply_shapes(&mut self, shapes: &[Arc<TableSchema>]) -> Result<()> {
        self.shared.targets(shapes.iter().map(|shape| &shape.id)).await.map(|_| ())
    }

    async fn apply_event(&mut self, change: &SinkChange) -> Result<()> {
        match &change.event {
            // As in the dialect: a topic keeps what it was told, and messages tell of rows only.
            SchemaEvent::TruncateTable | SchemaEvent::DropTable => {
                tracing::warn!(table = %change.table(), event = change.event.tag(), "the topic keeps the table's messages");
                Ok(())
            }
            _ => self.apply_schema(change.before.as_ref(), &change.after).await,
        }
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        if self.config().delivery == Delivery::AtLeastOnce {
            return Ok(());
        }
        Err(Error::new(Code::NotSupported, format!("messages after epoch {epoch} cannot be taken back from Kafka"))
            .help("start without going back, or write to other topics with another `sink.commit-topic`"))
    }
}
