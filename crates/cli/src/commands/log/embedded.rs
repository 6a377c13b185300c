//! The embedded log, looked at.

use super::entries::instant;
use super::view::{Commit, LogView, Parts, Summary, Take, Verified};
use super::{Kind, Opened};
use dujiang_core::source::SourceEvent;
use dujiang_core::{Code, Error, Result, Start};
use dujiang_log::inspect::View;
use dujiang_log::{Entry, Placed, SegmentInfo};
use serde_json::json;
use std::path::Path;

/// For the list of kinds.
pub const KIND: Kind = Kind {
    log: dujiang_log::LOG.kind,
    source: dujiang_log::SOURCE.kind,
    // Both blocks have the same option.
    of_log: |block, _| of_path(block.option("path").map(|path| path.value.as_str())),
    of_source: |block, _| of_path(block.option("path").map(|path| path.value.as_str())),
};

fn of_path(path: Option<&str>) -> Opened {
    let path = path.ok_or_else(|| Error::new(Code::Bug, "a log without a path was taken for a good one"))?;
    open(Path::new(path))
}

/// The log in a folder.
pub fn open(folder: &Path) -> Opened {
    Ok(Box::new(Embedded(View::open(folder)?)))
}

struct Embedded(View);

impl LogView for Embedded {
    fn summary(&self) -> Result<Summary> {
        let summary = self.0.summary()?;
        let committed = summary.committed;
        Ok(Summary {
            pipeline: summary.pipeline,
            lineage: summary.lineage,
            first: summary.first,
            end: summary.end,
            bytes: Some(summary.segments.iter().map(|segment| segment.bytes).sum()),
            commit: Commit {
                epoch: committed.epoch,
                generation: committed.generation,
                position: committed.position_text,
                written_micros: Some(committed.written_micros),
            },
            parts: parts(&summary.segments),
            consumers: summary.consumers.into_iter().map(|consumer| (consumer.name, consumer.offset)).collect(),
        })
    }

    fn each(&self, from: Start, take: &mut Take<'_>) -> Result<()> {
        let offset = match from {
            Start::Earliest => self.0.offsets().start,
            Start::Latest => self.0.offsets().end,
            Start::Offset(offset) => offset,
            Start::Time(micros) => self.0.offset_at(micros)?,
        };
        self.0.each(offset, |placed| event(placed).map_or(Ok(true), |(offset, event)| take(offset, event)))
    }

    fn offset_at(&self, micros: i64) -> Result<u64> {
        self.0.offset_at(micros)
    }

    fn verify(&self) -> Verified {
        let dujiang_log::inspect::Verified { entries, images, commits, problems } = self.0.verify();
        Verified { entries, images, commits: (commits, "commits"), problems }
    }

    fn forget(&self, consumer: &str) -> Result<()> {
        self.0.forget(consumer)
    }
}

fn parts(segments: &[SegmentInfo]) -> Parts {
    let json = |segment: &SegmentInfo| {
        json!({
            "first": segment.base, "bytes": segment.bytes, "created_micros": segment.created_micros,
        })
    };
    let line = |segment: &SegmentInfo| {
        format!("{:<20}  {:<12}  {}", segment.base, segment.bytes, instant(segment.created_micros))
    };
    Parts {
        name: "segments",
        json: segments.iter().map(json).collect(),
        head: "SEGMENT               BYTES         BEGUN".to_owned(),
        lines: segments.iter().map(line).collect(),
    }
}

fn event(placed: Placed) -> Option<(u64, SourceEvent)> {
    let event = match placed.entry? {
        Entry::Batch(batch) => SourceEvent::Batch(batch),
        Entry::Schema(change) => SourceEvent::SchemaChange(change),
        Entry::Marker(milestone) => milestone.into(),
    };
    Some((placed.header.offset, event))
}
