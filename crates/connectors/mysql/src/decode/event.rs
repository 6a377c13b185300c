//! Binlog events: frame, checksum, and what each one says.
//!
//! Layouts follow MySQL's `libbinlogevents` and MariaDB's `log_event.cc`.

use super::cursor::{Cursor, Malformed};
use super::header::{HEADER_LENGTH, Header, event_type};
use super::rows::{CompressedRows, RowsEvent, RowsFragment, RowsKind};
use super::statement::{CompressedQuery, Query};
use super::table_map::TableMap;
use super::transaction::{Gtid, MariaDbGtid, MariaDbGtidList, TransactionPayload, XaPrepare};
use dujiang_core::{Code, Error, Result};

const CHECKSUM_LENGTH: usize = 4;

/// The binlog file is still being written (`LOG_EVENT_BINLOG_IN_USE_F`).
const FLAG_IN_USE: u16 = 0x01;

/// What follows every event of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Not known before the first format description: found out event by event.
    Unknown,
    /// Nothing.
    None,
    /// Four bytes of CRC-32.
    Crc32,
}

/// How the events of a log are laid out; from its format description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFormat {
    /// The server's version, e.g. `10.11.19-MariaDB-log`.
    pub server_version: String,
    /// What follows every event.
    pub checksum: Checksum,
    /// The file is the first one since the server has started. A server may say so of no file when a stream begins.
    pub begins_a_run: bool,
    /// Per event type, beginning with 1, the length of its fixed part.
    post_header_lengths: Vec<u8>,
}

impl Default for EventFormat {
    fn default() -> Self {
        Self::unknown()
    }
}

impl EventFormat {
    /// The format to read a log's first events with, up to its format description.
    pub fn unknown() -> Self {
        let (server_version, post_header_lengths) = (String::new(), Vec::new());
        Self { server_version, checksum: Checksum::Unknown, begins_a_run: false, post_header_lengths }
    }

    /// The format of events inside a compressed transaction: no checksums.
    #[must_use]
    pub fn without_checksum(&self) -> Self {
        Self { checksum: Checksum::None, ..self.clone() }
    }

    /// Whether the log was written by MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.server_version.contains("MariaDB")
    }

    /// Reads the body of a format description event, checksum still attached.
    fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "a format description");
        if c.u16()? != 4 {
            return Err(c.malformed());
        }
        let version = c.take(50)?;
        let end = version.iter().position(|b| *b == 0).unwrap_or(50);
        let server_version = String::from_utf8_lossy(&version[..end]).into_owned();
        // The time at which the file was made, in the first one of a run only (`binlog_version.h`, `log_event.cc`).
        let begins_a_run = c.u32()? != 0;
        if usize::from(c.u8()?) != HEADER_LENGTH {
            return Err(c.malformed());
        }
        let rest = c.take_rest();
        if !knows_checksums(&server_version) {
            let post_header_lengths = rest.to_vec();
            return Ok(Self { server_version, checksum: Checksum::None, begins_a_run, post_header_lengths });
        }
        let lengths = rest.len().checked_sub(CHECKSUM_LENGTH + 1).ok_or(c.malformed())?;
        let checksum = match rest[lengths] {
            0 => Checksum::None,
            1 => Checksum::Crc32,
            _ => return Err(Malformed("the checksum algorithm of a format description")),
        };
        Ok(Self { server_version, checksum, begins_a_run, post_header_lengths: rest[..lengths].to_vec() })
    }

    /// Bytes of the table number in table maps and rows events: 6, or 4 in a very old layout.
    fn table_id_bytes(&self, event_type: u8) -> usize {
        match self.post_header_lengths.get(usize::from(event_type).wrapping_sub(1)) {
            Some(6) => 4,
            _ => 6,
        }
    }
}

/// MySQL before 5.6.1 wrote no checksums; MariaDB since 5.3 does.
fn knows_checksums(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0u32));
    let mut next = || numbers.next().unwrap_or(0);
    let found = (next(), next(), next());
    found >= if version.contains("MariaDB") { (5, 3, 0) } else { (5, 6, 1) }
}

