//! Sort keys of text, asked of the server.
//!
//! Which text comes first, and whether two texts are one key, is the business of a collation, and of the server's version
//! of it. So the server is asked: `WEIGHT_STRING` gives bytes whose order is the collation's.
//!
//! A sort key is, per key column, the bytes with 0x00 written as 0x00 0xff, then 0x00 0x00: the order of such keys as
//! plain bytes is the order column by column.

use crate::client::{Connection, quote};
use crate::decode::{Change, Column, ColumnType, KeyPlan, RowImage, is_locally_ordered};
use crate::position::KeyValue;
use arrow_array::RecordBatch;
use dujiang_core::schema::META_SOURCE_TYPE;
use dujiang_core::{Code, Error, Result};
use std::sync::Arc;

/// A text may weigh more than one unit per character (`ß` sorts like `ss`).
const UNITS_PER_CHARACTER: u32 = 8;
/// Texts weighed with one query.
const TEXTS_AT_A_TIME: usize = 200;

/// How the key of one table is ordered, where the server has a say.
#[derive(Debug, Clone)]
pub struct ServerOrder {
    parts: Arc<[Part]>,
}

#[derive(Debug)]
enum Part {
    /// Ordered here.
    Local(KeyPlan),
    /// Ordered by the server.
    Text {
        /// The column.
        at: usize,
        charset: String,
        collation: String,
        /// Units to fill up to, with collations for which trailing spaces do not count.
        padded: Option<u32>,
    },
}

/// A key on its way: per part the bytes, or the text whose bytes have to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartKey {
    /// Known.
    Bytes(Vec<u8>),
    /// To be weighed.
    Text(String),
}

/// The parts of a key.
pub type OpenKey = Vec<PartKey>;

impl ServerOrder {
    /// For the key made of the columns at `key`.
    ///
    /// # Errors
    /// `NoKey` for a text column whose collation is not known.
    pub fn new(columns: &Arc<[Column]>, key: &[usize]) -> Result<Self> {
        let parts = key.iter().map(|&at| part(columns, at)).collect::<Result<_>>()?;
        Ok(Self { parts })
    }

    /// The key of a row image.
    ///
    /// # Errors
    /// `BadRecord`.
    pub fn of_image(&self, image: &RowImage<'_>) -> Result<OpenKey> {
        let of = |part: &Part| match part {
            Part::Local(plan) => {
                let mut bytes = Vec::new();
                plan.write_image(image, &mut bytes)?;
                Ok(PartKey::Bytes(bytes))
            }
            Part::Text { at, .. } => {
                let mut text = String::new();
                image.text(*at, &mut text)?;
                Ok(PartKey::Text(text))
            }
        };
        self.parts.iter().map(of).collect()
    }

    /// The keys of a change, before and after.
    ///
    /// # Errors
    /// As [`ServerOrder::of_image`].
    pub fn of_change(&self, change: &Change<'_>) -> Result<(Option<OpenKey>, Option<OpenKey>)> {
        let of = |image: Option<&RowImage<'_>>| image.map(|i| self.of_image(i)).transpose();
        Ok((of(change.before.as_ref())?, of(change.after.as_ref())?))
    }

    /// The key of a decoded row, whose values are `values`.
    ///
    /// # Errors
    /// `Bug`.
    pub fn of_row(&self, batch: &RecordBatch, row: usize, values: &[KeyValue]) -> Result<OpenKey> {
        let of = |(part, value): (&Part, &KeyValue)| match (part, value) {
            (Part::Local(plan), _) => {
                let mut bytes = Vec::new();
                plan.write_row(batch, row, &mut bytes)?;
                Ok(PartKey::Bytes(bytes))
            }
            (Part::Text { .. }, KeyValue::Text(text)) => Ok(PartKey::Text(text.clone())),
            _ => Err(Error::new(Code::Bug, "a text column has a key value that is no text")),
        };
        self.parts.iter().zip(values).map(of).collect()
    }

    /// Asks the server for the sort keys of many keys.
    ///
    /// # Errors
    /// `ConnectionLost`, `SourceQuery`.
    pub async fn weigh(&self, connection: &mut Connection, keys: &[OpenKey]) -> Result<Vec<Vec<u8>>> {
        let texts: Vec<String> = keys.iter().flat_map(|key| self.expressions(key)).collect();
        let mut weights = Vec::with_capacity(texts.len());
        for some in texts.chunks(TEXTS_AT_A_TIME) {
            let rows = connection.query(&format!("SELECT {}", some.join(", "))).await?;
            let row = rows.get(0).ok_or_else(|| Error::new(Code::Protocol, "the source gave no sort keys"))?;
            weights.extend((0..some.len()).map(|n| row.bytes(n).unwrap_or_default().to_vec()));
        }
        let mut weights = weights.into_iter();
        let closed = |key: &OpenKey| {
            let mut out = Vec::new();
            for part in key {
                match part {
                    PartKey::Bytes(bytes) => push_part(bytes, &mut out),
                    PartKey::Text(_) => push_part(&weights.next().expect("invariant: one weight per text"), &mut out),
                }
            }
            out
        };
        Ok(keys.iter().map(closed).collect())
    }

    fn expressions(&self, key: &OpenKey) -> Vec<String> {
        let of = |(part, value): (&Part, &PartKey)| match (part, value) {
            (Part::Text { charset, collation, padded, .. }, PartKey::Text(text)) => {
                let text = format!("CONVERT({} USING {charset}) COLLATE {collation}", quote::text(text));
                let padding = padded.map_or(String::new(), |units| format!(" AS CHAR({units})"));
                Some(format!("WEIGHT_STRING({text}{padding})"))
            }
            _ => None,
        };
        self.parts.iter().zip(key).filter_map(of).collect()
    }
}

fn part(columns: &Arc<[Column]>, at: usize) -> Result<Part> {
    let column = &columns[at];
    if is_locally_ordered(&column.column_type)
        && let Some(plan) = KeyPlan::new(columns.clone(), &[at])
    {
        return Ok(Part::Local(plan));
    }
    let refuse = || {
        let message = format!("the order of key column {} is not known", column.name);
        Error::new(Code::NoKey, message).help("leave the table out of `tables`, or choose another key")
    };
    let collation = column.collation.as_deref().filter(|_| matches!(column.column_type, ColumnType::Text { .. }));
    let collation =
        collation.filter(|c| c.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).ok_or_else(refuse)?;
    let charset = collation.split('_').next().unwrap_or_default().to_owned();
    let no_padding = collation.contains("nopad") || collation.contains("0900");
    let length = characters(column).ok_or_else(refuse)?;
    let padded = (!no_padding).then_some(length.saturating_mul(UNITS_PER_CHARACTER));
    Ok(Part::Text { at, charset, collation: collation.to_owned(), padded })
}

/// The declared length: 40 of `varchar(40)`.
fn characters(column: &Column) -> Option<u32> {
    let declared = column.field.metadata().get(META_SOURCE_TYPE)?;
    let inner = declared.split_once('(')?.1;
    inner.split_once(')')?.0.trim().parse().ok()
}

fn push_part(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        parts.iter().for_each(|p| push_part(p, &mut out));
        out
    }

    proptest! {
        #[test]
        fn joined_parts_are_ordered_part_by_part(
            a in prop::collection::vec(prop::collection::vec(0..3u8, 0..4), 2),
            b in prop::collection::vec(prop::collection::vec(0..3u8, 0..4), 2),
        ) {
            prop_assert_eq!(joined(&a).cmp(&joined(&b)), a.cmp(&b));
        }
    }
}
