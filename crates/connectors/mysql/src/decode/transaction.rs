//! Events that frame transactions: GTIDs of both flavours, XA, compressed transactions.

use super::cursor::{Cursor, Malformed};
use super::header::{HEADER_LENGTH, Header};
use dujiang_core::{Code, Error, Result};
use std::fmt;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// GTID_LOG_EVENT, ANONYMOUS_GTID_LOG_EVENT and GTID_TAGGED_LOG_EVENT of MySQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gtid<'a> {
    /// The source's UUID.
    pub uuid: [u8; 16],
    /// Tag (MySQL 8.3 and later); empty without one.
    pub tag: &'a str,
    /// Number of the transaction.
    pub number: u64,
    /// Commit time on the server this log is from, microseconds since 1970-01-01 UTC (8.0.1 and later).
    pub immediate_commit_micros: Option<u64>,
    /// Commit time on the server where the transaction ran first.
    pub original_commit_micros: Option<u64>,
    /// Bytes of the whole transaction in the log, this event included.
    pub transaction_length: Option<u64>,
}

impl<'a> Gtid<'a> {
    /// Reads the body of a plain GTID event.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "a GTID event");
        c.take(1)?;
        let uuid = c.take(16)?.try_into().map_err(|_| c.malformed())?;
        let number = c.u64()?;
        let mut gtid = Self { uuid, number, ..Self::NONE };
        // Logical clock (type 2 and two numbers), then the times; each part was added by a later version.
        if c.rest().len() < 17 || c.u8()? != 2 {
            return Ok(gtid);
        }
        c.take(16)?;
        if c.rest().len() >= 7 {
            let immediate = c.uint(7)?;
            let differs = immediate & (1 << 55) != 0;
            gtid.immediate_commit_micros = Some(immediate & !(1 << 55));
            gtid.original_commit_micros = Some(if differs { c.uint(7)? } else { immediate });
            if !c.is_empty() {
                gtid.transaction_length = Some(c.lenenc()?);
            }
        }
        Ok(gtid)
    }

    /// Reads the body of a tagged GTID event, which has the format of MySQL's serialization library: a version, the
    /// message's length, the last field that must be known, then (number, value) of each field.
    ///
    /// # Errors
    /// `UnknownEvent` when a field that must be known is not; `LogDamaged` when the bytes do not hold together.
    pub fn parse_tagged(body: &'a [u8]) -> Result<Self> {
        let mut c = Cursor::new(body, "a tagged GTID event");
        if varlen(&mut c)? != TAGGED_VERSION {
            return Err(Error::new(Code::UnknownEvent, "the log holds a tagged GTID of an unknown version"));
        }
        let size = varlen(&mut c)?;
        let required = varlen(&mut c)?;
        let envelope = body.len() - c.rest().len();
        let fields = usize::try_from(size).ok().and_then(|n| n.checked_sub(envelope)).ok_or(c.malformed())?;
        let mut c = Cursor::new(c.take(fields)?, "a tagged GTID event");
        let mut gtid = Self::NONE;
        while !c.is_empty() {
            match varlen(&mut c)? {
                0 | 9 | 10 | 11 => drop(varlen(&mut c)?),
                1 => {
                    for byte in &mut gtid.uuid {
                        *byte = u8::try_from(varlen(&mut c)?).map_err(|_| c.malformed())?;
                    }
                }
                2 => gtid.number = signed_varlen(&mut c)?,
                3 => {
                    let length = usize::try_from(varlen(&mut c)?).map_err(|_| c.malformed())?;
                    gtid.tag = c.text(length)?;
                }
                4 | 5 => drop(signed_varlen(&mut c)?),
                6 => gtid.immediate_commit_micros = Some(varlen(&mut c)?),
                7 => gtid.original_commit_micros = Some(varlen(&mut c)?),
                8 => gtid.transaction_length = Some(varlen(&mut c)?),
                // Fields are in ascending order; those after the last required one only add detail.
                later if later > required => break,
                unknown => {
                    let sentence = format!("the log holds a tagged GTID with a field that is not known ({unknown})");
                    return Err(Error::new(Code::UnknownEvent, sentence));
                }
            }
        }
        gtid.original_commit_micros = gtid.original_commit_micros.or(gtid.immediate_commit_micros);
        Ok(gtid)
    }

    const NONE: Gtid<'static> = Gtid {
        uuid: [0; 16],
        tag: "",
        number: 0,
        immediate_commit_micros: None,
        original_commit_micros: None,
        transaction_length: None,
    };
}

