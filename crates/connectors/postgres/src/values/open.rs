//! The open columns of a batch: plain vectors that become Arrow arrays without copying.

use super::bad::BadValue;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::DataType;
use std::sync::Arc;

/// Values of one column.
#[derive(Debug)]
pub(super) enum Values {
    Bool(BooleanBufferBuilder),
    I16(Vec<i16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    I256(Vec<i256>),
    Run(ByteRun),
    List(OpenList),
}

/// Byte strings one after the other.
#[derive(Debug)]
pub(super) struct ByteRun {
    /// Where each begins, and where the last one ends.
    pub offsets: Vec<i32>,
    pub data: Vec<u8>,
}

/// Lists one after the other.
#[derive(Debug)]
pub(super) struct OpenList {
    /// The item where each begins, and where the last one ends.
    pub offsets: Vec<i32>,
    pub items: Box<OpenColumn>,
    /// For items whose text has escapes.
    pub scratch: Vec<u8>,
}

/// One open column.
#[derive(Debug)]
pub(super) struct OpenColumn {
    data_type: DataType,
    pub values: Values,
    pub nulls: NullBufferBuilder,
    /// Rows and bytes of the last batch: room to make for the next one.
    last: (usize, usize),
}

macro_rules! each_values {
    ($self:expr, $bits:ident => $bool:expr, $v:ident => $primitive:expr, $run:ident => $bytes:expr, $list:ident => $lists:expr) => {
        match $self {
            Values::Bool($bits) => $bool,
            Values::I16($v) => $primitive,
            Values::I32($v) => $primitive,
            Values::U32($v) => $primitive,
            Values::I64($v) => $primitive,
            Values::U64($v) => $primitive,
            Values::F32($v) => $primitive,
            Values::F64($v) => $primitive,
            Values::I128($v) => $primitive,
            Values::I256($v) => $primitive,
            Values::Run($run) => $bytes,
            Values::List($list) => $lists,
        }
    };
}

impl Values {
    fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Values::Bool(BooleanBufferBuilder::new(0)),
            DataType::Int16 => Values::I16(vec![]),
            DataType::Int32 | DataType::Date32 => Values::I32(vec![]),
            DataType::UInt32 => Values::U32(vec![]),
            DataType::Int64 | DataType::Timestamp(..) | DataType::Time64(_) => Values::I64(vec![]),
            DataType::UInt64 => Values::U64(vec![]),
            DataType::Float32 => Values::F32(vec![]),
            DataType::Float64 => Values::F64(vec![]),
            DataType::Decimal128(..) => Values::I128(vec![]),
            DataType::Decimal256(..) => Values::I256(vec![]),
            DataType::Utf8 | DataType::Binary => Values::Run(ByteRun { offsets: vec![0], data: vec![] }),
            DataType::List(item) => {
                let items = Box::new(OpenColumn::new(item.data_type())?);
                Values::List(OpenList { offsets: vec![0], items, scratch: vec![] })
            }
            _ => return None,
        })
    }

    /// A cell without a value.
    fn push_default(&mut self) {
        each_values!(self, bits => bits.append(false), v => v.push(Default::default()), run => run.end_cell(),
            list => list.end_cell());
    }
}

impl OpenColumn {
    /// An empty column; `None` for an Arrow type the decoder never makes.
    pub fn new(data_type: &DataType) -> Option<Self> {
        let values = Values::new(data_type)?;
        Some(Self { data_type: data_type.clone(), values, nulls: NullBufferBuilder::new(0), last: (0, 0) })
    }

    /// Makes room for as much as the last batch held; called when the first row of a batch arrives.
    pub fn reserve(&mut self) {
        let (rows, bytes) = self.last;
        each_values!(&mut self.values, bits => bits.reserve(rows), v => v.reserve_exact(rows), run => {
            run.offsets.reserve_exact(rows);
            run.data.reserve_exact(bytes);
        }, list => {
            list.offsets.reserve_exact(rows);
            list.items.reserve();
        });
    }

    /// Cells.
    pub fn len(&self) -> usize {
        self.extent().0
    }

    fn extent(&self) -> (usize, usize) {
        each_values!(&self.values, bits => (bits.len(), 0), v => (v.len(), 0),
            run => (run.offsets.len() - 1, run.data.len()), list => (list.offsets.len() - 1, 0))
    }

    /// A NULL.
    #[inline]
    pub fn push_null(&mut self) {
        self.nulls.append_null();
        self.values.push_default();
    }

    /// A cell that stands for a value the column cannot hold: `rows` cells are kept, and it is the next one.
    #[cold]
    pub fn push_placeholder(&mut self, rows: usize, nullable: bool) {
        self.truncate(rows);
        self.nulls.append(!nullable);
        self.values.push_default();
    }

