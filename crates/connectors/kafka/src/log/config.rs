//! Options of the log, as a block between source and sink and as a source.

use crate::config::{
    Count, Delivery, MOST_QUEUE_BYTES, SinkConfig, Strategy, TRANSACTION_TIMEOUT, TopicNames, defaults, is_topic,
    legal_topic,
};
use crate::names::{ReadConfig, state_topic};
use crate::properties;
use crate::reading::reader_of;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Place, Problem, RawOption};
use dujiang_core::{Code, Secret, Start, options};
use dujiang_entries::messages;
use std::time::Duration;

options! {
    /// Options of the log in Kafka.
    pub struct KafkaLogOptions {
        /// One or more brokers, `host:port,host:port`, from which the client learns the others. Required.
        "properties.bootstrap.servers" => bootstrap: String, optional;
        /// Settings of the Kafka client, by their names in Kafka's own documentation: `properties.security.protocol`,
        /// `properties.sasl.jaas.config`, `properties.compression.type` (default here: lz4), ... None of them is ever printed
        /// but the brokers' addresses.
        "properties." => properties: Secret, prefix;
        /// What the names of the log's topics begin with: `<prefix>` holds its epochs, `<prefix>-state` the shapes of tables
        /// and the last epoch, `<prefix>.<database>.<table>` the changes of a table. Exactly one pipeline captures into it. Default:
        /// `dujiang-log-` and the pipeline's name.
        "topic.prefix" => prefix: String, optional;
        /// Time between two commits of what is captured: a delivery sees a change no sooner.
        "commit.interval" => commit_interval: Duration, default "1s";
        /// How long the brokers may take to confirm what was sent before that counts as a failed try.
        "publish.timeout" => publish_timeout: Duration, default "10s";
        /// Partitions of tables' topics that are made; -1: the brokers' default.
        "topic.partitions" => topic_partitions: Count, default "-1";
        /// Replicas of topics that are made; -1: the brokers' default.
        "topic.replication-factor" => topic_replicas: Count, default "-1";
        /// Settings of topics that are made: `topic.properties.retention.ms: 86400000`. How long the log keeps what, decides
        /// Kafka by them alone, whether a delivery has read it or not.
        "topic.properties." => topic_properties: String, prefix;
        /// Where a delivery begins that has none of its own position yet: `earliest`, `latest`, `offset:<number>` or
        /// `time:<time>` (with the epoch in which that time lies).
        "start" => start: Start, default "earliest";
    }
}

options! {
    /// Options of the `kafka-log` source.
    pub struct KafkaLogSourceOptions {
        /// One or more brokers, `host:port,host:port`, from which the client learns the others. Required.
        "properties.bootstrap.servers" => bootstrap: String, optional;
        /// Settings of the Kafka client, by their names in Kafka's own documentation. None of them is ever printed but the
        /// brokers' addresses.
        "properties." => properties: Secret, prefix;
        /// The log: what the names of its topics begin with.
        "topic.prefix" => prefix: String, required;
        /// Name of the consumer group that hears of progress is `<prefix>.<consumer>`. Default: the pipeline's name.
        "consumer" => consumer: String, optional;
        /// Where it begins without a position of its own: `earliest`, `latest`, `offset:<number>` or `time:<time>` (with the
        /// epoch in which that time lies).
        "start" => start: Start, default "earliest";
    }
}

/// The log's options, checked.
pub(crate) struct LogConfig {
    pub(crate) sink: SinkConfig,
    pub(crate) read: ReadConfig,
    pub(crate) commit_interval: Duration,
    pub(crate) start: Start,
}

/// Longer ones leave no room for tables' names.
const LONGEST_PREFIX: usize = 150;

fn check_prefix(prefix: &str, place: Place, problems: &mut Vec<Problem>) {
    if !is_topic(prefix) || prefix.len() > LONGEST_PREFIX {
        let message = format!("`topic.prefix`: `{prefix}` cannot begin the names of topics");
        let help = format!("use letters, digits, `.`, `_` and `-`, at most {LONGEST_PREFIX} of them");
        problems.push(Problem::new(Code::BadValue, message, place).help(help));
    }
}

