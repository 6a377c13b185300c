//! What messages look like.

use crate::csv::CsvOptions;
use dujiang_core::{Lineage, choice};

/// A format of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFormat {
    /// The row after the change; nothing (a tombstone) for a delete.
    Json,
    /// As [`MessageFormat::Json`], the row as one CSV record without a line end.
    Csv,
    /// Both images in Debezium's envelope, with values that can be read without a schema: the dialect's `debezium-json`.
    DebeziumJson,
    /// The same with Debezium's own values, and with the Kafka Connect schema that explains them in every message.
    DebeziumJsonWithSchema,
    /// The row and what it was before, in the message of Canal.
    CanalJson,
    /// The same in the message of Maxwell.
    MaxwellJson,
}

impl MessageFormat {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Json, Self::Csv, Self::DebeziumJson, Self::DebeziumJsonWithSchema, Self::CanalJson, Self::MaxwellJson];

    /// The name users know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::DebeziumJson => "debezium-json",
            Self::DebeziumJsonWithSchema => "debezium-json with schema",
            Self::CanalJson => "canal-json",
            Self::MaxwellJson => "maxwell-json",
        }
    }

    /// Whether a message tells what kind of change it is. The others carry rows only: an update is its new row, a delete
    /// is a tombstone.
    pub fn has_envelope(self) -> bool {
        !matches!(self, Self::Json | Self::Csv)
    }
}

choice! {
    /// The formats as options of queues name them.
    pub enum ValueText {
        /// Debezium's envelope.
        DebeziumJson = "debezium-json",
        /// Canal's message.
        CanalJson = "canal-json",
        /// Maxwell's message.
        MaxwellJson = "maxwell-json",
        /// The row after the change; read, a row that is inserted.
        Json = "json",
        /// The same as a CSV record.
        Csv = "csv",
    }
}

impl ValueText {
    /// The format; debezium-json with or without the schema that explains it.
    pub fn format(self, schema: bool) -> MessageFormat {
        match self {
            Self::DebeziumJson if schema => MessageFormat::DebeziumJsonWithSchema,
            Self::DebeziumJson => MessageFormat::DebeziumJson,
            Self::CanalJson => MessageFormat::CanalJson,
            Self::MaxwellJson => MessageFormat::MaxwellJson,
            Self::Json => MessageFormat::Json,
            Self::Csv => MessageFormat::Csv,
        }
    }
}

/// A format of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFormat {
    /// `{"TableId":"shop.orders","id":7}`, as the dialect has it. A table without key has the name alone, so that its changes
    /// stay together.
    Json,
    /// The same as a CSV record.
    Csv,
    /// `{"id":7}`, with its schema if the value has one; no key for a table without one.
    Debezium,
    /// `{"database":"shop","table":"orders","pk.id":7}`.
    Maxwell,
}

/// What messages look like.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageOptions {
    /// Format of values.
    pub value: MessageFormat,
    /// Format of keys.
    pub key: KeyFormat,
    /// Formats with an envelope: whether a delete is followed by a tombstone (same key, no value), by which a compacted
    /// topic forgets the key.
    pub tombstones: bool,
    /// Name of the stream in Debezium's `source.name` and in names of schemas: the pipeline's.
    pub stream: String,
    /// Whose event ids and operations go into headers; none without.
    pub headers: Option<Lineage>,
    /// How CSV is written, in keys and values.
    pub csv: CsvOptions,
}

impl MessageOptions {
    /// Values of a format with the dialect's keys, without headers and tombstones.
    pub fn new(value: MessageFormat, stream: impl Into<String>) -> Self {
        let (key, stream) = (KeyFormat::Json, stream.into());
        Self { value, key, tombstones: false, stream, headers: None, csv: CsvOptions::default() }
    }
}
