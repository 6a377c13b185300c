//! The batch encoding: many records as one (version 0, as the service's older SDKs write it).
//!
//! ```text
//! head (26 bytes): "DHUB" | version 0 | length of all | size of the rows | CRC-32C of what follows | attributes | rows
//! row: 0 | schema -1 (BLOB) or 0 | length | place of the attributes | columns | which are there | 8 bytes each | texts
//!      | attributes: how many | length, name, length, value ...
//! ```
//!
//! All numbers are little-endian. A text of up to 7 bytes stands in its 8 bytes, a longer one behind them, padded to 8; its
//! place counts from behind the row's head of 16 bytes.

use super::packing::Compression;

pub(super) const MAGIC: &[u8; 4] = b"DHUB";
pub(super) const HEAD: usize = 26;
pub(super) const ROW_HEAD: usize = 16;
/// The bit of the head's attributes that every batch has.
const ALWAYS: u16 = 8;
/// Bytes of rows that one batch may have; the service takes less.
const MOST: usize = 64 << 20;

/// How a value stands in its eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    Single,
    Double,
    Flag,
    Text,
}

impl Form {
    /// Of a field's type.
    pub(crate) fn of(kind: &str) -> Self {
        match kind.to_ascii_uppercase().as_str() {
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "TIMESTAMP" => Self::Whole,
            "FLOAT" => Self::Single,
            "DOUBLE" => Self::Double,
            "BOOLEAN" => Self::Flag,
            _ => Self::Text,
        }
    }

    /// The eight bytes of a value that is told as text; none if it is another one's, or a text.
    fn slot(self, text: &[u8]) -> Option<[u8; 8]> {
        let text = std::str::from_utf8(text).ok()?;
        match self {
            Self::Whole => text.parse::<i64>().ok().map(i64::to_le_bytes),
            Self::Single => {
                let [a, b, c, d] = text.parse::<f32>().ok()?.to_le_bytes();
                Some([a, b, c, d, 0, 0, 0, 0])
            }
            Self::Double => text.parse::<f64>().ok().map(f64::to_le_bytes),
            Self::Flag => text.parse::<bool>().ok().map(|flag| [u8::from(flag), 0, 0, 0, 0, 0, 0, 0]),
            Self::Text => None,
        }
    }
}

/// Writes one row, value by value, into `out`.
pub(crate) struct RowWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    columns: usize,
    next: usize,
}

impl<'a> RowWriter<'a> {
    /// Begins a row of so many columns.
    pub(crate) fn new(columns: usize, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.resize(start + ROW_HEAD + fixed(columns), 0);
        out[start + ROW_HEAD..start + ROW_HEAD + 4].copy_from_slice(&(columns as i32).to_le_bytes());
        Self { out, start, columns, next: 0 }
    }

    /// The next value; false if it is none of its form. NULL by default.
    pub(crate) fn value(&mut self, form: Form, text: Option<&[u8]>) -> bool {
        let column = self.next;
        self.next += 1;
        let Some(text) = text else { return true };
        let base = self.start + ROW_HEAD;
        let slot = match form {
            Form::Text if text.len() < 8 => {
                let mut slot = [0; 8];
                slot[..text.len()].copy_from_slice(text);
                slot[7] = text.len() as u8 | 0x80;
                slot
            }
            Form::Text => {
                let place = self.out.len() - base;
                self.out.extend_from_slice(text);
                self.out.resize(base + place + text.len().next_multiple_of(8), 0);
                let mut slot = [0; 8];
                slot[..4].copy_from_slice(&(text.len() as i32).to_le_bytes());
                slot[4..].copy_from_slice(&(place as i32).to_le_bytes());
                slot
            }
            form => match form.slot(text) {
                Some(slot) => slot,
                None => return false,
            },
        };
        self.out[base + 4 + column / 8] |= 1 << (column % 8);
        let at = base + fixed(self.columns) - 8 * (self.columns - column);
        self.out[at..at + 8].copy_from_slice(&slot);
        true
    }