const TAGGED_VERSION: u64 = 1;

/// An unsigned number of MySQL's serialization library: as many one-bits at the low end of the first byte as bytes follow.
fn varlen(c: &mut Cursor<'_>) -> Result<u64, Malformed> {
    let first = c.u8()?;
    match first.trailing_ones() as usize {
        8 => c.u64(),
        more => {
            let rest = c.uint(more)?;
            let low = u64::from(first) >> (more + 1);
            Ok(low | rest << (7 - more))
        }
    }
}

/// A number of that library that may be negative there, but not here.
fn signed_varlen(c: &mut Cursor<'_>) -> Result<u64, Malformed> {
    let n = varlen(c)?;
    if n & 1 == 0 { Ok(n >> 1) } else { Err(c.malformed()) }
}

/// Identifier of a distributed transaction. Shown as the servers write it in statements of the log: `X'61',X'62',7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xid<'a> {
    /// Format of the identifier.
    pub format: u32,
    /// Its global part.
    pub global: &'a [u8],
    /// Its branch part.
    pub branch: &'a [u8],
}

impl fmt::Display for Xid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.global, self.branch] {
            f.write_str("X'")?;
            part.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str("',")?;
        }
        // The servers print it as a signed number.
        write!(f, "{}", self.format.cast_signed())
    }
}

/// GTID_EVENT of MariaDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MariaDbGtid<'a> {
    /// Replication domain.
    pub domain: u32,
    /// The server that ran the transaction.
    pub server_id: u32,
    /// Number within the domain.
    pub sequence: u64,
    /// Flags; see the methods.
    pub flags: u8,
    /// Number shared by all transactions of one group commit.
    pub commit_id: Option<u64>,
    /// The distributed transaction that is prepared or completed here.
    pub xid: Option<Xid<'a>>,
}

impl<'a> MariaDbGtid<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8], server_id: u32) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "a GTID event");
        let (sequence, domain, flags) = (c.u64()?, c.u32()?, c.u8()?);
        let commit_id = if flags & 2 != 0 { Some(c.u64()?) } else { None };
        let xid = if flags & (64 | 128) != 0 {
            let format = c.u32()?;
            let (global, branch) = (usize::from(c.u8()?), usize::from(c.u8()?));
            Some(Xid { format, global: c.take(global)?, branch: c.take(branch)? })
        } else {
            None
        };
        Ok(Self { domain, server_id, sequence, flags, commit_id, xid })
    }

    /// The event group is one statement without BEGIN and COMMIT (a DDL).
    pub fn is_standalone(&self) -> bool {
        self.flags & 1 != 0
    }

    /// The group is a DDL.
    pub fn is_ddl(&self) -> bool {
        self.flags & 32 != 0
    }

    /// The group only prepares a distributed transaction: its outcome is not known yet.
    pub fn is_xa_prepare(&self) -> bool {
        self.flags & 64 != 0
    }

    /// The group commits or rolls back a distributed transaction that was prepared before.
    pub fn is_xa_completion(&self) -> bool {
        self.flags & 128 != 0
    }
}

/// GTID_LIST_EVENT of MariaDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MariaDbGtidList<'a> {
    entries: &'a [u8],
}

impl<'a> MariaDbGtidList<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "a GTID list");
        let count = c.u32()? as usize & 0x0fff_ffff;
        let entries = c.take(count.checked_mul(16).ok_or(c.malformed())?)?;
        Ok(Self { entries })
    }

    /// (domain, server id, sequence) of every entry.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, u64)> + 'a {
        self.entries.chunks_exact(16).filter_map(|entry| {
            let mut c = Cursor::new(entry, "a GTID list");
            Some((c.u32().ok()?, c.u32().ok()?, c.u64().ok()?))
        })
    }
}

/// XA_PREPARE_LOG_EVENT of MySQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XaPrepare<'a> {
    /// Prepared and committed at once: the transaction is complete.
    pub one_phase: bool,
    /// The transaction.
    pub xid: Xid<'a>,
}

impl<'a> XaPrepare<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "an XA prepare event");
        let one_phase = c.u8()? != 0;
        let format = c.u32()?;
        let (global, branch) = (c.u32()? as usize, c.u32()? as usize);
        Ok(Self { one_phase, xid: Xid { format, global: c.take(global)?, branch: c.take(branch)? } })
    }
}

