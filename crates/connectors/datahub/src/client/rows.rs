//! Records as they are read, one after the other through one reused buffer.

use super::batch::{Batch, BatchFault, BatchRow, Cell, Form};
use super::wire::{Fields, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

/// One record.
#[derive(Debug, Default)]
pub struct Row {
    /// Its number in the shard.
    pub sequence: i64,
    /// When the service took it, milliseconds since 1970-01-01 UTC.
    pub millis: i64,
    bytes: Vec<u8>,
    values: Vec<Option<Range<usize>>>,
    attributes: Vec<(Range<usize>, Range<usize>)>,
}

impl Row {
    /// The texts of its values; of a BLOB its bytes.
    pub fn values(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.values.iter().map(|place| place.clone().map(|place| &self.bytes[place]))
    }

    /// An attribute.
    pub fn attribute(&self, name: &str) -> Option<&[u8]> {
        let found = self.attributes.iter().find(|(found, _)| self.bytes[found.clone()] == *name.as_bytes());
        found.map(|(_, value)| &self.bytes[value.clone()])
    }

    fn clear(&mut self) {
        (self.sequence, self.millis) = (0, 0);
        self.bytes.clear();
        self.values.clear();
        self.attributes.clear();
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Reads a `RecordEntry`.
    fn read(&mut self, entry: &[u8]) -> Option<()> {
        self.clear();
        for field in Fields::of(entry) {
            match field? {
                (6, Value::Number(sequence)) => self.sequence = sequence as i64,
                (7, Value::Number(millis)) => self.millis = millis as i64,
                (8, Value::Bytes(pairs)) => self.read_attributes(pairs)?,
                (9, Value::Bytes(data)) => {
                    for value in Fields::of(data) {
                        let (1, Value::Bytes(value)) = value? else { continue };
                        let bytes = part(value, 1)?;
                        let place = bytes.map(|bytes| self.keep(bytes));
                        self.values.push(place);
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// Reads a row of a batch.
    fn read_batch(&mut self, of: &Stamped, row: BatchRow<'_>, forms: &[Form]) -> Option<()> {
        self.clear();
        (self.sequence, self.millis) = (of.sequence, of.millis);
        for column in 0..row.columns {
            let start = self.bytes.len();
            match row.cell(column, *forms.get(column)?)? {
                Cell::Null => {
                    self.values.push(None);
                    continue;
                }
                Cell::Whole(value) => self.bytes.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
                Cell::Single(value) => write!(self.bytes, "{value}").ok()?,
                Cell::Double(value) => write!(self.bytes, "{value}").ok()?,
                Cell::Flag(value) => self.bytes.extend_from_slice(if value { b"true" } else { b"false" }),
                Cell::Text(value) => self.bytes.extend_from_slice(value),
            }
            self.values.push(Some(start..self.bytes.len()));
        }
        row.attributes(|name, value| {
            let pair = (self.keep(name), self.keep(value));
            self.attributes.push(pair);
        })
    }

    fn read_attributes(&mut self, pairs: &[u8]) -> Option<()> {
        for pair in Fields::of(pairs) {
            let (1, Value::Bytes(pair)) = pair? else { continue };
            let (name, value) = (part(pair, 1)?, part(pair, 2)?);
            // One without a value says nothing.
            let (Some(name), Some(value)) = (name, value) else { continue };
            let pair = (self.keep(name), self.keep(value));
            self.attributes.push(pair);
        }
        Some(())
    }
}

/// Number and width of a `RecordEntry`.
fn outline(entry: &[u8]) -> Option<(i64, usize)> {
    let (mut sequence, mut width) = (0, 0);
    for field in Fields::of(entry) {
        match field? {
            (6, Value::Number(number)) => sequence = number as i64,
            (9, Value::Bytes(data)) => {
                for value in Fields::of(data) {
                    width += usize::from(matches!(value?, (1, Value::Bytes(_))));
                }
            }
            _ => {}
        }
    }
    Some((sequence, width))
}

/// The bytes of a field of a message, if it has it; nothing if the message is damaged.
fn part(message: &[u8], number: u64) -> Option<Option<&[u8]>> {
    let mut found = None;
    for field in Fields::of(message) {
        if let (other, Value::Bytes(bytes)) = field?
            && other == number
        {
            found = Some(bytes);
        }
    }
    Some(found)
}

/// A record in JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct JsonRecord {
    sequence: i64,
    #[serde(default)]
    system_time: i64,
    data: Data,
    #[serde(default)]
    attributes: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Data {
    Tuple(Vec<Option<String>>),
    Blob(String),
}

impl JsonRecord {
    fn fill(&self, row: &mut Row) -> Option<()> {
        row.clear();
        (row.sequence, row.millis) = (self.sequence, self.system_time);
        match &self.data {
            Data::Tuple(values) => {
                for value in values {
                    let place = value.as_ref().map(|value| row.keep(value.as_bytes()));
                    row.values.push(place);
                }
            }
            Data::Blob(text) => {
                let start = row.bytes.len();
                STANDARD.decode_vec(text, &mut row.bytes).ok()?;
                row.values.push(Some(start..row.bytes.len()));
            }
        }
        for (name, value) in self.attributes.iter().flatten() {
            let Some(value) = value else { continue };
            let pair = (row.keep(name.as_bytes()), row.keep(value.as_bytes()));
            row.attributes.push(pair);
        }
        Some(())
    }
}

/// What a request for records has brought.
#[derive(Debug)]
pub struct Pulled {
    /// Where to go on.
    pub next_cursor: String,
    /// Number and time of the shard's newest record, if the service tells.
    pub latest: (i64, i64),
    /// How many records these are.
    pub records: usize,
    /// Number of the last one.
    pub last: i64,
    /// The most values that one of them has.
    pub width: usize,
    /// How the values of batches stand in them, one a field.
    pub forms: Vec<Form>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Protobuf(Bytes),
    Json(Vec<JsonRecord>),
    Batches(Vec<Stamped>),
}

/// A batch: all its records have one number and one time.
#[derive(Debug)]
struct Stamped {
    sequence: i64,
    millis: i64,
    batch: Batch,
}

impl Stamped {
    /// Of a `BinaryRecordEntry`.
    fn read(entry: &[u8]) -> Result<Self, BatchFault> {
        let (mut sequence, mut millis, mut batch) = (0, 0, None);
        for field in Fields::of(entry) {
            match field.ok_or(BatchFault::Damaged)? {
                (3, Value::Number(number)) => sequence = number as i64,
                (4, Value::Number(number)) => millis = number as i64,
                (6, Value::Bytes(bytes)) => batch = Some(Batch::read(bytes)?),
                _ => {}
            }
        }
        Ok(Self { sequence, millis, batch: batch.ok_or(BatchFault::Damaged)? })
    }
}

impl Pulled {
    /// Of a `GetRecordsResponse`; none if it or a record is damaged.
    pub(super) fn protobuf(message: Bytes) -> Option<Self> {
        let (mut next_cursor, mut latest) = (String::new(), (-1, -1));
        for field in Fields::of(&message) {
            match field? {
                (1, Value::Bytes(cursor)) => next_cursor = String::from_utf8(cursor.to_vec()).ok()?,
                (5, Value::Number(sequence)) => latest.0 = sequence as i64,
                (6, Value::Number(millis)) => latest.1 = millis as i64,
                _ => {}
            }
        }
        Self::of(next_cursor, latest, Body::Protobuf(message))
    }

    pub(super) fn json(next_cursor: String, latest: (i64, i64), records: Vec<JsonRecord>) -> Option<Self> {
        Self::of(next_cursor, latest, Body::Json(records))
    }

    /// Of a `GetBinaryRecordsResponse`.
    ///
    /// # Errors
    /// When it or a batch is damaged, or a batch is of a kind that is not known.
    pub(super) fn batches(message: &[u8]) -> Result<Self, BatchFault> {
        let (mut next_cursor, mut latest, mut batches) = (String::new(), (-1, -1), Vec::new());
        for field in Fields::of(message) {
            match field.ok_or(BatchFault::Damaged)? {
                (1, Value::Bytes(cursor)) => {
                    next_cursor = String::from_utf8(cursor.to_vec()).map_err(|_| BatchFault::Damaged)?;
                }
                (4, Value::Bytes(entry)) => batches.push(Stamped::read(entry)?),
                (5, Value::Number(sequence)) => latest.0 = sequence as i64,
                (6, Value::Number(millis)) => latest.1 = millis as i64,
                _ => {}
            }
        }
        let records = batches.iter().map(|of| of.batch.count).sum();
        let width = batches.iter().map(|of| of.batch.width).max().unwrap_or_default();
        let last = batches.last().map_or(-1, |of| of.sequence);
        let (forms, body) = (Vec::new(), Body::Batches(batches));
        Ok(Self { next_cursor, latest, records, last, width, forms, body })
    }

    fn of(next_cursor: String, latest: (i64, i64), body: Body) -> Option<Self> {
        let (mut records, mut last, mut width) = (0, -1, 0);
        let mut count =
            |(sequence, values): (i64, usize)| (records, last, width) = (records + 1, sequence, width.max(values));
        match &body {
            Body::Protobuf(message) => {
                for field in Fields::of(message) {
                    let (4, Value::Bytes(entry)) = field? else { continue };
                    count(outline(entry)?);
                }
            }
            Body::Json(list) => {
                let mut row = Row::default();
                for record in list {
                    record.fill(&mut row)?;
                    count((row.sequence, row.values.len()));
                }
            }
            Body::Batches(_) => {}
        }
        Some(Self { next_cursor, latest, records, last, width, forms: Vec::new(), body })
    }

    /// Shows the records, one after the other, until it is enough; none if one of them is damaged.
    pub fn each(&self, row: &mut Row, mut goes_on: impl FnMut(&Row) -> bool) -> Option<()> {
        match &self.body {
            Body::Protobuf(message) => {
                for field in Fields::of(message) {
                    let (4, Value::Bytes(entry)) = field? else { continue };
                    row.read(entry)?;
                    if !goes_on(row) {
                        break;
                    }
                }
            }
            Body::Batches(batches) => {
                let rows = batches.iter().flat_map(|of| of.batch.rows().map(move |row| (of, row)));
                for (of, found) in rows {
                    row.read_batch(of, found, &self.forms)?;
                    if !goes_on(row) {
                        break;
                    }
                }
            }
            Body::Json(records) => {
                for record in records {
                    record.fill(row)?;
                    if !goes_on(row) {
                        break;
                    }
                }
            }
        }
        Some(())
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        match &self.body {
            Body::Protobuf(message) => message.len(),
            Body::Json(records) => records.iter().map(JsonRecord::memory).sum(),
            Body::Batches(batches) => batches.iter().map(|of| of.batch.memory()).sum(),
        }
    }
}

impl JsonRecord {
    fn memory(&self) -> usize {
        let data = match &self.data {
            Data::Tuple(values) => values.iter().map(|value| 24 + value.as_ref().map_or(0, String::len)).sum(),
            Data::Blob(text) => text.len(),
        };
        size_of::<Self>() + data
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::write_bytes;
    use super::*;

    #[test]
    fn null_is_not_nothing_and_damage_is_seen() {
        // Recorded from the service's own client: attribute k=v, values "7", "é", NULL.
        let entry: &[u8] = &[
            0x42, 0x08, 0x0a, 0x06, 0x0a, 0x01, 0x6b, 0x12, 0x01, 0x76, 0x4a, 0x0d, 0x0a, 0x03, 0x0a, 0x01, 0x37, 0x0a,
            0x04, 0x0a, 0x02, 0xc3, 0xa9, 0x0a, 0x00,
        ];
        let mut message = Vec::new();
        write_bytes(1, b"cursor", &mut message);
        write_bytes(4, entry, &mut message);
        let pulled = Pulled::protobuf(message.clone().into()).unwrap();
        assert_eq!((pulled.next_cursor.as_str(), pulled.records, pulled.width), ("cursor", 1, 3));
        let shown = pulled.each(&mut Row::default(), |row| {
            assert_eq!(row.values().collect::<Vec<_>>(), [Some(&b"7"[..]), Some("é".as_bytes()), None]);
            assert_eq!((row.attribute("k"), row.attribute("l")), (Some(&b"v"[..]), None));
            true
        });
        assert_eq!(shown, Some(()));
        message.pop();
        assert!(Pulled::protobuf(message.into()).is_none());
    }
}
