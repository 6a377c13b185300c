//! A pipeline as its file describes it.

use crate::given::Given;
use crate::references::Origin;
use crate::rules::{RouteRule, TransformRule};
use crate::source_text::SourceText;
use dujiang_core::Secret;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{ByteSize, Place, RawOption};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

dujiang_core::choice! {
    /// What the output promises.
    pub enum Guarantee {
        /// Every change takes effect once, whatever crashes.
        ExactlyOnce = "exactly-once",
        /// No change is missing; after a crash some may come twice, with equal event ids.
        AtLeastOnce = "at-least-once",
    }
}

dujiang_core::choice! {
    /// What happens to a record that cannot be processed.
    pub enum ErrorPolicy {
        /// The pipeline stops.
        Halt = "halt",
        /// The record goes to the dead-letter store, the others go on.
        DeadLetter = "dead-letter",
    }
}

dujiang_core::choice! {
    /// The dialect's ways to treat a schema change.
    pub enum SchemaBehavior {
        /// Only new tables pass.
        Ignore = "ignore",
        /// Columns are never dropped from the sink.
        Lenient = "lenient",
        /// As evolve, but what the sink cannot do is passed over.
        TryEvolve = "try_evolve",
        /// Every change is applied; one that fails stops the pipeline.
        Evolve = "evolve",
        /// Every change stops the pipeline.
        Exception = "exception",
    }
}

dujiang_core::choice! {
    /// Which of several matching routes a table follows.
    pub enum RouteMode {
        /// Every one: the table is copied to each target.
        AllMatch = "all_match",
        /// The first one.
        FirstMatch = "first_match",
    }
}

dujiang_core::choice! {
    /// Flink's execution modes.
    pub enum RuntimeMode {
        /// Runs on.
        Streaming = "streaming",
        /// Ends with the snapshot.
        Batch = "batch",
    }
}

dujiang_core::choice! {
    /// Flink's ways to distribute rows to sink writers.
    pub enum PartitioningStrategy {
        /// As the sink wants.
        SinkDefined = "sink_defined",
        /// By key.
        PrimaryKey = "primary_key",
        /// By table.
        TableId = "table_id",
    }
}

dujiang_core::choice! {
    /// Flink's limits of decimals in expressions.
    pub enum DecimalPrecisionMode {
        /// 19 digits; what is wider becomes NULL there.
        UpTo19 = "up_to_19",
        /// 38 digits.
        UpTo38 = "up_to_38",
    }
}

dujiang_core::options! {
    /// Options of the `pipeline` block.
    pub struct PipelineSettings {
        /// Name of the pipeline: part of its state folder, its metrics and its output's identity. Default: the file's
        /// name without extension.
        "name" => name: String, optional;
        /// Parallel lanes of the sink, 256 at most.
        "parallelism" => parallelism: NonZeroU16, default "1";
        /// Time between two checkpoints; with exactly-once, output becomes visible at each.
        "checkpoint.interval" => checkpoint_interval: Duration, default "5 min";
        /// Checkpoints kept; older ones are removed.
        "checkpoint.keep" => checkpoint_keep: NonZeroU16, default "3";
        /// Failed checkpoints in a row that stop the pipeline.
        "checkpoint.max-failures" => checkpoint_max_failures: NonZeroU32, default "3";
        /// Bytes the pipeline may hold in queues, builders and open writers.
        "memory.limit" => memory_limit: ByteSize, default "128mb";
        /// What the output promises. Default: what the sink does unasked; its page says what that is.
        "guarantee" => guarantee: Guarantee, optional;
        /// What happens to a record that cannot be processed.
        "error.policy" => error_policy: ErrorPolicy, default "halt";
        /// Times a write or a publish is tried again before the error policy applies.
        "retry.attempts" => retry_attempts: u32, default "3";
        /// Pause before each new try.
        "retry.pause" => retry_pause: Duration, default "2s";
        /// How schema changes reach the sink.
        "schema.change.behavior" => schema_change_behavior: SchemaBehavior, default "evolve";
        /// Session time zone of expressions, by its name: `Europe/Berlin`. Default: that of the machine.
        "local-time-zone" => local_time_zone: String, optional;
        /// Whether a table follows every matching route or the first one.
        "route-mode" => route_mode: RouteMode, default "all_match";
        /// Flink's execution mode. `batch` needs a source that ends by itself, and changes nothing else.
        "execution.runtime-mode" => execution_runtime_mode: RuntimeMode, default "streaming";
        /// Flink's operator id prefix.
        "operator.uid.prefix" => operator_uid_prefix: String, optional;
        /// Flink's id of the schema operator.
        "schema.operator.uid" => schema_operator_uid: String, optional;
        /// Flink's time limit for calls to the schema operator.
        "schema-operator.rpc-timeout" => schema_operator_rpc_timeout: Duration, optional;
        /// Flink's way to distribute rows to sink writers.
        "sink.partitioning.strategy" => sink_partitioning_strategy: PartitioningStrategy, optional;
        /// How wide decimals may become in expressions.
        "transform.decimal.precision.mode" => transform_decimal_precision_mode: DecimalPrecisionMode, optional;
        /// Flink's own settings.
        "flink-conf." => flink_conf: String, prefix;
    }
}

