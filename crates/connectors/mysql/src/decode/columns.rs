//! The open columns of a batch: plain vectors that become Arrow arrays without copying.

use super::value::BadValue;
use arrow_array::builder::StringBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BinaryArray, Float32Array, ListArray, PrimitiveArray, StringArray};
use arrow_buffer::{Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, FieldRef, TimeUnit};
use std::sync::Arc;

/// Values of one column.
#[derive(Debug)]
pub(super) enum Values {
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    I256(Vec<i256>),
    Run(ByteRun),
}

/// Byte strings one after the other.
#[derive(Debug)]
pub(super) struct ByteRun {
    /// Where each begins, and where the last one ends.
    pub offsets: Vec<i32>,
    pub data: Vec<u8>,
}

/// A value that cannot be carried.
#[derive(Debug)]
pub(super) struct Unfit {
    pub row: usize,
    pub text: Box<str>,
    pub why: &'static str,
}

/// One open column.
#[derive(Debug)]
pub(super) struct OpenColumn {
    data_type: DataType,
    pub values: Values,
    pub nulls: NullBufferBuilder,
    /// Values that cannot be carried, in the order of their rows; their cells have placeholders.
    pub unfit: Vec<Unfit>,
    /// Whether such values become NULL instead.
    pub null_unfit: bool,
    /// Rows and bytes of the last batch: room to make for the next one.
    last: (usize, usize),
}

macro_rules! each_values {
    ($self:expr, $v:ident => $primitive:expr, $run:ident => $bytes:expr) => {
        match $self {
            Values::I8($v) => $primitive,
            Values::U8($v) => $primitive,
            Values::I16($v) => $primitive,
            Values::U16($v) => $primitive,
            Values::I32($v) => $primitive,
            Values::U32($v) => $primitive,
            Values::I64($v) => $primitive,
            Values::U64($v) => $primitive,
            Values::F32($v) => $primitive,
            Values::F64($v) => $primitive,
            Values::I128($v) => $primitive,
            Values::I256($v) => $primitive,
            Values::Run($run) => $bytes,
        }
    };
}

impl Values {
    fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Int8 => Values::I8(vec![]),
            DataType::UInt8 => Values::U8(vec![]),
            DataType::Int16 => Values::I16(vec![]),
            DataType::UInt16 => Values::U16(vec![]),
            DataType::Int32 | DataType::Date32 => Values::I32(vec![]),
            DataType::UInt32 => Values::U32(vec![]),
            DataType::Int64
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Duration(TimeUnit::Microsecond) => Values::I64(vec![]),
            DataType::UInt64 => Values::U64(vec![]),
            DataType::Float32 => Values::F32(vec![]),
            DataType::Float64 => Values::F64(vec![]),
            DataType::Decimal128(..) => Values::I128(vec![]),
            DataType::Decimal256(..) => Values::I256(vec![]),
            DataType::Utf8 | DataType::Binary | DataType::List(_) => {
                Values::Run(ByteRun { offsets: vec![0], data: vec![] })
            }
            _ => return None,
        })
    }
}

impl OpenColumn {
    /// An empty column; `None` for an Arrow type the decoder never makes.
    pub fn new(data_type: &DataType) -> Option<Self> {
        let values = Values::new(data_type)?;
        Some(Self {
            data_type: data_type.clone(),
            values,
            nulls: NullBufferBuilder::new(0),
            unfit: vec![],
            null_unfit: false,
            last: (0, 0),
        })
    }

    /// Makes room for as much as the last batch held; called when the first row of a batch arrives.
    pub fn reserve(&mut self) {
        let (rows, bytes) = self.last;
        each_values!(&mut self.values, v => v.reserve_exact(rows), run => {
            run.offsets.reserve_exact(rows);
            run.data.reserve_exact(bytes);
        });
    }

    fn len(&self) -> (usize, usize) {
        each_values!(&self.values, v => (v.len(), 0), run => (run.offsets.len() - 1, run.data.len()))
    }

    /// Shortens the column to `rows`.
    pub fn truncate(&mut self, rows: usize) {
        each_values!(&mut self.values, v => v.truncate(rows), run => {
            run.offsets.truncate(rows + 1);
            run.data.truncate(run.offsets.last().map_or(0, |end| *end as usize));
        });
        self.nulls.truncate(rows);
        self.unfit.retain(|unfit| unfit.row < rows);
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let values = each_values!(&self.values, v => size_of_val(&v[..]).max(v.capacity() * (size_of_val(&v[..]) / v.len().max(1))),
            run => run.data.capacity() + run.offsets.capacity() * 4);
        values + self.nulls.allocated_size()
    }

