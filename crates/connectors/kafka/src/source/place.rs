//! How far a reader has come.

use dujiang_core::{Code, Error, Position, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The next offset of every partition, by topic and number. A partition that is not in it was added later: it is read from its
/// beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The cluster whose offsets these are; other ones mean something else (INV-5).
    pub(crate) cluster: String,
    pub(crate) next: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Place {
    pub(crate) fn read(position: &Position) -> Result<Self> {
        serde_json::from_slice(position.as_bytes()).map_err(|error| {
            Error::new(Code::CheckpointDamaged, "a checkpoint holds a position that is none of Kafka")
                .with_source(error)
        })
    }

    pub(crate) fn write(&self) -> Result<Position> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Position::new).map_err(|e| Error::new(Code::Bug, "a position cannot be written").with_source(e))
    }

    pub(crate) fn set(&mut self, topic: &str, partition: i32, next: i64) {
        match self.next.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, next);
            }
            None => {
                self.next.insert(topic.to_owned(), BTreeMap::from([(partition, next)]));
            }
        }
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<i64> {
        self.next.get(topic)?.get(&partition).copied()
    }

    /// `orders 0:17 1:23`
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (topic, partitions) in &self.next {
            let _ = write!(text, "{}{topic}", if text.is_empty() { "" } else { ", " });
            for (partition, next) in partitions {
                let _ = write!(text, " {partition}:{next}");
            }
        }
        text
    }
}
