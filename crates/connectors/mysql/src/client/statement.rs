//! Prepared statements and rows of the binary protocol.

use super::{ColumnDefinition, Connection};
use dujiang_core::Result;

/// A prepared statement of one connection.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(super) id: u32,
    pub(super) params: u16,
    /// Columns of its result as announced when prepared; the answer of an execution may refine them.
    pub columns: Vec<ColumnDefinition>,
}

/// A parameter of a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Param<'a> {
    /// NULL.
    Null,
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    UInt(u64),
    /// A floating number.
    Double(f64),
    /// Text in utf8mb4; also the way to pass decimals, dates and times.
    Text(&'a str),
    /// Bytes without a character set.
    Bytes(&'a [u8]),
}

/// The rows of one execution, borrowed from the connection. Dropping it before the last row leaves the connection in the
/// middle of an answer ([`Connection::is_idle`]).
pub struct BinaryRows<'c> {
    connection: &'c mut Connection,
}

impl<'c> BinaryRows<'c> {
    pub(super) fn new(connection: &'c mut Connection) -> Self {
        Self { connection }
    }

    /// The columns.
    pub fn columns(&self) -> &[ColumnDefinition] {
        self.connection.row_columns()
    }

    /// See [`Connection::next_row`].
    ///
    /// # Errors
    /// As there.
    pub async fn next(&mut self) -> Result<Option<&[u8]>> {
        self.connection.next_row().await
    }

    /// See [`Connection::try_next_row`].
    ///
    /// # Errors
    /// As there.
    pub fn try_next_buffered(&mut self) -> Result<Option<&[u8]>> {
        self.connection.try_next_row()
    }
}
