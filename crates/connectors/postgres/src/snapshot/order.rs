//! In which order a table is read, and its keys in a form whose bytes compare so. Pure.
//!
//! A table with a key is read in the order of its key. One without, or with a key that only the server can order, is read in the
//! order of what its rows hold: what decides whether a chunk has a row need not be unique, it has only to be in every image of the
//! row. All rows that are equal in it lie in one chunk.

use super::sortable::{Part, bad, read_binary, write_binary, write_text};
use crate::catalog::{Collates, Collation, TableDetail};
use crate::client::wire::Reader;
use crate::pgoutput::{Cell, Tuple};
use crate::shape::Shape;
use crate::values::PgKind;
use dujiang_core::{Code, Error, Result};

/// A table that has no more bytes is handed out in one piece, if its keys cannot be ordered here.
pub const SMALL_TABLE: u64 = 16 << 20;

/// A column by which a table is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct By {
    /// Its place among the columns.
    at: usize,
    part: Part,
}

/// A column by which a table is ordered, for statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderedBy {
    /// Its place among the columns.
    pub at: usize,
    /// Its first so many characters.
    pub head: Option<usize>,
    /// Whether it has to be compared by bytes explicitly.
    pub by_bytes: bool,
    /// `char(n)`, or a domain over it.
    pub padded: bool,
}

/// How a table is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOrder {
    by: Vec<By>,
    /// No index of the server has this order.
    sorted: bool,
    /// What rows hold, and not their key: rows may be equal in it, and values NULL, which come last.
    content: bool,
}

/// Columns of an order that are not those of a key: the more, the fewer rows are equal in them.
const MOST_COLUMNS: usize = 16;

/// `pg_type.oid` of `oid`.
const OID: u32 = 26;

/// The last key of a chunk as texts; NULL only where rows are ordered by what they hold.
pub type Frontier = Vec<Option<String>>;

impl KeyOrder {
    /// The order in which a table is read; `None` when it is read as a whole.
    pub fn new(shape: &Shape, collations: &[Collation], detail: Option<&TableDetail>) -> Option<Self> {
        let large = detail.filter(|detail| u64::try_from(detail.bytes).is_ok_and(|bytes| bytes > SMALL_TABLE));
        Self::of_key(shape, collations).or_else(|| Self::of_content(shape, collations, &large?.leading))
    }

    /// The order of the key of this shape; `None` when there is none, or the server alone can tell. `collations` are those of the
    /// columns by their places.
    fn of_key(shape: &Shape, collations: &[Collation]) -> Option<Self> {
        let collation = |at: usize| collations.get(at).copied().unwrap_or_default();
        let by = |&at: &usize| Some(By { at, part: part(shape, at, collation(at))? });
        let by = shape.key.iter().map(by).collect::<Option<Vec<_>>>()?;
        let text = |by: &By| matches!(by.part, Part::Text | Part::Padded).then_some(by.at);
        let sorted = by.iter().filter_map(text).any(|at| collation(at).collates == Collates::Language);
        (!by.is_empty()).then_some(Self { by, sorted, content: false })
    }

    /// The order of what rows hold, as far as all their images hold it: first what an index begins with, so that the server need not
    /// sort all at once, then numbers and times, then the beginnings of texts.
    fn of_content(shape: &Shape, collations: &[Collation], leading: &[i16]) -> Option<Self> {
        let found = (0..shape.columns.len()).filter(|&at| shape.columns[at].in_identity);
        let found: Vec<By> = found.filter_map(|at| content_part(shape, at, collations)).collect();
        let (texts, others): (Vec<By>, Vec<By>) = found.into_iter().partition(|by| by.part == Part::Head);
        let (first, others): (Vec<By>, Vec<By>) =
            others.into_iter().partition(|by| leading.contains(&shape.columns[by.at].number));
        let by: Vec<By> = first.into_iter().chain(others).chain(texts).take(MOST_COLUMNS).collect();
        (!by.is_empty()).then_some(Self { by, sorted: true, content: true })
    }

    /// The order of what rows hold in these columns (`attnum`); `None` when one is not what it was.
    pub fn of_columns(shape: &Shape, collations: &[Collation], numbers: &[i16]) -> Option<Self> {
        let place = |number: &i16| shape.columns.iter().position(|c| c.number == *number && c.in_identity);
        let by = numbers.iter().map(|number| content_part(shape, place(number)?, collations));
        let by = by.collect::<Option<Vec<_>>>()?;
        (!by.is_empty()).then_some(Self { by, sorted: true, content: true })
    }

