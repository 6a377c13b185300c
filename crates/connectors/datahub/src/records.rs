//! Rows into records.

use crate::client::RowWriter;
use crate::client::wire::{length_of_field, write_attributes, write_bytes, write_head};
use crate::config::Protocol;
use crate::shards::hash;
use crate::topic::Slot;
use arrow_schema::TimeUnit;
use dujiang_core::cells::{Cells, Values};
use dujiang_core::key::Keys;
use dujiang_core::text::{write_event_prefix, write_json_string};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Error, Kind, Lineage, Result};
use std::ops::Range;

/// Longest text of one field.
const MAX_TEXT: usize = 2 << 20;
/// Longest body of a request, before compression, less what stands around the records.
pub(crate) const MAX_BODY: usize = (4 << 20) - (64 << 10);
/// Microseconds that a TIMESTAMP can hold.
const MICROS: std::ops::RangeInclusive<i128> = -62_135_798_400_000_000..=253_402_271_999_000_000;

/// The records of a batch, encoded.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    pub(crate) list: Vec<Record>,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Record {
    place: Range<usize>,
    /// First row of its change, by which errors name it.
    pub(crate) row: usize,
    /// Of its key.
    pub(crate) hash: u128,
}

impl Records {
    pub(crate) fn bytes(&self, index: usize) -> &[u8] {
        &self.bytes[self.list[index].place.clone()]
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.list.capacity() * size_of::<Record>()
    }
}

/// What all records of a batch have in common.
struct Encoder<'a> {
    cells: Vec<Cells<'a>>,
    slots: &'a [Slot],
    protocol: Protocol,
    keys: Keys<'a>,
    /// Buffers that are used again for every record: the text of a value, values, all of a record.
    text: Vec<u8>,
    data: Vec<u8>,
    entry: Vec<u8>,
}

/// Names and values of a record's attributes.
type Attributes<'a> = [(&'static str, &'a [u8]); 4];

/// Encodes the changes of a batch: of each the row after it, of a delete the row before. Changes that no record can hold come back.
///
/// # Errors
/// [`Code::UnknownType`].
pub(crate) fn encode(
    batch: &ChangeBatch,
    slots: &[Slot],
    protocol: Protocol,
    lineage: &Lineage,
) -> Result<(Records, Vec<RowError>)> {
    let columns = batch.schema.arrow.fields().iter().zip(batch.rows.columns());
    let cells = columns.map(|(field, column)| Cells::new(field, column.as_ref())).collect::<Result<Vec<_>>>()?;
    let mut encoder = Encoder {
        cells,
        slots,
        protocol,
        keys: Keys::new(batch),
        text: Vec::new(),
        data: Vec::new(),
        entry: Vec::new(),
    };
    let keyless = hash(batch.schema.id.to_string().as_bytes());
    let (mut records, mut failed, mut id, mut key) = (Records::default(), Vec::new(), Vec::new(), Vec::new());
    for (row, (ordinal, origin)) in batch.ordinals().enumerate() {
        let kind = batch.kinds[row];
        if kind == Kind::UpdateBefore {
            continue;
        }
        id.clear();
        write_event_prefix(lineage, batch.source_table(), &origin, &mut id);
        encoder.keys.write_event_end(kind, row, ordinal, &mut id);
        let mut time = itoa::Buffer::new();
        let attributes = [
            ("dujiang.op", kind.letter().as_bytes()),
            ("dujiang.event-id", &id),
            ("dujiang.ts-us", time.format(origin.commit_micros).as_bytes()),
            ("dujiang.position", origin.position.as_bytes()),
        ];
        let start = records.bytes.len();
        let written = encoder.write(row, &attributes, &mut records.bytes);
        let size = records.bytes.len() - start;
        let first = batch.first_image(row);
        let fitting = written.and_then(|()| if size <= MAX_BODY { Ok(()) } else { Err(too_large(size)) });
        if let Err(error) = fitting {
            records.bytes.truncate(start);
            failed.push(RowError { row: first, error });
            continue;
        }
        key.clear();
        encoder.keys.write(row, &mut key);
        let hash = if key.is_empty() { keyless } else { hash(&key) };
        records.list.push(Record { place: start..records.bytes.len(), row: first, hash });
    }
    Ok((records, failed))
}

fn too_large(size: usize) -> Error {
    Error::new(Code::BadRecord, format!("a record has {size} bytes, and a request to DataHub at most 4 MB"))
}