/// One event: its header and its body, checksum verified and cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The header.
    pub header: Header,
    /// Header and body.
    bytes: &'a [u8],
}

impl<'a> Event<'a> {
    /// Checks the frame and the checksum. `bytes` is the whole event: from its header to its last byte, without the
    /// status byte that precedes it on a connection.
    ///
    /// # Errors
    /// `LogDamaged` when lengths or checksum do not agree.
    pub fn parse(bytes: &'a [u8], format: &EventFormat) -> Result<Self> {
        let header = Header::parse(bytes)?;
        if header.size as usize != bytes.len() {
            return Err(damaged(&header, &format!("it says {} bytes, {} arrived", header.size, bytes.len())));
        }
        let bytes = match (header.event_type, format.checksum) {
            (event_type::FORMAT_DESCRIPTION, _) => {
                verify_format_description(&header, bytes)?;
                bytes
            }
            (_, Checksum::None) => bytes,
            (_, Checksum::Crc32) => match split_checksum(bytes) {
                Some((event, stored)) if crc32fast::hash(event) == stored => event,
                _ => return Err(damaged(&header, "its checksum is wrong")),
            },
            (_, Checksum::Unknown) => match split_checksum(bytes) {
                Some((event, stored)) if crc32fast::hash(event) == stored => event,
                _ => bytes,
            },
        };
        Ok(Self { header, bytes })
    }

    /// The same event once more, without looking at its checksum. Of an event without checksum in a log whose format is not
    /// known yet the last bytes may be missing; such a log is read anew from its format description.
    ///
    /// # Errors
    /// `LogDamaged` when there are too few bytes.
    pub fn again(bytes: &'a [u8], format: &EventFormat) -> Result<Self> {
        let header = Header::parse(bytes)?;
        let bytes = match format.checksum {
            Checksum::None => bytes,
            Checksum::Crc32 | Checksum::Unknown => split_checksum(bytes).map_or(bytes, |(event, _)| event),
        };
        Ok(Self { header, bytes })
    }

    /// An event that was checked before: the bytes of [`Event::without_checksum`].
    ///
    /// # Errors
    /// `LogDamaged` when there are too few.
    pub fn checked(bytes: &'a [u8]) -> Result<Self> {
        Ok(Self { header: Header::parse(bytes)?, bytes })
    }

