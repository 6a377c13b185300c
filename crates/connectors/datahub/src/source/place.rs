//! How far a reader has come.

use crate::client::Field;
use dujiang_core::{Code, Error, Position, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How far every topic has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) project: String,
    pub(crate) topics: BTreeMap<String, TopicPlace>,
}

/// How far the shards of a topic have been read. A shard that is not in it came later: it is read from its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicPlace {
    /// When the topic was made: the numbers of another one of the same name mean something else (INV-5).
    pub(crate) created: i64,
    /// The fields with which what comes next is read (INV-10).
    pub(crate) fields: Vec<Field>,
    /// How often fields were appended.
    pub(crate) appended: u32,
    pub(crate) shards: BTreeMap<String, ShardPlace>,
}

/// The last record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardPlace {
    /// Its number; -1 before the first one.
    pub(crate) sequence: i64,
    /// Which of the records of that number.
    pub(crate) index: u32,
    /// Its time, milliseconds since 1970-01-01 UTC.
    pub(crate) millis: i64,
    /// Whether the shard is closed and has been read to its end.
    pub(crate) done: bool,
}

impl ShardPlace {
    /// Before the first record.
    pub(crate) const START: Self = Self::before(0);

    /// Before the record of a number.
    pub(crate) const fn before(sequence: i64) -> Self {
        Self { sequence: sequence - 1, index: u32::MAX, millis: -1, done: false }
    }
}

impl Place {
    pub(crate) fn read(position: &Position) -> Result<Self> {
        serde_json::from_slice(position.as_bytes()).map_err(|error| {
            Error::new(Code::CheckpointDamaged, "a checkpoint holds a position that is none of DataHub")
                .with_source(error)
        })
    }

    pub(crate) fn write(&self) -> Result<Position> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Position::new).map_err(|e| Error::new(Code::Bug, "a position cannot be written").with_source(e))
    }

    /// `orders 0:17 1:end`
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (topic, place) in &self.topics {
            let _ = write!(text, "{}{topic}", if text.is_empty() { "" } else { ", " });
            for (shard, place) in &place.shards {
                let _ = match place.done {
                    true => write!(text, " {shard}:end"),
                    false => write!(text, " {shard}:{}", place.sequence + 1),
                };
            }
        }
        text
    }
}
