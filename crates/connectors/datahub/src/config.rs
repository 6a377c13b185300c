//! Options of the sink, and what they come to.

use crate::client::{Compression, Endpoint, compresses};
use dujiang_core::options::Problem;
use dujiang_core::{Code, Secret, choice, options};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

choice! {
    /// How records are sent.
    pub enum Protocol {
        /// Protocol buffers with a checksum, all records of a request or none.
        Protobuf = "protobuf",
        /// Batches, smaller and quicker to read; not every project's service takes them.
        Batch = "batch",
        /// JSON, for services that know nothing else.
        Json = "json",
    }
}

options! {
    /// Options of the `datahub` sink.
    pub struct DatahubOptions {
        /// Where the service answers: `https://dh-cn-hangzhou.aliyuncs.com`.
        "endpoint" => endpoint: String, required;
        /// Project; it must exist.
        "project" => project: String, required;
        /// Topic of a table. `{database}` and `{table}` stand for its names; what no topic's name may hold is written `_`.
        "topic" => topic: String, default "{table}";
        /// AccessKey ID.
        "access-id" => access_id: String, required;
        /// AccessKey secret.
        "access-key" => access_key: Secret, required;
        /// Token of a temporary access key (STS).
        "security-token" => security_token: Secret, optional;
        /// How records are sent: `protobuf`, `batch` or `json`.
        "protocol" => protocol: Protocol, default "protobuf";
        /// Compression of requests: `none`, `lz4`, `deflate` or `zstd`. Not every service knows `zstd`, and no batch is compressed
        /// so.
        "compression" => compression: Compression, default "lz4";
        /// Whether a topic that is missing is made.
        "topic.create" => topic_create: bool, default "true";
        /// Shards of a topic that is made.
        "topic.shards" => topic_shards: NonZeroU16, default "3";
        /// Days that records stay in a topic that is made: 1 to 7.
        "topic.lifecycle" => topic_lifecycle: NonZeroU16, default "3";
        /// Most records in one request.
        "request.max-records" => request_max_records: NonZeroU32, default "1000";
        /// Longest time for one request.
        "request.timeout" => request_timeout: Duration, default "30s";
    }
}

/// What the options come to.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: DatahubOptions,
}

impl Config {
    /// # Errors
    /// Every problem at once.
    pub(crate) fn from_options(options: DatahubOptions) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: &str, help: &str| {
            problems.push(Problem::new(Code::BadValue, format!("`{key}` {message}"), options.place(key)).help(help));
        };
        let endpoint = Endpoint::parse(&options.endpoint);
        if endpoint.is_none() {
            wrong("endpoint", "is no address of a service", "write it as `https://dh-cn-hangzhou.aliyuncs.com`");
        }
        if !is_name(&options.project, 3..=32) {
            wrong("project", "is no name of a project", "3 to 32 letters, digits and `_`, a letter first");
        }
        if !(1..=7).contains(&options.topic_lifecycle.get()) {
            wrong("topic.lifecycle", "must be 1 to 7 days", "choose how long readers may be away");
        }
        if options.protocol == Protocol::Batch && !compresses(options.compression) {
            wrong("compression", "is not that of batches", "choose `lz4`, `deflate` or `none`");
        }
        match endpoint {
            Some(endpoint) if problems.is_empty() => Ok(Self { endpoint, options }),
            _ => Err(problems),
        }
    }
}

/// Whether the service takes a name of this length: letters, digits and `_`, a letter first.
pub(crate) fn is_name(name: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
