//! A log in DataHub, looked at.

use super::view::{LogView, Parts, Summary, Take, Verified};
use super::{Kind, Opened, misread};
use dujiang_core::options::Problem;
use dujiang_core::{Result, Start};
use dujiang_datahub::log::inspect::{Place, View, of_log, of_source};
use serde_json::json;

/// For the list of kinds.
pub const KIND: Kind = Kind {
    log: dujiang_datahub::LOG.kind,
    source: dujiang_datahub::LOG_SOURCE.kind,
    of_log: |block, pipeline| open(of_log(&block.options, pipeline)),
    of_source: |block, _| open(of_source(&block.options)),
};

fn open(place: std::result::Result<Place, Vec<Problem>>) -> Opened {
    Ok(Box::new(InDatahub(View::open(place.map_err(misread)?)?)))
}

struct InDatahub(View);

impl LogView for InDatahub {
    fn summary(&self) -> Result<Summary> {
        Ok(Summary::of(self.0.summary()?, |(topic, low, high)| Parts {
            name: "shards",
            json: vec![json!({ "topic": topic, "first": low, "last": high })],
            head: "TOPIC                                     FIRST         LAST".to_owned(),
            lines: vec![format!("{topic:<40}  {low:<12}  {high}")],
        }))
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
