//! What a position holds. Its bytes: `dujiang_database::position`.

use crate::gtid::Executed;
use crate::place::Place;
use crate::shape::Shape;
use dujiang_core::{Position, Result};
use dujiang_database::position::{self, damaged};
pub use dujiang_database::position::{encode_shapes, from_hex, to_hex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: u8 = 1;

/// The server a position belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerName {
    /// `mysql`, `mariadb` or `oceanbase`.
    pub family: String,
    /// `server_uuid`, or MariaDB's `server_id`.
    pub id: String,
}

/// A transaction, and where it begins in the binlog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its global transaction id.
    pub transaction: String,
    /// `bin.000003:4711`.
    pub begin: String,
}

/// A transaction of which only a part has been handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Its id, as in the origins of its rows.
    pub transaction: String,
    /// Changes handed out (or dropped for good) per table, by the table's number among the shapes.
    pub changes: BTreeMap<u32, u64>,
}

/// A distributed (XA) transaction that was prepared before the boundary and has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Its identifier as the log writes it: `X'61',X'62',7`.
    pub xid: String,
    /// Global transaction id of the part that prepares it; without them its place.
    pub transaction: String,
    /// Where that part begins: `bin.000003:4711`.
    pub begin: String,
    /// MariaDB: the transactions before it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// It changes no captured table: its rows need not be read again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
}

/// A snapshot that is not complete, or not yet caught up with by the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotState {
    /// Its id; part of the event ids of its rows.
    pub id: String,
    /// Every table that has chunks to read or hand-off points ahead of the stream. A table that is not here streams.
    pub tables: Vec<SnapshotTable>,
    /// Whether it was complete when this was written: [`dujiang_core::source::SourceEvent::SnapshotDone`] was told.
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
    /// Chunks handed out: last key in sortable bytes as hexadecimal digits (none for the table's end), hand-off point.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<(Option<String>, String)>,
    /// Values of the last key handed out, from which the next chunk goes on.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub frontier: Option<Vec<KeyValue>>,
    /// Id of its snapshot, if it joined later than the first tables.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Transactions that begin before this place are not its own: it joined there, in the shape it has.
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl SnapshotTable {
    /// A table of which nothing is read.
    pub fn new(table: u32) -> Self {
        Self { table, rows: 0, chunks: Vec::new(), frontier: None, id: None, from: None }
    }
}

/// One value of a key, in the form in which it is given to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum KeyValue {
    /// A signed number.
    #[serde(rename = "i")]
    Int(i64),
    /// An unsigned number.
    #[serde(rename = "u")]
    UInt(u64),
    /// A floating number, as the bits of an `f64`.
    #[serde(rename = "f")]
    Double(u64),
    /// Text, and everything that is given as text.
    #[serde(rename = "s")]
    Text(String),
    /// Bytes, as hexadecimal digits.
    #[serde(rename = "b")]
    Bytes(String),
}

impl Eq for KeyValue {}

/// The part that changes with every barrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Where it was written.
    pub server: ServerName,
    /// The transaction boundary up to which everything has been handed out.
    pub place: String,
    /// The same in global transaction ids; empty without them.
    pub gtid: String,
    /// The last transaction before the boundary and where it begins, to tell this log from another that counts alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// How far transactions after the boundary have been handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inside: Vec<Inside>,
    /// Distributed transactions without an outcome, in the order of the log. Their rows have not been handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepared: Vec<Prepared>,
    /// Names of the distributed transactions that were committed last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub committed: Vec<String>,
    /// The snapshot beside the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotState>,
    /// Shapes of tables that are not captured and may take the place of one that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<Shape>,
    /// The highest version of a table that is gone.
    #[serde(default)]
    pub retired: u32,
}

impl Head {
    /// The boundary.
    ///
    /// # Errors
    /// `CheckpointDamaged`.
    pub fn boundary(&self) -> Result<Place> {
        Place::parse(&self.place).ok_or_else(|| damaged("its place in the log"))
    }

    /// Gives tables the numbers that stand at their present ones; those without a number are forgotten.
    pub fn renumber(&mut self, numbers: &[Option<u32>]) {
        let renumbered = |old: u32| numbers.get(old as usize).copied().flatten();
        for inside in &mut self.inside {
            let changes = std::mem::take(&mut inside.changes);
            inside.changes = changes.into_iter().filter_map(|(at, n)| Some((renumbered(at)?, n))).collect();
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.tables.retain_mut(|table| renumbered(table.table).map(|at| table.table = at).is_some());
        }
        self.snapshot.take_if(|snapshot| snapshot.tables.is_empty());
    }

    /// The transactions up to the boundary.
    ///
    /// # Errors
    /// `CheckpointDamaged`.
    pub fn executed(&self) -> Result<Executed> {
        let bad = |_| damaged("its global transaction ids");
        match (self.server.family.as_str(), self.gtid.is_empty()) {
            ("mariadb", _) => Ok(Executed::MariaDb(self.gtid.parse().map_err(bad)?)),
            ("mysql", false) | ("oceanbase", _) => Ok(Executed::MySql(self.gtid.parse().map_err(bad)?)),
            ("mysql", true) => Ok(Executed::None),
            _ => Err(damaged("the family of its server")),
        }
    }
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
    use dujiang_core::Code;

    fn head() -> Head {
        Head {
            server: ServerName { family: "mariadb".into(), id: "1".into() },
            place: "bin.000003:4711".into(),
            gtid: "0-1-99".into(),
            mark: Some(Mark { transaction: "0-1-99".into(), begin: "bin.000003:4600".into() }),
            inside: vec![Inside { transaction: "0-1-100".into(), changes: [(0, 7)].into() }],
            prepared: vec![Prepared {
                xid: "X'61',X'62',7".into(),
                transaction: "0-1-90".into(),
                begin: "bin.000003:99".into(),
                before: "0-1-89".into(),
                empty: false,
            }],
            committed: vec!["X'63',X'',1".into()],
            snapshot: Some(SnapshotState {
                id: "ab12".into(),
                tables: vec![SnapshotTable {
                    table: 0,
                    rows: 5,
                    chunks: vec![(Some("8000".into()), "bin.000003:4".into())],
                    frontier: Some(vec![KeyValue::UInt(u64::MAX), KeyValue::Double(f64::NAN.to_bits())]),
                    id: None,
                    from: Some("bin.000003:4".into()),
                }],
                done: false,
            }),
            shadows: Vec::new(),
            retired: 3,
        }
    }

    #[test]
    fn positions_come_back_as_they_were() {
        let shape = Shape {
            database: "d".into(),
            table: "t".into(),
            version: 2,
            columns: vec![],
            key: vec![0],
            zero_dates: Default::default(),
            key_name: None,
            collation: None,
        };
        let position = encode(&head(), &encode_shapes(&[&shape]).unwrap()).unwrap();
        assert_eq!(decode(&position).unwrap(), (head(), vec![shape]));
        assert_eq!(head().boundary().unwrap().offset, 4711);
        assert_eq!(head().executed().unwrap().to_string(), "0-1-99");
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
