//! What a frame holds, as bytes and back. Pure. Layout: `docs/reference/log-segment.md`.

use crate::arrange::Numbers;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_data::{BufferSpec, layout};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use arrow_schema::{DataType, Field};
use dujiang_core::batch::{Kind, Origin, Origins, TimePrecision};
use dujiang_core::schema::{Ddl, KeyEquality, SchemaChange};
use dujiang_core::sink::Milestone;
use dujiang_core::{ChangeBatch, Code, Result, ResultExt, TableId, TableSchema};
use dujiang_format_ipc::{Batches, metadata};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Arrow's 128-bit numbers want this; a batch can then be read where it lies.
const ALIGNMENT: usize = 16;
/// Bytes before the variable parts of a batch.
const BATCH_HEAD: usize = 32;
/// Length of a text that is the same as that of the span before.
const SAME: u32 = u32::MAX;

/// A table's shape on its way into the log or out of it.
#[derive(Serialize, Deserialize)]
struct ShapeText {
    /// Offset of the entry that told the shape.
    shape: u64,
    database: String,
    table: String,
    version: u32,
    key: Vec<usize>,
    key_equality: String,
    /// Version of the shape before; a shape at the beginning of a segment has none.
    before: Option<u32>,
    statement: String,
    ddl: DdlText,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DdlText {
    Columns { renamed: Vec<(String, String)> },
    Truncate,
    Drop,
}

/// A shape as a frame tells it.
pub(crate) struct ToldShape {
    pub(crate) shape: u64,
    pub(crate) table: Arc<TableSchema>,
    pub(crate) before: Option<u32>,
    pub(crate) statement: String,
    pub(crate) ddl: Ddl,
    /// Reads batches of this shape.
    pub(crate) batches: Batches,
}

fn options() -> IpcWriteOptions {
    IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).expect("invariant: the alignment is a legal one")
}

fn bug(what: &'static str) -> impl Fn() -> String {
    move || what.to_owned()
}

/// A shape, or a change of one, as bytes.
pub(crate) fn write_shape(shape: u64, change: &SchemaChange, out: &mut Vec<u8>) -> Result<()> {
    let table = &change.after;
    let text = ShapeText {
        shape,
        database: table.id.database.to_string(),
        table: table.id.table.to_string(),
        version: table.version,
        key: table.key.clone(),
        key_equality: table.key_equality.name().to_owned(),
        before: change.before.as_ref().map(|before| before.version),
        statement: change.statement.clone(),
        ddl: match &change.ddl {
            Ddl::Columns { renamed } => DdlText::Columns { renamed: renamed.clone() },
            Ddl::Truncate => DdlText::Truncate,
            Ddl::Drop => DdlText::Drop,
        },
    };
    let json = serde_json::to_vec(&text).or_code(Code::Bug, bug("write a shape"))?;
    out.clear();
    out.extend_from_slice(&(json.len() as u32).to_le_bytes());
    out.extend_from_slice(&json);
    pad(out);
    let mut tracker = DictionaryTracker::new(false);
    let options = options();
    let schema =
        IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(&table.arrow, &mut tracker, &options);
    write_message(out, schema, &options).or_code(Code::Bug, bug("write a schema"))?;
    Ok(())
}

/// Reads what [`write_shape`] wrote; `None` when it cannot be.
pub(crate) fn read_shape(bytes: &[u8]) -> Option<ToldShape> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let text: ShapeText = serde_json::from_slice(bytes.get(4..4 + length)?).ok()?;
    let batches = Batches::of(bytes.get(padded(4 + length)..)?)?;
    let arrow = batches.schema().clone();
    if text.key.iter().any(|&column| column >= arrow.fields().len()) {
        return None;
    }
    let table = TableSchema {
        id: TableId::new(text.database, text.table),
        version: text.version,
        arrow,
        key: text.key,
        key_equality: KeyEquality::named(&text.key_equality)?,
    };
    let ddl = match text.ddl {
        DdlText::Columns { renamed } => Ddl::Columns { renamed },
        DdlText::Truncate => Ddl::Truncate,
        DdlText::Drop => Ddl::Drop,
    };
    let (before, statement) = (text.before, text.statement);
    Some(ToldShape { shape: text.shape, table: Arc::new(table), before, statement, ddl, batches })
}

