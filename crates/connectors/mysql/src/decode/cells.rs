//! Second pass: the cells of one column, in one loop per column and type.

use super::charset::Charset;
use super::columns::{ByteRun, OpenColumn, Unfit, Values};
use super::decimal::{self, DecimalPlan};
use super::op::{Op, Size};
use super::plan::Step;
use super::value::BadValue;
use super::walk::{NULL, Walk, length};
use super::{compressed, fixed_text, jsonb, labels, print, temporal};
use std::cell::RefCell;

/// The cells of one column in a walked chunk.
struct Cells<'a> {
    bytes: &'a [u8],
    positions: &'a [u32],
    /// Distance of the cell from its position.
    offset: usize,
    size: Size,
    has_nulls: bool,
    unfit: RefCell<Vec<Unfit>>,
}

type CellResult = Result<(), BadValue>;

/// Strings of up to so many bytes are copied as if they had as many.
const SHORT: usize = 32;

impl<'a> Cells<'a> {
    fn new(walk: &'a Walk, step: &Step, index: usize, bytes: &'a [u8]) -> Self {
        let (slot, offset) = if walk.is_sparse() { (index, 0) } else { (step.segment, step.offset as usize) };
        let positions = walk.positions(slot);
        let has_nulls = walk.is_sparse() && positions.contains(&NULL);
        Self { bytes, positions, offset, size: step.size, has_nulls, unfit: RefCell::default() }
    }

    /// The `N` bytes of a cell of fixed size.
    #[inline]
    fn array<const N: usize>(&self, position: u32) -> [u8; N] {
        let start = position as usize + self.offset;
        *self.bytes[start..].first_chunk().expect("invariant: the walk checked the row's length")
    }

