//! One session with a server.

use super::channel::Channel;
use super::packet::Taken;
use super::refusal::Refusal;
use super::server::ServerInfo;
use super::wire::Reader;
use super::{ColumnDefinition, Endpoint, Param, Statement, TextRows, handshake, statement};
use dujiang_core::{Code, Error, Result};

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_CLOSE: u8 = 0x19;

const OK: u8 = 0x00;
const LOCAL_INFILE: u8 = 0xfb;
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;

/// The session's known state. Limits on rows and time that a server's configuration may set would cut a snapshot short,
/// and a reader that waits for a slow sink must not be thrown out.
const SESSION: &str = "SET SESSION sql_mode='', autocommit=1, time_zone='+00:00', sql_select_limit=18446744073709551615, \
    max_join_size=18446744073709551615, sql_big_selects=1, net_write_timeout=3600, net_read_timeout=3600, \
    wait_timeout=86400 /*!50708 , max_execution_time=0 */ /*M!100101 , max_statement_time=0 */";

/// What a statement without rows did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Rows changed.
    pub affected_rows: u64,
    /// Number of warnings.
    pub warnings: u16,
}

/// What the next packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expecting {
    /// Nothing: a command may be sent.
    Nothing,
    /// The rest of an answer that nobody reads any more; the session is of no use.
    Remains,
    /// Rows of a prepared query.
    Rows,
}

/// One session with a server.
///
/// A session is used by one task at a time. Dropping a future of any method in the middle leaves an answer half read:
/// the connection then refuses further commands ([`Connection::is_idle`] is false) and is to be replaced. Exceptions,
/// which are cancel-safe: [`Connection::next_row`] and [`super::BinlogStream::next_event`].
pub struct Connection {
    info: ServerInfo,
    pub(super) channel: Channel,
    expecting: Expecting,
    row_columns: Vec<ColumnDefinition>,
    /// The statement under way, for errors that come late.
    statement: String,
}

/// Answer of the server to a query.
enum Answer {
    Done(Done),
    Columns(Vec<ColumnDefinition>),
}

