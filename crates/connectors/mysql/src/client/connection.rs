//! One session with a server.

use super::{BinaryRows, BinlogRequest, BinlogStream, Endpoint, Param, Statement, TextRows};
use dujiang_core::{Code, Error, Result};

/// Which family's dialect a server speaks, as far as its greeting tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFamily {
    /// MySQL and everything that calls itself so.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// What a server says of itself when greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Version as greeted, without MariaDB's `5.5.5-` disguise: `10.11.11-MariaDB-0+deb12u1-log`, `8.4.3`.
    pub version: String,
    /// The family the version text tells.
    pub family: ServerFamily,
    /// Id of this session in the server's process list.
    pub connection_id: u32,
    /// Whether the session is encrypted.
    pub encrypted: bool,
}

/// What a statement without rows did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Rows changed.
    pub affected_rows: u64,
    /// Number of warnings.
    pub warnings: u16,
}

/// One session with a server.
///
/// A session is used by one task at a time. Dropping a future of any method in the middle leaves an answer half read:
/// the connection then refuses further commands ([`Connection::is_idle`] is false) and is to be replaced. Exceptions,
/// which are cancel-safe: [`Connection::next_row`] and [`BinlogStream::next_event`].
pub struct Connection {
    info: ServerInfo,
}

fn stub<T>() -> Result<T> {
    Err(Error::new(Code::Bug, "not written yet"))
}

impl Connection {
    /// Connects, logs in and puts the session into a known state: utf8mb4, `sql_mode=''`, autocommit, UTC, no limits on
    /// rows or time, an hour of patience for a reader that does not read.
    ///
    /// # Errors
    /// `SourceUnreachable`, `LoginRefused`, `NotADatabase`, `TlsFailed`.
    pub async fn connect(_endpoint: &Endpoint) -> Result<Self> {
        stub()
    }

    /// The server's greeting.
    pub fn server(&self) -> &ServerInfo {
        &self.info
    }

    /// Whether the next command can be sent: no answer is half read.
    pub fn is_idle(&self) -> bool {
        true
    }

    /// Runs a statement that returns no rows.
    ///
    /// # Errors
    /// The server's refusal (`SourceQuery`, `MissingPrivilege`, `UnknownDatabase`, ...) or `ConnectionLost`.
    pub async fn execute(&mut self, _sql: &str) -> Result<Done> {
        stub()
    }

    /// Runs a query and collects its rows; for small catalog queries.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn query(&mut self, _sql: &str) -> Result<TextRows> {
        stub()
    }

    /// The first column of the first row, `None` when there is no row or it is NULL.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn query_value(&mut self, _sql: &str) -> Result<Option<String>> {
        stub()
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn ping(&mut self) -> Result<()> {
        stub()
    }

    /// Prepares a statement.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn prepare(&mut self, _sql: &str) -> Result<Statement> {
        stub()
    }

    /// Gives a statement back to the server.
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn close_statement(&mut self, _statement: Statement) -> Result<()> {
        stub()
    }

    /// Runs a prepared query; its rows stay in their binary form. Same as [`Connection::start_rows`] with a handle that
    /// borrows the connection.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn execute_stmt<'c>(&'c mut self, statement: &Statement, params: &[Param<'_>]) -> Result<BinaryRows<'c>> {
        self.start_rows(statement, params).await?;
        Ok(BinaryRows::new(self))
    }

    /// Runs a prepared query; its rows are then taken by [`Connection::next_row`] until that says `None`.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn start_rows(&mut self, _statement: &Statement, _params: &[Param<'_>]) -> Result<()> {
        stub()
    }

    /// The columns of the rows being read.
    pub fn row_columns(&self) -> &[super::ColumnDefinition] {
        &[]
    }

    /// The next row's packet (binary protocol: 0x00, NULL bitmap, values), `None` after the last. **Cancel-safe.** The
    /// slice is valid until the next call.
    ///
    /// # Errors
    /// The server's refusal in mid-way, or `ConnectionLost`.
    pub async fn next_row(&mut self) -> Result<Option<&[u8]>> {
        stub()
    }

    /// The next row's packet if it is already in the buffer: `Ok(None)` says to call [`Connection::next_row`].
    ///
    /// # Errors
    /// As [`Connection::next_row`].
    pub fn try_next_row(&mut self) -> Result<Option<&[u8]>> {
        stub()
    }

    /// Turns the session into a binlog stream: sets what the request needs, registers as a replica, sends the dump.
    ///
    /// # Errors
    /// `PositionLost`, `OtherServer`, `MissingPrivilege`, `ServerIdTaken`, `ConnectionLost`. Most of them arrive with
    /// the first event.
    pub async fn dump(self, _request: &BinlogRequest) -> Result<BinlogStream> {
        stub()
    }

    /// Says good-bye; errors are of no interest any more.
    pub async fn close(self) {}
}
