//! Options of the Kafka sink.

use crate::properties;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{OptionType, OptionValue, Problem, RawOption};
use dujiang_core::pattern::Selectors;
use dujiang_core::{Code, Secret, choice, options};
use dujiang_format_text::messages::{KeyFormat, MessageOptions, ValueText};
use rdkafka::ClientConfig;
use std::time::Duration;

choice! {
    /// What the sink promises.
    pub enum Delivery {
        /// No change is missing; after a crash some come twice, with equal event ids.
        AtLeastOnce = "at-least-once",
        /// Readers of committed messages see each change once.
        ExactlyOnce = "exactly-once",
    }
}

choice! {
    /// Which partition of a topic a change goes to.
    pub enum Strategy {
        /// By the hash of its key, as Kafka's own clients do it.
        HashByKey = "hash-by-key",
        /// All into the first one: one order over the whole topic.
        AllToZero = "all-to-zero",
    }
}

choice! {
    /// The dialect's formats of keys.
    pub enum KeyText {
        /// `{"TableId":"shop.orders","id":7}`
        Json = "json",
        /// The same as a CSV record.
        Csv = "csv",
    }
}

/// A count that brokers may decide on: `-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub i32);

impl OptionValue for Count {
    const KIND: OptionType = OptionType::Integer { min: -1, max: i32::MAX as i128 };
    fn from_text(text: &str) -> Result<Self, String> {
        let count = text.parse().ok().filter(|&n: &i32| n == -1 || n > 0);
        count
            .map(Count)
            .ok_or_else(|| "must be a whole number from 1, or -1 for what the brokers have as default".into())
    }
}

options! {
    /// Options of the `kafka` sink.
    pub struct KafkaSinkOptions {
        /// One or more brokers, `host:port,host:port`, from which the client learns the others. Required.
        "properties.bootstrap.servers" => bootstrap: String, optional;
        /// Settings of the Kafka client, by their names in Kafka's own documentation: `properties.security.protocol`,
        /// `properties.sasl.jaas.config`, `properties.compression.type`, ... None of them is ever printed but the brokers'
        /// addresses.
        "properties." => properties: Secret, prefix;
        /// The topic of every table. Default: one topic for each table, named `database.table`.
        "topic" => topic: String, optional;
        /// Topics by patterns of tables: `shop.\.*:shop-changes;crm.users:users`. The first pattern that means a table
        /// counts; tables that none means go where `topic` says.
        "sink.tableId-to-topic.mapping" => mapping: String, optional;
        /// Which partition a change goes to: `hash-by-key`, or `all-to-zero` for one order over a whole topic. Tables without
        /// a key, and those whose keys only the source can compare, stay in one partition.
        "partition.strategy" => strategy: Strategy, default "hash-by-key";
        /// Format of keys.
        "key.format" => key_format: KeyText, default "json";
        /// Format of values.
        "value.format" => value_format: ValueText, default "debezium-json";
        /// Puts the Kafka Connect schema into every message, with Debezium's own values.
        "debezium-json.include-schema.enabled" => include_schema: bool, default "false";
        /// Follows a delete by a tombstone (same key, no value), by which a compacted topic forgets the key.
        "sink.tombstones.enabled" => tombstones: bool, default "false";
        /// Adds the headers `namespace`, `schemaName` and `tableName`.
        "sink.add-tableId-to-header-enabled" => table_headers: bool, default "false";
        /// Adds the headers `dujiang.event-id` (the same whenever a change is sent again) and `dujiang.op` (`c`, `u`, `d`, `r`).
        "sink.add-event-id-to-header-enabled" => event_headers: bool, default "true";
        /// Further headers of every message: `name:value;name:value`.
        "sink.custom-header" => custom_header: String, optional;
        /// `at-least-once`, or `exactly-once` by transactions: readers with `isolation.level=read_committed` see each change
        /// once.
        "sink.delivery-guarantee" => delivery: Delivery, default "at-least-once";
        /// The topic that keeps, for `exactly-once`, which epoch was committed last. It belongs to this pipeline alone.
        /// Default: `dujiang-commits-` and the pipeline's name.
        "sink.commit-topic" => commit_topic: String, optional;
        /// How long the brokers may take to confirm what was sent before that counts as a failed try. What was sent stays in
        /// flight, so that a try that is repeated sends nothing twice.
        "publish.timeout" => publish_timeout: Duration, default "10s";
        /// Partitions of topics that the sink makes; -1: the brokers' default.
        "topic.partitions" => topic_partitions: Count, default "-1";
        /// Replicas of topics that the sink makes; -1: the brokers' default.
        "topic.replication-factor" => topic_replicas: Count, default "-1";
        /// Settings of topics that the sink makes: `topic.properties.retention.ms: 86400000`.
        "topic.properties." => topic_properties: String, prefix;
    }
}

