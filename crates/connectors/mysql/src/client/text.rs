//! Rows of the text protocol, collected; for catalog queries.

use super::wire::Reader;
use dujiang_core::{Code, Error, Result};
use std::str::FromStr;

const NULL: (u32, u32) = (u32::MAX, u32::MAX);

/// All rows of a query. The cells share one buffer, so that a catalog of 10,000 tables costs a handful of allocations.
#[derive(Debug, Clone, Default)]
pub struct TextRows {
    columns: Vec<String>,
    cells: Vec<(u32, u32)>,
    data: Vec<u8>,
}

impl TextRows {
    pub(super) fn new(columns: Vec<String>) -> Self {
        Self { columns, ..Self::default() }
    }

    pub(super) fn push(&mut self, packet: &[u8]) -> Result<()> {
        let mut r = Reader::new(packet, "a row");
        for name in &self.columns {
            // MySQL's list of replicas has no cell for one that gave no UUID (`show_slave_hosts` in `rpl_source.cc`).
            let left_out = r.is_empty() && name.ends_with("_UUID");
            let cell = match if left_out { None } else { r.lenenc_cell()? } {
                None => NULL,
                Some(bytes) => {
                    let start = self.data.len();
                    self.data.extend_from_slice(bytes);
                    let place = |n| u32::try_from(n).ok().filter(|&n| n != u32::MAX).ok_or_else(too_large);
                    (place(start)?, place(self.data.len())?)
                }
            };
            self.cells.push(cell);
        }
        if r.is_empty() { Ok(()) } else { Err(Error::new(Code::Protocol, "a row from the server has too many cells")) }
    }

    /// Column names as in the statement.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.cells.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// A row by its number.
    pub fn get(&self, row: usize) -> Option<TextRow<'_>> {
        (row < self.len()).then_some(TextRow { rows: self, row })
    }

    /// The rows in the server's order.
    pub fn iter(&self) -> impl Iterator<Item = TextRow<'_>> {
        (0..self.len()).map(|row| TextRow { rows: self, row })
    }
}

fn too_large() -> Error {
    Error::new(Code::SourceQuery, "the answer to a catalog query is larger than 4 GiB")
}

/// One row of [`TextRows`].
#[derive(Debug, Clone, Copy)]
pub struct TextRow<'a> {
    rows: &'a TextRows,
    row: usize,
}

impl<'a> TextRow<'a> {
    /// The bytes of a cell, `None` for NULL.
    ///
    /// # Panics
    /// If there is no such column (a programming error).
    pub fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        assert!(column < self.rows.columns.len(), "invariant: the query has this column");
        let (start, end) = self.rows.cells[self.row * self.rows.columns.len() + column];
        ((start, end) != NULL).then(|| &self.rows.data[start as usize..end as usize])
    }

    /// The number of the column with this name, whatever its case (servers change the case of catalog columns).
    pub fn column(&self, name: &str) -> Option<usize> {
        self.rows.columns.iter().position(|c| c.eq_ignore_ascii_case(name))
    }

    /// A cell as text, `None` for NULL.
    ///
    /// # Errors
    /// `Protocol` when the bytes are not UTF-8.
    pub fn text(&self, column: usize) -> Result<Option<&'a str>> {
        self.bytes(column)
            .map(|b| std::str::from_utf8(b).map_err(|e| self.unreadable(column).with_source(e)))
            .transpose()
    }

    /// A cell as text that cannot be NULL.
    ///
    /// # Errors
    /// `Protocol` when it is NULL or not UTF-8.
    pub fn required(&self, column: usize) -> Result<&'a str> {
        self.text(column)?.ok_or_else(|| self.unreadable(column).fact("found", "NULL"))
    }

    /// A cell as a number (or anything that parses), `None` for NULL.
    ///
    /// # Errors
    /// `Protocol` when the text does not parse.
    pub fn parse<T: FromStr>(&self, column: usize) -> Result<Option<T>> {
        let parsed = self.text(column)?.map(|t| t.parse().map_err(|_| self.unreadable(column).fact("found", t)));
        parsed.transpose()
    }

    fn unreadable(&self, column: usize) -> Error {
        let name = &self.rows.columns[column];
        Error::new(Code::Protocol, format!("column `{name}` of a catalog query cannot be read"))
    }
}