/// TRANSACTION_PAYLOAD_EVENT of MySQL: the events of a whole transaction in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionPayload<'a> {
    compressed: bool,
    payload: &'a [u8],
}

impl<'a> TransactionPayload<'a> {
    /// Reads the body: fields (type, length, value) up to type 0, then the payload.
    ///
    /// # Errors
    /// When the bytes do not hold together, or the compression is neither zstd nor none.
    pub fn parse(body: &'a [u8]) -> Result<Self> {
        let mut c = Cursor::new(body, "a transaction payload");
        let (mut size, mut compression) = (None, None);
        loop {
            let field = c.lenenc()?;
            if field == 0 {
                break;
            }
            let value = Cursor::new(c.lenenc_bytes()?, "a transaction payload").lenenc()?;
            match field {
                1 => size = Some(value),
                2 => compression = Some(value),
                _ => {}
            }
        }
        let payload = c.take_rest();
        if size.is_some_and(|size| size != payload.len() as u64) {
            return Err(c.malformed().into());
        }
        match compression {
            Some(0) => Ok(Self { compressed: true, payload }),
            Some(255) => Ok(Self { compressed: false, payload }),
            other => Err(Error::new(
                Code::UnknownEvent,
                format!("a transaction of the log is compressed with unknown algorithm {other:?}"),
            )),
        }
    }

    /// A reader of the events inside, which never holds more than one of them inflated.
    ///
    /// # Errors
    /// `LogDamaged` when the stream cannot be opened.
    pub fn events(&self) -> Result<PayloadEvents> {
        let inflater = if self.compressed { Some(Decoder::new().map_err(broken)?) } else { None };
        Ok(PayloadEvents { inflater, read: 0, buffer: Vec::new() })
    }
}

#[cold]
fn broken(error: std::io::Error) -> Error {
    Error::new(Code::LogDamaged, "a compressed transaction of the log cannot be inflated").with_source(error)
}

/// Events inside a [`TransactionPayload`], in order; they carry no checksums. It borrows nothing: the same payload is shown
/// to it again for each event.
pub struct PayloadEvents {
    inflater: Option<Decoder<'static>>,
    /// Bytes of the payload taken in.
    read: usize,
    /// The event that was peeked at.
    buffer: Vec<u8>,
}

/// Inflated at a time.
const PIECE: usize = 64 << 10;

impl PayloadEvents {
    /// The bytes of the next event, header included, to be parsed with [`super::EventFormat::without_checksum`]; the same
    /// until [`PayloadEvents::advance`].
    ///
    /// # Errors
    /// `LogDamaged` when the stream is damaged or ends inside an event.
    pub fn peek(&mut self, payload: &TransactionPayload<'_>) -> Result<Option<&[u8]>> {
        self.fill(payload.payload, HEADER_LENGTH)?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let header = Header::parse(&self.buffer)?;
        let size = (header.size as usize).max(HEADER_LENGTH);
        self.fill(payload.payload, size)?;
        if self.buffer.len() != size {
            return Err(Malformed("a compressed transaction").into());
        }
        Ok(Some(&self.buffer))
    }

    /// Goes past the event that was peeked at.
    pub fn advance(&mut self) {
        self.buffer.clear();
    }

