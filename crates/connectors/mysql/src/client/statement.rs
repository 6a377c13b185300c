//! Prepared statements and rows of the binary protocol.

use super::ColumnDefinition;
use dujiang_core::{Code, Error, Result};

pub(super) const COM_STMT_EXECUTE: u8 = 0x17;

// `enum_field_types` of the server.
const TYPE_DOUBLE: u8 = 0x05;
const TYPE_NULL: u8 = 0x06;
const TYPE_LONGLONG: u8 = 0x08;
const TYPE_BLOB: u8 = 0xfc;
const TYPE_VAR_STRING: u8 = 0xfd;
const UNSIGNED: u8 = 0x80;

/// A prepared statement of one connection.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(super) id: u32,
    pub(super) params: u16,
    pub(super) sql: String,
    /// Columns of its result as announced when prepared; the answer of an execution may refine them.
    pub columns: Vec<ColumnDefinition>,
}

/// A parameter of a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Param<'a> {
    /// NULL.
    Null,
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    UInt(u64),
    /// A floating number.
    Double(f64),
    /// Text in utf8mb4; also the way to pass decimals, dates and times.
    Text(&'a str),
    /// Bytes without a character set.
    Bytes(&'a [u8]),
}

impl Param<'_> {
    fn wire_type(&self) -> [u8; 2] {
        match self {
            Param::Null => [TYPE_NULL, 0],
            Param::Int(_) => [TYPE_LONGLONG, 0],
            Param::UInt(_) => [TYPE_LONGLONG, UNSIGNED],
            Param::Double(_) => [TYPE_DOUBLE, 0],
            Param::Text(_) => [TYPE_VAR_STRING, 0],
            Param::Bytes(_) => [TYPE_BLOB, 0],
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Param::Null => {}
            Param::Int(n) => out.extend_from_slice(&n.to_le_bytes()),
            Param::UInt(n) => out.extend_from_slice(&n.to_le_bytes()),
            Param::Double(n) => out.extend_from_slice(&n.to_le_bytes()),
            Param::Text(text) => super::wire::put_lenenc_bytes(out, text.as_bytes()),
            Param::Bytes(bytes) => super::wire::put_lenenc_bytes(out, bytes),
        }
    }
}

/// The payload of COM_STMT_EXECUTE without a cursor.
pub(super) fn execute_payload(statement: &Statement, params: &[Param<'_>]) -> Result<Vec<u8>> {
    if params.len() != usize::from(statement.params) {
        let message = format!("a statement with {} parameters was given {}", statement.params, params.len());
        return Err(Error::new(Code::Bug, message).fact("statement", statement.sql.clone()));
    }
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&statement.id.to_le_bytes());
    out.push(0);
    out.extend_from_slice(&1u32.to_le_bytes());
    if params.is_empty() {
        return Ok(out);
    }
    let mut nulls = vec![0u8; params.len().div_ceil(8)];
    for (i, _) in params.iter().enumerate().filter(|(_, p)| **p == Param::Null) {
        nulls[i / 8] |= 1 << (i % 8);
    }
    out.extend_from_slice(&nulls);
    out.push(1);
    params.iter().for_each(|p| out.extend_from_slice(&p.wire_type()));
    params.iter().for_each(|p| p.put(&mut out));
    Ok(out)
}
