//! Options of the Kafka source.

use crate::properties;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::{Code, Secret, TableId, TableSchema, choice, options};
use dujiang_format_text::messages::{MessageOptions, ValueText, read_shape};
use rdkafka::ClientConfig;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

choice! {
    /// Where a pipeline begins that has no position yet.
    pub enum Startup {
        /// At the oldest messages that the topics still hold.
        Earliest = "earliest-offset",
        /// Behind the newest ones.
        Latest = "latest-offset",
        /// Where the consumer group has stopped; a partition without such a place is read from its beginning.
        Group = "group-offsets",
        /// At the first message of a time.
        Timestamp = "timestamp",
    }
}

choice! {
    /// Which messages are read.
    pub enum Isolation {
        /// Those of transactions once they are committed, and all others.
        Committed = "read_committed",
        /// Those of transactions that may still be aborted, too.
        Uncommitted = "read_uncommitted",
    }
}

options! {
    /// Options of the `kafka` source.
    pub struct KafkaSourceOptions {
        /// One or more brokers, `host:port,host:port`, from which the client learns the others. Required.
        "properties.bootstrap.servers" => bootstrap: String, optional;
        /// Settings of the Kafka client, by their names in Kafka's own documentation: `properties.security.protocol`, ...
        /// None of them is ever printed but the brokers' addresses.
        "properties." => properties: Secret, prefix;
        /// The topics, separated by `;`. Their messages have one format and one shape.
        "topic" => topic: String, required;
        /// The columns of a row, with types of the dialect, and the key:
        /// `id BIGINT NOT NULL, name STRING, PRIMARY KEY (id)`.
        "schema" => schema: String, required;
        /// The table that all messages belong to. Default: one for each topic, with the topic's name.
        "table" => table: String, optional;
        /// Format of the values; keys are not looked at.
        "value.format" => value_format: ValueText, default "debezium-json";
        /// Debezium's own values with the Kafka Connect schema in every message.
        "debezium-json.include-schema.enabled" => include_schema: bool, default "false";
        /// The consumer group whose places are kept up to date, for whoever watches it: the pipeline itself goes on from its
        /// checkpoints. Default: `dujiang-` and the pipeline's name.
        "group.id" => group: String, optional;
        /// Where a pipeline begins that has no position yet.
        "scan.startup.mode" => startup: Startup, default "earliest-offset";
        /// For `timestamp`: milliseconds since 1970-01-01 UTC.
        "scan.startup.timestamp-millis" => startup_millis: i64, optional;
        /// Whether messages of transactions are read before they are committed.
        "scan.isolation.level" => isolation: Isolation, default "read_committed";
        /// How often partitions that were added are looked for.
        "scan.topic-partition-discovery.interval" => discovery: Duration, default "30s";
    }
}

/// The source's options, checked.
#[derive(Debug, Clone)]
pub(crate) struct SourceConfig {
    pub(crate) client: ClientConfig,
    pub(crate) bootstrap: String,
    /// Topic and the table of its messages.
    pub(crate) topics: Vec<(String, Arc<TableSchema>)>,
    pub(crate) messages: MessageOptions,
    pub(crate) startup: Startup,
    pub(crate) startup_millis: i64,
    pub(crate) discovery: Duration,
}

impl SourceConfig {
    pub(crate) fn parse(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Self, Vec<Problem>> {
        let options = KafkaSourceOptions::parse(raw)?;
        let mut client = ClientConfig::new();
        client.set("client.id", "dujiang").set("socket.keepalive.enable", "true");
        client.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        // What waits in the client counts beside the pipeline's budget.
        client.set("queued.max.messages.kbytes", (pipeline.memory_limit / 8 / 1024).clamp(1024, 16384).to_string());
        let mut problems = properties::apply(&options.properties, |key| options.place(key), &mut client);
        let group = options.group.clone().unwrap_or_else(|| format!("dujiang-{}", pipeline.name));
        let isolation = match options.isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        client.set("group.id", group).set("isolation.level", isolation);
        client.set("enable.auto.commit", "false").set("auto.offset.reset", "error").set("enable.partition.eof", "true");
        let topics = topics(&options, &mut problems);
        if options.startup == Startup::Timestamp && options.startup_millis.is_none() {
            let message = "`scan.startup.mode: timestamp` needs `scan.startup.timestamp-millis`";
            problems.push(Problem::new(Code::MissingKey, message, options.place("scan.startup.mode")));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            bootstrap: options.bootstrap.clone().unwrap_or_default(),
            client,
            topics,
            messages: MessageOptions::new(options.value_format.format(options.include_schema), &pipeline.name),
            startup: options.startup,
            startup_millis: options.startup_millis.unwrap_or_default(),
            discovery: options.discovery,
        })
    }
}

fn topics(options: &KafkaSourceOptions, problems: &mut Vec<Problem>) -> Vec<(String, Arc<TableSchema>)> {
    let named = |name: &str| match name.split_once('.') {
        Some((database, table)) => TableId::new(database, table),
        None => TableId::new("", name),
    };
    let mut seen = HashSet::new();
    let names: Vec<&str> =
        options.topic.split(';').map(str::trim).filter(|name| !name.is_empty() && seen.insert(*name)).collect();
    if names.is_empty() {
        problems.push(Problem::new(Code::BadValue, "`topic` names no topic", options.place("topic")));
    }
    match read_shape(&options.schema) {
        Ok((fields, key)) => {
            let table = |name: &str| {
                let id = options.table.as_deref().map_or_else(|| named(name), named);
                (name.to_owned(), TableSchema::by_value(id, fields.clone(), key.clone()))
            };
            names.into_iter().map(table).collect()
        }
        Err(why) => {
            let problem = Problem::new(Code::BadValue, format!("`schema`: {why}"), options.place("schema"));
            problems.push(problem.help("write `id BIGINT NOT NULL, name STRING, PRIMARY KEY (id)`"));
            Vec::new()
        }
    }
}
