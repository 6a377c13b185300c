//! Columns that grow cell by cell, and shrink again when a message turns out to be bad.

use arrow_array::{ArrayRef, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, i256};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use dujiang_core::{Code, Error, Result};

/// A column while it is built.
#[derive(Debug)]
pub(super) struct Column {
    data_type: DataType,
    valid: Vec<bool>,
    pub(super) cells: Growing,
}

/// The values of a column; a NULL has one, too.
#[derive(Debug)]
pub(super) enum Growing {
    Boolean(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    I256(Vec<i256>),
    /// Text or bytes: where each value ends, and all of them.
    Bytes(Vec<i32>, Vec<u8>),
    /// Where the items of each value end, and all of them.
    List(Vec<i32>, Box<Column>),
}

impl Column {
    /// None for a type that no message can hold.
    pub(super) fn new(data_type: &DataType) -> Option<Self> {
        let cells = match data_type {
            DataType::Boolean => Growing::Boolean(Vec::new()),
            DataType::Int8 => Growing::I8(Vec::new()),
            DataType::Int16 => Growing::I16(Vec::new()),
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => Growing::I32(Vec::new()),
            DataType::Int64 | DataType::Time64(_) | DataType::Timestamp(..) | DataType::Duration(_) => {
                Growing::I64(Vec::new())
            }
            DataType::UInt8 => Growing::U8(Vec::new()),
            DataType::UInt16 => Growing::U16(Vec::new()),
            DataType::UInt32 => Growing::U32(Vec::new()),
            DataType::UInt64 => Growing::U64(Vec::new()),
            DataType::Float32 => Growing::F32(Vec::new()),
            DataType::Float64 => Growing::F64(Vec::new()),
            DataType::Decimal128(..) => Growing::I128(Vec::new()),
            DataType::Decimal256(..) => Growing::I256(Vec::new()),
            DataType::Utf8 | DataType::Binary => Growing::Bytes(Vec::new(), Vec::new()),
            DataType::List(item) => Growing::List(Vec::new(), Box::new(Self::new(item.data_type())?)),
            _ => return None,
        };
        Some(Self { data_type: data_type.clone(), valid: Vec::new(), cells })
    }

    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// The value appended to `cells` last is a cell.
    pub(super) fn end(&mut self) {
        self.valid.push(true);
    }

    pub(super) fn push_null(&mut self) {
        match &mut self.cells {
            Growing::Boolean(values) => values.push(false),
            Growing::I8(values) => values.push(0),
            Growing::I16(values) => values.push(0),
            Growing::I32(values) => values.push(0),
            Growing::I64(values) => values.push(0),
            Growing::U8(values) => values.push(0),
            Growing::U16(values) => values.push(0),
            Growing::U32(values) => values.push(0),
            Growing::U64(values) => values.push(0),
            Growing::F32(values) => values.push(0.0),
            Growing::F64(values) => values.push(0.0),
            Growing::I128(values) => values.push(0),
            Growing::I256(values) => values.push(i256::ZERO),
            Growing::Bytes(ends, bytes) => ends.push(bytes.len() as i32),
            Growing::List(ends, items) => ends.push(items.len() as i32),
        }
        self.valid.push(false);
    }

    /// Forgets the cells behind the first `rows`, and what was begun behind them.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.valid.truncate(rows);
        match &mut self.cells {
            Growing::Boolean(values) => values.truncate(rows),
            Growing::I8(values) => values.truncate(rows),
            Growing::I16(values) => values.truncate(rows),
            Growing::I32(values) => values.truncate(rows),
            Growing::I64(values) => values.truncate(rows),
            Growing::U8(values) => values.truncate(rows),
            Growing::U16(values) => values.truncate(rows),
            Growing::U32(values) => values.truncate(rows),
            Growing::U64(values) => values.truncate(rows),
            Growing::F32(values) => values.truncate(rows),
            Growing::F64(values) => values.truncate(rows),
            Growing::I128(values) => values.truncate(rows),
            Growing::I256(values) => values.truncate(rows),
            Growing::Bytes(ends, bytes) => {
                ends.truncate(rows);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Growing::List(ends, items) => {
                ends.truncate(rows);
                items.truncate(ends.last().map_or(0, |end| *end as usize));
            }
        }
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        let values = match &self.cells {
            Growing::Boolean(values) => values.capacity(),
            Growing::I8(values) => values.capacity(),
            Growing::I16(values) => values.capacity() * 2,
            Growing::I32(values) => values.capacity() * 4,
            Growing::I64(values) => values.capacity() * 8,
            Growing::U8(values) => values.capacity(),
            Growing::U16(values) => values.capacity() * 2,
            Growing::U32(values) => values.capacity() * 4,
            Growing::U64(values) => values.capacity() * 8,
            Growing::F32(values) => values.capacity() * 4,
            Growing::F64(values) => values.capacity() * 8,
            Growing::I128(values) => values.capacity() * 16,
            Growing::I256(values) => values.capacity() * 32,
            Growing::Bytes(ends, bytes) => ends.capacity() * 4 + bytes.capacity(),
            Growing::List(ends, items) => ends.capacity() * 4 + items.memory(),
        };
        values + self.valid.capacity()
    }

    /// The column so far; begins anew.
    pub(super) fn take(&mut self) -> Result<ArrayRef> {
        self.data().map(make_array)
    }

    fn data(&mut self) -> Result<ArrayData> {
        let valid = std::mem::take(&mut self.valid);
        let builder = ArrayData::builder(self.data_type.clone()).len(valid.len());
        let builder = match &mut self.cells {
            Growing::Boolean(values) => builder.add_buffer(BooleanBuffer::from(std::mem::take(values)).into_inner()),
            Growing::I8(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::I16(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::I32(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::I64(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::U8(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::U16(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::U32(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::U64(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::F32(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::F64(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::I128(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::I256(values) => builder.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Growing::Bytes(ends, bytes) => {
                builder.add_buffer(offsets(ends)).add_buffer(Buffer::from_vec(std::mem::take(bytes)))
            }
            Growing::List(ends, items) => builder.add_buffer(offsets(ends)).add_child_data(items.data()?),
        };
        let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
        let built = builder.nulls(nulls).build();
        built.map_err(|e| Error::new(Code::Bug, "decoded cells make no column").with_source(e))
    }
}

fn offsets(ends: &mut Vec<i32>) -> Buffer {
    ends.insert(0, 0);
    Buffer::from_vec(std::mem::take(ends))
}
