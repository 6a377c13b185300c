//! A blocking SQL session, for set-up, load and checks.
//!
//! It speaks just enough of the text protocol for a user without a password on a private server, so that tests and the
//! demo can put thousands of transactions a second on a server without a client library.

use crate::error::{Error, IoContext, Result};
use crate::packet::{self, Fields, damaged};
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// One row as text; `None` is NULL. Bytes that are not UTF-8 are replaced; ask for `HEX(...)` to see them.
pub type Row = Vec<Option<String>>;

const LONG_PASSWORD: u32 = 0x1;
const PROTOCOL_41: u32 = 0x200;
const TRANSACTIONS: u32 = 0x2000;
const SECURE_CONNECTION: u32 = 0x8000;
const MULTI_STATEMENTS: u32 = 0x1_0000;
const MULTI_RESULTS: u32 = 0x2_0000;
const PLUGIN_AUTH: u32 = 0x8_0000;
/// `utf8mb4_general_ci`, known to every server of both families.
const UTF8MB4: u8 = 45;
const COM_QUERY: u8 = 3;
/// Server status flag: another result set follows.
const MORE_RESULTS: u16 = 0x8;
/// How often the server is asked for a session that ends, which takes less than a millisecond.
const MOST_QUESTIONS: usize = 100_000;

/// A session of user `root`. Autocommit is on at first; an open transaction is rolled back when the session is dropped.
pub struct Session {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
    payload: Vec<u8>,
}

impl Session {
    /// Logs in over the server's unix socket.
    ///
    /// # Errors
    /// I/O errors; [`Error::Sql`] when the server refuses the login.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).at("connect to", socket)?;
        let stream = BufReader::with_capacity(1 << 16, stream);
        let mut session = Self { stream, socket: socket.to_owned(), payload: Vec::new() };
        session.log_in()?;
        Ok(session)
    }

    /// Protocol::HandshakeResponse41 with an empty password, for which every authentication method sends nothing.
    fn log_in(&mut self) -> Result<()> {
        let sequence = self.receive()?;
        self.refuse_error("log in")?;
        let flags = LONG_PASSWORD
            | PROTOCOL_41
            | TRANSACTIONS
            | SECURE_CONNECTION
            | MULTI_STATEMENTS
            | MULTI_RESULTS
            | PLUGIN_AUTH;
        let mut answer = flags.to_le_bytes().to_vec();
        answer.extend(0x4000_0000u32.to_le_bytes());
        answer.push(UTF8MB4);
        answer.extend([0; 23]);
        answer.extend(b"root\0\0mysql_native_password\0");
        self.send(&answer, sequence.wrapping_add(1))?;
        loop {
            let sequence = self.receive()?;
            self.refuse_error("log in")?;
            match self.payload.first() {
                Some(0) => return Ok(()),
                Some(0xfe) => self.send(&[], sequence.wrapping_add(1))?,
                _ => {} // AuthMoreData: the OK follows
            }
        }
    }

    /// Ends the session, waits until the server has let go of it, and begins another. What a session has prepared (XA) and another
    /// one decides before that can be lost: MariaDB logs the commit and never carries it out.
    ///
    /// # Errors
    /// As [`Session::run`]; [`Error::Sql`] when the server does not let go of it.
    pub fn renewed(mut self) -> Result<Self> {
        let id = self.number("SELECT CONNECTION_ID()")?;
        let mut other = Self::connect(&self.socket)?;
        drop(self);
        let sql = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {id}");
        for _ in 0..MOST_QUESTIONS {
            if other.number(&sql)? == 0 {
                return Ok(other);
            }
        }
        Err(Error::Sql { statement: sql, code: 0, message: format!("session {id} does not end") })
    }

    /// Runs one or more statements, separated by `;`, and returns all their rows.
    ///
    /// # Errors
    /// [`Error::Sql`] with the server's code at the first statement that fails; those before it have been executed. An
    /// I/O error ends the session.
    pub fn run(&mut self, sql: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let text = |cell: &Option<&[u8]>| cell.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        self.each_row(sql, |row| rows.push(row.iter().map(text).collect()))?;
        Ok(rows)
    }

    /// The first cell of the first row, as a number.
    ///
    /// # Errors
    /// As [`Session::run`]; and [`Error::Sql`] when there is no such number.
    pub fn number(&mut self, sql: &str) -> Result<i64> {
        let rows = self.run(sql)?;
        let cell = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
        cell.and_then(|text| text.parse().ok()).ok_or_else(|| Error::Sql {
            statement: beginning(sql),
            code: 0,
            message: format!("no number came back but {cell:?}"),
        })
    }

    /// As [`Session::run`], handing every row's bytes to `take` as they come.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn each_row(&mut self, sql: &str, mut take: impl FnMut(&[Option<&[u8]>])) -> Result<()> {
        let command = [&[COM_QUERY], sql.as_bytes()].concat();
        self.send(&command, 0)?;
        while self.result(sql, &mut take)? {}
        Ok(())
    }

    /// Reads one result; whether another one follows.
    fn result(&mut self, sql: &str, take: &mut impl FnMut(&[Option<&[u8]>])) -> Result<bool> {
        self.receive()?;
        self.refuse_error(sql)?;
        let socket = self.socket.clone();
        let mut fields = Fields(&self.payload);
        if self.payload.first() == Some(&0) {
            return more_after_ok(&mut fields).at("read from", &socket);
        }
        let columns = fields.length().and_then(|n| n.ok_or_else(|| damaged("the server asks for a local file")));
        let columns = columns.at("read from", &socket)?;
        for _ in 0..=columns {
            self.receive()?; // the definitions of the columns and an EOF
        }
        loop {
            self.receive()?;
            self.refuse_error(sql)?;
            if self.payload.first() == Some(&0xfe) && self.payload.len() < 9 {
                let mut end = Fields(&self.payload[1..]);
                let status = end.u16().and_then(|_warnings| end.u16()).at("read from", &socket)?;
                return Ok(status & MORE_RESULTS != 0);
            }
            let mut fields = Fields(&self.payload);
            let row: std::io::Result<Vec<_>> = (0..columns).map(|_| fields.text()).collect();
            take(&row.at("read from", &socket)?);
        }
    }

    fn refuse_error(&self, sql: &str) -> Result<()> {
        if self.payload.first() != Some(&0xff) {
            return Ok(());
        }
        let mut fields = Fields(&self.payload[1..]);
        let code = fields.u16().at("read from", &self.socket)?;
        let text = String::from_utf8_lossy(fields.0);
        let message = text.strip_prefix('#').and_then(|t| t.get(5..)).unwrap_or(&text).to_owned();
        Err(Error::Sql { statement: beginning(sql), code, message })
    }

    fn receive(&mut self) -> Result<u8> {
        packet::read(&mut self.stream, &mut self.payload).at("read from", &self.socket)
    }

    fn send(&mut self, payload: &[u8], sequence: u8) -> Result<()> {
        packet::write(self.stream.get_mut(), payload, sequence).at("write to", &self.socket)
    }
}

/// OK packet: affected rows, last insert id, status.
fn more_after_ok(fields: &mut Fields<'_>) -> std::io::Result<bool> {
    fields.u8()?;
    fields.length()?;
    fields.length()?;
    Ok(fields.u16()? & MORE_RESULTS != 0)
}

fn beginning(sql: &str) -> String {
    sql.chars().take(200).collect()
}

/// A text as an SQL literal.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
