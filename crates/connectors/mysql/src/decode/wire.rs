//! Wire types: which column type appears as what in the log and in result rows.

use super::charset::Charset;
use super::cursor::{Cursor, Malformed};
use super::decimal::DecimalPlan;
use super::op::{Op, Size};
use super::types::{Column, ColumnType, ZeroDates};

// `enum_field_types` of MySQL and MariaDB, as far as they appear in a table map.
const TINY: u8 = 1;
const SHORT: u8 = 2;
const LONG: u8 = 3;
const FLOAT: u8 = 4;
const DOUBLE: u8 = 5;
const TIMESTAMP: u8 = 7;
const LONGLONG: u8 = 8;
const INT24: u8 = 9;
const DATE: u8 = 10;
const TIME: u8 = 11;
const DATETIME: u8 = 12;
const YEAR: u8 = 13;
const NEWDATE: u8 = 14;
const VARCHAR: u8 = 15;
const BIT: u8 = 16;
const TIMESTAMP2: u8 = 17;
const DATETIME2: u8 = 18;
const TIME2: u8 = 19;
const BLOB_COMPRESSED: u8 = 140;
const VARCHAR_COMPRESSED: u8 = 141;
const VECTOR: u8 = 242;
const JSON: u8 = 245;
const NEWDECIMAL: u8 = 246;
const ENUM: u8 = 247;
const SET: u8 = 248;
const TINY_BLOB: u8 = 249;
const BLOB: u8 = 252;
const VAR_STRING: u8 = 253;
const STRING: u8 = 254;
const GEOMETRY: u8 = 255;

/// A column's type as a table map gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WireType {
    /// With the real type of an ENUM or SET, which travels as a STRING.
    pub code: u8,
    /// Lengths in bytes; `precision << 8 | scale`; digits of the fraction; width in bits.
    pub metadata: u32,
}

impl WireType {
    pub fn name(self) -> &'static str {
        match self.code {
            TINY => "TINYINT",
            SHORT => "SMALLINT",
            LONG => "INT",
            FLOAT => "FLOAT",
            DOUBLE => "DOUBLE",
            TIMESTAMP | TIMESTAMP2 => "TIMESTAMP",
            LONGLONG => "BIGINT",
            INT24 => "MEDIUMINT",
            DATE | NEWDATE => "DATE",
            TIME | TIME2 => "TIME",
            DATETIME | DATETIME2 => "DATETIME",
            YEAR => "YEAR",
            VARCHAR | VAR_STRING => "VARCHAR or VARBINARY",
            BIT => "BIT",
            BLOB_COMPRESSED | VARCHAR_COMPRESSED => "a compressed column",
            VECTOR => "VECTOR",
            JSON => "JSON",
            NEWDECIMAL => "DECIMAL",
            ENUM => "ENUM",
            SET => "SET",
            TINY_BLOB..=BLOB => "BLOB or TEXT",
            STRING => "CHAR or BINARY",
            GEOMETRY => "GEOMETRY",
            _ => "an unknown type",
        }
    }

    /// Whether the bits of a table map that tell signs have one for this type. MySQL counts YEAR among them.
    pub fn has_sign(code: u8, years: bool) -> bool {
        matches!(code, TINY | SHORT | INT24 | LONG | LONGLONG | NEWDECIMAL | FLOAT | DOUBLE) || (years && code == YEAR)
    }

    /// Whether values are characters or bytes of variable number.
    pub fn is_text(self) -> bool {
        matches!(self.code, VARCHAR | VAR_STRING | STRING | TINY_BLOB..=BLOB | BLOB_COMPRESSED | VARCHAR_COMPRESSED)
    }

    /// Whether values are labels of a list.
    pub fn is_list(self) -> bool {
        matches!(self.code, ENUM | SET)
    }

    /// Whether values are one label of a list.
    pub fn is_enum(self) -> bool {
        self.code == ENUM
    }

    /// The type as the catalog would spell it, with lengths in bytes; none for those that a table map alone does not tell.
    pub fn spelled(self, unsigned: bool, is_bytes: bool, labels: Option<&[&[u8]]>) -> Option<String> {
        let n = self.metadata;
        let sign = if unsigned { " unsigned" } else { "" };
        let fraction = |base: &str| if n == 0 { base.to_owned() } else { format!("{base}({n})") };
        let sized = |sizes: [&str; 4]| sizes.get((n as usize).checked_sub(1)?).map(|size| (*size).to_owned());
        Some(match self.code {
            TINY => format!("tinyint{sign}"),
            SHORT => format!("smallint{sign}"),
            INT24 => format!("mediumint{sign}"),
            LONG => format!("int{sign}"),
            LONGLONG => format!("bigint{sign}"),
            FLOAT => format!("float{sign}"),
            DOUBLE => format!("double{sign}"),
            NEWDECIMAL => format!("decimal({},{}){sign}", n >> 8, n & 0xff),
            YEAR => "year".into(),
            BIT => format!("bit({n})"),
            DATE | NEWDATE => "date".into(),
            TIME2 => fraction("time"),
            DATETIME2 => fraction("datetime"),
            TIMESTAMP2 => fraction("timestamp"),
            VARCHAR | VAR_STRING => format!("{}({n})", if is_bytes { "varbinary" } else { "varchar" }),
            STRING => format!("{}({n})", if is_bytes { "binary" } else { "char" }),
            TINY_BLOB..=BLOB if is_bytes => sized(["tinyblob", "blob", "mediumblob", "longblob"])?,
            TINY_BLOB..=BLOB => sized(["tinytext", "text", "mediumtext", "longtext"])?,
            JSON => "json".into(),
            GEOMETRY => "geometry".into(),
            ENUM => format!("enum({})", quoted(labels?)?),
            SET => format!("set({})", quoted(labels?)?),
            _ => return None,
        })
    }

    /// Length bytes before a VARCHAR or CHAR of that many bytes at most.
    fn string_prefix(self) -> Size {
        Size::Prefixed(if self.metadata < 256 { 1 } else { 2 })
    }
}