/// A batch as bytes: what its rows are and where they come from, then the rows as Arrow IPC messages. `numbers` tells which of
/// the bytes are numbers.
pub(crate) fn write_batch(
    shape: u64,
    batch: &ChangeBatch,
    out: &mut Vec<u8>,
    numbers: &mut Vec<Numbers>,
) -> Result<()> {
    out.clear();
    numbers.clear();
    let (renamed, spans) = (batch.source_table() != &batch.schema.id, batch.origins.len());
    let source = if renamed { Some(batch.source_table()) } else { None };
    let name = |of: fn(&TableId) -> &Arc<str>| source.map_or("", |table| of(table));
    let (database, table) = (name(|t| &t.database), name(|t| &t.table));
    out.extend_from_slice(&shape.to_le_bytes());
    out.extend_from_slice(&(batch.images() as u32).to_le_bytes());
    out.extend_from_slice(&(spans as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]); // length of the texts, below
    out.extend_from_slice(&u32::from(renamed).to_le_bytes());
    out.extend_from_slice(&(database.len() as u32).to_le_bytes());
    out.extend_from_slice(&(table.len() as u32).to_le_bytes());
    out.extend(batch.kinds.iter().map(|&kind| kind as u8));
    out.extend_from_slice(database.as_bytes());
    out.extend_from_slice(table.as_bytes());
    write_origins(&batch.origins, out, numbers);
    pad(out);
    write_rows(&batch.rows, out, numbers)
}

/// By column, because equal things side by side are compressed best.
fn write_origins(origins: &Origins, out: &mut Vec<u8>, numbers: &mut Vec<Numbers>) {
    let (count, at) = (origins.len(), out.len());
    let mut told = |at: usize, width: usize| numbers.push(Numbers { at, count, width });
    told(at, 4);
    (0..3).for_each(|column| told(at + (4 + 8 * column) * count, 8));
    (0..2).for_each(|column| told(at + (29 + 4 * column) * count, 4));
    origins.iter().for_each(|(rows, _)| out.extend_from_slice(&(rows.end as u32).to_le_bytes()));
    origins.iter().for_each(|(_, o)| out.extend_from_slice(&o.commit_micros.to_le_bytes()));
    origins.iter().for_each(|(_, o)| out.extend_from_slice(&o.first_ordinal.to_le_bytes()));
    origins.turns().for_each(|(_, turn)| out.extend_from_slice(&turn.to_le_bytes()));
    origins.iter().for_each(|(_, o)| out.push(u8::from(o.precision == TimePrecision::Micros)));
    let texts = write_lengths(origins, |o| o.transaction, out) + write_lengths(origins, |o| o.position, out);
    out[16..20].copy_from_slice(&(texts as u32).to_le_bytes());
    write_texts(origins, |o| o.transaction, out);
    write_texts(origins, |o| o.position, out);
}

fn write_lengths(origins: &Origins, of: for<'a> fn(&Origin<'a>) -> &'a str, out: &mut Vec<u8>) -> usize {
    let (mut last, mut total) = (None, 0);
    for (_, origin) in origins.iter() {
        let text = of(&origin);
        let length = if last == Some(text) { SAME } else { text.len() as u32 };
        total += if last == Some(text) { 0 } else { text.len() };
        out.extend_from_slice(&length.to_le_bytes());
        last = Some(text);
    }
    total
}

fn write_texts(origins: &Origins, of: for<'a> fn(&Origin<'a>) -> &'a str, out: &mut Vec<u8>) {
    let mut last = None;
    for (_, origin) in origins.iter() {
        let text = of(&origin);
        if last != Some(text) {
            out.extend_from_slice(text.as_bytes());
        }
        last = Some(text);
    }
}

fn write_rows(rows: &RecordBatch, out: &mut Vec<u8>, numbers: &mut Vec<Numbers>) -> Result<()> {
    let failed = bug("write a batch as Arrow IPC");
    let (generator, options) = (IpcDataGenerator::default(), options());
    let mut tracker = DictionaryTracker::new(false);
    let schema = rows.schema();
    if schema.fields().iter().any(|field| has_dictionary(field)) {
        // Gives the dictionaries their numbers: those that the schema's message has.
        generator.schema_to_bytes_with_dictionary_tracker(&schema, &mut tracker, &options);
    }
    let (dictionaries, batch) =
        generator.encode(rows, &mut tracker, &options, &mut Default::default()).or_code(Code::Bug, &failed)?;
    for message in dictionaries {
        write_message(&mut *out, message, &options).or_code(Code::Bug, &failed)?;
    }
    let at = out.len();
    write_message(&mut *out, batch, &options).or_code(Code::Bug, &failed)?;
    numbers_of_rows(rows, at, out, numbers);
    Ok(())
}

/// Where the numbers of a batch lie whose message begins at `at`: its own list of buffers says it.
fn numbers_of_rows(rows: &RecordBatch, at: usize, out: &[u8], numbers: &mut Vec<Numbers>) {
    let Some((message, head)) = metadata(&out[at..]) else { return };
    let Some(buffers) = message.header_as_record_batch().and_then(|batch| batch.buffers()) else { return };
    let mut widths = Vec::with_capacity(buffers.len());
    rows.schema_ref().fields().iter().for_each(|field| widths_of(field.data_type(), &mut widths));
    for (buffer, width) in buffers.iter().zip(widths).filter(|(_, width)| *width > 1) {
        let (from, count) = (buffer.offset() as usize, buffer.length() as usize / width);
        numbers.push(Numbers { at: at + head + from, count, width });
    }
}