impl LogConfig {
    pub(crate) fn parse(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Self, Vec<Problem>> {
        let options = KafkaLogOptions::parse(raw)?;
        let mut client = defaults((pipeline.memory_limit / 4).min(MOST_QUEUE_BYTES));
        client.set("transaction.timeout.ms", TRANSACTION_TIMEOUT).set("compression.type", "lz4");
        let mut problems = properties::apply(&options.properties, |key| options.place(key), &mut client);
        let prefix = options.prefix.clone().unwrap_or_else(|| {
            let name: String = legal_topic(&pipeline.name).chars().take(LONGEST_PREFIX - 12).collect();
            format!("dujiang-log-{name}")
        });
        check_prefix(&prefix, options.place("topic.prefix"), &mut problems);
        if options.topic_properties.iter().any(|(name, value)| name == "cleanup.policy" && value.trim() != "delete") {
            let message = "a log cannot be compacted: its topics keep every change";
            let place = options.place("topic.properties.cleanup.policy");
            problems.push(Problem::new(Code::BadValue, message, place).help("remove it, or write `delete`"));
        }
        for (name, value) in
            [("commit.interval", options.commit_interval), ("publish.timeout", options.publish_timeout)]
        {
            if value.is_zero() {
                let problem = Problem::new(Code::BadValue, format!("`{name}` must not be 0"), options.place(name));
                problems.push(problem.help("leave it out for the default"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let bootstrap = options.bootstrap.clone().unwrap_or_default();
        let read = ReadConfig { client: reader_of(&client), bootstrap: bootstrap.clone(), prefix: prefix.clone() };
        let sink = SinkConfig {
            bootstrap,
            client,
            topics: TopicNames { mapped: Vec::new(), all: None, log: Some(prefix.clone()) },
            strategy: Strategy::HashByKey,
            messages: messages(&prefix),
            event_headers: true,
            table_headers: false,
            headers: Vec::new(),
            delivery: Delivery::ExactlyOnce,
            commit_topic: state_topic(&prefix),
            publish_timeout: options.publish_timeout,
            partitions: options.topic_partitions.0,
            replicas: options.topic_replicas.0,
            topic_properties: options.topic_properties,
            lanes: pipeline.parallelism.max(1),
        };
        Ok(Self { sink, read, commit_interval: options.commit_interval, start: options.start })
    }
}

/// The source's options: what to read, as whom, from where.
pub(crate) fn source(
    raw: &[RawOption],
    pipeline: &PipelineOptions,
) -> Result<(ReadConfig, String, Start), Vec<Problem>> {
    let options = KafkaLogSourceOptions::parse(raw)?;
    let mut client = defaults(MOST_QUEUE_BYTES);
    let mut problems = properties::apply(&options.properties, |key| options.place(key), &mut client);
    check_prefix(&options.prefix, options.place("topic.prefix"), &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let bootstrap = options.bootstrap.clone().unwrap_or_default();
    let read = ReadConfig { client: reader_of(&client), bootstrap, prefix: options.prefix.clone() };
    let consumer = options.consumer.clone().unwrap_or_else(|| pipeline.name.clone());
    Ok((read, consumer, options.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<LogConfig, Vec<Problem>> {
        let raw: Vec<_> = pairs.iter().map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
        LogConfig::parse(&raw, &PipelineOptions { name: "orders lake".into(), parallelism: 1, memory_limit: 1 << 27 })
    }

    #[test]
    fn the_options_of_a_log_are_read() {
        let config =
            parse(&[("properties.bootstrap.servers", "b:9092"), ("properties.compression.type", "zstd")]).unwrap();
        assert_eq!(config.read.prefix, "dujiang-log-orders_lake");
        assert_eq!(config.read.group("lake"), "dujiang-log-orders_lake.lake");
        assert_eq!(config.sink.client.get("compression.type"), Some("zstd"));
        assert_eq!(config.read.client.get("compression.type"), None, "a reader has no use for it");
        assert_eq!(config.read.client.get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn mistakes_of_a_log_are_named_all_at_once() {
        let wrong =
            [("topic.prefix", "a/b"), ("commit.interval", "0s"), ("topic.properties.cleanup.policy", "compact")];
        assert_eq!(parse(&wrong).err().map(|problems| problems.len()), Some(4), "and no broker is named");
    }
}