/// Labels as the catalog quotes them; none if they are not plain UTF-8, since the log has them in the column's set.
fn quoted(labels: &[&[u8]]) -> Option<String> {
    let mut out = Vec::with_capacity(labels.len());
    for label in labels {
        let label = std::str::from_utf8(label).ok().filter(|l| l.is_ascii())?;
        out.push(format!("'{}'", label.replace('\\', "\\\\").replace('\'', "''")));
    }
    Some(out.join(","))
}

/// Reads the metadata bytes of a table map, column after column.
pub(super) struct Metadata<'a> {
    rest: Cursor<'a>,
}

impl<'a> Metadata<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Cursor::new(bytes, "the column metadata of a table map") }
    }

    /// The wire type of the next column, whose type byte is `code`.
    pub fn next(&mut self, code: u8) -> Result<WireType, Malformed> {
        let c = &mut self.rest;
        let wide = |metadata| WireType { code, metadata };
        Ok(match code {
            TINY | SHORT | LONG | TIMESTAMP | LONGLONG | INT24 | DATE | TIME | DATETIME | YEAR | NEWDATE => wide(0),
            FLOAT
            | DOUBLE
            | TIMESTAMP2
            | DATETIME2
            | TIME2
            | BLOB_COMPRESSED
            | VECTOR
            | JSON
            | GEOMETRY
            | TINY_BLOB..=BLOB => wide(c.u8()?.into()),
            VARCHAR | VAR_STRING | VARCHAR_COMPRESSED => wide(c.u16()?.into()),
            BIT => {
                let (bits, bytes) = (u32::from(c.u8()?), u32::from(c.u8()?));
                wide(bytes * 8 + bits)
            }
            NEWDECIMAL => wide(u32::from(c.u8()?) << 8 | u32::from(c.u8()?)),
            ENUM | SET => wide(c.u16()?.into()),
            STRING => string(c.u8()?, c.u8()?),
            _ => return Err(Malformed("the column types of a table map")),
        })
    }
}

/// CHAR and BINARY hide two bits of a length up to 1023 in the type; ENUM and SET hide behind the type STRING
/// (`Field_string::do_save_field_metadata`).
fn string(first: u8, second: u8) -> WireType {
    if first & 0x30 != 0x30 {
        let high = u32::from((first & 0x30) ^ 0x30) << 4;
        WireType { code: first | 0x30, metadata: high | u32::from(second) }
    } else {
        WireType { code: first, metadata: second.into() }
    }
}

/// How the cells of `column` look in the log, `None` when the column cannot have the type found there.
pub(super) fn log_cell(column: &Column, found: WireType) -> Option<(Op, Size)> {
    log_value(column, found).map(|cell| as_declared(column, cell))
}