    /// The bytes of a cell of any size, without its length prefix.
    #[inline]
    fn slice(&self, position: u32) -> &'a [u8] {
        let start = position as usize + self.offset;
        let (length, head) = length(self.size, self.bytes, start).expect("invariant: the walk read this length");
        &self.bytes[start + head..start + head + length]
    }

    /// One value per row, from the `N` bytes of its cell.
    #[inline]
    fn map<const N: usize, T: Copy + Default>(&self, out: &mut Vec<T>, decode: impl Fn([u8; N]) -> T) -> CellResult {
        if self.has_nulls {
            let value = |p: &u32| if *p == NULL { T::default() } else { decode(self.array(*p)) };
            out.extend(self.positions.iter().map(value));
        } else {
            out.extend(self.positions.iter().map(|p| decode(self.array(*p))));
        }
        Ok(())
    }

    /// One value per row, from whatever `decode` reads at the cell's position.
    #[inline]
    fn try_map<T: Copy + Default>(&self, out: &mut Vec<T>, decode: impl Fn(u32) -> Result<T, BadValue>) -> CellResult {
        out.reserve(self.positions.len());
        for p in self.positions {
            let value = if *p == NULL { Ok(T::default()) } else { decode(*p) };
            match value {
                Ok(value) => out.push(value),
                Err(value) => {
                    self.note(out.len(), value)?;
                    out.push(T::default());
                }
            }
        }
        Ok(())
    }

    /// Keeps in mind that the value of a row cannot be carried.
    #[cold]
    #[inline(never)]
    fn note(&self, row: usize, value: BadValue) -> CellResult {
        let (text, why) = value.into_unfit()?;
        self.unfit.borrow_mut().push(Unfit { row, text, why });
        Ok(())
    }

    /// One string per row, appended by `write`.
    #[inline]
    fn strings(
        &self,
        run: &mut ByteRun,
        mut write: impl FnMut(&mut Vec<u8>, &'a [u8]) -> Result<(), BadValue>,
    ) -> CellResult {
        run.offsets.reserve(self.positions.len());
        for p in self.positions {
            if *p != NULL {
                let start = run.data.len();
                if let Err(value) = write(&mut run.data, self.slice(*p)) {
                    run.data.truncate(start);
                    self.note(run.offsets.len() - 1, value)?;
                }
            }
            run.end_cell();
        }
        run.check()
    }

    /// One string per row, as it is.
    fn copy(&self, run: &mut ByteRun) -> CellResult {
        match self.size {
            Size::Prefixed(1) => self.copy_by(run, |bytes, at| (usize::from(bytes[at]), at + 1)),
            Size::Prefixed(2) => {
                self.copy_by(run, |bytes, at| (usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])), at + 2))
            }
            size => self.copy_by(run, |bytes, at| {
                let (length, head) = length(size, bytes, at).expect("invariant: the walk read this length");
                (length, at + head)
            }),
        }
    }

    /// `cell` tells (length, begin) of the string at a position.
    #[inline]
    fn copy_by(&self, run: &mut ByteRun, cell: impl Fn(&[u8], usize) -> (usize, usize)) -> CellResult {
        let bytes = self.bytes;
        let present = self.positions.iter().filter(|p| !self.has_nulls || **p != NULL);
        let total: usize = present.map(|p| cell(bytes, *p as usize + self.offset).0).sum();
        run.offsets.reserve(self.positions.len());
        if total > SHORT * self.positions.len() {
            return self.strings(run, |out, cell| {
                out.extend_from_slice(cell);
                Ok(())
            });
        }
        // Short strings: a copy of fixed length is cheaper than a call of memcpy. It may reach past the string's end,
        // where the next one goes.
        let mut at = run.data.len();
        run.data.resize(at + total + SHORT, 0);
        for p in self.positions {
            if !self.has_nulls || *p != NULL {
                let (length, start) = cell(bytes, *p as usize + self.offset);
                match bytes.get(start..start + SHORT) {
                    Some(chunk) if length <= SHORT => run.data[at..at + SHORT].copy_from_slice(chunk),
                    _ => run.data[at..at + length].copy_from_slice(&bytes[start..start + length]),
                }
                at += length;
            }
            run.offsets.push(at as i32);
        }
        run.data.truncate(at);
        run.check()
    }

    /// One string per row, converted; bytes of ASCII stay as they are in nearly every character set.
    fn convert(&self, charset: Charset, run: &mut ByteRun) -> CellResult {
        let (rows, start) = (run.offsets.len(), run.data.len());
        self.copy(run)?;
        if charset.keeps_ascii() && run.data[start..].is_ascii() {
            return Ok(());
        }
        run.offsets.truncate(rows);
        run.data.truncate(start);
        self.strings(run, |out, cell| charset.append(cell, out))
    }

    fn nulls(&self, column: &mut OpenColumn) {
        if self.has_nulls {
            for p in self.positions {
                column.nulls.append(*p != NULL);
            }
        } else {
            column.nulls.append_n_non_nulls(self.positions.len());
        }
    }
}

/// Decodes the cells of the column at `index` of all walked rows to the end of `column`; whether any was NULL.
///
/// # Errors
/// The first value whose bytes are no value; the column then holds some of the rows. A value that cannot be carried is kept in
/// the column's `unfit`.
pub(super) fn append(
    walk: &Walk,
    step: &Step,
    index: usize,
    bytes: &[u8],
    column: &mut OpenColumn,
) -> Result<bool, BadValue> {
    let cells = Cells::new(walk, step, index, bytes);
    cells.nulls(column);
    let done = match &mut column.values {
        Values::Run(run) => append_strings(&cells, &step.op, run),
        Values::I128(out) => append_decimals(&cells, &step.op, out),
        values => append_numbers(&cells, &step.op, values),
    };
    column.unfit.append(&mut cells.unfit.borrow_mut());
    done.map(|()| cells.has_nulls)
}

#[cold]
fn wrong_column() -> BadValue {
    BadValue::corrupt("a column whose plan does not fit its type")
}

