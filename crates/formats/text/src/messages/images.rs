//! Rows as objects.

use super::cells::{Manner, Style};
use super::native::Native;
use super::runs::Change;
use crate::json;
use arrow_array::RecordBatch;
use arrow_schema::TimeUnit;
use dujiang_core::cells::{Cells, Values};
use dujiang_core::text::write_json_string;
use dujiang_core::{Code, Error, Result, TableSchema};
use std::ops::Range;

/// How the columns of a table are written; made once for a shape.
#[derive(Debug)]
pub(super) struct Layout {
    columns: Vec<Named>,
    /// Whether text that is no JSON has to be looked for.
    documents: bool,
}

#[derive(Debug)]
struct Named {
    /// `"id":`.
    name: Vec<u8>,
    style: Style,
}

impl Layout {
    /// `documents` says whether documents stand in the format as they are, and not as text.
    pub(super) fn new(table: &TableSchema, manner: Manner, documents: bool) -> Self {
        let named = |field: &arrow_schema::FieldRef| {
            let mut name = Vec::new();
            write_json_string(field.name(), &mut name);
            name.push(b':');
            Named { name, style: Style::of(manner, field) }
        };
        Self { columns: table.arrow.fields().iter().map(named).collect(), documents }
    }

    /// Those of some rows that the format cannot carry, in order.
    pub(super) fn bad_rows(
        &self,
        batch: &RecordBatch,
        wanted: Range<usize>,
        cells: &[Cells<'_>],
    ) -> Result<Vec<(usize, Error)>> {
        let mut bad = Vec::new();
        if self.documents {
            let part = json::bad_rows(&batch.slice(wanted.start, wanted.len()))?;
            bad.extend(part.into_iter().map(|(row, error)| (wanted.start + row, error)));
        }
        for (index, (column, cells)) in self.columns.iter().zip(cells).enumerate() {
            let Values::LocalTime(ticks) = cells.values() else { continue };
            if column.style != Style::Debezium(Native::Millis) || ticks.unit != TimeUnit::Microsecond {
                continue;
            }
            let rows = wanted.clone().filter(|&row| !cells.is_null(row) && ticks.get(row) % 1_000 != 0);
            let field = batch.schema_ref().field(index).name();
            let why = format!("column `{field}` holds a time with more digits than its type has");
            bad.extend(rows.map(|row| (row, Error::new(Code::BadRecord, why.clone()))));
        }
        bad.sort_by_key(|(row, _)| *row);
        bad.dedup_by_key(|(row, _)| *row);
        Ok(bad)
    }
}

/// The rows of one batch.
pub(super) struct Images<'a> {
    pub(super) layout: &'a Layout,
    pub(super) cells: &'a [Cells<'a>],
}

impl Images<'_> {
    /// Appends a row as an object, or `null`.
    pub(super) fn write(&self, row: Option<usize>, out: &mut Vec<u8>) {
        let Some(row) = row else {
            out.extend_from_slice(b"null");
            return;
        };
        let mut lead = b'{';
        for index in 0..self.cells.len() {
            out.push(lead);
            lead = b',';
            self.write_named(index, row, out);
        }
        if self.cells.is_empty() {
            out.push(b'{');
        }
        out.push(b'}');
    }

    /// Appends the object of those columns of the old row that the new one has otherwise.
    pub(super) fn write_changed(&self, change: &Change, out: &mut Vec<u8>) {
        let (Some(before), Some(after)) = (change.before, change.after) else { return };
        let mut lead = b'{';
        for index in 0..self.cells.len() {
            let start = out.len();
            out.push(lead);
            self.write_named(index, before, out);
            if self.is_same(index, start + 1, after, out) {
                out.truncate(start);
            } else {
                lead = b',';
            }
        }
        if lead == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }

    fn write_named(&self, index: usize, row: usize, out: &mut Vec<u8>) {
        let column = &self.layout.columns[index];
        out.extend_from_slice(&column.name);
        column.style.write(&self.cells[index], row, out);
    }

    /// Whether a row's cell is what has been written behind `start`, name and value.
    fn is_same(&self, index: usize, start: usize, row: usize, out: &mut Vec<u8>) -> bool {
        let written: Range<usize> = start..out.len();
        self.write_named(index, row, out);
        let same = out[written.clone()] == out[written.end..];
        out.truncate(written.end);
        same
    }
}
