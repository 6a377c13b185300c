//! Rows of a query.

use super::wire::Reader;
use dujiang_core::{Code, Error, Result};

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_oid: u32,
    /// The type's modifier, -1 for none.
    pub type_modifier: i32,
}

/// Reads a RowDescription.
pub(super) fn columns(body: &[u8]) -> Result<Vec<Column>> {
    let mut r = Reader::new(body, "the description of a row");
    let count = r.i16()?;
    let column = |r: &mut Reader<'_>| {
        let name = r.cstr()?.to_owned();
        r.take(6)?;
        let type_oid = r.u32()?;
        r.i16()?;
        let type_modifier = r.i32()?;
        r.i16()?;
        Ok(Column { name, type_oid, type_modifier })
    };
    (0..count).map(|_| column(&mut r)).collect()
}

/// All rows of a small result, in the format that was asked for.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The columns; empty for a statement without rows.
    pub columns: Vec<Column>,
    bytes: Vec<u8>,
    /// Where each value lies, row by row; `None` for NULL.
    values: Vec<Option<(u32, u32)>>,
}

impl Rows {
    /// None yet.
    pub(super) fn of(columns: Vec<Column>) -> Self {
        Self { columns, ..Self::default() }
    }

    pub(super) fn push(&mut self, body: &[u8]) -> Result<()> {
        let mut r = Reader::new(body, "a row");
        if r.i16()? as usize != self.columns.len() {
            return Err(Error::new(
                Code::Protocol,
                "a row of the server has another number of columns than its description",
            ));
        }
        for _ in 0..self.columns.len() {
            let value = r.value()?.map(|value| {
                let start = self.bytes.len() as u32;
                self.bytes.extend_from_slice(value);
                (start, self.bytes.len() as u32)
            });
            self.values.push(value);
        }
        r.end()
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.values.chunks(self.columns.len().max(1)).map(|values| Row { bytes: &self.bytes, values })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        if self.columns.is_empty() { 0 } else { self.values.len() / self.columns.len() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The first row.
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    bytes: &'a [u8],
    values: &'a [Option<(u32, u32)>],
}

impl<'a> Row<'a> {
    /// The bytes of a value; `None` for NULL.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        self.values[column].map(|(start, end)| &self.bytes[start as usize..end as usize])
    }

    /// A value as text; `None` for NULL.
    ///
    /// # Errors
    /// `Protocol` when it is not UTF-8.
    pub fn opt(&self, column: usize) -> Result<Option<&'a str>> {
        let text = self.bytes(column).map(std::str::from_utf8).transpose();
        text.map_err(|e| Error::new(Code::Protocol, "a text of the server is not UTF-8").with_source(e))
    }

    /// A value as text.
    ///
    /// # Errors
    /// `Protocol` for NULL, or when it is not UTF-8.
    pub fn text(&self, column: usize) -> Result<&'a str> {
        self.opt(column)?.ok_or_else(|| Error::new(Code::Protocol, "a value of the server's catalog is NULL"))
    }

    /// A value in text form, read as what it says.
    ///
    /// # Errors
    /// `Protocol` for NULL, or when it says something else.
    pub fn parse<T: std::str::FromStr>(&self, column: usize) -> Result<T> {
        let text = self.text(column)?;
        text.parse().map_err(|_| {
            Error::new(Code::Protocol, "a value of the server's catalog cannot be read").fact("value", text.to_owned())
        })
    }

    /// A boolean in text form.
    ///
    /// # Errors
    /// `Protocol` for NULL, or when it is none.
    pub fn flag(&self, column: usize) -> Result<bool> {
        match self.text(column)? {
            "t" => Ok(true),
            "f" => Ok(false),
            other => {
                Err(Error::new(Code::Protocol, "a boolean of the server cannot be read")
                    .fact("value", other.to_owned()))
            }
        }
    }
}