fn append_numbers(cells: &Cells<'_>, op: &Op, values: &mut Values) -> CellResult {
    match (op, values) {
        (Op::I8, Values::I8(out)) => cells.map(out, i8::from_le_bytes),
        (Op::U8, Values::U8(out)) => cells.map(out, u8::from_le_bytes),
        (Op::I16, Values::I16(out)) => cells.map(out, i16::from_le_bytes),
        (Op::U16, Values::U16(out)) => cells.map(out, u16::from_le_bytes),
        (Op::I24, Values::I32(out)) => cells.map(out, |[a, b, c]| i32::from_le_bytes([0, a, b, c]) >> 8),
        (Op::U24, Values::U32(out)) => cells.map(out, |[a, b, c]| u32::from_le_bytes([a, b, c, 0])),
        (Op::I32, Values::I32(out)) => cells.map(out, i32::from_le_bytes),
        (Op::U32, Values::U32(out)) => cells.map(out, u32::from_le_bytes),
        (Op::I64, Values::I64(out)) => cells.map(out, i64::from_le_bytes),
        (Op::U64, Values::U64(out)) => cells.map(out, u64::from_le_bytes),
        (Op::F32, Values::F32(out)) => cells.map(out, f32::from_le_bytes),
        (Op::F64, Values::F64(out)) => cells.map(out, f64::from_le_bytes),
        (Op::Year, Values::U16(out)) => cells.map(out, |[y]| if y == 0 { 0 } else { 1900 + u16::from(y) }),
        (Op::Bit, Values::U64(out)) => cells.try_map(out, |p| bits(cells.slice(p))),
        (Op::Decimal(plan), Values::I256(out)) => {
            cells.try_map(out, |p| plan.decode256(cells.slice(p)).ok_or_else(|| BadValue::corrupt("a DECIMAL")))
        }
        (Op::DecimalText { scale }, Values::I256(out)) => cells
            .try_map(out, |p| decimal::parse256(cells.slice(p), *scale).ok_or_else(|| BadValue::corrupt("a DECIMAL"))),
        (op, values) => append_times(cells, op, values),
    }
}

fn append_times(cells: &Cells<'_>, op: &Op, values: &mut Values) -> CellResult {
    match (op, values) {
        (Op::Date, Values::I32(out)) => cells.try_map(out, |p| temporal::date(cells.array(p))),
        (Op::DateTime(0), Values::I64(out)) => cells.try_map(out, |p| temporal::datetime(cells.array(p), 0)),
        (Op::DateTime(3), Values::I64(out)) => cells.try_map(out, |p| {
            let [a, b, c, d, e, fraction @ ..] = cells.array::<8>(p);
            temporal::datetime([a, b, c, d, e], temporal::fraction(&fraction)?)
        }),
        (Op::DateTime(_), Values::I64(out)) => {
            cells.try_map(out, |p| temporal::datetime(cells.array(p), temporal::fraction(&cells.slice(p)[5..])?))
        }
        (Op::Timestamp, Values::I64(out)) => cells.try_map(out, |p| {
            let fraction = temporal::fraction(&cells.slice(p)[4..])?;
            temporal::timestamp(u32::from_be_bytes(cells.array(p)), fraction)
        }),
        (Op::Time, Values::I64(out)) => cells.try_map(out, |p| temporal::time(cells.slice(p))),
        (Op::OldTime, Values::I64(out)) => cells.try_map(out, |p| temporal::old_time(cells.array(p))),
        (Op::OldDateTime, Values::I64(out)) => cells.try_map(out, |p| temporal::old_datetime(cells.array(p))),
        (Op::OldTimestamp, Values::I64(out)) => {
            cells.try_map(out, |p| temporal::timestamp(u32::from_le_bytes(cells.array(p)), 0))
        }
        (Op::DateParts, Values::I32(out)) => cells.try_map(out, |p| temporal::date_parts(cells.slice(p))),
        (Op::DateTimeParts, Values::I64(out)) => cells.try_map(out, |p| temporal::datetime_parts(cells.slice(p))),
        (Op::TimeParts, Values::I64(out)) => cells.try_map(out, |p| temporal::time_parts(cells.slice(p))),
        _ => Err(wrong_column()),
    }
}