    /// The columns (`attnum`) of an order of what rows hold; none for that of a key.
    pub fn columns(&self, shape: &Shape) -> Vec<i16> {
        let number = |by: &By| shape.columns.get(by.at).map_or(0, |column| column.number);
        if self.content { self.by.iter().map(number).collect() } else { Vec::new() }
    }

    /// The same order once the table has got other columns; `None` when it cannot be read in it any more.
    pub fn followed(&self, before: &Shape, after: &Shape, collations: &[Collation]) -> Option<Self> {
        let now = if self.content {
            Self::of_columns(after, collations, &self.columns(before))
        } else {
            Self::of_key(after, collations)
        };
        now.filter(|now| now.is_like(self))
    }

    /// Whether the server has to sort the table to read it in this order.
    pub fn is_sorted(&self) -> bool {
        self.sorted
    }

    /// Whether rows may be equal in it, and values NULL.
    pub fn is_content(&self) -> bool {
        self.content
    }

    /// What statements order by.
    pub fn ordered_by(&self) -> impl Iterator<Item = OrderedBy> + '_ {
        let of = |by: &By| OrderedBy {
            at: by.at,
            head: (by.part == Part::Head).then_some(super::sortable::HEAD),
            by_bytes: self.sorted && matches!(by.part, Part::Text | Part::Padded | Part::Head),
            padded: by.part == Part::Padded,
        };
        self.by.iter().map(of)
    }

    /// Whether another order compares the same, wherever the columns stand.
    fn is_like(&self, other: &Self) -> bool {
        self.sorted == other.sorted
            && self.content == other.content
            && self.by.iter().map(|by| by.part).eq(other.by.iter().map(|by| by.part))
    }

    /// The key of a row of a binary copy, as texts.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn texts(&self, row: &[u8]) -> Result<Frontier> {
        let text = |by: &By| self.cell_of(row, by.at)?.map(|bytes| read_binary(by.part, bytes)).transpose();
        self.by.iter().map(text).collect()
    }

    /// Appends the key of a row of a binary copy.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn write_row(&self, row: &[u8], out: &mut Vec<u8>) -> Result<()> {
        for by in &self.by {
            match self.cell_of(row, by.at)? {
                Some(bytes) => {
                    self.not_null(out);
                    write_binary(by.part, bytes, out)?;
                }
                None => self.null(out)?,
            }
        }
        Ok(())
    }

    /// Appends the key of an image. `old` is the row of before, or its key: it has what the log does not repeat.
    ///
    /// # Errors
    /// `SchemaMismatch` when the image does not hold the key, `Protocol` when a value cannot be read.
    pub fn write(&self, image: Tuple<'_>, old: Option<Tuple<'_>>, out: &mut Vec<u8>) -> Result<()> {
        // Keys are few columns, most often the first: going through the image once per column costs less than keeping places.
        for by in &self.by {
            let cell = match image.cells().nth(by.at) {
                Some(Cell::Unchanged) => old.and_then(|old| old.cells().nth(by.at)),
                cell => cell,
            };
            match cell {
                Some(Cell::Text(text)) => {
                    self.not_null(out);
                    write_text(by.part, text, out)?;
                }
                Some(Cell::Binary(bytes)) => {
                    self.not_null(out);
                    write_binary(by.part, bytes, out)?;
                }
                Some(Cell::Null) if self.content => self.null(out)?,
                Some(Cell::Unchanged) => return Err(not_logged()),
                other => {
                    let found = other.map_or("no such column", |_| "NULL or nothing");
                    return Err(Error::new(Code::SchemaMismatch, "a change does not hold the key of its row")
                        .fact("found", found)
                        .help("somebody changed the table's primary key or replica identity; start a new snapshot"));
                }
            }
        }
        Ok(())
    }

    /// Appends a key given as texts.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn write_texts(&self, key: &[Option<String>], out: &mut Vec<u8>) -> Result<()> {
        for (by, text) in self.by.iter().zip(key) {
            match text {
                Some(text) => {
                    self.not_null(out);
                    write_text(by.part, text.as_bytes(), out)?;
                }
                None => self.null(out)?,
            }
        }
        Ok(())
    }

    fn not_null(&self, out: &mut Vec<u8>) {
        if self.content {
            out.push(0);
        }
    }

    fn null(&self, out: &mut Vec<u8>) -> Result<()> {
        if !self.content {
            return Err(bad());
        }
        out.push(1);
        Ok(())
    }

    fn cell_of<'a>(&self, row: &'a [u8], at: usize) -> Result<Option<&'a [u8]>> {
        let mut r = Reader::new(row, "a row of a copy");
        r.take(2)?;
        for _ in 0..at {
            let length = r.i32()?;
            r.take(usize::try_from(length).unwrap_or(0))?;
        }
        match r.i32()? {
            -1 => Ok(None),
            length => r.take(usize::try_from(length).map_err(|_| bad())?).map(Some),
        }
    }
}

