//! What a position holds. Its bytes: `dujiang_database::position`.

use crate::catalog::Imprint;
use crate::lineage::ServerName;
use crate::lsn::Lsn;
use crate::shape::Shape;
use crate::snapshot::{Chunk, Frontier, View};
use dujiang_core::{Position, Result};
use dujiang_database::position::{self, damaged};
pub use dujiang_database::position::{encode_shapes, from_hex, to_hex};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const FORMAT: u8 = 1;

/// A transaction of which only a part has been handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Where its commit record begins.
    pub commit: String,
    /// Its id.
    pub xid: u32,
    /// Changes handed out (or dropped for good) per table, by the table's number among the shapes.
    pub changes: BTreeMap<u32, u64>,
}

/// A snapshot that is not complete, or not yet caught up with by the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotState {
    /// Its id; part of the event ids of its rows.
    pub id: String,
    /// Every table that has chunks to read, or views that show what is still to come. A table that is not here streams.
    pub tables: Vec<SnapshotTable>,
    /// Whether it was complete when this was written.
    #[serde(default)]
    pub done: bool,
}

/// One table of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTable {
    /// Number among the shapes.
    #[serde(rename = "t")]
    pub table: u32,
    /// Rows handed out.
    #[serde(rename = "r", default)]
    pub rows: u64,
    /// Chunks handed out: last key in sortable bytes as hexadecimal digits (none for the table's end), view.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<(Option<String>, String)>,
    /// The last key handed out, as texts, from which the next chunk goes on.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub frontier: Option<Frontier>,
    /// The columns (`attnum`) that the table is ordered by, where that is not its key.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<i16>,
    /// Rows beyond the last key were handed out, of a chunk that is not complete.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    pub torn: bool,
    /// Transactions that later views must show.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<u64>,
    /// The table came while the pipeline ran, and may not be published yet.
    #[serde(rename = "j", default, skip_serializing_if = "std::ops::Not::not")]
    pub joining: bool,
}

impl SnapshotTable {
    /// A table of which nothing is read.
    pub fn new(table: u32) -> Self {
        Self {
            table,
            rows: 0,
            chunks: Vec::new(),
            frontier: None,
            by: Vec::new(),
            torn: false,
            dropped: Vec::new(),
            joining: false,
        }
    }

    /// Whether rows were handed out that lie in no chunk, so that it cannot be told which are missing.
    pub fn is_interrupted(&self) -> bool {
        let read = self.chunks.last().is_some_and(|(upper, _)| upper.is_none());
        !read && (self.torn || (self.rows > 0 && self.frontier.is_none()))
    }

    /// The chunks handed out.
    ///
    /// # Errors
    /// `CheckpointDamaged`.
    pub fn done(&self) -> Result<Vec<Chunk>> {
        let chunk = |(upper, view): &(Option<String>, String)| {
            let upper = upper.as_deref().map(from_hex).transpose()?;
            Ok(Chunk { upper, view: View::read(view).map_err(|e| damaged("a view of its snapshot").with_source(e))? })
        };
        self.chunks.iter().map(chunk).collect()
    }
}

/// The part that changes with every barrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Where it was written.
    pub server: ServerName,
    /// The slot that it was read from.
    pub slot: String,
    /// The transaction boundary up to which everything has been handed out.
    pub place: String,
    /// Where the server has to begin to send, if that is before the boundary: transactions that were prepared there have no
    /// outcome yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How far the transaction after the boundary has been handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
    /// A transaction id as of then, in full: the stream tells lower halves.
    pub xid: u64,
    /// The snapshot beside the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotState>,
    /// The partitions that were seen of captured tables, by the ids of both.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<u32, BTreeSet<u32>>,
    /// How the captured tables were published when they were taken in.
    #[serde(default, skip_serializing_if = "Imprint::is_empty")]
    pub published: Imprint,
    /// Which files their rows were in, by the same ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<u32, BTreeMap<u32, u32>>,
}

impl Head {
    /// The boundary.
    ///
    /// # Errors
    /// `CheckpointDamaged`.
    pub fn boundary(&self) -> Result<Lsn> {
        place(&self.place)
    }

