//! One message of the plugin.

use super::{Relation, Tuple};
use crate::client::EPOCH_MICROS;
use crate::client::wire::Reader;
use dujiang_core::{Code, Error, Result};

/// One message. Places are log sequence numbers, times microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction begins; it is committed already.
    Begin {
        /// Where its commit record begins.
        commit: u64,
        /// When it was committed.
        micros: i64,
        /// Its id.
        xid: u32,
    },
    /// The transaction ends.
    Commit(Finished),
    /// The transaction was first committed elsewhere.
    Origin,
    /// The shape of a table, before its first change and whenever it may have changed.
    Relation(Relation),
    /// A type that is not built in; catalogs tell more.
    Type,
    /// A row was inserted.
    Insert {
        /// The table.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was updated.
    Update {
        /// The table.
        relation: u32,
        /// The whole old row (identity full), or the old key if it changed.
        old: Option<(OldKind, Tuple<'a>)>,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was deleted.
    Delete {
        /// The table.
        relation: u32,
        /// The whole old row, or its key.
        old: (OldKind, Tuple<'a>),
    },
    /// Tables were emptied.
    Truncate {
        /// The tables, 4 bytes each.
        relations: &'a [u8],
    },
    /// Somebody wrote a text into the log.
    Logical {
        /// Whether it belongs to the transaction.
        transactional: bool,
        /// Its kind.
        prefix: &'a str,
        /// The text.
        content: &'a [u8],
    },
    /// A piece of a transaction in progress begins.
    StreamStart {
        /// The transaction.
        xid: u32,
        /// Whether it is its first piece.
        first: bool,
    },
    /// The piece ends.
    StreamStop,
    /// A transaction that came in pieces was committed.
    StreamCommit {
        /// The transaction.
        xid: u32,
        /// Where and when.
        finished: Finished,
    },
    /// A transaction that came in pieces, or a part of it, was rolled back.
    StreamAbort {
        /// The transaction.
        xid: u32,
        /// The part; the transaction itself when all of it was.
        sub: u32,
    },
    /// A transaction of two phases begins.
    BeginPrepare(Prepared<'a>),
    /// Its first phase ends.
    Prepare(Prepared<'a>),
    /// A transaction that came in pieces ends its first phase.
    StreamPrepare(Prepared<'a>),
    /// It was committed.
    CommitPrepared(Prepared<'a>),
    /// It was rolled back.
    RollbackPrepared(Prepared<'a>),
}

/// What an old image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldKind {
    /// The key; all other columns come as NULL.
    Key,
    /// The whole row.
    Row,
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Where its commit record begins.
    pub commit: u64,
    /// Where its commit record ends.
    pub end: u64,
    /// When it was committed.
    pub micros: i64,
}

/// A step of a transaction of two phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared<'a> {
    /// Where the step's record begins; for a rollback, where the record of PREPARE ends.
    pub at: u64,
    /// Where the step's record ends.
    pub end: u64,
    /// When it was done.
    pub micros: i64,
    /// The transaction.
    pub xid: u32,
    /// The name given to it.
    pub gid: &'a str,
}

impl<'a> Message<'a> {
    /// Reads a message. In a piece of a transaction in progress (`streamed`) changes and shapes carry the id of their
    /// subtransaction, which is returned beside.
    ///
    /// # Errors
    /// `Protocol` when the bytes do not hold together, `UnknownEvent` for a message that is not known.
    pub fn read(body: &'a [u8], streamed: bool) -> Result<(Self, Option<u32>)> {
        let mut r = Reader::new(body, "a change");
        let tag = r.u8()?;
        let sub = if streamed && b"MRYIUDT".contains(&tag) { Some(r.u32()?) } else { None };
        let message = match tag {
            b'I' => insert(&mut r)?,
            b'U' => update(&mut r)?,
            b'D' => delete(&mut r)?,
            b'B' => {
                let (commit, micros, xid) = (r.u64()?, time(&mut r)?, r.u32()?);
                Message::Begin { commit, micros, xid }
            }
            b'C' => Message::Commit(finished(&mut r)?),
            b'R' => return Ok((Message::Relation(Relation::read(&mut r)?), sub)),
            b'O' => return Ok((Message::Origin, sub)),
            b'Y' => return Ok((Message::Type, sub)),
            b'T' => {
                let count = r.u32()? as usize;
                r.u8()?;
                Message::Truncate { relations: r.take(count.saturating_mul(4))? }
            }
            b'M' => logical(&mut r)?,
            b'S' => Message::StreamStart { xid: r.u32()?, first: r.u8()? == 1 },
            b'E' => Message::StreamStop,
            b'c' => Message::StreamCommit { xid: r.u32()?, finished: finished(&mut r)? },
            b'A' => {
                let (xid, sub) = (r.u32()?, r.u32()?);
                // With parallel streaming (16 and later) place and time follow.
                if !r.rest().is_empty() {
                    r.take(16)?;
                }
                Message::StreamAbort { xid, sub }
            }
            b'b' => Message::BeginPrepare(prepared(&mut r, false, false)?),
            b'P' => Message::Prepare(prepared(&mut r, true, false)?),
            b'p' => Message::StreamPrepare(prepared(&mut r, true, false)?),
            b'K' => Message::CommitPrepared(prepared(&mut r, true, false)?),
            b'r' => Message::RollbackPrepared(prepared(&mut r, true, true)?),
            other => return Err(unknown(other)),
        };
        r.end()?;
        Ok((message, sub))
    }
}

fn insert<'a>(r: &mut Reader<'a>) -> Result<Message<'a>> {
    let relation = r.u32()?;
    expect(r, b'N')?;
    Ok(Message::Insert { relation, new: Tuple::read(r)? })
}

fn update<'a>(r: &mut Reader<'a>) -> Result<Message<'a>> {
    let relation = r.u32()?;
    let old = match r.u8()? {
        b'N' => None,
        kind => {
            let old = (old_kind(kind)?, Tuple::read(r)?);
            expect(r, b'N')?;
            Some(old)
        }
    };
    Ok(Message::Update { relation, old, new: Tuple::read(r)? })
}

fn delete<'a>(r: &mut Reader<'a>) -> Result<Message<'a>> {
    let (relation, kind) = (r.u32()?, r.u8()?);
    Ok(Message::Delete { relation, old: (old_kind(kind)?, Tuple::read(r)?) })
}

