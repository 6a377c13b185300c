//! A log in Kafka, looked at.

use super::view::{LogView, Parts, Summary, Take, Verified};
use super::{Kind, Opened, misread};
use dujiang_core::options::Problem;
use dujiang_core::{Result, Start};
use dujiang_kafka::log::inspect::{Place, View, of_log, of_source};
use serde_json::json;

/// For the list of kinds.
pub const KIND: Kind = Kind {
    log: dujiang_kafka::LOG.kind,
    source: dujiang_kafka::LOG_SOURCE.kind,
    of_log: |block, pipeline| open(of_log(&block.options, pipeline)),
    of_source: |block, pipeline| open(of_source(&block.options, pipeline)),
};

fn open(place: std::result::Result<Place, Vec<Problem>>) -> Opened {
    Ok(Box::new(InKafka(View::open(place.map_err(misread)?)?)))
}

struct InKafka(View);

impl LogView for InKafka {
    fn summary(&self) -> Result<Summary> {
        Ok(Summary::of(self.0.summary()?, |partitions| parts(partitions)))
    }

    fn each(&self, from: Start, take: &mut Take<'_>) -> Result<()> {
        self.0.each(from, take)
    }

    fn offset_at(&self, micros: i64) -> Result<u64> {
        self.0.offset_at(micros)
    }

    fn verify(&self) -> Verified {
        self.0.verify().into()
    }

    fn forget(&self, consumer: &str) -> Result<()> {
        self.0.forget(consumer)
    }
}

fn parts(partitions: &[(String, i32, i64, i64)]) -> Parts {
    let json = |(topic, partition, low, high): &(String, i32, i64, i64)| {
        json!({
            "topic": topic, "partition": partition, "first": low, "end": high,
        })
    };
    let line = |(topic, partition, low, high): &(String, i32, i64, i64)| {
        format!("{:<40}  {low:<12}  {high}", format!("{topic} {partition}"))
    };
    Parts {
        name: "partitions",
        json: partitions.iter().map(json).collect(),
        head: "PARTITION                                 FIRST         END".to_owned(),
        lines: partitions.iter().map(line).collect(),
    }
}