    /// The snapshots under which the chunks were read that were handed out.
    ///
    /// # Errors
    /// `CheckpointDamaged`.
    pub fn views(&self) -> Result<Vec<View>> {
        let tables = self.snapshot.iter().flat_map(|snapshot| &snapshot.tables);
        let chunks = tables.map(SnapshotTable::done).collect::<Result<Vec<_>>>()?;
        Ok(chunks.into_iter().flatten().map(|chunk| chunk.view).collect())
    }

    /// Where the server has to begin to send: nothing before it is needed any more (INV-3).
    ///
    /// # Errors
    /// `CheckpointDamaged`.
    pub fn from(&self) -> Result<Lsn> {
        self.from.as_deref().map_or_else(|| self.boundary(), place)
    }
}

fn place(text: &str) -> Result<Lsn> {
    Lsn::parse(text).map_err(|e| damaged("its place in the log").with_source(e))
}

/// A position of its two sections.
///
/// # Errors
/// `Bug`.
pub fn encode(head: &Head, shapes: &[u8]) -> Result<Position> {
    position::encode(FORMAT, head, shapes)
}

/// The head of a position.
///
/// # Errors
/// As [`position::decode_head`].
pub fn decode_head(position: &Position) -> Result<Head> {
    position::decode_head(FORMAT, position)
}

/// Both sections of a position.
///
/// # Errors
/// As [`position::decode_head`].
pub fn decode(position: &Position) -> Result<(Head, Vec<Shape>)> {
    position::decode(FORMAT, position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Entry;
    use dujiang_core::Code;

    fn head() -> Head {
        let entry = Entry { oid: 16_390, since: 731, narrow: true };
        Head {
            server: ServerName { system: "7300000000000000001".into(), timeline: 2 },
            slot: "dujiang_p".into(),
            place: "1/AB".into(),
            from: Some("1/9".into()),
            inside: Some(Inside { commit: "1/AC".into(), xid: 731, changes: [(0, 7)].into() }),
            xid: 4_294_968_027,
            snapshot: Some(SnapshotState {
                id: "ab12".into(),
                tables: vec![SnapshotTable {
                    table: 0,
                    rows: 5,
                    chunks: vec![(Some("8000".into()), "700:731:705,706@1/AA".into())],
                    frontier: Some(vec![Some("5".into()), None]),
                    by: vec![2, 3],
                    torn: false,
                    dropped: vec![731],
                    joining: false,
                }],
                done: false,
            }),
            partitions: [(5, [5, 6].into())].into(),
            published: Imprint { publication: Some(entry), tables: [(5, [entry].into())].into() },
            files: [(5, [(6, 7)].into())].into(),
        }
    }

    #[test]
    fn positions_come_back_as_they_were() {
        let position = encode(&head(), &encode_shapes::<Shape>(&[]).unwrap()).unwrap();
        assert_eq!(decode(&position).unwrap(), (head(), vec![]));
        assert_eq!(head().boundary().unwrap(), Lsn(1 << 32 | 0xab));
        assert_eq!(head().from().unwrap(), Lsn(1 << 32 | 9));
        assert_eq!(Head { from: None, ..head() }.from().unwrap(), head().boundary().unwrap());
        let of = |xid| crate::snapshot::Committed { xid, place: Lsn(0) };
        let chunks = head().snapshot.unwrap().tables[0].done().unwrap();
        assert!(chunks[0].view.shows(of(704)) && !chunks[0].view.shows(of(705)));
    }

    #[test]
    fn damage_is_named() {
        let position = encode(&head(), &encode_shapes::<Shape>(&[]).unwrap()).unwrap();
        for cut in 0..position.as_bytes().len() {
            let error = decode(&Position::new(position.as_bytes()[..cut].to_vec())).unwrap_err();
            assert_eq!(error.code(), Code::CheckpointDamaged);
        }
        assert_eq!(decode(&Position::new(vec![9])).unwrap_err().code(), Code::StateVersion);
        assert_eq!(from_hex(&to_hex(&[0, 255, 16])).unwrap(), [0, 255, 16]);
        assert!(from_hex("abc").is_err());
    }
}