    /// Header and body, to be read by [`Event::checked`] later.
    pub fn without_checksum(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads the body.
    ///
    /// # Errors
    /// `LogDamaged` when the body does not hold together; `UnknownEvent` for layouts that are known but not supported.
    pub fn data(&self, format: &EventFormat) -> Result<EventData<'a>> {
        use event_type as t;
        let (body, kind) = (self.bytes.get(HEADER_LENGTH..).unwrap_or_default(), self.header.event_type);
        Ok(match kind {
            t::QUERY => EventData::Query(Query::parse(body)?),
            t::MARIADB_QUERY_COMPRESSED => EventData::CompressedQuery(CompressedQuery::parse(body)?),
            t::STOP => EventData::Stop,
            t::ROTATE => rotate(body)?,
            t::FORMAT_DESCRIPTION => EventData::FormatDescription(EventFormat::parse(body)?),
            t::XID => EventData::Xid(Cursor::new(body, "an XID event").u64()?),
            t::TABLE_MAP => {
                let map = TableMap::parse(body, format.table_id_bytes(kind))?;
                EventData::TableMap(TableMap { old_json: format.server_version.starts_with("5."), ..map })
            }
            t::WRITE_ROWS_V1 | t::UPDATE_ROWS_V1 | t::DELETE_ROWS_V1 => {
                let rows =
                    RowsEvent::parse(body, rows_kind(kind - t::WRITE_ROWS_V1), false, format.table_id_bytes(kind))?;
                EventData::Rows(rows)
            }
            t::WRITE_ROWS | t::UPDATE_ROWS | t::DELETE_ROWS => {
                EventData::Rows(RowsEvent::parse(body, rows_kind(kind - t::WRITE_ROWS), true, 6)?)
            }
            t::MARIADB_WRITE_ROWS_COMPRESSED_V1..=t::MARIADB_DELETE_ROWS_COMPRESSED_V1 => {
                let kind = rows_kind(kind - t::MARIADB_WRITE_ROWS_COMPRESSED_V1);
                EventData::CompressedRows(CompressedRows::parse(body, kind, false)?)
            }
            t::MARIADB_WRITE_ROWS_COMPRESSED..=t::MARIADB_DELETE_ROWS_COMPRESSED => {
                let kind = rows_kind(kind - t::MARIADB_WRITE_ROWS_COMPRESSED);
                EventData::CompressedRows(CompressedRows::parse(body, kind, true)?)
            }
            t::PARTIAL_UPDATE_ROWS => EventData::Rows(RowsEvent::parse_partial(body)?),
            t::MARIADB_PARTIAL_ROW_DATA => EventData::RowsFragment(RowsFragment::parse(body)?),
            t::TRANSACTION_PAYLOAD => EventData::TransactionPayload(TransactionPayload::parse(body)?),
            t::GTID => EventData::Gtid(Gtid::parse(body)?),
            t::GTID_TAGGED => EventData::Gtid(Gtid::parse_tagged(body)?),
            t::ANONYMOUS_GTID => EventData::AnonymousGtid(Gtid::parse(body)?),
            t::PREVIOUS_GTIDS => EventData::PreviousGtids(body),
            t::XA_PREPARE => EventData::XaPrepare(XaPrepare::parse(body)?),
            t::INCIDENT => incident(body)?,
            t::HEARTBEAT => EventData::Heartbeat { file: file_name(body)?, position: self.header.next_position.into() },
            t::HEARTBEAT_V2 => heartbeat_v2(body)?,
            t::ROWS_QUERY => EventData::RowsQuery(body.get(1..).unwrap_or_default()),
            t::MARIADB_ANNOTATE_ROWS => EventData::RowsQuery(body),
            t::MARIADB_BINLOG_CHECKPOINT => EventData::BinlogCheckpoint,
            t::MARIADB_GTID => EventData::MariaDbGtid(MariaDbGtid::parse(body, self.header.server_id)?),
            t::MARIADB_GTID_LIST => EventData::MariaDbGtidList(MariaDbGtidList::parse(body)?),
            t::IGNORABLE | t::TRANSACTION_CONTEXT | t::VIEW_CHANGE => EventData::Ignorable,
            t::INTVAR | t::RAND | t::USER_VAR => EventData::StatementContext,
            _ => EventData::Unknown { event_type: kind, flags: self.header.flags },
        })
    }
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventData<'a> {
    /// Layout of the events that follow. The caller reads on with it.
    FormatDescription(EventFormat),
    /// The log goes on in another file.
    Rotate {
        /// Position of its first event.
        position: u64,
        /// Its name.
        file: &'a str,
    },
    /// A statement: BEGIN, COMMIT (of non-transactional engines), DDL, or, with STATEMENT format, DML.
    Query(Query<'a>),
    /// A statement, compressed by MariaDB.
    CompressedQuery(CompressedQuery<'a>),
    /// The transaction is committed.
    Xid(u64),
    /// MySQL: a transaction begins.
    Gtid(Gtid<'a>),
    /// MySQL without GTIDs: a transaction begins; its identifier says nothing.
    AnonymousGtid(Gtid<'a>),
    /// MariaDB: a transaction begins.
    MariaDbGtid(MariaDbGtid<'a>),
    /// MariaDB: the last transaction per domain and server before this file.
    MariaDbGtidList(MariaDbGtidList<'a>),
    /// MySQL: the transactions before this file, as an encoded set.
    PreviousGtids(&'a [u8]),
    /// Table of the row events that follow.
    TableMap(TableMap<'a>),
    /// Rows.
    Rows(RowsEvent<'a>),
    /// Rows, compressed by MariaDB.
    CompressedRows(CompressedRows<'a>),
    /// A part of a rows event that MariaDB has split.
    RowsFragment(RowsFragment<'a>),
    /// A whole transaction, compressed by MySQL.
    TransactionPayload(TransactionPayload<'a>),
    /// First phase of a distributed transaction is done.
    XaPrepare(XaPrepare<'a>),
    /// The server says that events may be missing.
    Incident {
        /// Its number; 1 is "lost events".
        number: u16,
        /// Its words.
        message: String,
    },
    /// Sign of life of an idle server, with its place in the log.
    Heartbeat {
        /// File.
        file: &'a str,
        /// Position.
        position: u64,
    },
    /// The text of the statement behind the rows that follow; for information.
    RowsQuery(&'a [u8]),
    /// MariaDB: older files are no longer needed for its crash recovery; nothing for us.
    BinlogCheckpoint,
    /// Known, and of no meaning for us.
    Ignorable,
    /// Context of a statement in STATEMENT format (INTVAR, RAND, USER_VAR).
    StatementContext,
    /// The server shut down; a ROTATE or the next file follows.
    Stop,
    /// Not known. To be skipped only if [`Header::is_ignorable`].
    Unknown {
        /// Its number.
        event_type: u8,
        /// Its flags.
        flags: u16,
    },
}

#[cold]
fn damaged(header: &Header, why: &str) -> Error {
    Error::new(Code::LogDamaged, format!("an event of type {} is damaged: {why}", header.event_type))
        .fact("next position", header.next_position.to_string())
        .help("check the server's disk and binlog; a transfer error goes away with the next connection")
}

fn split_checksum(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (event, stored) = bytes.split_last_chunk::<CHECKSUM_LENGTH>()?;
    (event.len() >= HEADER_LENGTH).then(|| (event, u32::from_le_bytes(*stored)))
}

/// The checksum of a format description is computed with the in-use flag cleared.
fn verify_format_description(header: &Header, bytes: &[u8]) -> Result<()> {
    if EventFormat::parse(&bytes[HEADER_LENGTH..])?.checksum != Checksum::Crc32 {
        return Ok(());
    }
    let Some((event, stored)) = split_checksum(bytes) else { return Err(damaged(header, "it is too short")) };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&event[..HEADER_LENGTH - 2]);
    hasher.update(&(header.flags & !FLAG_IN_USE).to_le_bytes());
    hasher.update(&event[HEADER_LENGTH..]);
    if hasher.finalize() == stored { Ok(()) } else { Err(damaged(header, "its checksum is wrong")) }
}

fn rows_kind(offset: u8) -> RowsKind {
    match offset {
        0 => RowsKind::Insert,
        1 => RowsKind::Update,
        _ => RowsKind::Delete,
    }
}

fn file_name(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("the file name of an event"))
}

fn rotate(body: &[u8]) -> Result<EventData<'_>, Malformed> {
    let mut c = Cursor::new(body, "a rotate event");
    Ok(EventData::Rotate { position: c.u64()?, file: file_name(c.take_rest())? })
}

fn incident(body: &[u8]) -> Result<EventData<'_>, Malformed> {
    let mut c = Cursor::new(body, "an incident event");
    let number = c.u16()?;
    let length = c.u8()?;
    Ok(EventData::Incident { number, message: String::from_utf8_lossy(c.take(length.into())?).into_owned() })
}

fn heartbeat_v2(body: &[u8]) -> Result<EventData<'_>, Malformed> {
    let mut c = Cursor::new(body, "a heartbeat");
    let (mut file, mut position) = ("", 0);
    while !c.is_empty() {
        match c.u8()? {
            0 => break,
            1 => file = file_name(c.lenenc_bytes()?)?,
            2 => position = Cursor::new(c.lenenc_bytes()?, "a heartbeat").lenenc()?,
            _ => drop(c.lenenc_bytes()?),
        }
    }
    Ok(EventData::Heartbeat { file, position })
}