/// Servers log the old key because of such a value, changed or not, but the first ones of 14 did not.
#[cold]
fn not_logged() -> Error {
    Error::new(Code::SchemaMismatch, "a change does not hold the key of its row")
        .fact("found", "a large value that the change does not touch and the server did not log")
        .help("take the newest minor version of the server, or ALTER TABLE ... REPLICA IDENTITY FULL, and start a new snapshot")
}

/// How a column is ordered, if that is known here.
fn part(shape: &Shape, at: usize, collation: Collation) -> Option<Part> {
    let column = shape.columns.get(at)?;
    Some(match &column.kind {
        PgKind::Int2 | PgKind::Int4 | PgKind::Int8 => Part::Signed,
        // `xid` and `cid` are carried alike, and have no order.
        PgKind::Oid if column.type_oid != OID => return None,
        PgKind::Oid | PgKind::Xid8 => Part::Unsigned,
        PgKind::Float4 => Part::Float4,
        PgKind::Float8 => Part::Float8,
        PgKind::Decimal { .. } | PgKind::Number => Part::Numeric,
        PgKind::Money { .. } => Part::Money,
        PgKind::Date => Part::Date,
        PgKind::Time => Part::Time,
        PgKind::Timestamp => Part::Timestamp,
        PgKind::Timestamptz => Part::Timestamptz,
        PgKind::Uuid => Part::Uuid,
        PgKind::Bytea => Part::Bytea,
        PgKind::Bool => Part::Bool,
        PgKind::Text if collation.collates == Collates::Unknown => return None,
        PgKind::Text if collation.padded => Part::Padded,
        PgKind::Text => Part::Text,
        _ => return None,
    })
}

/// As [`part`], for a column that need not be part of a key, and whose values may be long.
fn content_part(shape: &Shape, at: usize, collations: &[Collation]) -> Option<By> {
    let collation = collations.get(at).copied().unwrap_or_default();
    let part = match part(shape, at, collation)? {
        Part::Text if collation.in_characters => Part::Head,
        Part::Text | Part::Padded | Part::Bytea => return None,
        other => other,
    };
    Some(By { at, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
        let mut row = (cells.len() as u16).to_be_bytes().to_vec();
        for cell in cells {
            row.extend(cell.map_or(-1, |bytes| bytes.len() as i32).to_be_bytes());
            row.extend(cell.unwrap_or_default());
        }
        row
    }

    #[test]
    fn a_rows_texts_give_the_rows_key() {
        let parts = [Part::Signed, Part::Head, Part::Bool];
        let by: Vec<By> = parts.iter().enumerate().map(|(at, part)| By { at: at + 1, part: *part }).collect();
        let order = KeyOrder { by, sorted: true, content: true };
        let number = 5i32.to_be_bytes();
        let rows = [
            row(&[Some(b"x"), Some(&number), Some(b"a"), Some(&[1])]),
            row(&[None, Some(&number), Some(b"b"), None]),
            row(&[None, Some(&number), None, Some(&[0])]),
            row(&[None, None, Some(b""), Some(&[0])]),
        ];
        let keys: Vec<Vec<u8>> = rows
            .iter()
            .map(|row| {
                let (mut of_row, mut of_texts) = (Vec::new(), Vec::new());
                order.write_row(row, &mut of_row).unwrap();
                order.write_texts(&order.texts(row).unwrap(), &mut of_texts).unwrap();
                assert_eq!(of_row, of_texts);
                of_row
            })
            .collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "NULL comes last: {keys:?}");
        assert_eq!(order.texts(&rows[2]).unwrap(), [Some("5".to_owned()), None, Some("f".to_owned())]);
        assert!(order.texts(&rows[0][..9]).is_err());
        let key = KeyOrder { content: false, ..order };
        assert!(key.write_texts(&[None], &mut Vec::new()).is_err(), "a key has no NULL");
    }
}