    /// Ends the row.
    pub(crate) fn end<'b>(self, attributes: impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])>) {
        let place = self.out.len() - self.start;
        self.out.extend_from_slice(&(attributes.len() as i32).to_le_bytes());
        for (name, value) in attributes {
            for part in [name, value] {
                self.out.extend_from_slice(&(part.len() as i32).to_le_bytes());
                self.out.extend_from_slice(part);
            }
        }
        let length = self.out.len() - self.start;
        let head = &mut self.out[self.start..self.start + ROW_HEAD];
        head[8..12].copy_from_slice(&(length as i32).to_le_bytes());
        head[12..16].copy_from_slice(&(place as i32).to_le_bytes());
    }
}

/// Bytes of the number of columns, the bits of those that are there, and the values.
pub(super) fn fixed(columns: usize) -> usize {
    4 + columns.div_ceil(64) * 8 + columns * 8
}

/// Whether a batch can be compressed so.
pub(crate) fn compresses(compression: Compression) -> bool {
    // The SDKs do not agree on what stands for zstd.
    compression != Compression::Zstd
}

/// A batch of rows.
///
/// # Errors
/// What the codec says.
pub(crate) fn write_batch(rows: &[u8], count: usize, compression: Compression) -> std::io::Result<Vec<u8>> {
    let packed = compression.pack(rows.to_vec())?;
    let kind: u16 = match compression {
        Compression::Deflate => 1,
        Compression::Lz4 => 2,
        _ => 0,
    };
    let mut out = Vec::with_capacity(HEAD + packed.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&0_i32.to_le_bytes());
    out.extend_from_slice(&((HEAD + packed.len()) as u32).to_le_bytes());
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
    out.extend_from_slice(&(kind | ALWAYS).to_le_bytes());
    out.extend_from_slice(&(count as u32).to_le_bytes());
    out.extend_from_slice(&packed);
    Ok(out)
}

/// The rows of a batch.
#[derive(Debug)]
pub(crate) struct Batch {
    rows: Vec<u8>,
    pub(crate) count: usize,
    /// The most columns that a row has.
    pub(crate) width: usize,
}

/// Why a batch cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchFault {
    /// It is not what was sent.
    Damaged,
    /// It is of another version.
    Version(u32),
    /// Its compression is one on which the SDKs do not agree.
    Compression,
}

impl Batch {
    /// Decompresses a batch and looks at where its rows are.
    ///
    /// # Errors
    /// When it is damaged or of a kind that is not known.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, BatchFault> {
        match bytes.get(4..8).and_then(|version| version.first_chunk()).map(|version| u32::from_le_bytes(*version)) {
            Some(version) if version != 0 && bytes.starts_with(MAGIC) => return Err(BatchFault::Version(version)),
            _ => {}
        }
        if bytes.len() >= HEAD && bytes.starts_with(MAGIC) && bytes[20] & 3 == 3 {
            return Err(BatchFault::Compression);
        }
        Self::known(bytes).ok_or(BatchFault::Damaged)
    }

    fn known(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (_version, rest) = take_u32(rest)?;
        let (length, rest) = take_u32(rest)?;
        let (size, rest) = take_u32(rest)?;
        let (checksum, rest) = take_u32(rest)?;
        let (attributes, rest) = rest.split_first_chunk::<2>()?;
        let (count, packed) = take_u32(rest)?;
        let size = usize::try_from(size).ok().filter(|size| *size <= MOST)?;
        if length as usize != bytes.len() || crc32c::crc32c(packed) != checksum {
            return None;
        }
        let compression = match u16::from_le_bytes(*attributes) & 3 {
            0 => Compression::None,
            1 => Compression::Deflate,
            2 => Compression::Lz4,
            _ => return None,
        };
        let rows = compression.unpack(packed, size).ok()?;
        let mut batch = Self { rows, count: 0, width: 0 };
        let (mut rest, mut found, mut width) = (batch.rows.as_slice(), 0_u32, 0);
        while !rest.is_empty() {
            let (row, behind) = first(rest)?;
            (rest, found, width) = (behind, found + 1, width.max(row.columns));
        }
        if found != count {
            return None;
        }
        (batch.count, batch.width) = (found as usize, width);
        Some(batch)
    }

    /// The rows, one after the other.
    pub(crate) fn rows(&self) -> impl Iterator<Item = BatchRow<'_>> {
        let mut rest = self.rows.as_slice();
        std::iter::from_fn(move || {
            let (row, behind) = first(rest)?;
            rest = behind;
            Some(row)
        })
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        self.rows.len()
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk::<4>().map(|(number, rest)| (u32::from_le_bytes(*number), rest))
}

fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    usize::try_from(number).ok()
}

/// The first row, and what is behind it.
fn first(bytes: &[u8]) -> Option<(BatchRow<'_>, &[u8])> {
    let encoding = i32::from_le_bytes(*bytes.first_chunk()?);
    let (length, attributes) = (number_at(bytes, 8)?, number_at(bytes, 12)?);
    let columns = number_at(bytes, ROW_HEAD)?;
    let whole = columns <= bytes.len() / 8 && ROW_HEAD + fixed(columns) <= attributes && attributes <= length;
    if encoding != 0 || !whole {
        return None;
    }
    let (row, rest) = bytes.split_at_checked(length)?;
    Some((BatchRow { row, columns, attributes }, rest))
}

/// One row of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchRow<'a> {
    row: &'a [u8],
    pub(crate) columns: usize,
    attributes: usize,
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Whole(i64),
    Single(f32),
    Double(f64),
    Flag(bool),
    Text(&'a [u8]),
}

impl<'a> BatchRow<'a> {
    /// A value; none if it is damaged.
    pub(crate) fn cell(&self, column: usize, form: Form) -> Option<Cell<'a>> {
        let body = self.row.get(ROW_HEAD..self.attributes)?;
        if body.get(4 + column / 8)? & (1 << (column % 8)) == 0 {
            return Some(Cell::Null);
        }
        let at = fixed(self.columns) - 8 * (self.columns.checked_sub(column)?);
        let slot: [u8; 8] = *body.get(at..)?.first_chunk()?;
        Some(match form {
            Form::Whole => Cell::Whole(i64::from_le_bytes(slot)),
            Form::Single => Cell::Single(f32::from_le_bytes([slot[0], slot[1], slot[2], slot[3]])),
            Form::Double => Cell::Double(f64::from_le_bytes(slot)),
            Form::Flag => Cell::Flag(slot[0] != 0),
            Form::Text if slot[7] & 0x80 != 0 => {
                let length = usize::from(slot[7] & 0x7F);
                Cell::Text(body.get(at..at + length).filter(|_| length < 8)?)
            }
            Form::Text => {
                let (length, place) = (number_at(&slot, 0)?, number_at(&slot, 4)?);
                Cell::Text(body.get(place..place.checked_add(length)?)?)
            }
        })
    }

    /// Shows names and values of the attributes; none if they are damaged.
    pub(crate) fn attributes(&self, mut show: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
        let mut rest = self.row.get(self.attributes..)?;
        let Some((count, behind)) = take_u32(rest) else { return rest.is_empty().then_some(()) };
        rest = behind;
        for _ in 0..count {
            let mut part = || {
                let (length, behind) = take_u32(rest)?;
                let (part, behind) = behind.split_at_checked(length as usize)?;
                rest = behind;
                Some(part)
            };
            let (name, value) = (part()?, part()?);
            show(name, value);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Told = (Vec<(Form, Option<Vec<u8>>)>, Vec<(Vec<u8>, Vec<u8>)>);

    fn written(rows: &[Told], compression: Compression) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (values, attributes) in rows {
            let mut row = RowWriter::new(values.len(), &mut bytes);
            for (form, value) in values {
                assert!(row.value(*form, value.as_deref()));
            }
            row.end(attributes.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
        }
        write_batch(&bytes, rows.len(), compression).unwrap()
    }

    fn text(cell: Cell<'_>) -> Option<Vec<u8>> {
        match cell {
            Cell::Null => None,
            Cell::Whole(value) => Some(value.to_string().into_bytes()),
            Cell::Single(value) => Some(value.to_string().into_bytes()),
            Cell::Double(value) => Some(value.to_string().into_bytes()),
            Cell::Flag(value) => Some(value.to_string().into_bytes()),
            Cell::Text(value) => Some(value.to_vec()),
        }
    }

    fn value() -> impl Strategy<Value = (Form, Option<Vec<u8>>)> {
        prop_oneof![
            any::<i64>().prop_map(|value| (Form::Whole, Some(value.to_string().into_bytes()))),
            any::<i32>().prop_map(|value| (Form::Single, Some((value as f32).to_string().into_bytes()))),
            any::<i64>().prop_map(|value| (Form::Double, Some((value as f64).to_string().into_bytes()))),
            any::<bool>().prop_map(|value| (Form::Flag, Some(value.to_string().into_bytes()))),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|value| (Form::Text, Some(value))),
            Just((Form::Text, None)),
        ]
    }

    fn told() -> impl Strategy<Value = Vec<Told>> {
        let attribute = (proptest::collection::vec(any::<u8>(), 1..9), proptest::collection::vec(any::<u8>(), 0..9));
        let row = (proptest::collection::vec(value(), 0..70), proptest::collection::vec(attribute, 0..3));
        proptest::collection::vec(row, 1..5)
    }

    #[test]
    fn a_row_has_the_bytes_of_the_description() {
        let row: Told = (
            vec![
                (Form::Whole, Some(b"-1".to_vec())),
                (Form::Text, Some(b"abc".to_vec())),
                (Form::Text, None),
                (Form::Text, Some(b"12345678".to_vec())),
            ],
            vec![(b"k".to_vec(), b"v".to_vec())],
        );
        let bytes = written(&[row], Compression::None);
        let mut expected = b"DHUB\0\0\0\0".to_vec();
        expected.extend_from_slice(&[108, 0, 0, 0, 82, 0, 0, 0]);
        expected.extend_from_slice(&crc32c::crc32c(&bytes[26..]).to_le_bytes());
        expected.extend_from_slice(&[8, 0, 1, 0, 0, 0]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 82, 0, 0, 0, 68, 0, 0, 0]);
        expected.extend_from_slice(&[4, 0, 0, 0, 0b1011, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[255; 8]);
        expected.extend_from_slice(b"abc\0\0\0\0\x83");
        expected.extend_from_slice(&[0; 8]);
        expected.extend_from_slice(&[8, 0, 0, 0, 44, 0, 0, 0]);
        expected.extend_from_slice(b"12345678");
        expected.extend_from_slice(b"\x01\0\0\0\x01\0\0\0k\x01\0\0\0v");
        assert_eq!(bytes, expected);
    }

    /// A guess would be read as other values: what is not known is refused, and by its name.
    #[test]
    fn a_batch_of_another_kind_is_not_taken_for_a_damaged_one() {
        let known = written(&[(vec![(Form::Whole, Some(b"1".to_vec()))], Vec::new())], Compression::None);
        for (at, with, fault) in [(4, 1, BatchFault::Version(1)), (20, 11, BatchFault::Compression)] {
            let mut other = known.clone();
            other[at] = with;
            assert_eq!(Batch::read(&other).unwrap_err(), fault);
        }
        assert_eq!(Batch::read(&known[1..]).unwrap_err(), BatchFault::Damaged);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_written_is_read(rows in told(), kind in 0..3) {
            let compression = [Compression::None, Compression::Deflate, Compression::Lz4][kind as usize];
            let batch = Batch::read(&written(&rows, compression)).unwrap();
            prop_assert_eq!(batch.count, rows.len());
            for (row, (values, attributes)) in batch.rows().zip(&rows) {
                prop_assert_eq!(row.columns, values.len());
                for (column, (form, value)) in values.iter().enumerate() {
                    prop_assert_eq!(&text(row.cell(column, *form).unwrap()), value);
                }
                let mut found = Vec::new();
                row.attributes(|name, value| found.push((name.to_vec(), value.to_vec()))).unwrap();
                prop_assert_eq!(&found, attributes);
            }
        }

        /// Every damage of what the checksum covers is seen.
        #[test]
        fn damage_is_seen(rows in told(), at in any::<u16>(), with in any::<u8>()) {
            let mut bytes = written(&rows, Compression::None);
            let at = HEAD + usize::from(at) % (bytes.len() - HEAD);
            bytes[at] ^= with | 1;
            prop_assert_eq!(Batch::read(&bytes).err(), Some(BatchFault::Damaged));
        }
    }
}