/// The sink's options, checked.
#[derive(Debug, Clone)]
pub(crate) struct SinkConfig {
    pub(crate) client: ClientConfig,
    pub(crate) bootstrap: String,
    pub(crate) topics: TopicNames,
    pub(crate) strategy: Strategy,
    pub(crate) messages: MessageOptions,
    pub(crate) event_headers: bool,
    pub(crate) table_headers: bool,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) delivery: Delivery,
    pub(crate) commit_topic: String,
    pub(crate) publish_timeout: Duration,
    pub(crate) partitions: i32,
    pub(crate) replicas: i32,
    pub(crate) topic_properties: Vec<(String, String)>,
    pub(crate) lanes: usize,
}

/// Which topic a table goes to.
#[derive(Debug, Clone)]
pub(crate) struct TopicNames {
    pub(crate) mapped: Vec<(Selectors, String)>,
    pub(crate) all: Option<String>,
    /// Of a log: what the names of its tables' topics begin with.
    pub(crate) log: Option<String>,
}

/// A transaction may take as long as the brokers allow by default, because it is open for a whole epoch.
pub(crate) const TRANSACTION_TIMEOUT: &str = "900000";
pub(crate) const MOST_QUEUE_BYTES: u64 = 32 << 20;
/// Kafka takes no longer names of topics.
pub(crate) const LONGEST_TOPIC: usize = 249;

impl SinkConfig {
    /// Whether it is a log.
    pub(crate) fn is_log(&self) -> bool {
        self.topics.log.is_some()
    }

    pub(crate) fn parse(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Self, Vec<Problem>> {
        let options = KafkaSinkOptions::parse(raw)?;
        let queue_bytes = (pipeline.memory_limit / 4).min(MOST_QUEUE_BYTES);
        let mut client = defaults(queue_bytes);
        if options.delivery == Delivery::ExactlyOnce {
            client.set("transaction.timeout.ms", TRANSACTION_TIMEOUT);
        } else {
            // Whether to give up is decided by the engine, try by try.
            client.set("message.timeout.ms", "0");
        }
        let mut problems = properties::apply(&options.properties, |key| options.place(key), &mut client);
        let topics = topic_names(&options, &mut problems);
        let headers = custom_headers(&options, &mut problems);
        let messages = message_options(&options, &pipeline.name);
        let commit_topic = options.commit_topic.clone().unwrap_or_else(|| default_commit_topic(&pipeline.name));
        if !is_topic(&commit_topic) {
            problems.push(bad_topic(&commit_topic, &options, "sink.commit-topic"));
        }
        if options.publish_timeout.is_zero() {
            let place = options.place("publish.timeout");
            problems.push(
                Problem::new(Code::BadValue, "`publish.timeout` must not be 0", place).help("leave it out for 10s"),
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            bootstrap: options.bootstrap.unwrap_or_default(),
            client,
            topics,
            strategy: options.strategy,
            messages,
            event_headers: options.event_headers,
            table_headers: options.table_headers,
            headers,
            delivery: options.delivery,
            commit_topic,
            publish_timeout: options.publish_timeout,
            partitions: options.topic_partitions.0,
            replicas: options.topic_replicas.0,
            topic_properties: options.topic_properties,
            lanes: pipeline.parallelism.max(1),
        })
    }
}

/// What a user may change by `properties.*`.
pub(crate) fn defaults(queue_bytes: u64) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("client.id", "dujiang");
    client.set("acks", "all");
    client.set("socket.keepalive.enable", "true");
    client.set("reconnect.backoff.ms", "50");
    client.set("reconnect.backoff.max.ms", "1000");
    client.set("queue.buffering.max.kbytes", (queue_bytes / 1024).max(1024).to_string());
    client.set("queue.buffering.max.messages", "1000000");
    client
}