fn append_decimals(cells: &Cells<'_>, op: &Op, out: &mut Vec<i128>) -> CellResult {
    let bad = || BadValue::corrupt("a DECIMAL");
    match op {
        Op::Decimal(plan) => match plan.short() {
            Some(short) => cells.try_map(out, |p| {
                let start = p as usize + cells.offset;
                short.decode(word(&cells.bytes[start..])).map(i128::from).ok_or_else(bad)
            }),
            None => long_decimals(cells, plan, out),
        },
        Op::DecimalText { scale } => cells.try_map(out, |p| decimal::parse128(cells.slice(p), *scale).ok_or_else(bad)),
        _ => Err(wrong_column()),
    }
}

fn long_decimals(cells: &Cells<'_>, plan: &DecimalPlan, out: &mut Vec<i128>) -> CellResult {
    cells.try_map(out, |p| plan.decode128(cells.slice(p)).ok_or_else(|| BadValue::corrupt("a DECIMAL")))
}

/// The first 8 bytes big-endian; what is missing counts as zero.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            chunk[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(chunk)
        }
    }
}

/// A big-endian bit string of up to 8 bytes.
#[inline]
fn bits(bytes: &[u8]) -> Result<u64, BadValue> {
    if bytes.len() > 8 {
        return Err(BadValue::corrupt("a BIT"));
    }
    Ok(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

fn append_strings(cells: &Cells<'_>, op: &Op, run: &mut ByteRun) -> CellResult {
    match op {
        Op::Utf8 | Op::Bytes => cells.copy(run),
        Op::Vector => cells.strings(run, |out, cell| {
            out.extend_from_slice(cell);
            if cell.len().is_multiple_of(4) { Ok(()) } else { Err(BadValue::corrupt("a VECTOR")) }
        }),
        Op::TimeText(op, fsp) => cells.strings(run, |out, cell| print::append(op, cell, *fsp, out)),
        Op::Converted(charset) => cells.convert(*charset, run),
        Op::FixedBytes(n) => cells.strings(run, |out, cell| {
            let missing = n.checked_sub(cell.len()).ok_or_else(|| BadValue::corrupt("a BINARY"))?;
            out.extend_from_slice(cell);
            out.extend(std::iter::repeat_n(0, missing));
            Ok(())
        }),
        Op::Enum(known) => cells.strings(run, |out, cell| labels::append_enum(cell, known, out)),
        Op::Set(known) => cells.strings(run, |out, cell| labels::append_set(cell, known, out)),
        // MySQL 5.7 breaks long base64 inside a string into lines, which is no JSON.
        Op::JsonText => cells.strings(run, |out, cell| {
            for (at, line) in cell.split(|byte| *byte == b'\n').enumerate() {
                out.extend_from_slice(if at > 0 { b"\\n" } else { b"" });
                out.extend_from_slice(line);
            }
            Ok(())
        }),
        Op::Json { old } => cells.strings(run, |out, cell| jsonb::append_text(cell, *old, out)),
        Op::Uuid => cells.strings(run, |out, cell| fixed_text::append_uuid(cell, out)),
        Op::Inet4 => cells.strings(run, |out, cell| fixed_text::append_inet4(cell, out)),
        Op::Inet6 => cells.strings(run, |out, cell| fixed_text::append_inet6(cell, out)),
        Op::Compressed(charset) => {
            let mut plain = Vec::new();
            cells.strings(run, |out, cell| {
                plain.clear();
                compressed::append_column(cell, &mut plain)?;
                charset.unwrap_or(Charset::Utf8).append(&plain, out)
            })
        }
        _ => Err(wrong_column()),
    }
}