/// Bytes of what each buffer of a column holds, in the order of Arrow IPC; 1 for bits and text.
fn widths_of(data_type: &DataType, widths: &mut Vec<usize>) {
    let layout = layout(data_type);
    widths.extend(layout.can_contain_null_mask.then_some(1));
    widths.extend(layout.buffers.iter().map(|buffer| match buffer {
        BufferSpec::FixedWidth { byte_width, .. } => *byte_width,
        _ => 1,
    }));
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => {
            widths_of(item.data_type(), widths);
        }
        DataType::Struct(fields) => fields.iter().for_each(|field| widths_of(field.data_type(), widths)),
        _ => {}
    }
}

fn has_dictionary(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Dictionary(..)) || field.data_type().is_nested()
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

fn pad(out: &mut Vec<u8>) {
    out.resize(padded(out.len()), 0);
}

/// The shape whose batch this is.
pub(crate) fn shape_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?))
}

/// Reads what [`write_batch`] wrote; `None` when it cannot be.
pub(crate) fn read_batch(bytes: Vec<u8>, table: &Arc<TableSchema>, batches: &mut Batches) -> Option<ChangeBatch> {
    let mut parts = Parts { bytes: &bytes, at: 8 };
    let (images, spans, texts) = (parts.word()? as usize, parts.word()? as usize, parts.word()? as usize);
    let (renamed, database, name) = (parts.word()? == 1, parts.word()? as usize, parts.word()? as usize);
    debug_assert_eq!(parts.at, BATCH_HEAD);
    let kinds: Option<Vec<Kind>> = parts.take(images)?.iter().map(|&byte| kind_of(byte)).collect();
    let (database, name) = (parts.text(database)?, parts.text(name)?);
    let mut origins = read_origins(&mut parts, spans, texts)?;
    if renamed {
        origins.keep_table(&TableId::new(database, name));
    }
    let at = padded(parts.at);
    let length = bytes.len();
    let rows = batches.read(&Buffer::from_vec(bytes).slice_with_length(at, length.checked_sub(at)?))?;
    ChangeBatch::new(table.clone(), rows, kinds?, origins).ok()
}

fn read_origins(parts: &mut Parts<'_>, spans: usize, texts: usize) -> Option<Origins> {
    let ends = parts.take(4 * spans)?;
    let commits = parts.take(8 * spans)?;
    let ordinals = parts.take(8 * spans)?;
    let turns = parts.take(8 * spans)?;
    let precisions = parts.take(spans)?;
    let (transactions, positions) = (parts.take(4 * spans)?, parts.take(4 * spans)?);
    let texts = parts.text(texts)?;
    let word =
        |of: &[u8], n: usize| u32::from_le_bytes(of[4 * n..4 * n + 4].try_into().expect("invariant: four bytes"));
    let long =
        |of: &[u8], n: usize| u64::from_le_bytes(of[8 * n..8 * n + 8].try_into().expect("invariant: eight bytes"));
    let first_position: usize =
        (0..spans).map(|n| word(transactions, n)).filter(|&n| n != SAME).map(|n| n as usize).sum();
    let mut transaction = Texts { texts, at: 0, last: "" };
    let mut position = Texts { texts, at: first_position, last: "" };
    let (mut origins, mut before) = (Origins::default(), 0);
    for (n, &precision) in precisions.iter().enumerate() {
        let end = word(ends, n);
        if end <= before {
            return None;
        }
        before = end;
        origins.push_in_turn(
            end as usize,
            Origin {
                transaction: transaction.next(word(transactions, n))?,
                position: position.next(word(positions, n))?,
                commit_micros: long(commits, n) as i64,
                precision: if precision == 1 { TimePrecision::Micros } else { TimePrecision::Seconds },
                first_ordinal: long(ordinals, n),
            },
            long(turns, n),
        );
    }
    Some(origins)
}

struct Texts<'a> {
    texts: &'a str,
    at: usize,
    last: &'a str,
}

impl<'a> Texts<'a> {
    fn next(&mut self, length: u32) -> Option<&'a str> {
        if length != SAME {
            let end = self.at.checked_add(length as usize)?;
            self.last = self.texts.get(self.at..end)?;
            self.at = end;
        }
        Some(self.last)
    }
}

struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(part)
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(length)?).ok()
    }
}

fn kind_of(byte: u8) -> Option<Kind> {
    let all = [Kind::Insert, Kind::UpdateBefore, Kind::UpdateAfter, Kind::Delete, Kind::Read];
    all.into_iter().find(|kind| *kind as u8 == byte)
}

/// A milestone as bytes.
pub(crate) fn write_marker(milestone: Milestone, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(milestone.name().as_bytes());
}

/// Reads what [`write_marker`] wrote.
pub(crate) fn read_marker(bytes: &[u8]) -> Option<Milestone> {
    Milestone::ALL.into_iter().find(|milestone| milestone.name().as_bytes() == bytes)
}
