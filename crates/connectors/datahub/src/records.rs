//! Rows into records.

use crate::client::wire::{length_of_field, write_bytes, write_head, write_varint};
use crate::config::Protocol;
use crate::shards::hash;
use crate::topic::Slot;
use arrow_schema::TimeUnit;
use dujiang_core::cells::{Cells, Values};
use dujiang_core::key::Keys;
use dujiang_core::text::{write_event_prefix, write_json_string, write_u64};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Error, Kind, Lineage, Origin, Result};
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
    lineage: &'a Lineage,
    /// Names and values, end to end.
    attributes: Vec<u8>,
    /// Buffers that are used again for every record: an event id or the text of a value, values, all of a record.
    text: Vec<u8>,
    data: Vec<u8>,
    entry: Vec<u8>,
}

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
        lineage,
        attributes: Vec::new(),
        text: Vec::new(),
        data: Vec::new(),
        entry: Vec::new(),
    };
    let keyless = hash(batch.schema.id.to_string().as_bytes());
    let (mut records, mut failed, mut key) = (Records::default(), Vec::new(), Vec::new());
    for (row, (ordinal, origin)) in batch.ordinals().enumerate() {
        let kind = batch.kinds[row];
        if kind == Kind::UpdateBefore {
            continue;
        }
        encoder.prepare_attributes(batch, row, ordinal, &origin);
        let start = records.bytes.len();
        let written = encoder.write(row, &mut records.bytes);
        let size = records.bytes.len() - start;
        let first = if kind == Kind::UpdateAfter { row - 1 } else { row };
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

/// The parts of the attributes, in order.
fn parts(mut attributes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut length = 0;
        let mut shift = 0;
        loop {
            let (&byte, rest) = attributes.split_first()?;
            attributes = rest;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let (part, rest) = attributes.split_at(length);
        attributes = rest;
        Some(part)
    })
}

impl Encoder<'_> {
    /// Names and values of a record's attributes, each with its length before it as a varint.
    fn prepare_attributes(&mut self, batch: &ChangeBatch, row: usize, ordinal: u64, origin: &Origin<'_>) {
        let id = &mut self.text;
        id.clear();
        write_event_prefix(self.lineage, batch.source_table(), origin, id);
        if batch.kinds[row] == Kind::Read && !batch.schema.key.is_empty() {
            self.keys.write_digest(row, id);
        } else {
            write_u64(ordinal, id);
        }
        let mut time = itoa::Buffer::new();
        let pairs: [(&str, &[u8]); 4] = [
            ("dujiang.op", batch.kinds[row].letter().as_bytes()),
            ("dujiang.event-id", id),
            ("dujiang.ts-us", time.format(origin.commit_micros).as_bytes()),
            ("dujiang.position", origin.position.as_bytes()),
        ];
        self.attributes.clear();
        for (name, value) in pairs {
            for part in [name.as_bytes(), value] {
                write_varint(part.len() as u64, &mut self.attributes);
                self.attributes.extend_from_slice(part);
            }
        }
    }

    fn write(&mut self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match self.protocol {
            Protocol::Protobuf => self.write_protobuf(row, out),
            Protocol::Json => self.write_json(row, out),
        }
    }

    /// A `RecordEntry` as field 1 of a `PutRecordsRequest`: attributes (8), data (9).
    fn write_protobuf(&mut self, row: usize, out: &mut Vec<u8>) -> Result<()> {
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
        write_head(8, attributes_length(&self.attributes), entry);
        let mut walk = parts(&self.attributes);
        while let (Some(name), Some(value)) = (walk.next(), walk.next()) {
            write_head(1, length_of_field(name.len()) + length_of_field(value.len()), entry);
            write_bytes(1, name, entry);
            write_bytes(2, value, entry);
        }
        write_bytes(9, &data, entry);
        write_bytes(1, entry, out);
        (self.text, self.data) = (text, data);
        written
    }

    /// `"Data":[...],"Attributes":{...}}`: what stands behind the shard's number.
    fn write_json(&mut self, row: usize, out: &mut Vec<u8>) -> Result<()> {
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
        let mut walk = parts(&self.attributes);
        let mut first = true;
        while let (Some(name), Some(value)) = (walk.next(), walk.next()) {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_string(name, out);
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

fn attributes_length(attributes: &[u8]) -> usize {
    let mut walk = parts(attributes);
    let mut length = 0;
    while let (Some(name), Some(value)) = (walk.next(), walk.next()) {
        length += length_of_field(length_of_field(name.len()) + length_of_field(value.len()));
    }
    length
}
