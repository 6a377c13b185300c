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
    /// MySQL's partial update: each after image begins with options, and JSON values may be given as differences.
    pub partial: bool,
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
        Ok(Self { table_id, flags, kind, columns, present, present_after, images: c.take_rest(), partial: false })
    }

    /// Reads the body of a partial update (`PARTIAL_UPDATE_ROWS_EVENT`).
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse_partial(body: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self { partial: true, ..Self::parse(body, RowsKind::Update, true, 6)? })
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

/// A part of a rows event that was too large for a packet (`PARTIAL_ROW_DATA_EVENT`, MariaDB 12.3 and later). All parts
/// together are the event, its header included.
///
/// Layout: <https://mariadb.com/docs/server/reference/clientserver-protocol/replication-protocol/partial_row_data_event>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsFragment<'a> {
    /// How many parts there are.
    pub total: u32,
    /// Which one this is, from 1.
    pub number: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The size of the whole event follows the flags.
const HAS_SIZE: u8 = 1;

impl<'a> RowsFragment<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "a part of a rows event");
        let (total, number, flags) = (c.u32()?, c.u32()?, c.u8()?);
        if flags & HAS_SIZE != 0 {
            c.u64()?;
        }
        if number == 0 || number > total {
            return Err(c.malformed());
        }
        Ok(Self { total, number, bytes: c.take_rest() })
    }
}

/// Parts of a rows event, until it is whole.
#[derive(Debug, Default)]
pub struct Fragments {
    bytes: Vec<u8>,
    parts: u32,
}

impl Fragments {
    /// Takes the next part; the same one may come again. Whether the event is whole.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn add(&mut self, part: &RowsFragment<'_>) -> Result<bool, Malformed> {
        if part.number == 1 && self.parts != 1 {
            *self = Self::default();
        }
        if part.number == self.parts + 1 {
            self.bytes.extend_from_slice(part.bytes);
            self.parts = part.number;
        }
        if part.number != self.parts {
            return Err(Malformed("a split rows event, of which a part is missing"));
        }
        Ok(part.number == part.total)
    }

    /// The event, once it is whole.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f33_split_events_are_put_together() {
        let part = |total: u32, number: u32, bytes: &[u8]| {
            let size: &[u8] = if number == 1 { &[1, 5, 0, 0, 0, 0, 0, 0, 0] } else { &[0] };
            [&total.to_le_bytes()[..], &number.to_le_bytes(), size, bytes].concat()
        };
        let mut fragments = Fragments::default();
        let mut add = |total, number, bytes: &[u8]| {
            let body = part(total, number, bytes);
            let whole = RowsFragment::parse(&body).and_then(|part| fragments.add(&part));
            whole.map(|whole| whole.then(|| fragments.bytes().to_vec()))
        };
        assert_eq!(add(2, 1, b"abc"), Ok(None));
        assert_eq!(add(2, 1, b"abc"), Ok(None), "shown again");
        assert_eq!(add(2, 2, b"de"), Ok(Some(b"abcde".to_vec())));
        assert_eq!(add(1, 1, b"x"), Ok(Some(b"x".to_vec())));
        assert_eq!(add(3, 1, b"x"), Ok(None));
        assert!(add(3, 3, b"x").is_err(), "the second is missing");
        assert!(add(3, 0, b"x").is_err() && add(3, 4, b"x").is_err());
    }
}