impl Encoder<'_> {
    fn write(&mut self, row: usize, attributes: &Attributes<'_>, out: &mut Vec<u8>) -> Result<()> {
        match self.protocol {
            Protocol::Protobuf => self.write_protobuf(row, attributes, out),
            Protocol::Batch => self.write_batch(row, attributes, out),
            Protocol::Json => self.write_json(row, attributes, out),
        }
    }

    /// A `RecordEntry` as field 1 of a `PutRecordsRequest`: attributes (8), data (9).
    fn write_protobuf(&mut self, row: usize, attributes: &Attributes<'_>, out: &mut Vec<u8>) -> Result<()> {
        let (mut text, mut data) = (std::mem::take(&mut self.text), std::mem::take(&mut self.data));
        data.clear();
        let written = (0..self.slots.len()).try_for_each(|index| {
            text.clear();
            if self.write_text(index, row, &mut text)? {
                write_head(1, length_of_field(text.len()), &mut data);
                write_bytes(1, &text, &mut data);
            } else {
                write_head(1, 0, &mut data);
            }
            Ok(())
        });
        let entry = &mut self.entry;
        entry.clear();
        write_attributes(attributes, entry);
        write_bytes(9, &data, entry);
        write_bytes(1, entry, out);
        (self.text, self.data) = (text, data);
        written
    }

    /// A row of a batch.
    fn write_batch(&mut self, row: usize, attributes: &Attributes<'_>, out: &mut Vec<u8>) -> Result<()> {
        let mut text = std::mem::take(&mut self.text);
        let mut writer = RowWriter::new(self.slots.len(), out);
        let written = (0..self.slots.len()).try_for_each(|index| {
            text.clear();
            let value = self.write_text(index, row, &mut text)?.then_some(text.as_slice());
            match writer.value(self.slots[index].form, value) {
                true => Ok(()),
                false => Err(Error::new(Code::BadRecord, "a value is none of its field's type")),
            }
        });
        writer.end(attributes.iter().map(|(name, value)| (name.as_bytes(), *value)));
        self.text = text;
        written
    }

    /// `"Data":[...],"Attributes":{...}}`: what stands behind the shard's number.
    fn write_json(&mut self, row: usize, attributes: &Attributes<'_>, out: &mut Vec<u8>) -> Result<()> {
        let mut text = std::mem::take(&mut self.text);
        out.extend_from_slice(b"\"Data\":[");
        let written = (0..self.slots.len()).try_for_each(|index| {
            if index > 0 {
                out.push(b',');
            }
            text.clear();
            match self.write_text(index, row, &mut text)? {
                true => write_string(&text, out),
                false => out.extend_from_slice(b"null"),
            }
            Ok(())
        });
        self.text = text;
        out.extend_from_slice(b"],\"Attributes\":{");
        for (index, (name, value)) in attributes.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_json_string(name, out);
            out.push(b':');
            write_string(value, out);
        }
        out.extend_from_slice(b"}}");
        written
    }

    /// Appends the text of a field; false for NULL.
    fn write_text(&self, index: usize, row: usize, out: &mut Vec<u8>) -> Result<bool> {
        let slot = &self.slots[index];
        let Some(cells) = slot.column.map(|column| &self.cells[column]).filter(|cells| !cells.is_null(row)) else {
            return Ok(false);
        };
        match cells.values() {
            Values::Null => return Ok(false),
            Values::Instant(ticks) if slot.micros => {
                let micros = micros(ticks.get(row), ticks.unit);
                let micros = micros.filter(|micros| MICROS.contains(micros)).ok_or_else(|| {
                    Error::new(Code::BadRecord, "a time lies outside of what DataHub's TIMESTAMP can hold")
                })?;
                out.extend_from_slice(itoa::Buffer::new().format(micros).as_bytes());
            }
            Values::F32(values) if slot.float && !values[row].is_finite() => return Err(not_finite()),
            Values::F64(values) if slot.float && !values[row].is_finite() => return Err(not_finite()),
            _ => cells.write_plain(row, out),
        }
        if out.len() > MAX_TEXT {
            let message = format!("a value has {} bytes, and a STRING of DataHub at most 2 MB", out.len());
            return Err(Error::new(Code::BadRecord, message));
        }
        Ok(true)
    }
}

/// Appends a JSON string of bytes that are text.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    write_json_string(std::str::from_utf8(text).expect("invariant: values are written as text"), out);
}

fn not_finite() -> Error {
    Error::new(Code::BadRecord, "NaN and infinity are no numbers of DataHub")
        .help("leave such values out in a projection, or let the field be a STRING")
}

fn micros(count: i64, unit: TimeUnit) -> Option<i128> {
    let count = i128::from(count);
    match unit {
        TimeUnit::Second => Some(count * 1_000_000),
        TimeUnit::Millisecond => Some(count * 1_000),
        TimeUnit::Microsecond => Some(count),
        TimeUnit::Nanosecond => (count % 1_000 == 0).then_some(count / 1_000),
    }
}
