//! What a result set says of a column.

use super::wire::Reader;
use dujiang_core::Result;

/// Bits of [`ColumnDefinition::flags`].
pub mod column_flags {
    /// The column cannot be NULL.
    pub const NOT_NULL: u16 = 1;
    /// Part of the primary key.
    pub const PRIMARY_KEY: u16 = 2;
    /// A BLOB or TEXT.
    pub const BLOB: u16 = 16;
    /// An unsigned number.
    pub const UNSIGNED: u16 = 32;
    /// Padded with zeros for display.
    pub const ZEROFILL: u16 = 64;
    /// Bytes without a character set, or a collation that compares bytes.
    pub const BINARY: u16 = 128;
    /// An ENUM; the type byte says CHAR.
    pub const ENUM: u16 = 256;
    /// A TIMESTAMP.
    pub const TIMESTAMP: u16 = 1024;
    /// A SET; the type byte says CHAR.
    pub const SET: u16 = 2048;
}

/// A column of a result set, from its `ColumnDefinition41` packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Database the column comes from; empty for expressions.
    pub database: String,
    /// Table as in the statement (its alias).
    pub table: String,
    /// Table as in the catalog.
    pub org_table: String,
    /// Column as in the statement (its alias).
    pub name: String,
    /// Column as in the catalog.
    pub org_name: String,
    /// Collation id of the values as sent; 63 is binary.
    pub charset: u16,
    /// Longest value in bytes.
    pub length: u32,
    /// `enum_field_types` of the server, as a byte.
    pub type_code: u8,
    /// Bits of [`column_flags`].
    pub flags: u16,
    /// Digits after the point; 31 for floating types without a fixed number.
    pub decimals: u8,
}

impl ColumnDefinition {
    /// Whether a bit of [`column_flags`] is set.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn read(packet: &[u8]) -> Result<Self> {
        let mut r = Reader::new(packet, "a column definition");
        let mut text = || -> Result<String> { Ok(String::from_utf8_lossy(r.lenenc_bytes()?).into_owned()) };
        let _catalog = text()?;
        let (database, table, org_table, name, org_name) = (text()?, text()?, text()?, text()?, text()?);
        let _fixed_length = r.lenenc_int()?;
        Ok(Self {
            database,
            table,
            org_table,
            name,
            org_name,
            charset: r.u16()?,
            length: r.u32()?,
            type_code: r.u8()?,
            flags: r.u16()?,
            decimals: r.u8()?,
        })
    }
}
