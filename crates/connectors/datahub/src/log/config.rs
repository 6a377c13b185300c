//! Options of the log, as a block between source and sink and as a source.

use crate::client::{Access, Client, Compression, Endpoint};
use crate::clock::SystemClock;
use crate::config::is_name;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Place, Problem, RawOption};
use dujiang_core::{Code, Secret, Start, options};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

options! {
    /// Options of the log in DataHub.
    pub struct DatahubLogOptions {
        /// Where the service answers: `https://dh-cn-hangzhou.aliyuncs.com`.
        "endpoint" => endpoint: String, required;
        /// Project; it must exist.
        "project" => project: String, required;
        /// The log's topic: records that are bytes (BLOB) in one shard, which is never split or merged. Exactly one pipeline
        /// captures into it. Default: `dujiang_log_` and the pipeline's name.
        "topic" => topic: String, optional;
        /// AccessKey ID.
        "access-id" => access_id: String, required;
        /// AccessKey secret.
        "access-key" => access_key: Secret, required;
        /// Token of a temporary access key (STS).
        "security-token" => security_token: Secret, optional;
        /// Compression of requests and answers: `none`, `lz4`, `deflate` or `zstd`. Not every service knows `zstd`.
        "compression" => compression: Compression, default "lz4";
        /// Whether the topic is made when it is missing.
        "topic.create" => topic_create: bool, default "true";
        /// Days that records stay in a topic that is made: 1 to 7. Then they are gone, whether a delivery has read them or not.
        "topic.lifecycle" => topic_lifecycle: NonZeroU16, default "7";
        /// Time between two commits of what is captured: a delivery sees a change no sooner.
        "commit.interval" => commit_interval: Duration, default "1s";
        /// How long the service may refuse or leave requests unanswered before that counts as a failed try.
        "publish.timeout" => publish_timeout: Duration, default "30s";
        /// Most records in one request.
        "request.max-records" => max_records: NonZeroU32, default "1000";
        /// Longest time for one request.
        "request.timeout" => request_timeout: Duration, default "30s";
        /// Pause before a delivery that has read everything asks again.
        "poll.interval" => poll_interval: Duration, default "200ms";
        /// Where a delivery begins that has none of its own position yet: `earliest`, `latest`, `offset:<number>` or
        /// `time:<time>` (with the epoch in which that time lies).
        "start" => start: Start, default "earliest";
    }
}

options! {
    /// Options of the `datahub-log` source.
    pub struct DatahubLogSourceOptions {
        /// Where the service answers: `https://dh-cn-hangzhou.aliyuncs.com`.
        "endpoint" => endpoint: String, required;
        /// Project.
        "project" => project: String, required;
        /// The log's topic.
        "topic" => topic: String, required;
        /// AccessKey ID.
        "access-id" => access_id: String, required;
        /// AccessKey secret.
        "access-key" => access_key: Secret, required;
        /// Token of a temporary access key (STS).
        "security-token" => security_token: Secret, optional;
        /// Compression of answers: `none`, `lz4`, `deflate` or `zstd`. Not every service knows `zstd`.
        "compression" => compression: Compression, default "lz4";
        /// Most records in one answer.
        "request.max-records" => max_records: NonZeroU32, default "1000";
        /// Longest time for one request.
        "request.timeout" => request_timeout: Duration, default "30s";
        /// Pause before a delivery that has read everything asks again.
        "poll.interval" => poll_interval: Duration, default "200ms";
        /// Where it begins without a position of its own: `earliest`, `latest`, `offset:<number>` or `time:<time>` (with the
        /// epoch in which that time lies).
        "start" => start: Start, default "earliest";
    }
}

/// The service and the log's topic in it.
pub(crate) struct Hub {
    pub(crate) client: Client,
    pub(crate) project: String,
    pub(crate) topic: String,
    pub(crate) max_records: u32,
    pub(crate) poll_interval: Duration,
}

impl Hub {
    /// For messages and for the log's identity.
    pub(crate) fn service(&self) -> String {
        format!("{}/{}", self.client.endpoint.authority(), self.project)
    }
}

