//! What stands in the log's shard: bytes with attributes.
//!
//! | `dujiang.record` | content |
//! |---|---|
//! | `change` | a change as debezium-json; `dujiang.log` is its header (number and so on) |
//! | `shape` | a change of a table's shape, which has a number too |
//! | `milestone` | a milestone of the source, which has a number too |
//! | `mark` | the end of an epoch: what stands before it up to its number is committed |
//! | `fence` | an instance begins: what older ones write behind it does not count |
//! | `segment` | a place at which a reader may begin: the last mark |
//! | `known` | behind a segment: a shape that was told before it |

use crate::client::Row;
use crate::client::wire::{write_attributes, write_bytes};
use dujiang_core::sink::Milestone;
use dujiang_core::{Code, Error, Result};
use dujiang_entries::{HEADER, Head, Part};
use serde::{Deserialize, Serialize};

/// Who wrote a record: lineage, generation, and the number of the segment that it knew last.
const BY: &str = "dujiang.by";
/// What a record is.
const KIND: &str = "dujiang.record";

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Change,
    Shape,
    Milestone,
    Mark,
    Fence,
    Segment,
    Known,
}

impl Kind {
    const ALL: [(Kind, &'static str); 7] = [
        (Kind::Change, "change"),
        (Kind::Shape, "shape"),
        (Kind::Milestone, "milestone"),
        (Kind::Mark, "mark"),
        (Kind::Fence, "fence"),
        (Kind::Segment, "segment"),
        (Kind::Known, "known"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }
}

/// Who wrote a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct By<'a> {
    pub(crate) lineage: &'a str,
    pub(crate) generation: u64,
    /// The number in the shard of the last segment that it knew.
    pub(crate) segment: Option<u64>,
}

impl<'a> By<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split('/');
        let (lineage, generation, segment) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let segment = if segment == "-" { None } else { Some(segment.parse().ok()?) };
        Some(Self { lineage, generation, segment })
    }

    pub(crate) fn text(&self) -> String {
        let segment = self.segment.map_or_else(|| "-".to_owned(), |segment| segment.to_string());
        format!("{}/{}/{segment}", self.lineage, self.generation)
    }
}

/// A record as it stands in the shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Its number in the shard.
    pub(crate) sequence: u64,
    pub(crate) by: By<'a>,
    pub(crate) kind: Kind,
    pub(crate) head: Option<Head>,
    pub(crate) data: &'a [u8],
}

impl<'a> Record<'a> {
    /// `None` for what no log has written.
    pub(crate) fn read(row: &'a Row) -> Option<Self> {
        let word = row.attribute(KIND)?;
        let (kind, _) = Kind::ALL.into_iter().find(|(_, known)| known.as_bytes() == word)?;
        let head = match kind {
            Kind::Change => Some(Head::read(row.attribute(HEADER)?)?),
            _ => None,
        };
        let data = row.values().next()??;
        let sequence = u64::try_from(row.sequence).ok()?;
        Some(Self { sequence, by: By::parse(row.attribute(BY)?)?, kind, head, data })
    }
}

/// The end of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Name of the pipeline, and its lineage.
    pub(crate) pipeline: String,
    pub(crate) lineage: String,
    /// The instance that wrote it.
    pub(crate) generation: u64,
    /// The epoch; 0 before the first one.
    pub(crate) epoch: u64,
    /// The source's position after it, for people.
    pub(crate) position: String,
    /// Its entries.
    pub(crate) log: Part,
}

/// A place at which a reader may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// What was committed last: nothing else stands before the segment.
    pub(crate) last: Mark,
    /// The number in the shard of the segment before.
    pub(crate) previous: Option<u64>,
    /// Instances with the numbers in the shard of their fences, the newest last.
    pub(crate) fences: Vec<(u64, u64)>,
}

/// A milestone of the source.
#[derive(Serialize, Deserialize)]
struct Reached {
    n: u64,
    milestone: String,
}

/// The content of a milestone.
pub(crate) fn milestone(n: u64, milestone: Milestone) -> Result<Vec<u8>> {
    json(&Reached { n, milestone: milestone.name().to_owned() })
}

/// Number and milestone; `None` for one that nobody knows.
pub(crate) fn read_milestone(data: &[u8]) -> Option<(u64, Milestone)> {
    let reached: Reached = serde_json::from_slice(data).ok()?;
    let milestone = Milestone::ALL.into_iter().find(|milestone| milestone.name() == reached.milestone)?;
    Some((reached.n, milestone))
}

/// As JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::new(Code::Bug, "a record cannot be written").with_source(e))
}

/// Appends a record as field 1 of a `PutRecordsRequest`; `entry` is a buffer that is used again.
pub(crate) fn write(by: &str, kind: Kind, more: &[(&str, &[u8])], data: &[u8], entry: &mut Vec<u8>, out: &mut Vec<u8>) {
    let mut attributes = [(KIND, kind.word().as_bytes()); 5];
    attributes[0] = (BY, by.as_bytes());
    let count = 2 + more.len().min(attributes.len() - 2);
    attributes[2..count].copy_from_slice(&more[..count - 2]);
    entry.clear();
    write_attributes(&attributes[..count], entry);
    // Data with one field, whose value are the bytes.
    let mut head = Vec::with_capacity(12);
    crate::client::wire::write_head(1, data.len(), &mut head);
    let field = head.len() + data.len();
    crate::client::wire::write_head(9, crate::client::wire::length_of_field(field), entry);
    crate::client::wire::write_head(1, field, entry);
    entry.extend_from_slice(&head);
    entry.extend_from_slice(data);
    write_bytes(1, entry, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wrote_a_record_is_read_as_written() {
        for segment in [None, Some(17)] {
            let by = By { lineage: "00aa", generation: 3, segment };
            assert_eq!(By::parse(by.text().as_bytes()), Some(by));
        }
        assert_eq!(By::parse(b"00aa/3"), None);
    }
}
