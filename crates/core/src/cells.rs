//! One column of a batch with its type looked up once, so that rows can be read without asking again.
//!
//! Text, keys and encoders all read cells through [`Cells`]; it is therefore also the list of the Arrow types that a
//! pipeline can carry.

use crate::codes::Code;
use crate::error::{Error, Result};
use crate::schema::{self, TableSchema};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, BinaryViewArray, BooleanArray, FixedSizeBinaryArray};
use arrow_array::{ArrowPrimitiveType, StringViewArray};
use arrow_array::{GenericBinaryArray, GenericStringArray};
use arrow_buffer::{NullBuffer, i256};
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use std::ops::Range;

/// A column ready to be read row by row.
#[derive(Debug, Clone)]
pub struct Cells<'a> {
    nulls: Option<NullBuffer>,
    logical: Option<&'a str>,
    values: Values<'a>,
}

/// The values of a column, by the way they are read. The value of a NULL cell is undefined.
#[derive(Debug, Clone)]
pub enum Values<'a> {
    /// A column without values.
    Null,
    /// True or false.
    Boolean(&'a BooleanArray),
    /// Signed, 1 byte.
    I8(&'a [i8]),
    /// Signed, 2 bytes.
    I16(&'a [i16]),
    /// Signed, 4 bytes.
    I32(&'a [i32]),
    /// Signed, 8 bytes.
    I64(&'a [i64]),
    /// Unsigned, 1 byte.
    U8(&'a [u8]),
    /// Unsigned, 2 bytes.
    U16(&'a [u16]),
    /// Unsigned, 4 bytes.
    U32(&'a [u32]),
    /// Unsigned, 8 bytes.
    U64(&'a [u64]),
    /// Binary floating point, 4 bytes.
    F32(&'a [f32]),
    /// Binary floating point, 8 bytes.
    F64(&'a [f64]),
    /// Up to 38 decimal digits, and how many of them follow the point.
    Decimal128(&'a [i128], i8),
    /// Up to 76 decimal digits, and how many of them follow the point.
    Decimal256(&'a [i256], i8),
    /// UTF-8.
    Text(Texts<'a>),
    /// Bytes.
    Binary(Binaries<'a>),
    /// Days since 1970-01-01.
    Date(&'a [i32]),
    /// Time of day.
    TimeOfDay(Ticks<'a>),
    /// Wall clock without a zone.
    LocalTime(Ticks<'a>),
    /// A point in time, counted from 1970-01-01 UTC.
    Instant(Ticks<'a>),
    /// A length of time.
    Duration(Ticks<'a>),
    /// Each row's index into the values of another column.
    Dictionary(DictionaryKeys<'a>, Box<Cells<'a>>),
    /// An ARRAY a row.
    List(Ranges<'a>, Box<Cells<'a>>),
    /// A MAP a row: keys and values.
    Map(Ranges<'a>, Box<(Cells<'a>, Cells<'a>)>),
    /// A ROW within the row: names and columns.
    Row(Vec<(&'a str, Cells<'a>)>),
}

/// Where the items of each row stand in the column of all items.
#[derive(Debug, Clone, Copy)]
pub struct Ranges<'a>(&'a [i32]);

impl Ranges<'_> {
    /// The places of a row's items.
    #[inline]
    pub fn get(&self, row: usize) -> Range<usize> {
        self.0[row] as usize..self.0[row + 1] as usize
    }
}

/// Text by its three layouts.
#[derive(Debug, Clone, Copy)]
pub enum Texts<'a> {
    /// 32-bit offsets.
    Small(&'a GenericStringArray<i32>),
    /// 64-bit offsets.
    Large(&'a GenericStringArray<i64>),
    /// Views.
    View(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    /// The text of a row.
    #[inline]
    pub fn get(&self, row: usize) -> &'a str {
        match self {
            Texts::Small(a) => a.value(row),
            Texts::Large(a) => a.value(row),
            Texts::View(a) => a.value(row),
        }
    }
}

/// Bytes by their four layouts.
#[derive(Debug, Clone, Copy)]
pub enum Binaries<'a> {
    /// 32-bit offsets.
    Small(&'a GenericBinaryArray<i32>),
    /// 64-bit offsets.
    Large(&'a GenericBinaryArray<i64>),
    /// Views.
    View(&'a BinaryViewArray),
    /// All of one length.
    Fixed(&'a FixedSizeBinaryArray),
}

impl<'a> Binaries<'a> {
    /// The bytes of a row.
    #[inline]
    pub fn get(&self, row: usize) -> &'a [u8] {
        match self {
            Binaries::Small(a) => a.value(row),
            Binaries::Large(a) => a.value(row),
            Binaries::View(a) => a.value(row),
            Binaries::Fixed(a) => a.value(row),
        }
    }
}

/// Counts of a unit of time.
#[derive(Debug, Clone, Copy)]
pub struct Ticks<'a> {
    counts: Counts<'a>,
    /// The unit of the counts.
    pub unit: TimeUnit,
}

#[derive(Debug, Clone, Copy)]
enum Counts<'a> {
    Short(&'a [i32]),
    Long(&'a [i64]),
}

impl Ticks<'_> {
    /// The count of a row.
    #[inline]
    pub fn get(&self, row: usize) -> i64 {
        match self.counts {
            Counts::Short(values) => i64::from(values[row]),
            Counts::Long(values) => values[row],
        }
    }
}

/// Indices of a dictionary column by their width.
#[derive(Debug, Clone, Copy)]
pub enum DictionaryKeys<'a> {
    /// 1 byte, signed.
    I8(&'a [i8]),
    /// 2 bytes, signed.
    I16(&'a [i16]),
    /// 4 bytes, signed.
    I32(&'a [i32]),
    /// 4 bytes, unsigned.
    U32(&'a [u32]),
}

impl DictionaryKeys<'_> {
    /// The index of a row that is not NULL.
    #[inline]
    pub fn get(&self, row: usize) -> usize {
        match self {
            DictionaryKeys::I8(keys) => keys[row] as usize,
            DictionaryKeys::I16(keys) => keys[row] as usize,
            DictionaryKeys::I32(keys) => keys[row] as usize,
            DictionaryKeys::U32(keys) => keys[row] as usize,
        }
    }
}

impl<'a> Cells<'a> {
    /// Looks up the type of a column.
    ///
    /// # Errors
    /// [`Code::UnknownType`] for an Arrow type that no source and no expression of this project uses.
    pub fn new(field: &'a Field, column: &'a dyn Array) -> Result<Self> {
        let values = values(column).ok_or_else(|| unknown(field))?;
        Ok(Self { nulls: column.logical_nulls(), logical: schema::logical(field), values })
    }

    /// Whether the cell is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The values.
    #[inline]
    pub fn values(&self) -> &Values<'a> {
        &self.values
    }

    /// What [`schema::META_LOGICAL`] says of the column.
    #[inline]
    pub fn logical(&self) -> Option<&'a str> {
        self.logical
    }
}

/// Whether every column of a table has a type that [`Cells`] can read.
///
/// # Errors
/// [`Code::UnknownType`] naming the column.
pub fn check_types(table: &TableSchema) -> Result<()> {
    for field in table.arrow.fields() {
        Cells::new(field, arrow_array::new_empty_array(field.data_type()).as_ref())
            .map_err(|e| e.fact("table", table.id.to_string()))?;
    }
    Ok(())
}

fn unknown(field: &Field) -> Error {
    Error::new(Code::UnknownType, format!("column `{}` has a type that cannot be carried", field.name()))
        .fact("type", field.data_type().to_string())
        .help("leave the column out with a projection, or report the type")
}

fn slice<T: ArrowPrimitiveType>(column: &dyn Array) -> &[T::Native] {
    column.as_primitive::<T>().values()
}

/// A column that is part of another one's cells.
fn part<'a>(field: &'a Field, column: &'a dyn Array) -> Option<Cells<'a>> {
    Some(Cells { nulls: column.logical_nulls(), logical: schema::logical(field), values: values(column)? })
}

fn values<'a>(column: &'a dyn Array) -> Option<Values<'a>> {
    Some(match column.data_type() {
        DataType::Null => Values::Null,
        DataType::Boolean => Values::Boolean(column.as_boolean()),
        DataType::Int8 => Values::I8(slice::<Int8Type>(column)),
        DataType::Int16 => Values::I16(slice::<Int16Type>(column)),
        DataType::Int32 => Values::I32(slice::<Int32Type>(column)),
        DataType::Int64 => Values::I64(slice::<Int64Type>(column)),
        DataType::UInt8 => Values::U8(slice::<UInt8Type>(column)),
        DataType::UInt16 => Values::U16(slice::<UInt16Type>(column)),
        DataType::UInt32 => Values::U32(slice::<UInt32Type>(column)),
        DataType::UInt64 => Values::U64(slice::<UInt64Type>(column)),
        DataType::Float32 => Values::F32(slice::<Float32Type>(column)),
        DataType::Float64 => Values::F64(slice::<Float64Type>(column)),
        DataType::Decimal128(_, scale) => Values::Decimal128(slice::<Decimal128Type>(column), *scale),
        DataType::Decimal256(_, scale) => Values::Decimal256(slice::<Decimal256Type>(column), *scale),
        DataType::Utf8 => Values::Text(Texts::Small(column.as_string())),
        DataType::LargeUtf8 => Values::Text(Texts::Large(column.as_string())),
        DataType::Utf8View => Values::Text(Texts::View(column.as_string_view())),
        DataType::Binary => Values::Binary(Binaries::Small(column.as_binary())),
        DataType::LargeBinary => Values::Binary(Binaries::Large(column.as_binary())),
        DataType::BinaryView => Values::Binary(Binaries::View(column.as_binary_view())),
        DataType::FixedSizeBinary(_) => Values::Binary(Binaries::Fixed(column.as_fixed_size_binary())),
        DataType::Date32 => Values::Date(slice::<Date32Type>(column)),
        DataType::Dictionary(..) => dictionary(column)?,
        DataType::List(item) => {
            let list = column.as_list::<i32>();
            Values::List(Ranges(list.value_offsets()), Box::new(part(item, list.values().as_ref())?))
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let (key, value) = map.entries_fields();
            let parts = (part(key, map.keys().as_ref())?, part(value, map.values().as_ref())?);
            Values::Map(Ranges(map.value_offsets()), Box::new(parts))
        }
        DataType::Struct(fields) => {
            let parts = fields.iter().zip(column.as_struct().columns());
            let named = |(field, values): (&'a FieldRef, &'a ArrayRef)| {
                Some((field.name().as_str(), part(field, values.as_ref())?))
            };
            Values::Row(parts.map(named).collect::<Option<_>>()?)
        }
        _ => times(column)?,
    })
}

fn times(column: &dyn Array) -> Option<Values<'_>> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let long = |counts| Counts::Long(counts);
    let short = |counts| Counts::Short(counts);
    Some(match column.data_type() {
        DataType::Time32(unit) => Values::TimeOfDay(Ticks {
            unit: *unit,
            counts: match unit {
                Second => short(slice::<Time32SecondType>(column)),
                _ => short(slice::<Time32MillisecondType>(column)),
            },
        }),
        DataType::Time64(unit) => Values::TimeOfDay(Ticks {
            unit: *unit,
            counts: match unit {
                Microsecond => long(slice::<Time64MicrosecondType>(column)),
                _ => long(slice::<Time64NanosecondType>(column)),
            },
        }),
        DataType::Timestamp(unit, zone) => {
            let counts = match unit {
                Second => long(slice::<TimestampSecondType>(column)),
                Millisecond => long(slice::<TimestampMillisecondType>(column)),
                Microsecond => long(slice::<TimestampMicrosecondType>(column)),
                Nanosecond => long(slice::<TimestampNanosecondType>(column)),
            };
            let ticks = Ticks { unit: *unit, counts };
            if zone.is_some() { Values::Instant(ticks) } else { Values::LocalTime(ticks) }
        }
        DataType::Duration(unit) => Values::Duration(Ticks {
            unit: *unit,
            counts: match unit {
                Second => long(slice::<DurationSecondType>(column)),
                Millisecond => long(slice::<DurationMillisecondType>(column)),
                Microsecond => long(slice::<DurationMicrosecondType>(column)),
                Nanosecond => long(slice::<DurationNanosecondType>(column)),
            },
        }),
        _ => return None,
    })
}

fn dictionary(column: &dyn Array) -> Option<Values<'_>> {
    let DataType::Dictionary(key, _) = column.data_type() else { return None };
    let (keys, values): (_, &dyn Array) = match key.as_ref() {
        DataType::Int8 => {
            let array = column.as_dictionary::<Int8Type>();
            (DictionaryKeys::I8(array.keys().values()), array.values())
        }
        DataType::Int16 => {
            let array = column.as_dictionary::<Int16Type>();
            (DictionaryKeys::I16(array.keys().values()), array.values())
        }
        DataType::Int32 => {
            let array = column.as_dictionary::<Int32Type>();
            (DictionaryKeys::I32(array.keys().values()), array.values())
        }
        DataType::UInt32 => {
            let array = column.as_dictionary::<UInt32Type>();
            (DictionaryKeys::U32(array.keys().values()), array.values())
        }
        _ => return None,
    };
    let inner = Cells { nulls: values.logical_nulls(), logical: None, values: self::values(values)? };
    Some(Values::Dictionary(keys, Box::new(inner)))
}
