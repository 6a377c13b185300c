//! The shape of a table as the stream tells it before the first change.

use crate::client::wire::Reader;
use dujiang_core::{Code, Error, Result};

/// What of a row's old image an update or a delete logs (`ALTER TABLE ... REPLICA IDENTITY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The primary key.
    Default,
    /// Nothing.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of an index.
    Index,
}

impl Identity {
    /// As `pg_class.relreplident` has it.
    ///
    /// # Errors
    /// `UnknownEvent`.
    pub fn read(letter: u8) -> Result<Self> {
        match letter {
            b'd' => Ok(Identity::Default),
            b'n' => Ok(Identity::Nothing),
            b'f' => Ok(Identity::Full),
            b'i' => Ok(Identity::Index),
            other => Err(Error::new(Code::UnknownEvent, "a table has an unknown replica identity")
                .fact("identity", format!("{:?}", char::from(other)))),
        }
    }
}

/// A relation message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`; of a partitioned table's root when the publication says so.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// What old images hold.
    pub identity: Identity,
    /// The published columns, in the order of images.
    pub columns: Vec<RelationColumn>,
}

/// One column of a relation message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationColumn {
    /// Whether it is part of the replica identity.
    pub in_identity: bool,
    /// Its name.
    pub name: String,
    /// `pg_type.oid`.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`, -1 for none.
    pub type_modifier: i32,
}

impl Relation {
    /// Reads the message behind its type (and, in a streamed transaction, behind its transaction).
    ///
    /// # Errors
    /// `Protocol`, `UnknownEvent`.
    pub fn read(r: &mut Reader<'_>) -> Result<Self> {
        let oid = r.u32()?;
        // The schema `pg_catalog` comes as an empty text.
        let schema = match r.cstr()? {
            "" => "pg_catalog".to_owned(),
            schema => schema.to_owned(),
        };
        let table = r.cstr()?.to_owned();
        let identity = Identity::read(r.u8()?)?;
        let count = r.i16()? as u16;
        let columns = (0..count).map(|_| RelationColumn::read(r)).collect::<Result<_>>()?;
        r.end()?;
        Ok(Self { oid, schema, table, identity, columns })
    }
}

impl RelationColumn {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let flags = r.u8()?;
        let name = r.cstr()?.to_owned();
        let (type_oid, type_modifier) = (r.u32()?, r.i32()?);
        Ok(Self { in_identity: flags & 1 != 0, name, type_oid, type_modifier })
    }
}
