//! Rows events: inserted, updated and deleted rows of one table.

use super::compressed;
use super::cursor::{Cursor, Malformed};
use dujiang_core::Result;

/// What a rows event does to its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsKind {
    /// One image per row.
    Insert,
    /// Two images per row.
    Update,
    /// One image per row.
    Delete,
}

/// A rows event, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsEvent<'a> {
    /// Number of the table, as its table map gave it.
    pub table_id: u64,
    /// Flags; see [`RowsEvent::ends_statement`].
    pub flags: u16,
    /// What it does.
    pub kind: RowsKind,
    /// Number of columns of the table.
    pub columns: usize,
    /// One bit per column: part of the image (of the before image of an update).
    pub present: &'a [u8],
    /// For an update the same for the after image, otherwise equal to `present`.
    pub present_after: &'a [u8],
    /// The images.
    pub images: &'a [u8],
}

const STATEMENT_END: u16 = 1;
/// The number a server uses for "no table", in an event that only ends a statement (`DUMMY_TABLE_ID`).
const DUMMY_TABLE_IDS: [u64; 2] = [0x00ff_ffff, 0xffff_ffff];

impl<'a> RowsEvent<'a> {
    /// Reads the body of a rows event. `version_2` events have extra data in their header; `id_bytes`: 6, or 4.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8], kind: RowsKind, version_2: bool, id_bytes: usize) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "a rows event");
        let table_id = c.uint(id_bytes)?;
        let flags = c.u16()?;
        if version_2 {
            let extra = usize::from(c.u16()?).checked_sub(2).ok_or(c.malformed())?;
            c.take(extra)?;
        }
        let columns = c.length()?;
        let present = c.take(columns.div_ceil(8))?;
        let present_after = if kind == RowsKind::Update { c.take(columns.div_ceil(8))? } else { present };
        Ok(Self { table_id, flags, kind, columns, present, present_after, images: c.take_rest() })
    }

    /// Whether this is the last rows event of its statement; table numbers are void after it.
    pub fn ends_statement(&self) -> bool {
        self.flags & STATEMENT_END != 0
    }

    /// Whether the event belongs to no table and has no rows; it only ends a statement.
    pub fn is_dummy(&self) -> bool {
        DUMMY_TABLE_IDS.contains(&self.table_id) && self.images.is_empty()
    }
}

/// A rows event of MariaDB whose images are compressed (`log_bin_compress=ON`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressedRows<'a>(RowsEvent<'a>);

impl<'a> CompressedRows<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8], kind: RowsKind, version_2: bool) -> Result<Self, Malformed> {
        RowsEvent::parse(body, kind, version_2, 6).map(Self)
    }

    /// Inflates the images into `buffer` (cleared first).
    ///
    /// # Errors
    /// `LogDamaged` when they cannot be inflated.
    pub fn inflate<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<RowsEvent<'b>>
    where
        'a: 'b,
    {
        compressed::inflate_record(self.0.images, buffer)?;
        Ok(RowsEvent { images: buffer, ..self.0 })
    }
}