    /// Takes the values out as an Arrow array and leaves the column empty, with room for about as many. Texts that are not
    /// UTF-8 are then among `unfit`, which is the caller's to empty.
    pub fn finish(&mut self) -> ArrayRef {
        self.last = self.len();
        let mut nulls = self.nulls.finish();
        if self.null_unfit && !self.unfit.is_empty() {
            nulls = Some(with_nulls(self.last.0, nulls.as_ref(), self.unfit.drain(..)));
        }
        match (&mut self.values, &self.data_type) {
            (Values::Run(run), DataType::Utf8) => text(run, nulls, &mut self.unfit),
            (Values::Run(run), DataType::List(item)) => vectors(run, nulls, item),
            (Values::Run(run), _) => Arc::new(BinaryArray::new(run.take_offsets(), run.take_data(), nulls)),
            (Values::I32(v), DataType::Date32) => primitive::<Date32Type>(v, nulls, &self.data_type),
            (Values::I64(v), DataType::Timestamp(..)) => {
                primitive::<TimestampMicrosecondType>(v, nulls, &self.data_type)
            }
            (Values::I64(v), DataType::Duration(_)) => primitive::<DurationMicrosecondType>(v, nulls, &self.data_type),
            (Values::I8(v), _) => primitive::<Int8Type>(v, nulls, &self.data_type),
            (Values::U8(v), _) => primitive::<UInt8Type>(v, nulls, &self.data_type),
            (Values::I16(v), _) => primitive::<Int16Type>(v, nulls, &self.data_type),
            (Values::U16(v), _) => primitive::<UInt16Type>(v, nulls, &self.data_type),
            (Values::I32(v), _) => primitive::<Int32Type>(v, nulls, &self.data_type),
            (Values::U32(v), _) => primitive::<UInt32Type>(v, nulls, &self.data_type),
            (Values::I64(v), _) => primitive::<Int64Type>(v, nulls, &self.data_type),
            (Values::U64(v), _) => primitive::<UInt64Type>(v, nulls, &self.data_type),
            (Values::F32(v), _) => primitive::<Float32Type>(v, nulls, &self.data_type),
            (Values::F64(v), _) => primitive::<Float64Type>(v, nulls, &self.data_type),
            (Values::I128(v), _) => primitive::<Decimal128Type>(v, nulls, &self.data_type),
            (Values::I256(v), _) => primitive::<Decimal256Type>(v, nulls, &self.data_type),
        }
    }
}

fn with_nulls(rows: usize, nulls: Option<&NullBuffer>, more: impl Iterator<Item = Unfit>) -> NullBuffer {
    let mut valid: Vec<bool> = (0..rows).map(|row| nulls.is_none_or(|nulls| nulls.is_valid(row))).collect();
    more.for_each(|unfit| valid[unfit.row] = false);
    valid.into()
}

/// Lists of 4-byte floats, little-endian; the walk's cells have been checked to be whole ones.
fn vectors(run: &mut ByteRun, nulls: Option<NullBuffer>, item: &FieldRef) -> ArrayRef {
    let offsets: Vec<i32> = run.take_offsets().iter().map(|end| end / 4).collect();
    let data = run.take_data();
    let values: Vec<f32> = data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let values = Arc::new(Float32Array::from(values));
    Arc::new(ListArray::new(item.clone(), OffsetBuffer::new(offsets.into()), values, nulls))
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let values = ScalarBuffer::from(std::mem::take(values));
    Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(data_type.clone()))
}

/// Arrow checks the text as a whole; only when that fails are the rows looked at. A text that is none becomes empty.
fn text(run: &mut ByteRun, nulls: Option<NullBuffer>, unfit: &mut Vec<Unfit>) -> ArrayRef {
    let (offsets, data) = (run.take_offsets(), run.take_data());
    if let Ok(array) = StringArray::try_new(offsets.clone(), data.clone(), nulls.clone()) {
        return Arc::new(array);
    }
    let mut texts = StringBuilder::with_capacity(offsets.len(), data.len());
    for row in 0..offsets.len() - 1 {
        let bytes = &data[offsets[row] as usize..offsets[row + 1] as usize];
        match std::str::from_utf8(bytes) {
            _ if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => texts.append_null(),
            Ok(text) => texts.append_value(text),
            Err(_) => {
                texts.append_value("");
                unfit.extend(BadValue::invalid_text(bytes).into_unfit().map(|(text, why)| Unfit { row, text, why }));
            }
        }
    }
    Arc::new(texts.finish())
}

impl ByteRun {
    fn take_offsets(&mut self) -> OffsetBuffer<i32> {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        OffsetBuffer::new(ScalarBuffer::from(offsets))
    }

    fn take_data(&mut self) -> Buffer {
        Buffer::from_vec(std::mem::take(&mut self.data))
    }

    /// Ends a string whose bytes were put into `data`. An end past 2 GiB is caught by [`ByteRun::check`].
    #[inline]
    pub fn end_cell(&mut self) {
        self.offsets.push(self.data.len() as i32);
    }

    /// Whether all ends fit their type.
    pub fn check(&self) -> Result<(), BadValue> {
        if self.data.len() <= i32::MAX as usize {
            return Ok(());
        }
        Err(BadValue::unrepresentable("(a text)", "the texts of one batch are longer than 2 GiB"))
    }
}