/// Text instead of a date, if the column is to have that.
fn as_declared(column: &Column, (op, size): (Op, Size)) -> (Op, Size) {
    let fsp = match (column.zero_dates, &column.column_type) {
        (ZeroDates::Text, ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp }) => *fsp,
        (ZeroDates::Text, ColumnType::Date) => 0,
        _ => return (op, size),
    };
    (Op::TimeText(Box::new(op), fsp), size)
}

fn log_value(column: &Column, found: WireType) -> Option<(Op, Size)> {
    let n = found.metadata as usize;
    Some(match (&column.column_type, found.code) {
        (ColumnType::TinyInt { unsigned }, TINY) => (signed(*unsigned, Op::I8, Op::U8), Size::Fixed(1)),
        (ColumnType::SmallInt { unsigned }, SHORT) => (signed(*unsigned, Op::I16, Op::U16), Size::Fixed(2)),
        (ColumnType::MediumInt { unsigned }, INT24) => (signed(*unsigned, Op::I24, Op::U24), Size::Fixed(3)),
        (ColumnType::Int { unsigned }, LONG) => (signed(*unsigned, Op::I32, Op::U32), Size::Fixed(4)),
        (ColumnType::BigInt { unsigned }, LONGLONG) => (signed(*unsigned, Op::I64, Op::U64), Size::Fixed(8)),
        (ColumnType::Float, FLOAT) if n == 4 => (Op::F32, Size::Fixed(4)),
        (ColumnType::Double, DOUBLE) if n == 8 => (Op::F64, Size::Fixed(8)),
        (ColumnType::Decimal { precision, scale }, NEWDECIMAL)
            if n == usize::from(*precision) << 8 | usize::from(*scale) =>
        {
            let plan = DecimalPlan::new(*precision, *scale);
            let size = Size::Fixed(plan.bytes() as u32);
            (Op::Decimal(plan), size)
        }
        (ColumnType::Year, YEAR) => (Op::Year, Size::Fixed(1)),
        (ColumnType::Bit { width }, BIT) if n == usize::from(*width) => {
            let bytes = n.div_ceil(8);
            (Op::Bit, Size::Fixed(bytes as u32))
        }
        (ColumnType::Enum { labels }, ENUM) if n == enum_bytes(labels.len()) => {
            (Op::Enum(labels.clone()), Size::Fixed(n as u32))
        }
        (ColumnType::Set { labels }, SET) if n == set_bytes(labels.len()) => {
            (Op::Set(labels.clone()), Size::Fixed(n as u32))
        }
        (ColumnType::Vector, VECTOR) => (Op::Vector, blob_prefix(n)?),
        // MariaDB's is a VARBINARY with another name.
        (ColumnType::Vector, VARCHAR) => (Op::Vector, found.string_prefix()),
        (ColumnType::Vector, TINY_BLOB..=BLOB) => (Op::Vector, blob_prefix(n)?),
        (ColumnType::Json, JSON) => (Op::Json { old: false }, blob_prefix(n)?),
        (ColumnType::Geometry, GEOMETRY) => (Op::Bytes, blob_prefix(n)?),
        (ColumnType::Uuid, STRING) if n == 16 => (Op::Uuid, Size::Prefixed(1)),
        (ColumnType::Inet4, STRING) if n == 4 => (Op::Inet4, Size::Prefixed(1)),
        (ColumnType::Inet6, STRING) if n == 16 => (Op::Inet6, Size::Prefixed(1)),
        (column_type, _) => return temporal(column_type, found).or_else(|| string_cell(column, found)),
    })
}

fn signed(unsigned: bool, signed: Op, other: Op) -> Op {
    if unsigned { other } else { signed }
}

fn enum_bytes(labels: usize) -> usize {
    if labels < 256 { 1 } else { 2 }
}

/// 1, 2, 3, 4 or 8 bytes (`get_set_pack_length`).
fn set_bytes(labels: usize) -> usize {
    match labels.div_ceil(8) {
        bytes @ 0..=4 => bytes.max(1),
        _ => 8,
    }
}

fn blob_prefix(n: usize) -> Option<Size> {
    matches!(n, 1..=4).then_some(Size::Prefixed(n as u8))
}

