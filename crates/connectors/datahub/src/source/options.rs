//! Options of the source, and what they come to.

use crate::client::{Access, Client, Compression, Endpoint};
use crate::config::{Protocol, is_name};
use dujiang_core::clock::Clock;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::{Code, Secret, TableId, choice, options};
use dujiang_format_text::messages::{MessageOptions, ValueText, read_shape};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

choice! {
    /// Where a pipeline begins that has no position yet.
    pub enum Startup {
        /// At the oldest records that the shards still hold.
        Earliest = "earliest-offset",
        /// Behind the newest ones.
        Latest = "latest-offset",
        /// At the first record of a time.
        Timestamp = "timestamp",
        /// At the records of these numbers.
        Specific = "specific-offsets",
        /// Behind the last records that the subscription has processed.
        Subscription = "subscription",
    }
}

choice! {
    /// What a record of a TUPLE topic is.
    pub enum TupleChanges {
        /// What its attribute `dujiang.op` says (`c`, `r`, `d`), and without one a row that is inserted. An update (`u`) is an
        /// error of its record: it does not tell the old row.
        Told = "told",
        /// A row that is inserted, whatever its attributes say.
        Inserted = "inserted",
    }
}

options! {
    /// Options of the `datahub` source.
    pub struct DatahubSourceOptions {
        /// Where the service answers: `https://dh-cn-hangzhou.aliyuncs.com`.
        "endpoint" => endpoint: String, required;
        /// Project.
        "project" => project: String, required;
        /// The topics, separated by `;`.
        "topic" => topic: String, required;
        /// AccessKey ID.
        "access-id" => access_id: String, required;
        /// AccessKey secret.
        "access-key" => access_key: Secret, required;
        /// Token of a temporary access key (STS).
        "security-token" => security_token: Secret, optional;
        /// The table that all records belong to; of one TUPLE topic, or of BLOB topics. Default: one for each topic,
        /// `project.topic`.
        "table" => table: String, optional;
        /// TUPLE topics: the fields of the key, separated by commas. Without it the tables have no key.
        "key" => key: String, optional;
        /// TUPLE topics: whether the attribute `dujiang.op` says what a record is (`told`), or all are `inserted`.
        "tuple.changes" => tuple_changes: TupleChanges, default "told";
        /// BLOB topics: the columns of a row, with types of the dialect, and the key:
        /// `id BIGINT NOT NULL, name STRING, PRIMARY KEY (id)`.
        "schema" => schema: String, optional;
        /// BLOB topics: format of the records.
        "value.format" => value_format: ValueText, default "debezium-json";
        /// Debezium's own values with the Kafka Connect schema in every record.
        "debezium-json.include-schema.enabled" => include_schema: bool, default "false";
        /// A subscription whose offsets are kept up to date, for whoever watches it: the pipeline itself goes on from its
        /// checkpoints. For one topic.
        "subscription.id" => subscription: String, optional;
        /// Where a pipeline begins that has no position yet.
        "scan.startup.mode" => startup: Startup, default "earliest-offset";
        /// For `timestamp`: milliseconds since 1970-01-01 UTC.
        "scan.startup.timestamp-millis" => startup_millis: i64, optional;
        /// For `specific-offsets`: shards and the numbers of their first records, `0:17;1:23`. Other shards are read from their
        /// oldest record on. For one topic.
        "scan.startup.specific-offsets" => startup_offsets: String, optional;
        /// How often shards that were added are looked for.
        "scan.shard-discovery.interval" => discovery: Duration, default "30s";
        /// Pause before a shard that had nothing new is asked again.
        "poll.interval" => poll_interval: Duration, default "200ms";
        /// How records are asked for: `protobuf`, `batch` or `json`.
        "protocol" => protocol: Protocol, default "protobuf";
        /// Compression of answers: `none`, `lz4`, `deflate` or `zstd`. Not every service knows `zstd`.
        "compression" => compression: Compression, default "lz4";
        /// Most records in one answer.
        "request.max-records" => request_max_records: NonZeroU32, default "1000";
        /// Longest time for one request.
        "request.timeout" => request_timeout: Duration, default "30s";
    }
}

/// The shape of the records of BLOB topics.
pub(crate) type Shape = (Vec<arrow_schema::Field>, Vec<usize>);

/// What the options come to.
#[derive(Debug, Clone)]
pub(crate) struct SourceConfig {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: DatahubSourceOptions,
    pub(crate) topics: Vec<String>,
    pub(crate) shape: Option<Shape>,
    pub(crate) key: Vec<String>,
    pub(crate) messages: MessageOptions,
    pub(crate) offsets: BTreeMap<String, i64>,
}

