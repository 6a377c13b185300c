//! One session with a server.

use super::Endpoint;
use super::channel::Channel;
use super::frame::Frame;
use super::login::{self, Greeting};
use super::refusal::Refusal;
use super::rows::{self, Rows};
use super::session::Session;
use super::wire::Reader;
use bytes::BytesMut;
use dujiang_core::{Code, Error, Result, ResultExt};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

/// The session's known state: texts of values do not depend on the server's configuration, no limit of time cuts a
/// snapshot short, names are never looked up outside of `pg_catalog`, warnings come, and what is to
/// be written is.
const SESSION: &str = "SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'; \
    SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = 'content'; SET lc_monetary = 'C'; \
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
    SET search_path = ''; SET client_min_messages = 'notice'; SET standard_conforming_strings = on; SET row_security = off; \
    SET default_transaction_read_only = off";

/// One session with a server.
///
/// A session is used by one task at a time. Dropping a future of any method in the middle leaves an answer half read:
/// the connection then refuses further commands ([`Connection::is_idle`] is false) and is to be replaced.
pub struct Connection {
    pub(super) channel: Channel,
    greeting: Greeting,
    pub(super) idle: bool,
    /// The statement under way, for errors that come late.
    pub(super) statement: String,
    /// The last notices, for messages.
    notices: Vec<String>,
}

impl Connection {
    /// Connects, logs in and puts the session into a known state: UTF-8, UTC, ISO dates, hexadecimal bytea, the shortest
    /// text of a float that is exact, no limits of time, an empty `search_path`.
    ///
    /// # Errors
    /// `SourceUnreachable`, `LoginRefused`, `NotADatabase`, `TlsFailed`, `UnknownDatabase`, `ReplicationRole`, `Pooler`,
    /// `NoSlotsLeft`.
    pub async fn connect(endpoint: &Endpoint, session: Session) -> Result<Self> {
        let (channel, greeting) = login::establish(endpoint, session).await?;
        let statement = String::new();
        let mut connection = Self { channel, greeting, idle: true, statement, notices: Vec::new() };
        connection.settle().await?;
        // Such a database does not know what its text is: asked for UTF-8 the server refuses rows with other bytes, and every
        // row around them.
        if connection.parameter("server_encoding") == Some("SQL_ASCII") {
            connection.execute("SET client_encoding = 'SQL_ASCII'").await?;
        }
        // Since 14 an idle session may be ended as well; F19.
        if connection.version() >= 140_000 {
            connection.execute("SET idle_session_timeout = 0").await?;
        }
        Ok(connection)
    }

    /// Puts the session into its known state, and sees that it is one: a pooler lends the sessions of others, which forget
    /// what was set, and gives out keys of its own.
    async fn settle(&mut self) -> Result<()> {
        let rows = self.simple(&format!("{SESSION}; SELECT pg_catalog.pg_backend_pid()")).await?;
        let process: i32 = rows.first().map_or(Ok(0), |row| row.parse(0))?;
        if process == self.greeting.process || self.greeting.process == 0 {
            return Ok(());
        }
        let message = format!("{} is a connection pooler, not the server itself", self.channel.peer);
        Err(Error::new(Code::Pooler, message)
            .fact("process at the login", self.greeting.process.to_string())
            .fact("process in the session", process.to_string())
            .help("connect to the server itself: replication and snapshots need sessions of their own"))
    }

    /// `host:port`, for people.
    pub fn address(&self) -> &str {
        &self.channel.peer
    }

    /// The server's version as a number, as `server_version_num` has it: 150018 for 15.18; 0 when the server does not
    /// tell it.
    pub fn version(&self) -> u32 {
        version_number(self.parameter("server_version").unwrap_or_default())
    }