fn temporal(column_type: &ColumnType, found: WireType) -> Option<(Op, Size)> {
    let fraction = |fsp: u8| (u32::from(fsp) == found.metadata).then_some(usize::from(fsp.div_ceil(2)));
    Some(match (column_type, found.code) {
        (ColumnType::Date, DATE | NEWDATE) => (Op::Date, Size::Fixed(3)),
        (ColumnType::Time { fsp }, TIME2) => {
            let n = fraction(*fsp)?;
            (Op::Time, Size::Fixed(3 + n as u32))
        }
        (ColumnType::DateTime { fsp }, DATETIME2) => {
            let n = fraction(*fsp)?;
            (Op::DateTime(n), Size::Fixed(5 + n as u32))
        }
        (ColumnType::Timestamp { fsp }, TIMESTAMP2) => {
            let n = fraction(*fsp)?;
            (Op::Timestamp, Size::Fixed(4 + n as u32))
        }
        (ColumnType::Time { fsp: 0 }, TIME) => (Op::OldTime, Size::Fixed(3)),
        (ColumnType::DateTime { fsp: 0 }, DATETIME) => (Op::OldDateTime, Size::Fixed(8)),
        (ColumnType::Timestamp { fsp: 0 }, TIMESTAMP) => (Op::OldTimestamp, Size::Fixed(4)),
        _ => return None,
    })
}

fn string_cell(column: &Column, found: WireType) -> Option<(Op, Size)> {
    let n = found.metadata as usize;
    let (size, compressed) = match found.code {
        VARCHAR | VAR_STRING | STRING => (found.string_prefix(), false),
        TINY_BLOB..=BLOB => (blob_prefix(n)?, false),
        VARCHAR_COMPRESSED => (found.string_prefix(), true),
        BLOB_COMPRESSED => (blob_prefix(n)?, true),
        _ => return None,
    };
    if compressed != column.compressed {
        return None;
    }
    let op = match (&column.column_type, compressed) {
        (ColumnType::Text { charset }, false) => text_op(*charset),
        (ColumnType::Text { charset }, true) => Op::Compressed(Some(*charset)),
        (ColumnType::Binary { length }, false) if found.code == STRING && n == usize::from(*length) => {
            Op::FixedBytes(usize::from(*length))
        }
        (ColumnType::Bytes, false) if found.code != STRING => Op::Bytes,
        (ColumnType::Bytes, true) => Op::Compressed(None),
        _ => return None,
    };
    Some((op, size))
}

fn text_op(charset: Charset) -> Op {
    match charset {
        Charset::Utf8 => Op::Utf8,
        other => Op::Converted(other),
    }
}

/// How the cells of a column look in result rows of the binary protocol, asked for as `snapshot::read_expression` says.
pub(super) fn binary_cell(column: &Column) -> (Op, Size) {
    as_declared(column, binary_value(&column.column_type))
}

fn binary_value(column_type: &ColumnType) -> (Op, Size) {
    match column_type {
        ColumnType::TinyInt { unsigned } => (signed(*unsigned, Op::I8, Op::U8), Size::Fixed(1)),
        ColumnType::SmallInt { unsigned } => (signed(*unsigned, Op::I16, Op::U16), Size::Fixed(2)),
        ColumnType::MediumInt { unsigned } | ColumnType::Int { unsigned } => {
            (signed(*unsigned, Op::I32, Op::U32), Size::Fixed(4))
        }
        ColumnType::BigInt { unsigned } => (signed(*unsigned, Op::I64, Op::U64), Size::Fixed(8)),
        ColumnType::Float => (Op::F32, Size::Fixed(4)),
        ColumnType::Double => (Op::F64, Size::Fixed(8)),
        ColumnType::Year => (Op::U16, Size::Fixed(2)),
        ColumnType::Decimal { scale, .. } => (Op::DecimalText { scale: *scale }, Size::LengthEncoded),
        ColumnType::Bit { .. } => (Op::Bit, Size::LengthEncoded),
        ColumnType::Date => (Op::DateParts, Size::Prefixed(1)),
        ColumnType::Time { .. } => (Op::TimeParts, Size::Prefixed(1)),
        ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => (Op::DateTimeParts, Size::Prefixed(1)),
        // The session asks for texts as they are stored, so that both ways of a value go through one converter.
        ColumnType::Text { charset } => (text_op(*charset), Size::LengthEncoded),
        ColumnType::Json => (Op::JsonText, Size::LengthEncoded),
        ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Uuid | ColumnType::Inet4 | ColumnType::Inet6 => {
            (Op::Utf8, Size::LengthEncoded)
        }
        ColumnType::Binary { length } => (Op::FixedBytes(usize::from(*length)), Size::LengthEncoded),
        ColumnType::Bytes | ColumnType::Geometry => (Op::Bytes, Size::LengthEncoded),
        ColumnType::Vector => (Op::Vector, Size::LengthEncoded),
    }
}
