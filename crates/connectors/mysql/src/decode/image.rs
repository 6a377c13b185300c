//! Single row images: what a filter may look at before a change is decoded.

use super::op::Op;
use super::plan::RowPlan;
use super::types::Column;
use super::value::BadValue;
use super::walk::{after, length};
use dujiang_core::{Code, Error, Result, TableId};

/// One change of a rows event, before it is decoded.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The row before; updates and deletes have one.
    pub before: Option<RowImage<'a>>,
    /// The row after; inserts and updates have one.
    pub after: Option<RowImage<'a>>,
}

/// One row image on the wire.
#[derive(Clone, Copy)]
pub struct RowImage<'a> {
    pub(super) plan: &'a RowPlan,
    pub(super) columns: &'a [Column],
    /// From its NULL bitmap on; may be followed by other images.
    pub(super) bytes: &'a [u8],
}

impl std::fmt::Debug for RowImage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowImage({} columns)", self.columns.len())
    }
}

impl<'a> RowImage<'a> {
    /// How the cell at `index` is to be read, and its bytes; `None` for NULL. Takes time in proportion to `index`.
    pub(super) fn cell(&self, index: usize) -> Result<Option<(&'a Op, &'a [u8])>> {
        let torn = || Error::new(Code::LogDamaged, "a row image of the log is shorter than its columns");
        let mut at = self.plan.header();
        let is_null = |column: usize| {
            let bit = column + self.plan.first_bit;
            let byte = self.bytes.get(self.plan.lead + bit / 8).copied().unwrap_or(0);
            byte >> (bit % 8) & 1 != 0
        };
        for (column, step) in self.plan.steps.iter().enumerate().take(index) {
            if !is_null(column) {
                at = after(step.size, self.bytes, at).ok_or_else(torn)?;
            }
        }
        if is_null(index) {
            return Ok(None);
        }
        let step = self.plan.steps.get(index).ok_or_else(torn)?;
        let (length, head) = length(step.size, self.bytes, at).ok_or_else(torn)?;
        let cell = self.bytes.get(at + head..).and_then(|rest| rest.get(..length)).ok_or_else(torn)?;
        Ok(Some((&step.op, cell)))
    }

    /// Appends the value of the character column at `index` as UTF-8, to be sent to the server in a query. False for NULL.
    ///
    /// # Errors
    /// `BadRecord` when the bytes are not valid in the column's character set; `Bug` when it is no character column.
    pub fn text(&self, index: usize, out: &mut String) -> Result<bool> {
        let Some((op, cell)) = self.cell(index)? else { return Ok(false) };
        let mut converted = Vec::new();
        let utf8 = match op {
            Op::Utf8 => cell,
            Op::Converted(charset) => {
                charset.append(cell, &mut converted).map_err(|value| self.bad_text(index, value))?;
                &converted
            }
            _ => return Err(Error::new(Code::Bug, "the text of a column without text was asked for")),
        };
        let text = std::str::from_utf8(utf8).map_err(|_| self.bad_text(index, BadValue::invalid_text(cell)))?;
        out.push_str(text);
        Ok(true)
    }

    #[cold]
    fn bad_text(&self, index: usize, value: BadValue) -> Error {
        value.into_error(&TableId::new("", "a key"), &self.columns[index].name, Code::LogDamaged)
    }
}