fn old_kind(letter: u8) -> Result<OldKind> {
    match letter {
        b'K' => Ok(OldKind::Key),
        b'O' => Ok(OldKind::Row),
        other => Err(unknown(other)),
    }
}

fn expect(r: &mut Reader<'_>, letter: u8) -> Result<()> {
    match r.u8()? {
        found if found == letter => Ok(()),
        found => Err(unknown(found)),
    }
}

fn logical<'a>(r: &mut Reader<'a>) -> Result<Message<'a>> {
    let transactional = r.u8()? & 1 != 0;
    r.u64()?;
    let prefix = r.cstr()?;
    let length = r.u32()? as usize;
    Ok(Message::Logical { transactional, prefix, content: r.take(length)? })
}

fn finished(r: &mut Reader<'_>) -> Result<Finished> {
    r.u8()?;
    Ok(Finished { commit: r.u64()?, end: r.u64()?, micros: time(r)? })
}

fn prepared<'a>(r: &mut Reader<'a>, flags: bool, rollback: bool) -> Result<Prepared<'a>> {
    if flags {
        r.u8()?;
    }
    let (at, end, mut micros) = (r.u64()?, r.u64()?, time(r)?);
    if rollback {
        micros = time(r)?;
    }
    Ok(Prepared { at, end, micros, xid: r.u32()?, gid: r.cstr()? })
}

fn time(r: &mut Reader<'_>) -> Result<i64> {
    Ok(r.i64()?.saturating_add(EPOCH_MICROS))
}

#[cold]
fn unknown(tag: u8) -> Error {
    Error::new(Code::UnknownEvent, "the stream holds a message that cannot be read")
        .fact("type", format!("{:?}", char::from(tag)))
        .help("report a bug with the server's version")
}
