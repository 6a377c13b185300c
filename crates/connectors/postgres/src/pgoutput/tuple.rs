//! One image of a row.

use crate::client::wire::Reader;
use dujiang_core::{Code, Error, Result};

/// One image of a row, as the stream carries it: every published column of the relation in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    bytes: &'a [u8],
}

/// One value of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// NULL; in the old key of a row also every column that is not part of the key.
    Null,
    /// A large value that the change did not touch; the log does not have it.
    Unchanged,
    /// The text of the type's output function, in UTF-8.
    Text(&'a [u8]),
    /// The bytes of the type's send function.
    Binary(&'a [u8]),
}

impl<'a> Tuple<'a> {
    /// Reads an image up to its end; the reader stands behind it afterwards.
    ///
    /// # Errors
    /// `Protocol` when the bytes end too early, `UnknownEvent` for an unknown kind of value.
    pub fn read(r: &mut Reader<'a>) -> Result<Self> {
        let columns = r.i16()? as u16;
        let bytes = r.rest();
        for _ in 0..columns {
            cell(r)?;
        }
        Ok(Self { columns, bytes: &bytes[..bytes.len() - r.rest().len()] })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        usize::from(self.columns)
    }

    /// Whether there are none: a table without (published) columns.
    pub fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// Bytes on the wire.
    pub fn wire_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The values, in order.
    pub fn cells(&self) -> Cells<'a> {
        Cells { left: self.columns, reader: Reader::new(self.bytes, "a row") }
    }
}

/// The values of an image, in order.
#[derive(Debug, Clone)]
pub struct Cells<'a> {
    left: u16,
    reader: Reader<'a>,
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    #[inline]
    fn next(&mut self) -> Option<Cell<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(cell(&mut self.reader).expect("invariant: the image was read once before"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Cells<'_> {}

#[inline]
fn cell<'a>(r: &mut Reader<'a>) -> Result<Cell<'a>> {
    match r.u8()? {
        b'n' => Ok(Cell::Null),
        b'u' => Ok(Cell::Unchanged),
        b't' => bytes(r).map(Cell::Text),
        b'b' => bytes(r).map(Cell::Binary),
        other => Err(unknown(other)),
    }
}

#[inline]
fn bytes<'a>(r: &mut Reader<'a>) -> Result<&'a [u8]> {
    let length = r.i32()?;
    r.take(usize::try_from(length).map_err(|_| unknown(b'-'))?)
}

#[cold]
fn unknown(kind: u8) -> Error {
    Error::new(Code::UnknownEvent, "a row of the stream holds an unknown kind of value")
        .fact("kind", format!("{:?}", char::from(kind)))
        .help("report a bug with the server's version")
}