    /// Shortens the column to `rows`. A value that was begun and not ended goes, too.
    pub fn truncate(&mut self, rows: usize) {
        each_values!(&mut self.values, bits => bits.truncate(rows), v => v.truncate(rows), run => {
            run.offsets.truncate(rows + 1);
            run.data.truncate(run.offsets.last().map_or(0, |end| *end as usize));
        }, list => {
            list.offsets.truncate(rows + 1);
            list.items.truncate(list.offsets.last().map_or(0, |end| *end as usize));
        });
        self.nulls.truncate(rows);
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let values = each_values!(&self.values, bits => bits.capacity() / 8, v => bytes_of(v),
            run => run.data.capacity() + run.offsets.capacity() * 4,
            list => list.offsets.capacity() * 4 + list.items.memory() + list.scratch.capacity());
        values + self.nulls.allocated_size()
    }

    /// Takes the values out as an Arrow array and leaves the column empty, with room for about as many.
    ///
    /// # Errors
    /// The row and the reason, when a text is not UTF-8.
    pub fn finish(&mut self) -> Result<ArrayRef, (usize, BadValue)> {
        self.last = self.extent();
        let nulls = self.nulls.finish();
        let data_type = &self.data_type;
        Ok(match (&mut self.values, data_type) {
            (Values::Run(run), DataType::Utf8) => return text(run, nulls),
            (Values::Run(run), _) => Arc::new(BinaryArray::new(run.take_offsets(), run.take_data(), nulls)),
            (Values::Bool(bits), _) => Arc::new(BooleanArray::new(bits.finish(), nulls)),
            (Values::I32(v), DataType::Date32) => primitive::<Date32Type>(v, nulls, data_type),
            (Values::I64(v), DataType::Timestamp(..)) => primitive::<TimestampMicrosecondType>(v, nulls, data_type),
            (Values::I64(v), DataType::Time64(_)) => primitive::<Time64MicrosecondType>(v, nulls, data_type),
            (Values::I16(v), _) => primitive::<Int16Type>(v, nulls, data_type),
            (Values::I32(v), _) => primitive::<Int32Type>(v, nulls, data_type),
            (Values::U32(v), _) => primitive::<UInt32Type>(v, nulls, data_type),
            (Values::I64(v), _) => primitive::<Int64Type>(v, nulls, data_type),
            (Values::U64(v), _) => primitive::<UInt64Type>(v, nulls, data_type),
            (Values::F32(v), _) => primitive::<Float32Type>(v, nulls, data_type),
            (Values::F64(v), _) => primitive::<Float64Type>(v, nulls, data_type),
            (Values::I128(v), _) => primitive::<Decimal128Type>(v, nulls, data_type),
            (Values::I256(v), _) => primitive::<Decimal256Type>(v, nulls, data_type),
            (Values::List(list), DataType::List(item)) => return list.finish(item.clone(), nulls),
            (Values::List(_), _) => unreachable!("invariant: lists are made for list types only"),
        })
    }
}

fn bytes_of<T>(values: &Vec<T>) -> usize {
    values.capacity() * size_of::<T>()
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let values = ScalarBuffer::from(std::mem::take(values));
    Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(data_type.clone()))
}

/// Arrow checks the text as a whole; only when that fails is the row looked for.
fn text(run: &mut ByteRun, nulls: Option<NullBuffer>) -> Result<ArrayRef, (usize, BadValue)> {
    let (offsets, data) = (run.take_offsets(), run.take_data());
    match StringArray::try_new(offsets.clone(), data.clone(), nulls) {
        Ok(array) => Ok(Arc::new(array)),
        Err(_) => {
            let cell = |row: usize| &data[offsets[row] as usize..offsets[row + 1] as usize];
            let row = (0..offsets.len() - 1).find(|row| std::str::from_utf8(cell(*row)).is_err()).unwrap_or(0);
            Err((row, BadValue::not_utf8(cell(row))))
        }
    }
}

impl ByteRun {
    fn take_offsets(&mut self) -> OffsetBuffer<i32> {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        OffsetBuffer::new(ScalarBuffer::from(offsets))
    }

    fn take_data(&mut self) -> Buffer {
        Buffer::from_vec(std::mem::take(&mut self.data))
    }

    /// Ends a string whose bytes were put into `data`; [`ByteRun::has_room`] was asked before.
    #[inline]
    pub fn end_cell(&mut self) {
        self.offsets.push(self.data.len() as i32);
    }

    /// Whether a string of so many bytes more still fits into the offsets' type.
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.data.len() + bytes <= i32::MAX as usize
    }
}

impl OpenList {
    fn end_cell(&mut self) {
        self.offsets.push(self.items.len() as i32);
    }

    /// Ends a list whose items were appended.
    ///
    /// # Errors
    /// When one batch has more than 2^31 items.
    pub fn end(&mut self) -> Result<(), BadValue> {
        if self.items.len() > i32::MAX as usize {
            return Err(BadValue::corrupt("an array of more than 2^31 elements"));
        }
        self.end_cell();
        Ok(())
    }

    fn finish(
        &mut self,
        item: arrow_schema::FieldRef,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, (usize, BadValue)> {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let items = self.items.finish().map_err(|(at, bad)| {
            let row = offsets.partition_point(|end| *end as usize <= at);
            (row.saturating_sub(1), bad)
        })?;
        Ok(Arc::new(ListArray::new(item, OffsetBuffer::new(ScalarBuffer::from(offsets)), items, nulls)))
    }
}
