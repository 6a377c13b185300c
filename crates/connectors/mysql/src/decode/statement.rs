//! QUERY_EVENT: a statement in the log.

use super::compressed;
use super::cursor::{Cursor, Malformed};
use dujiang_core::Result;

/// A statement, borrowed from its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Connection that ran it.
    pub thread_id: u32,
    /// Error code with which it ended at the server; not 0 for a statement that failed half-way.
    pub error_code: u16,
    /// Session settings it ran with; see [`Query::client_collation`].
    pub status: &'a [u8],
    /// Default database.
    pub database: &'a str,
    /// Text, in the character set of the client that ran it.
    pub statement: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "a query event");
        let thread_id = c.u32()?;
        c.take(4)?;
        let database = usize::from(c.u8()?);
        let error_code = c.u16()?;
        let status = usize::from(c.u16()?);
        let status = c.take(status)?;
        let database = c.text(database)?;
        c.take(1)?;
        Ok(Self { thread_id, error_code, status, database, statement: c.take_rest() })
    }

    /// Number of the client's collation, if the event says.
    pub fn client_collation(&self) -> Option<u16> {
        None
    }
}

/// A statement that MariaDB compressed (`log_bin_compress=ON`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressedQuery<'a>(Query<'a>);

impl<'a> CompressedQuery<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        Query::parse(body).map(Self)
    }

    /// Inflates the statement into `buffer` (cleared first).
    ///
    /// # Errors
    /// `LogDamaged` when it cannot be inflated.
    pub fn inflate<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<Query<'b>>
    where
        'a: 'b,
    {
        compressed::inflate_record(self.0.statement, buffer)?;
        Ok(Query { statement: buffer, ..self.0 })
    }
}