impl Connection {
    /// Connects, logs in and puts the session into a known state: utf8mb4, `sql_mode=''`, autocommit, UTC, no limits on
    /// rows or time, an hour of patience for a reader that does not read.
    ///
    /// # Errors
    /// `SourceUnreachable`, `LoginRefused`, `NotADatabase`, `TlsFailed`. When a server that was known to be a database
    /// before says `NotADatabase`, it is frozen or a proxy in front of it has lost it.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self> {
        let (channel, info) = handshake::establish(endpoint).await?;
        let expecting = Expecting::Nothing;
        let mut connection = Self { info, channel, expecting, row_columns: Vec::new(), statement: String::new() };
        connection.execute("SET NAMES utf8mb4").await?;
        connection.execute(SESSION).await?;
        Ok(connection)
    }

    /// The server's greeting.
    pub fn server(&self) -> &ServerInfo {
        &self.info
    }

    /// `host:port`, for people.
    pub fn address(&self) -> &str {
        &self.channel.peer
    }

    /// Whether the next command can be sent: no answer is half read.
    pub fn is_idle(&self) -> bool {
        self.expecting == Expecting::Nothing
    }

    pub(super) async fn command(&mut self, command: u8, payload: &[u8]) -> Result<()> {
        if !self.is_idle() {
            let message = format!("a session with {} was left in the middle of an answer", self.channel.peer);
            return Err(Error::new(Code::ConnectionLost, message).fact("statement", self.statement.clone()));
        }
        self.expecting = Expecting::Remains;
        let mut packet = Vec::with_capacity(payload.len() + 1);
        packet.push(command);
        packet.extend_from_slice(payload);
        self.channel.send_command(&packet).await
    }

    fn refused(&self, packet: &[u8]) -> Error {
        match Refusal::read(packet) {
            Ok(refusal) => refusal.of_statement(&self.channel.peer, &self.statement),
            Err(e) => e,
        }
    }

    fn unexpected(&self, packet: &[u8], expected: &str) -> Error {
        Error::new(Code::Protocol, format!("{} answered in an unknown way", self.channel.peer))
            .fact("expected", expected)
            .fact(
                "found",
                format!("{} bytes beginning \"{}\"", packet.len(), packet[..packet.len().min(24)].escape_ascii()),
            )
    }

    /// The error in an ERR packet that ends an answer; the session stays usable.
    fn ended_by(&mut self, taken: &Taken) -> Error {
        let error = self.refused(self.channel.payload(taken));
        if error.code() != Code::ConnectionLost {
            self.expecting = Expecting::Nothing;
        }
        error
    }

    /// The head of an answer: OK, ERR, or the columns of a result set.
    async fn answer(&mut self) -> Result<Answer> {
        let taken = self.channel.receive_place().await?;
        let packet = self.channel.payload(&taken);
        match packet.first() {
            Some(&OK) => {
                let mut r = Reader::new(packet, "an OK packet");
                r.u8()?;
                let (affected_rows, _last_id, _status) = (r.lenenc_int()?, r.lenenc_int()?, r.u16()?);
                let done = Done { affected_rows, warnings: r.u16()? };
                self.expecting = Expecting::Nothing;
                Ok(Answer::Done(done))
            }
            Some(&ERR) => Err(self.ended_by(&taken)),
            Some(&LOCAL_INFILE) => {
                let message = format!("{} asked for a file of this machine; it gets none", self.channel.peer);
                Err(Error::new(Code::Protocol, message).help("find out what answers in the server's place"))
            }
            Some(_) => {
                let count = Reader::new(packet, "the number of columns").lenenc_int()?;
                Ok(Answer::Columns(self.column_definitions(count).await?))
            }
            None => Err(self.unexpected(packet, "an answer to a statement")),
        }
    }

    /// `count` column definitions and the EOF packet after them.
    async fn column_definitions(&mut self, count: u64) -> Result<Vec<ColumnDefinition>> {
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(ColumnDefinition::read(self.channel.receive().await?)?);
        }
        if count > 0 {
            let taken = self.channel.receive_place().await?;
            let packet = self.channel.payload(&taken);
            if !is_eof(packet) {
                return Err(self.unexpected(packet, "the end of the columns"));
            }
        }
        Ok(columns)
    }

    async fn start_query(&mut self, sql: &str) -> Result<Answer> {
        self.statement.clear();
        self.statement.push_str(sql);
        self.command(COM_QUERY, sql.as_bytes()).await?;
        self.answer().await
    }

    /// Runs a statement that returns no rows; rows, if there are any, are read and dropped.
    ///
    /// # Errors
    /// The server's refusal (`SourceQuery`, `MissingPrivilege`, `UnknownDatabase`, ...) or `ConnectionLost`.
    pub async fn execute(&mut self, sql: &str) -> Result<Done> {
        match self.start_query(sql).await? {
            Answer::Done(done) => Ok(done),
            Answer::Columns(columns) => self.collect(columns).await.map(|_| Done::default()),
        }
    }

    /// Runs a query and collects its rows; for small catalog queries.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn query(&mut self, sql: &str) -> Result<TextRows> {
        match self.start_query(sql).await? {
            Answer::Done(_) => Ok(TextRows::default()),
            Answer::Columns(columns) => self.collect(columns).await,
        }
    }

    async fn collect(&mut self, columns: Vec<ColumnDefinition>) -> Result<TextRows> {
        let mut rows = TextRows::new(columns.into_iter().map(|c| c.name).collect());
        loop {
            let taken = self.channel.receive_place().await?;
            let packet = self.channel.payload(&taken);
            match packet.first() {
                Some(&ERR) => return Err(self.ended_by(&taken)),
                Some(&EOF) if is_eof(packet) => {
                    self.expecting = Expecting::Nothing;
                    return Ok(rows);
                }
                _ => rows.push(packet)?,
            }
        }
    }

    /// The first column of the first row, `None` when there is no row or it is NULL.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn query_value(&mut self, sql: &str) -> Result<Option<String>> {
        let rows = self.query(sql).await?;
        Ok(rows.get(0).map(|row| row.text(0)).transpose()?.flatten().map(str::to_owned))
    }

    /// Awaits OK after a command that is no statement.
    pub(super) async fn done(&mut self, command: &str) -> Result<()> {
        self.statement.clear();
        self.statement.push_str(command);
        match self.answer().await? {
            Answer::Done(_) => Ok(()),
            Answer::Columns(_) => {
                Err(Error::new(Code::Protocol, format!("{} answered {command} with rows", self.channel.peer)))
            }
        }
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn ping(&mut self) -> Result<()> {
        self.command(COM_PING, &[]).await?;
        self.done("COM_PING").await
    }

    /// Prepares a statement.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn prepare(&mut self, sql: &str) -> Result<Statement> {
        self.statement.clear();
        self.statement.push_str(sql);
        self.command(COM_STMT_PREPARE, sql.as_bytes()).await?;
        let taken = self.channel.receive_place().await?;
        let packet = self.channel.payload(&taken);
        match packet.first() {
            Some(&OK) => {}
            Some(&ERR) => return Err(self.ended_by(&taken)),
            _ => return Err(self.unexpected(packet, "an answer to a prepare")),
        }
        let mut r = Reader::new(packet, "the answer to a prepare");
        r.u8()?;
        let (id, columns, params) = (r.u32()?, r.u16()?, r.u16()?);
        self.column_definitions(u64::from(params)).await?;
        let columns = self.column_definitions(u64::from(columns)).await?;
        self.expecting = Expecting::Nothing;
        Ok(Statement { id, params, sql: sql.to_owned(), columns })
    }

    /// Gives a statement back to the server.
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub async fn close_statement(&mut self, statement: Statement) -> Result<()> {
        self.command(COM_STMT_CLOSE, &statement.id.to_le_bytes()).await?;
        self.expecting = Expecting::Nothing;
        Ok(())
    }

    /// Runs a prepared query; its rows are then taken by [`Connection::next_row`] until that says `None`.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn start_rows(&mut self, statement: &Statement, params: &[Param<'_>]) -> Result<()> {
        let payload = statement::execute_payload(statement, params)?;
        self.statement.clone_from(&statement.sql);
        self.command(statement::COM_STMT_EXECUTE, &payload).await?;
        match self.answer().await? {
            Answer::Done(_) => self.row_columns.clear(),
            Answer::Columns(columns) => {
                self.row_columns = columns;
                self.expecting = Expecting::Rows;
            }
        }
        Ok(())
    }

    /// The columns of the rows being read.
    pub fn row_columns(&self) -> &[ColumnDefinition] {
        &self.row_columns
    }

    /// The next row's packet (binary protocol: 0x00, NULL bitmap, values), `None` after the last. **Cancel-safe.** The
    /// slice is valid until the next call.
    ///
    /// # Errors
    /// The server's refusal in mid-way, or `ConnectionLost`.
    pub async fn next_row(&mut self) -> Result<Option<&[u8]>> {
        if self.expecting != Expecting::Rows {
            return Ok(None);
        }
        let taken = match self.channel.receive_place().await {
            Ok(taken) => taken,
            Err(e) => {
                self.expecting = Expecting::Remains;
                return Err(e);
            }
        };
        self.row(&taken)
    }

    /// The next row's packet if it is already in the buffer: `Ok(None)` says to call [`Connection::next_row`].
    ///
    /// # Errors
    /// As [`Connection::next_row`].
    pub fn try_next_row(&mut self) -> Result<Option<&[u8]>> {
        if self.expecting != Expecting::Rows {
            return Ok(None);
        }
        match self.channel.take()? {
            Some(taken) => self.row(&taken),
            None => Ok(None),
        }
    }

    /// The packet of the row just returned, if it is so large that its buffer is not kept: no copy is needed then.
    pub fn take_large_row(&mut self) -> Option<Vec<u8>> {
        self.channel.take_large()
    }

    fn row(&mut self, taken: &Taken) -> Result<Option<&[u8]>> {
        let packet = self.channel.payload(taken);
        match packet.first() {
            Some(&OK) => Ok(Some(self.channel.payload(taken))),
            Some(&EOF) if is_eof(packet) => {
                self.expecting = Expecting::Nothing;
                Ok(None)
            }
            Some(&ERR) => Err(self.ended_by(taken)),
            _ => {
                let error = self.unexpected(packet, "a row");
                self.expecting = Expecting::Remains;
                Err(error)
            }
        }
    }

    /// Says good-bye; errors are of no interest any more.
    pub async fn close(mut self) {
        if self.is_idle() {
            let _ = self.command(COM_QUIT, &[]).await;
        }
    }
}

/// Whether a packet is an EOF packet; a row may begin with the same byte but is then longer.
pub(super) fn is_eof(packet: &[u8]) -> bool {
    packet.first() == Some(&EOF) && packet.len() < 9
}
