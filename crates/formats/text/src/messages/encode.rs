//! Changes into messages.

use super::buffer::Messages;
use super::canal::FlatMessage;
use super::cells::Manner;
use super::debezium::Envelope;
use super::images::{Images, Layout};
use super::key::KeyLayout;
use super::maxwell::Maxwell;
use super::options::{MessageFormat, MessageOptions};
use super::runs::{Change, runs};
use crate::columns;
use crate::csv;
use dujiang_core::cells::{Cells, check_types};
use dujiang_core::key::Keys;
use dujiang_core::text::write_event_prefix;
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Error, Kind, Origin, Result, TableSchema};
use std::ops::Range;
use std::sync::Arc;

/// Writes the changes of one table, at one version of its shape, as messages.
#[derive(Debug)]
pub struct Encoder {
    table: Arc<TableSchema>,
    options: MessageOptions,
    layout: Layout,
    key: KeyLayout,
    value: ValueWriter,
    /// What all event ids of the run at hand begin with.
    event_prefix: Vec<u8>,
}

/// The parts of values that never change, by format.
#[derive(Debug)]
enum ValueWriter {
    Json,
    Csv,
    Debezium(Envelope),
    Canal(FlatMessage),
    Maxwell(Maxwell),
}

impl Encoder {
    /// Prepares what all messages of a table have in common.
    ///
    /// # Errors
    /// [`Code::UnknownType`] for a column that has no text form.
    pub fn new(table: &Arc<TableSchema>, options: &MessageOptions) -> Result<Self> {
        check_types(table)?;
        let (manner, value) = match options.value {
            MessageFormat::Json => (Manner::Plain, ValueWriter::Json),
            MessageFormat::Csv => (Manner::Plain, ValueWriter::Csv),
            MessageFormat::DebeziumJson => {
                (Manner::Spaced, ValueWriter::Debezium(Envelope::new(table, &options.stream, false)))
            }
            MessageFormat::DebeziumJsonWithSchema => {
                (Manner::Debezium, ValueWriter::Debezium(Envelope::new(table, &options.stream, true)))
            }
            MessageFormat::CanalJson => (Manner::Canal, ValueWriter::Canal(FlatMessage::new(table))),
            MessageFormat::MaxwellJson => (Manner::Maxwell, ValueWriter::Maxwell(Maxwell::new(table))),
        };
        let documents = matches!(options.value, MessageFormat::Json | MessageFormat::MaxwellJson);
        Ok(Self {
            table: table.clone(),
            layout: Layout::new(table, manner, documents),
            key: KeyLayout::new(table, options),
            value,
            options: options.clone(),
            event_prefix: Vec::new(),
        })
    }

    /// The table and its shape.
    pub fn table(&self) -> &Arc<TableSchema> {
        &self.table
    }

    /// Appends the messages of some rows of a batch, in order; an update is one message, and `rows` never parts its images.
    /// Records that the format cannot carry come back and have no message.
    ///
    /// # Errors
    /// [`Code::Bug`] for a batch of another shape.
    pub fn encode(&mut self, batch: &ChangeBatch, rows: Range<usize>, out: &mut Messages) -> Result<Vec<RowError>> {
        if batch.schema.arrow.fields().len() != self.table.arrow.fields().len() {
            return Err(Error::new(Code::Bug, format!("a batch of {} has another shape", batch.schema.id)));
        }
        let cells = columns(&batch.rows)?;
        let mut bad = self.layout.bad_rows(&batch.rows, rows.clone(), &cells)?.into_iter().peekable();
        let mut failed = Vec::new();
        let keys = self.options.headers.is_some().then(|| Keys::new(batch));
        for run in runs(batch, rows) {
            self.begin_run(batch, &run.origin);
            for change in run.changes() {
                let last = change.row();
                let mut error = None;
                while let Some((_, why)) = bad.next_if(|(row, _)| *row <= last) {
                    error.get_or_insert(why);
                }
                match error.or_else(|| self.unfit(&change)) {
                    Some(error) => failed.push(RowError { row: change.first(), error }),
                    None => self.encode_change(&change, &cells, keys.as_ref(), out),
                }
            }
        }
        Ok(failed)
    }

    fn begin_run(&mut self, batch: &ChangeBatch, origin: &Origin<'_>) {
        match &mut self.value {
            ValueWriter::Json | ValueWriter::Csv => {}
            ValueWriter::Debezium(envelope) => envelope.begin_run(origin),
            ValueWriter::Canal(message) => message.begin_run(origin),
            ValueWriter::Maxwell(message) => message.begin_run(origin),
        }
        if let Some(lineage) = &self.options.headers {
            self.event_prefix.clear();
            write_event_prefix(lineage, batch.source_table(), origin, &mut self.event_prefix);
        }
    }

    /// Why the format cannot carry a change, whatever its values are.
    fn unfit(&self, change: &Change) -> Option<Error> {
        let named = self.options.value.has_envelope() || !self.table.key.is_empty();
        if named || change.kind != Kind::Delete {
            return None;
        }
        let message = format!("a delete from {}, which has no key, has no message in this format", self.table.id);
        Some(
            Error::new(Code::NoMessage, message)
                .fact("format", self.options.value.name())
                .help("choose a format that carries whole rows of deletes, such as `debezium-json`"),
        )
    }

    fn encode_change(&self, change: &Change, cells: &[Cells<'_>], keys: Option<&Keys<'_>>, out: &mut Messages) {
        let deleted = change.kind == Kind::Delete;
        let envelope = self.options.value.has_envelope();
        if envelope || !deleted {
            self.begin(change, cells, out);
            self.write_value(change, cells, &mut out.bytes);
            out.end_value();
            self.write_event_id(change, keys, out);
        }
        if deleted && (!envelope || self.options.tombstones && !self.table.key.is_empty()) {
            self.begin(change, cells, out);
            self.write_event_id(change, keys, out);
        }
    }

    fn begin(&self, change: &Change, cells: &[Cells<'_>], out: &mut Messages) {
        out.begin(change.row(), change.kind);
        if self.key.write(cells, change.row(), &mut out.bytes) {
            out.end_key();
        }
    }

    fn write_value(&self, change: &Change, cells: &[Cells<'_>], out: &mut Vec<u8>) {
        let images = Images { layout: &self.layout, cells };
        match &self.value {
            ValueWriter::Json => images.write(change.after, out),
            ValueWriter::Csv => csv::write_record(cells, change.row(), &self.options.csv, out),
            ValueWriter::Debezium(envelope) => envelope.write(change, &images, out),
            ValueWriter::Canal(message) => message.write(change, &images, out),
            ValueWriter::Maxwell(message) => message.write(change, &images, out),
        }
    }

    fn write_event_id(&self, change: &Change, keys: Option<&Keys<'_>>, out: &mut Messages) {
        let Some(keys) = keys else { return };
        out.bytes.extend_from_slice(&self.event_prefix);
        keys.write_event_end(change.kind, change.row(), change.ordinal, &mut out.bytes);
        out.end_event_id();
    }
}
