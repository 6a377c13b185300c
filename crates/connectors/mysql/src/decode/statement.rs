//! QUERY_EVENT: a statement in the log.

use super::cursor::{Cursor, Malformed};
use super::{charset, compressed};
use dujiang_core::{Code, Error, Result, ResultExt};
use std::borrow::Cow;

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

    /// Number of the client's collation, if the event says (`Q_CHARSET_CODE`).
    pub fn client_collation(&self) -> Option<u16> {
        let bytes = self.setting(4)?.get(..2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// `sql_mode` of the session (`Q_SQL_MODE_CODE`); 0 if the event does not say.
    pub fn sql_mode(&self) -> u64 {
        let bytes = self.setting(1).and_then(|bytes| bytes.first_chunk::<8>());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The bytes of a setting.
    ///
    /// The settings have no lengths of their own; reading stops at the first one that is not known, which only a newer
    /// server writes, and behind the ones looked for.
    fn setting(&self, wanted: u8) -> Option<&'a [u8]> {
        let mut c = Cursor::new(self.status, "the settings of a statement");
        loop {
            let code = c.u8().ok()?;
            let value = match code {
                // flags2, sql_mode, catalog with and without a final zero, auto_increment
                0 => c.take(4).ok()?,
                1 => c.take(8).ok()?,
                2 => {
                    let length = usize::from(c.u8().ok()?);
                    c.take(length + 1).ok()?
                }
                6 => {
                    let length = usize::from(c.u8().ok()?);
                    c.take(length).ok()?
                }
                3 => c.take(4).ok()?,
                // the client's, connection's and server's collations
                4 => c.take(6).ok()?,
                // time zone, lc_time_names, database collation, table map
                5 => {
                    let length = usize::from(c.u8().ok()?);
                    c.take(length).ok()?
                }
                7 | 8 => c.take(2).ok()?,
                9 => c.take(8).ok()?,
                _ => return None,
            };
            if code == wanted {
                return Some(value);
            }
        }
    }

    /// The statement as text.
    ///
    /// # Errors
    /// `UnknownEvent` when its character set is not one that can be read.
    pub fn text(&self) -> Result<Cow<'a, str>> {
        let utf8 = std::str::from_utf8(self.statement);
        match (utf8, self.client_collation().map(padded)) {
            (Ok(text), _) if text.is_ascii() => Ok(Cow::Borrowed(text)),
            (Ok(text), collation) if collation.is_none_or(is_utf8) => Ok(Cow::Borrowed(text)),
            (_, Some(collation)) if LATIN1.contains(&collation) => {
                let mut text = Vec::with_capacity(self.statement.len() * 2);
                charset::append_latin1(self.statement, &mut text);
                String::from_utf8(text).map(Cow::Owned).or_code(Code::Bug, || "latin1 became invalid UTF-8".into())
            }
            (_, collation) => {
                let sentence =
                    format!("a statement of the log is in a character set that is not known ({collation:?})");
                let shown: String = String::from_utf8_lossy(self.statement).chars().take(200).collect();
                Err(Error::new(Code::UnknownEvent, sentence).fact("statement", shown))
            }
        }
    }
}

/// Numbers of the latin1 collations.
const LATIN1: [u16; 8] = [5, 8, 15, 31, 47, 48, 49, 94];

/// MariaDB counts its collations without padding from 1024 as the others.
fn padded(collation: u16) -> u16 {
    if (1024..2048).contains(&collation) { collation - 1024 } else { collation }
}

/// The utf8mb3, utf8mb4 and (their subset) ascii collations of both families; MariaDB's newest ones are 2048 and above, 256 for each
/// character set: utf8mb3, utf8mb4, and those that are no client's.
fn is_utf8(collation: u16) -> bool {
    matches!(collation, 11 | 33 | 45 | 46 | 65 | 76 | 83 | 192..=215 | 223..=247 | 255..=323 | 576..=623 | 2048..=2559)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn query(status: &[u8], statement: &[u8]) -> Vec<u8> {
        let head = [&[0; 8][..], &[1, 0, 0], &(status.len() as u16).to_le_bytes()].concat();
        [&head[..], status, b"d\0", statement].concat()
    }

    #[test]
    fn collations_without_padding_are_of_the_same_character_set() {
        let utf8 = [1035, 1057, 1069, 1248, 2048, 2304];
        assert!(utf8.into_iter().all(|collation| is_utf8(padded(collation))));
        let others = [1025, 1032, 1052, 1059, 2560];
        assert!(!others.into_iter().any(|collation| is_utf8(padded(collation))));
        assert!(LATIN1.contains(&padded(1032)) && LATIN1.contains(&padded(1071)));
    }

    #[test]
    fn a_statement_is_read_in_its_clients_character_set() {
        let settings = |collation: u8| {
            [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 3, b's', b't', b'd', 4][..], &[collation, 0, 8, 0, 8, 0]]
                .concat()
        };
        let text = |collation: u8, statement: &[u8]| {
            let body = query(&settings(collation), statement);
            let query = Query::parse(&body).unwrap();
            assert_eq!((query.database, query.client_collation()), ("d", Some(collation.into())));
            assert_eq!(query.sql_mode(), 0);
            query.text().map(Cow::into_owned).map_err(|error| error.code())
        };
        assert_eq!(text(45, "größer".as_bytes()), Ok("größer".into()));
        assert_eq!(text(8, b"gr\xf6\xdfer \x80"), Ok("größer €".into()));
        assert_eq!(text(28, b"plain"), Ok("plain".into()), "gbk");
        assert_eq!(text(28, b"\xb4\xf3"), Err(Code::UnknownEvent));
        assert_eq!(text(45, b"\xff"), Err(Code::UnknownEvent));
    }

    #[test]
    fn torn_bodies_are_refused() {
        let body = query(&[], b"BEGIN");
        assert_eq!(Query::parse(&body).unwrap().statement, b"BEGIN");
        (0..14).for_each(|end| assert!(Query::parse(&body[..end]).is_err(), "{end}"));
    }
}