/// What the options of the block come to.
pub(crate) struct LogConfig {
    pub(crate) hub: Arc<Hub>,
    /// Of a topic that is made; none if it is not.
    pub(crate) lifecycle: Option<u16>,
    pub(crate) commit_interval: Duration,
    pub(crate) publish_timeout: Duration,
    pub(crate) start: Start,
}

/// Longest name of a topic.
const LONGEST_TOPIC: usize = 128;

fn default_topic(pipeline: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("dujiang_log_{pipeline}").chars().map(legal).take(LONGEST_TOPIC).collect()
}

/// The place in the file by an option's name.
type At<'a> = &'a dyn Fn(&str) -> Place;

fn check(endpoint: &str, project: &str, topic: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Endpoint> {
    let mut wrong = |key: &str, message: &str, help: &str| {
        problems.push(Problem::new(Code::BadValue, format!("`{key}` {message}"), at(key)).help(help));
    };
    let endpoint = Endpoint::parse(endpoint);
    if endpoint.is_none() {
        wrong("endpoint", "is no address of a service", "write it as `https://dh-cn-hangzhou.aliyuncs.com`");
    }
    if !is_name(project, 3..=32) {
        wrong("project", "is no name of a project", "3 to 32 letters, digits and `_`, a letter first");
    }
    if !is_name(topic, 1..=LONGEST_TOPIC) {
        wrong("topic", "is no name of a topic", "1 to 128 letters, digits and `_`, a letter first");
    }
    endpoint
}

impl LogConfig {
    pub(crate) fn parse(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Self, Vec<Problem>> {
        let options = DatahubLogOptions::parse(raw)?;
        let mut problems = Vec::new();
        let topic = options.topic.clone().unwrap_or_else(|| default_topic(&pipeline.name));
        let place = |key: &str| options.place(key);
        let endpoint = check(&options.endpoint, &options.project, &topic, &place, &mut problems);
        if !(1..=7).contains(&options.topic_lifecycle.get()) {
            let problem =
                Problem::new(Code::BadValue, "`topic.lifecycle` must be 1 to 7 days", options.place("topic.lifecycle"));
            problems.push(problem.help("choose how long deliveries may be away"));
        }
        for (name, value) in
            [("commit.interval", options.commit_interval), ("publish.timeout", options.publish_timeout)]
        {
            if value.is_zero() {
                let problem = Problem::new(Code::BadValue, format!("`{name}` must not be 0"), options.place(name));
                problems.push(problem.help("leave it out for the default"));
            }
        }
        let Some(endpoint) = endpoint.filter(|_| problems.is_empty()) else { return Err(problems) };
        let access = Access { id: options.access_id, key: options.access_key, token: options.security_token };
        let (timeout, compression) = (options.request_timeout, options.compression);
        let client = Client { endpoint, access, clock: Arc::new(SystemClock), timeout, compression };
        let (max_records, poll_interval) = (options.max_records.get(), options.poll_interval);
        Ok(Self {
            hub: Arc::new(Hub { client, project: options.project, topic, max_records, poll_interval }),
            lifecycle: options.topic_create.then_some(options.topic_lifecycle.get()),
            commit_interval: options.commit_interval,
            publish_timeout: options.publish_timeout,
            start: options.start,
        })
    }
}

/// The source's options: what to read, from where.
pub(crate) fn source(raw: &[RawOption]) -> Result<(Hub, Start), Vec<Problem>> {
    let options = DatahubLogSourceOptions::parse(raw)?;
    let mut problems = Vec::new();
    let place = |key: &str| options.place(key);
    let endpoint = check(&options.endpoint, &options.project, &options.topic, &place, &mut problems);
    let Some(endpoint) = endpoint.filter(|_| problems.is_empty()) else { return Err(problems) };
    let access = Access { id: options.access_id, key: options.access_key, token: options.security_token };
    let (timeout, compression) = (options.request_timeout, options.compression);
    let client = Client { endpoint, access, clock: Arc::new(SystemClock), timeout, compression };
    let (max_records, poll_interval) = (options.max_records.get(), options.poll_interval);
    Ok((Hub { client, project: options.project, topic: options.topic, max_records, poll_interval }, options.start))
}