    /// Reads until the buffer has `wanted` bytes or there are no more; it grows with what really arrives.
    fn fill(&mut self, payload: &[u8], wanted: usize) -> Result<()> {
        while self.buffer.len() < wanted {
            let have = self.buffer.len();
            let rest = payload.get(self.read..).unwrap_or_default();
            let piece = (wanted - have).min(PIECE);
            let Some(inflater) = &mut self.inflater else {
                let more = piece.min(rest.len());
                self.buffer.extend_from_slice(&rest[..more]);
                self.read += more;
                if more == 0 {
                    return Ok(());
                }
                continue;
            };
            self.buffer.resize(have + piece, 0);
            let mut input = InBuffer::around(rest);
            let mut output = OutBuffer::around_pos(&mut self.buffer[..], have);
            inflater.run(&mut input, &mut output).map_err(broken)?;
            let (taken, end) = (input.pos, output.pos());
            self.buffer.truncate(end);
            self.read += taken;
            if taken == 0 && end == have {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    #[test]
    fn gtids_of_all_versions() {
        let old = [&[0][..], &UUID, &7u64.to_le_bytes()].concat();
        let gtid = Gtid::parse(&old).unwrap();
        assert_eq!((gtid.uuid, gtid.number, gtid.immediate_commit_micros), (UUID, 7, None));
        let clock = [&old[..], &[2], &[0; 16]].concat();
        assert_eq!(Gtid::parse(&clock).unwrap().immediate_commit_micros, None);
        let micros = 1_700_000_000_000_000u64.to_le_bytes();
        let same = [&clock[..], &micros[..7], &[0xfc, 0x10, 0x27]].concat();
        let gtid = Gtid::parse(&same).unwrap();
        assert_eq!(gtid.original_commit_micros, Some(1_700_000_000_000_000));
        assert_eq!(gtid.transaction_length, Some(10_000));
        let mut differs = [&clock[..], &micros[..7], &[5, 0, 0, 0, 0, 0, 0]].concat();
        differs[clock.len() + 6] |= 0x80;
        let gtid = Gtid::parse(&differs).unwrap();
        assert_eq!(gtid.immediate_commit_micros, Some(1_700_000_000_000_000));
        assert_eq!(gtid.original_commit_micros, Some(5));
        assert!(Gtid::parse(&old[..20]).is_err());
    }

    #[test]
    fn numbers_of_the_serialization_library() {
        let read = |bytes: &[u8]| varlen(&mut Cursor::new(bytes, "")).unwrap();
        assert_eq!(read(&[0x02]), 1);
        assert_eq!(read(&[0xfe]), 127);
        assert_eq!(read(&[0x01, 0x02]), 128);
        assert_eq!(read(&[0xfd, 0xff]), 0x3fff);
        assert_eq!(read(&[0x7f, 1, 0, 0, 0, 0, 0, 0]), 1);
        assert_eq!(read(&[0xff, 1, 2, 0, 0, 0, 0, 0, 0]), 513);
        assert!(varlen(&mut Cursor::new(&[0x01], "")).is_err());
    }

    #[test]
    fn tagged_gtids() {
        let mut fields = vec![0x00, 0x02, 0x02];
        // bytes above 127 take two bytes
        UUID.iter().for_each(|byte| fields.push(byte << 1));
        fields.extend([0x04, 7 << 2, 0x06, 0x06, b't', b'a', b'g', 0x0c, 42 << 1]);
        let body = [&[0x02, (3 + fields.len() as u8) << 1, 0x0e][..], &fields].concat();
        let gtid = Gtid::parse_tagged(&body).unwrap();
        assert_eq!((gtid.uuid, gtid.tag, gtid.number), (UUID, "tag", 7));
        assert_eq!((gtid.immediate_commit_micros, gtid.original_commit_micros), (Some(42), Some(42)));
        let unknown = [&[0x02, 5 << 1, 40 << 1][..], &[30 << 1, 0]].concat();
        assert_eq!(Gtid::parse_tagged(&unknown).unwrap_err().code(), Code::UnknownEvent);
    }

    #[test]
    fn mariadb_gtids_and_lists() {
        let plain = [&9u64.to_le_bytes()[..], &2u32.to_le_bytes(), &[4], &[0; 6]].concat();
        let gtid = MariaDbGtid::parse(&plain, 11).unwrap();
        assert_eq!((gtid.domain, gtid.server_id, gtid.sequence, gtid.commit_id), (2, 11, 9, None));
        let prepared = [
            &9u64.to_le_bytes()[..],
            &2u32.to_le_bytes(),
            &[2 | 64],
            &5u64.to_le_bytes(),
            &[1, 0, 0, 0, 1, 2, b'a', b'b', b'c'],
        ]
        .concat();
        let gtid = MariaDbGtid::parse(&prepared, 11).unwrap();
        let xid = gtid.xid.unwrap();
        assert_eq!((gtid.commit_id, xid.format, xid.global, xid.branch), (Some(5), 1, &b"a"[..], &b"bc"[..]));
        assert_eq!(xid.to_string(), "X'61',X'6263',1");
        assert!(gtid.is_xa_prepare() && !gtid.is_standalone());
        let list = [&1u32.to_le_bytes()[..], &2u32.to_le_bytes(), &11u32.to_le_bytes(), &9u64.to_le_bytes()].concat();
        assert_eq!(MariaDbGtidList::parse(&list).unwrap().iter().collect::<Vec<_>>(), [(2, 11, 9)]);
        assert!(MariaDbGtidList::parse(&list[..19]).is_err());
    }
}
