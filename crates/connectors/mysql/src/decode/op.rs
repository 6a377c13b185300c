//! What is done with the bytes of a cell.

use super::charset::Charset;
use super::decimal::DecimalPlan;
use std::sync::Arc;

/// How many bytes a cell takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Always as many.
    Fixed(u32),
    /// A little-endian length of 1 to 4 bytes stands before them.
    Prefixed(u8),
    /// A length-encoded length stands before them (result rows).
    LengthEncoded,
}

/// What becomes of a cell's bytes. Integers are little-endian.
#[derive(Debug, Clone)]
pub(super) enum Op {
    I8,
    U8,
    I16,
    U16,
    I24,
    U24,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    /// One byte: 0, or years since 1900.
    Year,
    /// Big-endian, up to 8 bytes.
    Bit,
    Decimal(DecimalPlan),
    DecimalText {
        scale: u8,
    },
    Date,
    /// The fraction takes what is left of the cell.
    Time,
    /// Bytes of the fraction.
    DateTime(usize),
    Timestamp,
    /// Layouts before MySQL 5.6, without fractions.
    OldTime,
    OldDateTime,
    OldTimestamp,
    /// Result rows: year, month, day, ... as many as are not zero.
    DateParts,
    DateTimeParts,
    TimeParts,
    /// Dates and times as the server prints them, with so many digits of the fraction.
    TimeText(Box<Op>, u8),
    Utf8,
    Converted(Charset),
    /// Padded with zero bytes to that length.
    FixedBytes(usize),
    Bytes,
    /// 4-byte floats.
    Vector,
    /// An index into the labels, or one bit for each.
    Enum(Arc<[Box<str>]>),
    Set(Arc<[Box<str>]>),
    /// The server's print of a document.
    JsonText,
    /// Whether whole floating numbers are printed without a point.
    Json {
        old: bool,
    },
    Uuid,
    Inet4,
    Inet6,
    /// MariaDB's COMPRESSED columns: text, or bytes.
    Compressed(Option<Charset>),
}