    /// What the server has said of itself: `server_version`, `server_encoding`, `in_hot_standby`, ...
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.greeting.parameters.get(name).map(String::as_str)
    }

    /// Id of the server's process.
    pub fn process(&self) -> i32 {
        self.greeting.process
    }

    /// Whether the session is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.greeting.encrypted
    }

    /// Whether the next command can be sent: no answer is half read.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    pub(super) async fn command(&mut self, sql: &str, messages: &BytesMut) -> Result<()> {
        if !self.idle {
            let message = format!("a session with {} was left in the middle of an answer", self.channel.peer);
            return Err(Error::new(Code::ConnectionLost, message).fact("statement", self.statement.clone()));
        }
        self.idle = false;
        self.statement.clear();
        self.statement.push_str(sql);
        self.channel.send(messages).await
    }

    /// Runs statements of which no rows are wanted.
    ///
    /// # Errors
    /// `SourceQuery`, `MissingPrivilege`, `TableGone`, `ConnectionLost`, ...
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        self.simple(sql).await.map(drop)
    }

    /// Runs a statement by the simple protocol: all values come as text. Of several statements the last one's rows are
    /// returned. The only way in a session for replication.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn simple(&mut self, sql: &str) -> Result<Rows> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).or_code(Code::Bug, || "a statement has a zero byte".into())?;
        self.command(sql, &out).await?;
        self.collect().await
    }

    /// Runs a statement by the extended protocol, with parameters as text (`None` for NULL) whose types the server
    /// finds out, and values in binary.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub async fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Rows> {
        let bad = || "a statement or a parameter has a zero byte".to_owned();
        let mut out = BytesMut::new();
        frontend::parse("", sql, [], &mut out).or_code(Code::Bug, bad)?;
        let write = |value: &Option<&str>, out: &mut BytesMut| {
            value.map_or(Ok(IsNull::Yes), |text| {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            })
        };
        frontend::bind("", "", [0], parameters, write, [1], &mut out)
            .map_err(|_| Error::new(Code::Bug, "the parameters of a statement cannot be written"))?;
        frontend::describe(b'P', "", &mut out).or_code(Code::Bug, bad)?;
        frontend::execute("", 0, &mut out).or_code(Code::Bug, bad)?;
        frontend::sync(&mut out);
        self.command(sql, &out).await?;
        self.collect().await
    }

    /// The rows up to the end of the answer.
    async fn collect(&mut self) -> Result<Rows> {
        let mut rows = Rows::default();
        let mut failure = None;
        loop {
            let frame = self.channel.receive().await?;
            match frame.tag {
                b'T' => rows = Rows::of(rows::columns(self.channel.body(&frame))?),
                b'D' => rows.push(self.channel.body(&frame))?,
                b'E' => failure = Some(self.refused(&frame)),
                b'Z' => {
                    self.idle = true;
                    return failure.map_or(Ok(rows), Err);
                }
                // Parsed, bound, no data, completed, empty.
                b'1' | b'2' | b'n' | b'C' | b'I' | b's' => {}
                _ => self.aside(&frame, "a statement")?,
            }
        }
    }

    /// A message that may come at any time.
    pub(super) fn aside(&mut self, frame: &Frame, of: &str) -> Result<()> {
        let body = self.channel.body(frame);
        match frame.tag {
            b'S' => {
                let mut r = Reader::new(body, "a parameter");
                self.greeting.parameters.insert(r.cstr()?.to_owned(), r.cstr()?.to_owned());
            }
            b'N' => {
                let notice = Refusal::read(body)?.message;
                tracing::debug!(server = %self.channel.peer, %notice, "the server notes");
                self.notices.push(notice);
                self.notices.drain(..self.notices.len().saturating_sub(10));
            }
            b'A' => {}
            other => {
                let message = format!("{} answered {of} in an unknown way", self.channel.peer);
                return Err(Error::new(Code::Protocol, message)
                    .fact("type", format!("{:?}", char::from(other)))
                    .fact("statement", self.statement.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn refused(&self, frame: &Frame) -> Error {
        match Refusal::read(self.channel.body(frame)) {
            Ok(refusal) => refusal.of_statement(&self.channel.peer, &self.statement),
            Err(e) => e,
        }
    }

    /// Reads the rest of an answer that has failed, so that the session can be used again.
    pub(super) async fn skip_to_end(&mut self) -> Result<()> {
        while self.channel.receive().await?.tag != b'Z' {}
        self.idle = true;
        Ok(())
    }

    /// Whether the copy is in binary.
    pub(super) async fn begin_copy(&mut self, sql: &str, expected: u8) -> Result<bool> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).or_code(Code::Bug, || "a statement has a zero byte".into())?;
        self.command(sql, &out).await?;
        loop {
            let frame = self.channel.receive().await?;
            match frame.tag {
                tag if tag == expected => return Ok(self.channel.body(&frame).first() == Some(&1)),
                b'E' => {
                    let error = self.refused(&frame);
                    self.skip_to_end().await?;
                    return Err(error);
                }
                _ => self.aside(&frame, "a copy")?,
            }
        }
    }

    /// Ends the session politely; a server that is gone already is no error.
    pub async fn close(mut self) {
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        let _ = self.channel.send(&out).await;
    }
}

/// 150018 of `15.18 (Debian 15.18-0+deb12u1)`; 180000 of `18beta1`.
fn version_number(text: &str) -> u32 {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let major = &text[..digits(text)];
    let minor = text[major.len()..].strip_prefix('.').map_or("", |rest| &rest[..digits(rest)]);
    major.parse::<u32>().unwrap_or(0) * 10_000 + minor.parse::<u32>().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::version_number;

    #[test]
    fn versions_are_read_as_the_server_numbers_them() {
        let read = ["15.18 (Debian 15.18-0+deb12u1)", "18beta1", "17.2", "14", "x"].map(version_number);
        assert_eq!(read, [150_018, 180_000, 170_002, 140_000, 0]);
    }
}
