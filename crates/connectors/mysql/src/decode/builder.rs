//! One open builder per table: row images in, [`ChangeBatch`]es out.

use super::rows::RowsEvent;
use super::table_map::TableMap;
use super::types::Column;
use dujiang_core::{ChangeBatch, Code, Error, Kind, Origin, Result, TableSchema};
use std::sync::Arc;

/// What becomes of a change that a filter was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Keep,
    /// It is dropped; it still counts as one ordinal.
    Drop,
    /// Only its before image passes, as a delete (an update whose new key belongs to a chunk not yet read).
    OnlyBefore,
    /// Only its after image passes, as an insert.
    OnlyAfter,
}

/// One change of a rows event, before it is decoded.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The row before; updates and deletes have one.
    pub before: Option<RowImage<'a>>,
    /// The row after; inserts and updates have one.
    pub after: Option<RowImage<'a>>,
}

/// One row image on the wire.
#[derive(Debug, Clone, Copy)]
pub struct RowImage<'a> {
    bytes: &'a [u8],
}

impl RowImage<'_> {
    /// The value of the character column at `index` as UTF-8, to be sent to the server in a query; `None` for NULL.
    ///
    /// # Errors
    /// `BadRecord` when the bytes are not valid in the column's character set.
    pub fn text(&self, _index: usize, _out: &mut String) -> Result<Option<()>> {
        let _ = self.bytes;
        Ok(None)
    }
}

/// What an append did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Changes in the event; the ordinal within (transaction, table) advances by as many.
    pub changes: u64,
    /// Images in the event.
    pub images: u64,
    /// Images appended, after the filter.
    pub kept: u64,
}

/// Decodes the rows of one table at one schema version.
pub struct TableBuilder {
    schema: Arc<TableSchema>,
    columns: Arc<[Column]>,
}

impl TableBuilder {
    /// A builder of `schema`, whose columns are `columns`.
    ///
    /// # Errors
    /// `Bug` when the two do not fit.
    pub fn new(schema: Arc<TableSchema>, columns: Arc<[Column]>) -> Result<Self> {
        Ok(Self { schema, columns })
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// Shows the builder the table map that precedes rows events; cheap when it is the same as the last one.
    ///
    /// # Errors
    /// `SchemaMismatch`, naming the table, when it does not fit the columns (position is added by the caller).
    pub fn use_table_map(&mut self, _map: &TableMap<'_>) -> Result<()> {
        let _ = &self.columns;
        Ok(())
    }

    /// Says where the rows appended next come from. `origin.first_ordinal` is the ordinal of the next change within
    /// (transaction, table); the builder counts on from there, also over changes that a filter drops.
    pub fn begin_span(&mut self, _origin: Origin<'_>) {}

    /// Appends all images of a rows event.
    ///
    /// # Errors
    /// `LogDamaged` (structure), `BinlogRowImage` (columns missing), `SchemaMismatch`, `BadRecord` (a value that cannot be
    /// represented, naming table, column and value). Nothing of the event is kept then, the builder stays usable.
    pub fn append_rows(&mut self, _rows: &RowsEvent<'_>) -> Result<Appended> {
        Err(Error::new(Code::Bug, "not yet"))
    }

    /// As [`TableBuilder::append_rows`], asking `verdict` about every change.
    ///
    /// # Errors
    /// As there, and those of `verdict`.
    pub fn append_rows_if(
        &mut self,
        _rows: &RowsEvent<'_>,
        _verdict: &mut dyn FnMut(&Change<'_>) -> Result<Verdict>,
    ) -> Result<Appended> {
        Err(Error::new(Code::Bug, "not yet"))
    }

    /// Appends one result row of the binary protocol, as kind [`Kind::Read`]: a packet's payload, header byte 0x00 first.
    /// The row has the table's columns in order; strings must come as utf8mb4 (`SET NAMES utf8mb4`), TIMESTAMP in UTC
    /// (`SET time_zone = '+00:00'`).
    ///
    /// # Errors
    /// `Protocol` (structure), `BadRecord`. Nothing of the row is kept then.
    pub fn append_binary_row(&mut self, packet: &[u8]) -> Result<()> {
        self.append_binary_rows(packet, &[(0, packet.len())])
    }

    /// As [`TableBuilder::append_binary_row`] for many rows at once, which is faster: `packets` are (start, end) of payloads
    /// in `buffer`.
    ///
    /// # Errors
    /// As there; nothing of the call is kept then.
    pub fn append_binary_rows(&mut self, _buffer: &[u8], _packets: &[(usize, usize)]) -> Result<()> {
        let _ = Kind::Read;
        Err(Error::new(Code::Bug, "not yet"))
    }

    /// Rows (images) in the open batch.
    pub fn rows(&self) -> usize {
        0
    }

    /// Whether the open batch has no row.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Bytes held, as counted against the budget.
    pub fn memory(&self) -> usize {
        0
    }

    /// Hands out the open batch, `None` when it is empty, and opens the next one. The origin stays in force.
    ///
    /// # Errors
    /// `BadRecord` for text that is not valid UTF-8, naming table, column, value and the row's position; `Bug`.
    pub fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        Ok(None)
    }
}