fn topic_names(options: &KafkaSinkOptions, problems: &mut Vec<Problem>) -> TopicNames {
    const KEY: &str = "sink.tableId-to-topic.mapping";
    let mut mapped = Vec::new();
    for entry in options.mapping.iter().flat_map(|text| text.split(';')).map(str::trim).filter(|e| !e.is_empty()) {
        let place = || options.place(KEY);
        let Some((pattern, topic)) = entry.rsplit_once(':') else {
            let problem =
                Problem::new(Code::BadValue, format!("`{KEY}` has an entry without a topic: `{entry}`"), place());
            problems.push(problem.help("write `pattern:topic`, entries separated by `;`"));
            continue;
        };
        match Selectors::parse(pattern.trim()) {
            Ok(pattern) if is_topic(topic.trim()) => mapped.push((pattern, topic.trim().to_owned())),
            Ok(_) => problems.push(bad_topic(topic.trim(), options, KEY)),
            Err(why) => problems.push(Problem::new(Code::BadValue, format!("`{KEY}`: `{pattern}` {why}"), place())),
        }
    }
    if let Some(topic) = options.topic.as_deref().filter(|topic| !is_topic(topic)) {
        problems.push(bad_topic(topic, options, "topic"));
    }
    TopicNames { mapped, all: options.topic.clone(), log: None }
}

/// The dialect's documentation separates headers by commas, its code by semicolons.
fn custom_headers(options: &KafkaSinkOptions, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let text = options.custom_header.as_deref().unwrap_or_default();
    for entry in text.split([';', ',']).map(str::trim).filter(|entry| !entry.is_empty()) {
        match entry.split_once(':').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() => headers.push((name.to_owned(), value.to_owned())),
            _ => {
                let message = format!("`sink.custom-header` has an entry without a name and a value: `{entry}`");
                let place = options.place("sink.custom-header");
                problems.push(Problem::new(Code::BadValue, message, place).help("write `name:value;name:value`"));
            }
        }
    }
    headers
}

fn message_options(options: &KafkaSinkOptions, pipeline: &str) -> MessageOptions {
    let value = options.value_format.format(options.include_schema);
    let key = match options.key_format {
        KeyText::Json => KeyFormat::Json,
        KeyText::Csv => KeyFormat::Csv,
    };
    MessageOptions { key, tombstones: options.tombstones, ..MessageOptions::new(value, pipeline) }
}

fn bad_topic(topic: &str, options: &KafkaSinkOptions, key: &str) -> Problem {
    let message = format!("`{key}`: `{topic}` cannot be the name of a topic");
    let problem = Problem::new(Code::BadValue, message, options.place(key));
    problem.help(format!("use letters, digits, `.`, `_` and `-`, at most {LONGEST_TOPIC} of them"))
}

/// Kafka's rule for names of topics (`org.apache.kafka.common.internals.Topic`).
pub(crate) fn is_topic(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty() && name != "." && name != ".." && name.len() <= LONGEST_TOPIC && name.bytes().all(legal)
}

/// Other characters than a topic may have become `_`.
pub(crate) fn legal_topic(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    name.chars().map(legal).collect()
}

fn default_commit_topic(pipeline: &str) -> String {
    let name: String = legal_topic(pipeline).chars().take(200).collect();
    format!("dujiang-commits-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_core::options::Place;
    use dujiang_format_text::messages::MessageFormat;

    fn parse(pairs: &[(&str, &str)]) -> Result<SinkConfig, Vec<Problem>> {
        let raw: Vec<_> = pairs.iter().map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
        let pipeline = PipelineOptions { name: "orders lake".into(), parallelism: 1, memory_limit: 1 << 27 };
        SinkConfig::parse(&raw, &pipeline)
    }

    #[test]
    fn the_dialects_options_are_read() {
        let config = parse(&[
            ("properties.bootstrap.servers", "b:9092"),
            ("topic", "all"),
            ("sink.tableId-to-topic.mapping", r"shop.\.*:shop-changes; crm.users:users"),
            ("sink.custom-header", "a:1;b:2"),
            ("sink.delivery-guarantee", "exactly-once"),
            ("value.format", "canal-json"),
            ("partition.strategy", "all-to-zero"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.commit_topic, "dujiang-commits-orders_lake");
        assert_eq!(config.headers, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert_eq!((config.topics.mapped.len(), config.messages.value), (2, MessageFormat::CanalJson));
        assert_eq!(config.client.get("transaction.timeout.ms"), Some("900000"));
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let wrong = [
            ("topic", "a/b"),
            ("sink.tableId-to-topic.mapping", "shop.orders"),
            ("sink.custom-header", "x"),
            ("publish.timeout", "0s"),
        ];
        assert_eq!(parse(&wrong).unwrap_err().len(), 5, "and no broker is named");
    }
}
