//! Kafka as a sink.

use crate::client::{Outcome, Producer, Record, Reports, blocking, unconfirmed};
use crate::config::{Delivery, SinkConfig};
use crate::marker::{self, Marker};
use crate::shared::Shared;
use crate::topics::topic_of;
use crate::writer::KafkaWriter;
use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::evolution::{SchemaEvent, SinkChange};
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, SinkState, Writer};
use dujiang_core::{Code, Epoch, Error, Result, TableId, TableSchema};
use rdkafka::ClientConfig;
use std::sync::Arc;

/// Kafka.
pub(crate) struct KafkaSink(Arc<Shared>);

impl KafkaSink {
    pub(crate) fn new(config: SinkConfig) -> Self {
        Self(Arc::new(Shared::new(config)))
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
        let Some(topics) = examination.record("brokers", topics, |topics| format!("{} topics", topics.len())) else {
            return examination;
        };
        if config.delivery == Delivery::ExactlyOnce {
            let there = topics.iter().any(|topic| topic.name == config.commit_topic);
            let found = if there { "is there" } else { "is made by the first run" };
            examination.ok("commit topic", format!("{} {found}", config.commit_topic));
        }
        examination
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(KafkaCommitter { shared: self.0.clone(), context, held: 0, marked: None, awaited: 0 }))
    }

    async fn writer(&self, lane: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(KafkaWriter::new(self.0.clone(), lane, &context)?))
    }
}

struct KafkaCommitter {
    shared: Arc<Shared>,
    context: SinkContext,
    /// The last epoch whose data is visible.
    held: u64,
    /// The epoch whose record lies in the open transaction.
    marked: Option<u64>,
    /// Records of ours that have come to an end once the last one has.
    awaited: u64,
}

impl KafkaCommitter {
    fn config(&self) -> &SinkConfig {
        &self.shared.config
    }

    fn transactional_id(&self) -> String {
        format!("dujiang-{}-{}", self.context.identity.name, self.context.identity.lineage.0)
    }

    async fn last_marker(&self) -> Result<Option<Marker>> {
        let config = self.config();
        marker::last(&config.client, &config.bootstrap, &config.commit_topic).await
    }

    fn start_producer(&self) -> Result<Producer> {
        let config = self.config();
        let mut client: ClientConfig = config.client.clone();
        client.set("enable.idempotence", "true");
        if config.delivery == Delivery::ExactlyOnce {
            client.set("transactional.id", self.transactional_id());
        }
        Producer::start(&client, &config.bootstrap, Reports::new(config.lanes, &config.bootstrap))
    }

    /// A producer that has shut out every earlier one and ended what they left open.
    async fn take_over(&self) -> Result<Producer> {
        let producer = self.start_producer()?;
        blocking(move || {
            producer.init_transactions()?;
            producer.begin_transaction()?;
            Ok(producer)
        })
        .await
    }

    /// Puts a record of ours into the open transaction.
    async fn send_mark(&mut self, producer: &Producer, epoch: u64, position: &str) -> Result<()> {
        let marker = Marker {
            pipeline: self.context.identity.name.to_string(),
            lineage: self.context.identity.lineage.0.to_string(),
            generation: self.context.generation.0,
            epoch,
            position: position.to_owned(),
        };
        let (bytes, lane, reports) = (marker.bytes()?, self.config().lanes, producer.reports());
        let awaited = reports.ended(lane) + 1;
        loop {
            let seen = reports.ended_of_all();
            let record = Record::with_opaque_to(&self.config().commit_topic, lane);
            if producer.send(record.partition(0).key(marker::KEY.as_bytes()).payload(&bytes))? {
                self.awaited = awaited;
                return Ok(());
            }
            self.await_report(producer, seen).await?;
        }
    }

    /// Waits until the brokers have it, one way or the other: the commit itself would wait longer for that.
    async fn await_mark(&self, producer: &Producer) -> Result<()> {
        loop {
            let seen = producer.reports().ended_of_all();
            if producer.reports().ended(self.config().lanes) >= self.awaited {
                return Ok(());
            }
            self.await_report(producer, seen).await?;
        }
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
        marker::make_topic(&admin, &topic, self.config().replicas).await?;
        // Whoever is no owner must not shut the owner out.
        let seen = self.last_marker().await?;
        self.check(seen.as_ref())?;
        let producer = self.take_over().await?;
        // A commit that was under way is decided now.
        let found = self.last_marker().await?;
        self.check(found.as_ref())?;
        let (epoch, position) = found.as_ref().map_or((0, ""), |marker| (marker.epoch, marker.position.as_str()));
        // INV-11: from here on the generation stands in the topic.
        self.send_mark(&producer, epoch, position).await?;
        self.await_mark(&producer).await?;
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

    fn check(&self, marker: Option<&Marker>) -> Result<()> {
        let Some(marker) = marker else { return Ok(()) };
        marker.check_owner(&self.config().commit_topic, &self.context)?;
        if marker.generation > self.context.generation.0 {
            return Err(Error::new(Code::Fenced, "a newer instance of this pipeline writes to Kafka")
                .fact("its generation", marker.generation.to_string())
                .fact("ours", self.context.generation.0.to_string()));
        }
        Ok(())
    }

    async fn committed(&mut self, producer: Producer, epoch: u64) -> Result<()> {
        blocking(move || producer.begin_transaction()).await?;
        self.now_held(epoch);
        Ok(())
    }

    fn now_held(&mut self, epoch: u64) {
        (self.held, self.marked) = (epoch, None);
        self.shared.gate(|gate| gate.committed(epoch));
    }

    /// INV-12: this producer cannot tell what became of the commit. Its successor ends or completes it, and then the commit
    /// topic says which it was.
    async fn look_up(&mut self, epoch: u64, why: String) -> Result<()> {
        tracing::warn!(epoch, why, "the outcome of a commit is looked up");
        self.check(self.last_marker().await?.as_ref())?;
        let producer = self.take_over().await?;
        let found = self.last_marker().await?;
        self.check(found.as_ref())?;
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
            self.send_mark(&producer, epoch, &request.position_text).await?;
            self.marked = Some(epoch);
        }
        self.await_mark(&producer).await?;
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
