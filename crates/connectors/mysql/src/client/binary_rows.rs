//! Rows of prepared queries.

use super::{ColumnDefinition, Connection, Param, Statement};
use dujiang_core::Result;

/// The rows of one execution, borrowed from the connection. Dropping it before the last row leaves the connection in the
/// middle of an answer ([`Connection::is_idle`]).
pub struct BinaryRows<'c> {
    connection: &'c mut Connection,
}

impl Connection {
    /// Runs a prepared query; its rows stay in their binary form. Same as [`Connection::start_rows`] with a handle that
    /// borrows the connection.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn execute_stmt<'c>(&'c mut self, statement: &Statement, params: &[Param<'_>]) -> Result<BinaryRows<'c>> {
        self.start_rows(statement, params).await?;
        Ok(BinaryRows { connection: self })
    }
}

impl BinaryRows<'_> {
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