impl SourceConfig {
    pub(crate) fn parse(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Self, Vec<Problem>> {
        let options = DatahubSourceOptions::parse(raw)?;
        let mut problems = Vec::new();
        let mut wrong = |code: Code, key: &str, message: String, help: &str| {
            problems.push(Problem::new(code, message, options.place(key)).help(help));
        };
        let endpoint = Endpoint::parse(&options.endpoint);
        if endpoint.is_none() {
            let help = "write it as `https://dh-cn-hangzhou.aliyuncs.com`";
            wrong(Code::BadValue, "endpoint", "`endpoint` is no address of a service".into(), help);
        }
        let topics = split(&options.topic, ';');
        let named = is_name(&options.project, 3..=32) && !topics.is_empty();
        if !named || topics.iter().any(|topic| !is_name(topic, 1..=128)) {
            let help = "letters, digits and `_`, a letter first; topics are separated by `;`";
            wrong(Code::BadValue, "topic", "`project` or `topic` is no name that DataHub has".into(), help);
        }
        let shape = options.schema.as_deref().map(read_shape).transpose().unwrap_or_else(|why| {
            let help = "write `id BIGINT NOT NULL, name STRING, PRIMARY KEY (id)`";
            wrong(Code::BadValue, "schema", format!("`schema`: {why}"), help);
            None
        });
        let offsets = offsets(options.startup_offsets.as_deref().unwrap_or_default()).unwrap_or_else(|| {
            let key = "scan.startup.specific-offsets";
            wrong(Code::BadValue, key, format!("`{key}` is no list of shards and numbers"), "write `0:17;1:23`");
            BTreeMap::new()
        });
        let needed = match options.startup {
            Startup::Timestamp if options.startup_millis.is_none() => Some("scan.startup.timestamp-millis"),
            Startup::Specific if options.startup_offsets.is_none() => Some("scan.startup.specific-offsets"),
            Startup::Subscription if options.subscription.is_none() => Some("subscription.id"),
            _ => None,
        };
        if let Some(needed) = needed {
            let message = format!("this `scan.startup.mode` needs `{needed}`");
            wrong(Code::MissingKey, "scan.startup.mode", message, "add it, or begin elsewhere");
        }
        for key in ["subscription.id", "scan.startup.specific-offsets"] {
            let set = if key == "subscription.id" { &options.subscription } else { &options.startup_offsets };
            if topics.len() > 1 && set.is_some() {
                let message = format!("`{key}` is one topic's, and `topic` names {}", topics.len());
                wrong(Code::Conflict, key, message, "read each topic in a pipeline of its own");
            }
        }
        if topics.len() > 1 && options.table.is_some() && shape.is_none() {
            let message = "`table` makes one table of TUPLE topics whose fields change one by one".to_owned();
            wrong(Code::Conflict, "table", message, "leave it out, and merge the tables with a route");
        }
        let Some(endpoint) = endpoint.filter(|_| problems.is_empty()) else { return Err(problems) };
        let messages = MessageOptions::new(options.value_format.format(options.include_schema), &pipeline.name);
        let key = split(options.key.as_deref().unwrap_or_default(), ',');
        Ok(Self { endpoint, topics, shape, key, messages, offsets, options })
    }

    pub(crate) fn client(&self, clock: Arc<dyn Clock>) -> Client {
        let options = &self.options;
        let access = Access {
            id: options.access_id.clone(),
            key: options.access_key.clone(),
            token: options.security_token.clone(),
        };
        let (timeout, compression) = (options.request_timeout, options.compression);
        Client { endpoint: self.endpoint.clone(), access, clock, timeout, compression }
    }

    pub(crate) fn table(&self, topic: &str) -> TableId {
        match &self.options.table {
            None => TableId::new(self.options.project.as_str(), topic),
            Some(name) => match name.split_once('.') {
                Some((database, table)) => TableId::new(database, table),
                None => TableId::new("", name.as_str()),
            },
        }
    }
}

fn split(text: &str, at: char) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(at).map(str::trim).filter(|part| !part.is_empty()) {
        if !parts.iter().any(|known| known == part) {
            parts.push(part.to_owned());
        }
    }
    parts
}

fn offsets(text: &str) -> Option<BTreeMap<String, i64>> {
    let pair = |part: String| {
        let (shard, sequence) = part.split_once(':')?;
        let sequence = sequence.trim().parse().ok().filter(|sequence| *sequence >= 0)?;
        Some((shard.trim().to_owned(), sequence))
    };
    split(text, ';').into_iter().map(pair).collect()
}
