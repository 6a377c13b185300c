//! Keys of messages.

use super::cells::{Manner, Style};
use super::native::write_fields;
use super::options::{KeyFormat, MessageFormat, MessageOptions};
use crate::csv::{self, CsvOptions};
use dujiang_core::TableSchema;
use dujiang_core::cells::Cells;
use dujiang_core::text::write_json_string;

/// How the keys of a table are written; made once for a shape.
#[derive(Debug)]
pub(super) struct KeyLayout {
    /// What stands before the first column.
    head: Vec<u8>,
    columns: Vec<Part>,
    tail: &'static [u8],
    csv: Option<CsvOptions>,
    /// No key at all.
    absent: bool,
}

#[derive(Debug)]
struct Part {
    index: usize,
    /// What stands before the value.
    lead: Vec<u8>,
    style: Style,
}

impl KeyLayout {
    pub(super) fn new(table: &TableSchema, options: &MessageOptions) -> Self {
        let schema = options.value == MessageFormat::DebeziumJsonWithSchema;
        let manner = match options.key {
            KeyFormat::Maxwell => Manner::Maxwell,
            KeyFormat::Debezium if schema => Manner::Debezium,
            KeyFormat::Debezium => Manner::Spaced,
            KeyFormat::Json | KeyFormat::Csv => Manner::Plain,
        };
        let columns = table.key.iter().enumerate().map(|(place, &index)| {
            let field = table.arrow.field(index);
            let lead = lead(field.name(), place == 0, options.key);
            Part { index, lead, style: Style::of(manner, field) }
        });
        let tail: &[u8] = match options.key {
            KeyFormat::Csv => b"",
            KeyFormat::Debezium if schema => b"}}",
            _ => b"}",
        };
        Self {
            head: head(table, options, schema),
            columns: columns.collect(),
            tail,
            csv: (options.key == KeyFormat::Csv).then(|| options.csv.clone()),
            absent: options.key == KeyFormat::Debezium && table.key.is_empty(),
        }
    }

    /// Appends a row's key; false if it has none.
    pub(super) fn write(&self, cells: &[Cells<'_>], row: usize, out: &mut Vec<u8>) -> bool {
        if self.absent {
            return false;
        }
        out.extend_from_slice(&self.head);
        for part in &self.columns {
            out.extend_from_slice(&part.lead);
            match &self.csv {
                Some(options) => csv::write_cell(&cells[part.index], row, options, out),
                None => part.style.write(&cells[part.index], row, out),
            }
        }
        out.extend_from_slice(self.tail);
        true
    }
}

fn head(table: &TableSchema, options: &MessageOptions, schema: bool) -> Vec<u8> {
    let mut out = Vec::new();
    match options.key {
        KeyFormat::Csv => csv::write_text(&table.id.to_string(), options.csv.null.as_bytes(), &mut out),
        KeyFormat::Json => {
            out.extend_from_slice(b"{\"TableId\":");
            write_json_string(&table.id.to_string(), &mut out);
        }
        KeyFormat::Maxwell => {
            out.extend_from_slice(b"{\"database\":");
            write_json_string(&table.id.database, &mut out);
            out.extend_from_slice(b",\"table\":");
            write_json_string(&table.id.table, &mut out);
        }
        KeyFormat::Debezium => {
            if schema {
                out.extend_from_slice(b"{\"schema\":{\"type\":\"struct\",\"fields\":");
                write_fields(table.key.iter().map(|&index| table.arrow.field(index)), &mut out);
                out.extend_from_slice(b",\"optional\":false,\"name\":");
                write_json_string(&format!("{}.{}.Key", options.stream, table.id), &mut out);
                out.extend_from_slice(b"},\"payload\":");
            }
            out.push(b'{');
        }
    }
    out
}

fn lead(name: &str, first: bool, format: KeyFormat) -> Vec<u8> {
    if format == KeyFormat::Csv {
        return b",".to_vec();
    }
    let mut out = Vec::new();
    if !(first && format == KeyFormat::Debezium) {
        out.push(b',');
    }
    match format {
        KeyFormat::Maxwell => write_json_string(&format!("pk.{name}"), &mut out),
        _ => write_json_string(name, &mut out),
    }
    out.push(b':');
    out
}
