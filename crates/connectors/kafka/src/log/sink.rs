//! The log as the sink of the capture: what differs from topics that are only a sink.

use crate::client::Producer;
use crate::config::SinkConfig;
use crate::gate::Gate;
use crate::sink::{KafkaCommitter, KafkaSink};
use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::evolution::SinkChange;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, SinkState, Writer};
use dujiang_core::{Epoch, Result, TableId, TableSchema};
use dujiang_entries::{Here, write_shape};
use dujiang_format_text::messages::{Decoder, Encoder};
use std::sync::Arc;

/// The writing end of a log.
pub(crate) struct LogSink {
    kafka: KafkaSink,
    here: Arc<Here>,
}

impl LogSink {
    pub(crate) fn new(config: SinkConfig, here: Arc<Here>) -> Self {
        Self { kafka: KafkaSink::new(config), here }
    }

    fn log_committer(&self, context: SinkContext) -> LogCommitter {
        let (kafka, here) = (self.kafka.kafka_committer(context), self.here.clone());
        LogCommitter { kafka, here, number: None }
    }
}

#[async_trait]
impl Sink for LogSink {
    fn class(&self) -> SinkClass {
        self.kafka.class()
    }

    fn unit(&self) -> (&'static str, &'static str) {
        self.kafka.unit()
    }

    fn is_log(&self) -> bool {
        true
    }

    fn place_of(&self, table: &TableId) -> Option<String> {
        self.kafka.place_of(table)
    }

    async fn examine(&self, visit: &Visit) -> Examination {
        self.kafka.examine(visit).await
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(self.log_committer(context)))
    }

    async fn writer(&self, lane: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        self.kafka.writer(lane, context).await
    }
}

/// Tells shapes in order with the changes; everything else is as for topics that are only a sink.
struct LogCommitter {
    kafka: KafkaCommitter,
    here: Arc<Here>,
    /// A number that was taken for a change that could not be told: the next one has it, or it would be missing for ever.
    number: Option<u64>,
}

impl LogCommitter {
    async fn tell(&mut self, changes: &[SchemaChange]) -> Result<()> {
        let shared = self.kafka.shared.clone();
        shared.targets(changes.iter().map(|change| &change.after.id)).await?;
        let (_, producer) = shared.producer()?;
        for change in changes {
            if !shared.entries.is_told(change) {
                self.tell_one(&producer, change).await?;
            }
        }
        self.kafka.await_own(&producer).await
    }

    async fn tell_one(&mut self, producer: &Producer, change: &SchemaChange) -> Result<()> {
        let shared = self.kafka.shared.clone();
        // What could not be read back is refused before anything of it is captured.
        let format = &shared.config.messages;
        Decoder::new(&change.after, format)?;
        Encoder::new(&change.after, format)?;
        let number = *self.number.get_or_insert_with(|| shared.entries.take(1));
        let value = write_shape(number, change)?;
        // From here on the transaction is not empty.
        shared.gate(Gate::fill);
        self.kafka.send_own(producer, &shared.config.commit_topic, number.to_string().as_bytes(), &value).await?;
        self.number = None;
        shared.entries.told(number, change);
        Ok(())
    }
}

#[async_trait]
impl Committer for LogCommitter {
    async fn open(&mut self) -> Result<SinkState> {
        let state = self.kafka.open().await?;
        self.number = None;
        self.here.captures(self.kafka.generation());
        Ok(state)
    }

    async fn commit(&mut self, request: &CommitRequest) -> Result<()> {
        self.kafka.commit(request).await
    }

    fn carried(&mut self) {
        self.kafka.carried();
    }

    async fn abort_except(&mut self, keep: &[Token]) -> Result<()> {
        self.kafka.abort_except(keep).await
    }

    async fn apply_schema(&mut self, expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        self.tell(&[SchemaChange::of_shapes(expected, next)]).await
    }

    async fn apply_shapes(&mut self, shapes: &[Arc<TableSchema>]) -> Result<()> {
        let changes: Vec<SchemaChange> = shapes.iter().map(|shape| SchemaChange::of_shapes(None, shape)).collect();
        self.tell(&changes).await
    }

    async fn apply_change(&mut self, change: &SchemaChange) -> Result<()> {
        self.tell(std::slice::from_ref(change)).await
    }

    async fn apply_event(&mut self, change: &SinkChange) -> Result<()> {
        self.tell(&[change.as_told()]).await
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        self.kafka.withdraw_after(epoch).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Reports;
    use crate::log::config::LogConfig;
    use arrow_schema::{DataType, Field};
    use dujiang_core::budget::Budget;
    use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity};
    use dujiang_core::clock::Standing;
    use dujiang_core::connector::PipelineOptions;
    use dujiang_core::options::{Place, RawOption};
    use dujiang_core::sink::{Milestone, Retries};
    use rdkafka::ClientConfig;

    /// A committer whose brokers are not there.
    fn committer() -> LogCommitter {
        let option = |(key, value): (&str, &str)| RawOption::new(key, value, Place::CommandLine);
        let raw = [("properties.bootstrap.servers", "127.0.0.1:1"), ("publish.timeout", "10ms")].map(option);
        let pipeline = PipelineOptions { name: "p".into(), parallelism: 1, memory_limit: 1 << 20 };
        let LogConfig { sink, read, .. } = LogConfig::parse(&raw, &pipeline).unwrap();
        LogSink::new(sink, Here::of(&read.bootstrap, &read.prefix)).log_committer(SinkContext {
            identity: PipelineIdentity { name: "p".into(), lineage: Lineage("aa".into()) },
            generation: Generation(1),
            clock: Arc::new(Standing(0)),
            budget: Budget::new(1 << 20),
            retries: Retries::default(),
        })
    }

    /// With room for one message, which nobody takes.
    fn producer() -> Producer {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", "127.0.0.1:1").set("queue.buffering.max.messages", "1");
        Producer::start(&client, "127.0.0.1:1", Reports::new(1, "127.0.0.1:1")).unwrap()
    }

    fn change(table: &str) -> SchemaChange {
        let fields = vec![Field::new("id", DataType::Int64, false)];
        SchemaChange::of_shapes(None, &TableSchema::by_value(TableId::new("shop", table), fields, vec![0]))
    }

    /// A change that could not be handed over keeps its number for the next try: a number that nobody has ends reading.
    #[tokio::test]
    async fn no_number_is_lost_with_a_message() {
        let (mut log, full) = (committer(), producer());
        log.tell_one(&full, &change("a")).await.unwrap();
        for _ in 0..3 {
            log.tell_one(&full, &change("b")).await.expect_err("there is no room");
        }
        let entries = &log.kafka.shared.clone().entries;
        entries.mark(Milestone::SnapshotDone);
        log.tell_one(&producer(), &change("b")).await.unwrap();
        let part = entries.part(entries.next(), Default::default());
        assert_eq!((part.end, part.shapes), (3, vec![0, 1]));
        assert_eq!(part.milestones, [(2, "snapshot-done".to_owned())]);
    }
}