/// A `source` or `sink` block with references resolved and overrides applied.
#[derive(Clone)]
pub struct Block {
    /// `type`.
    pub kind: String,
    /// Where `type` was given.
    pub kind_place: Place,
    /// Where the block's key stands.
    pub place: Place,
    /// `name`: a label of the dialect, without effect.
    pub label: Option<String>,
    /// Everything else, each key once.
    pub options: Vec<RawOption>,
    /// What values were made of: key, and variable or file.
    pub(crate) origins: Vec<(String, Origin)>,
}

impl Block {
    /// The option of that key, if it was given.
    pub fn option(&self, key: &str) -> Option<&RawOption> {
        self.options.iter().find(|option| option.key == key)
    }
}

/// Prints keys only: values may be secrets.
impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.options.iter().map(|o| &o.key).collect();
        f.debug_struct("Block").field("kind", &self.kind).field("options", &keys).finish_non_exhaustive()
    }
}

/// A pipeline, checked.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// `pipeline.name`, or the file's name without extension.
    pub name: String,
    /// The source block.
    pub source: Block,
    /// The log block, if there is one.
    pub log: Option<Block>,
    /// The sink block; of several sinks this one's.
    pub sink: Block,
    /// The pipeline block.
    pub settings: PipelineSettings,
    /// The rules of `transform`, in order: for a table the first that matches applies.
    pub transforms: Vec<TransformRule>,
    /// The rules of `route`, in order; `settings.route_mode` says how many of them a table follows.
    pub routes: Vec<RouteRule>,
    /// Tags of the schema changes that reach the sink (`include.schema.changes`, `exclude.schema.changes`), of
    /// [`dujiang_core::evolution::TAGS`].
    pub schema_changes: Vec<&'static str>,
    /// What was asked for by `pipeline.guarantee` or the dialect's `sink.delivery-guarantee`; `None`: what the sink
    /// does unasked.
    pub guarantee: Option<Guarantee>,
    /// The text it was read from.
    pub file: SourceText,
    /// Every option that was given, as text.
    pub(crate) given: Vec<Given>,
    /// Values that must not appear in any message, whoever wrote it.
    pub(crate) secrets: Vec<Secret>,
}

impl Pipeline {
    /// The name of the sink among those of a log.
    pub fn sink_name(&self) -> &str {
        self.sink.label.as_deref().unwrap_or("sink")
    }

    /// What connectors are told.
    pub fn options(&self) -> PipelineOptions {
        PipelineOptions {
            name: self.name.clone(),
            parallelism: usize::from(self.settings.parallelism.get()),
            memory_limit: self.settings.memory_limit.0,
        }
    }
}
