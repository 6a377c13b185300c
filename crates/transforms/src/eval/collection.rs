//! ARRAY, MAP and ROW.

use super::{Args, Evaluated, Kernel, arrow_error, bad_argument, boolean_rows, primitive_rows};
use crate::types::Type;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, UInt32Array};
use arrow_buffer::OffsetBuffer;
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType, SortOptions};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use dujiang_core::{Code, Error};
use std::cmp::Ordering;
use std::sync::Arc;

fn wrong(what: &str) -> Error {
    Error::new(Code::Bug, format!("{what} has another type than it was compiled for"))
}

/// The arguments `which`, row by row one after the other.
fn interleaved(args: &Args, which: &[usize]) -> Evaluated {
    let arrays: Vec<&dyn Array> = which.iter().map(|i| args.raw(*i).0.as_ref()).collect();
    let mut places = Vec::with_capacity(args.rows * which.len());
    for row in 0..args.rows {
        places.extend(which.iter().enumerate().map(|(nth, i)| (nth, if args.raw(*i).1 { 0 } else { row })));
    }
    if places.is_empty() {
        return Ok(arrow_array::new_empty_array(arrays[0].data_type()));
    }
    interleave(&arrays, &places).map_err(arrow_error)
}

fn every(rows: usize, count: usize) -> OffsetBuffer<i32> {
    OffsetBuffer::from_lengths(std::iter::repeat_n(count, rows))
}

/// ARRAY[...]
pub(crate) fn array(out: &Type) -> Kernel {
    let ty = out.arrow();
    Arc::new(move |args: &Args| {
        let DataType::List(field) = &ty else { return Err(wrong("an ARRAY")) };
        let which: Vec<usize> = (0..args.len()).collect();
        let list = ListArray::try_new(field.clone(), every(args.rows, which.len()), interleaved(args, &which)?, None);
        Ok(Arc::new(list.map_err(arrow_error)?))
    })
}

/// MAP[...]: all keys, then all values.
pub(crate) fn map(out: &Type) -> Kernel {
    let ty = out.arrow();
    Arc::new(move |args: &Args| {
        let DataType::Map(entries, _) = &ty else { return Err(wrong("a MAP")) };
        let DataType::Struct(fields) = entries.data_type() else { return Err(wrong("a MAP")) };
        let count = args.len() / 2;
        let keys = interleaved(args, &(0..count).collect::<Vec<_>>())?;
        if keys.null_count() > 0 {
            return Err(bad_argument("a key of a MAP is NULL"));
        }
        let values = interleaved(args, &(count..2 * count).collect::<Vec<_>>())?;
        let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None).map_err(arrow_error)?;
        let map = MapArray::try_new(entries.clone(), every(args.rows, count), pairs, None, false);
        Ok(Arc::new(map.map_err(arrow_error)?))
    })
}

/// ROW(...)
pub(crate) fn row(out: &Type) -> Kernel {
    let ty = out.arrow();
    Arc::new(move |args: &Args| {
        let DataType::Struct(fields) = &ty else { return Err(wrong("a ROW")) };
        let columns: Result<Vec<ArrayRef>, Error> = (0..args.len()).map(|i| interleaved(args, &[i])).collect();
        Ok(Arc::new(StructArray::try_new(fields.clone(), columns?, None).map_err(arrow_error)?))
    })
}

/// A field of a ROW: NULL where the ROW is.
pub(crate) fn field(at: usize) -> Kernel {
    Arc::new(move |args: &Args| {
        let (array, one) = args.raw(0);
        let row = array.as_struct();
        let picks: UInt32Array =
            (0..args.rows).map(|r| if one { 0 } else { r }).map(|r| row.is_valid(r).then_some(r as u32)).collect();
        take(row.column(at), &picks, None).map_err(arrow_error)
    })
}

/// The items of a list, by the place each row wants of its own.
fn pick(args: &Args, mut place: impl FnMut(&ListArray, usize, usize) -> Result<Option<u32>, Error>) -> Evaluated {
    let (array, one) = args.raw(0);
    let list = array.as_list::<i32>();
    let picks = (0..args.rows).map(|row| {
        let at = if one { 0 } else { row };
        if list.is_null(at) { Ok(None) } else { place(list, at, row) }
    });
    let picks = picks.collect::<Result<UInt32Array, Error>>()?;
    take(list.values(), &picks, None).map_err(arrow_error)
}

/// `array[index]`, counted from 1; NULL beyond the ends.
pub(crate) fn element() -> Kernel {
    Arc::new(|args: &Args| {
        let indices = args.longs(1);
        pick(args, |list, at, row| {
            let Some(index) = indices.get(row) else { return Ok(None) };
            let length = i64::from(list.value_length(at));
            let inside = (1..=length).contains(&index);
            Ok(inside.then(|| (i64::from(list.value_offsets()[at]) + index - 1) as u32))
        })
    })
}

/// ELEMENT(array): its only item.
pub(crate) fn only_element() -> Kernel {
    Arc::new(|args: &Args| {
        pick(args, |list, at, _| match list.value_length(at) {
            0 => Ok(None),
            1 => Ok(Some(list.value_offsets()[at] as u32)),
            many => Err(bad_argument(format!("ELEMENT needs an ARRAY of one item, and this one has {many}"))),
        })
    })
}

/// CARDINALITY of an ARRAY or a MAP.
pub(crate) fn cardinality() -> Kernel {
    Arc::new(|args: &Args| {
        let (array, one) = args.raw(0);
        primitive_rows::<Int32Type>(args.rows, DataType::Int32, |row| {
            let at = if one { 0 } else { row };
            Ok(array.is_valid(at).then(|| match array.data_type() {
                DataType::Map(..) => array.as_map().value_length(at),
                _ => array.as_list::<i32>().value_length(at),
            }))
        })
    })
}

/// ARRAY_CONTAINS and ARRAY_POSITION: as PostgreSQL's `array_position`, a NULL is found where it is searched.
pub(crate) fn search(contains: bool) -> Kernel {
    Arc::new(move |args: &Args| {
        let ((array, one), (needles, one_needle)) = (args.raw(0), args.raw(1));
        let list = array.as_list::<i32>();
        let equal = make_comparator(list.values(), needles, SortOptions::default()).map_err(arrow_error)?;
        let found = |row: usize| -> Option<Option<i32>> {
            let at = if one { 0 } else { row };
            if list.is_null(at) {
                return None;
            }
            let needle = if one_needle { 0 } else { row };
            let (start, end) = (list.value_offsets()[at], list.value_offsets()[at + 1]);
            Some((start..end).find(|i| equal(*i as usize, needle) == Ordering::Equal).map(|i| i - start + 1))
        };
        if contains {
            boolean_rows(args.rows, |row| Ok(found(row).map(|place| place.is_some())))
        } else {
            primitive_rows::<Int32Type>(args.rows, DataType::Int32, |row| Ok(found(row).flatten()))
        }
    })
}

/// `map[key]`: NULL when the key is not there.
pub(crate) fn lookup() -> Kernel {
    Arc::new(|args: &Args| {
        let ((array, one), (wanted, one_wanted)) = (args.raw(0), args.raw(1));
        let map = array.as_map();
        let equal = make_comparator(map.keys(), wanted, SortOptions::default()).map_err(arrow_error)?;
        let picks: UInt32Array = (0..args.rows)
            .map(|row| {
                let at = if one { 0 } else { row };
                let key = if one_wanted { 0 } else { row };
                if map.is_null(at) || wanted.is_null(key) {
                    return None;
                }
                let (start, end) = (map.value_offsets()[at], map.value_offsets()[at + 1]);
                (start..end).rev().find(|i| equal(*i as usize, key) == Ordering::Equal).map(|i| i as u32)
            })
            .collect();
        take(map.values(), &picks, None).map_err(arrow_error)
    })
}

/// An ARRAY with items of another, wider type.
pub(crate) fn cast(to: &Type) -> Kernel {
    let ty = to.arrow();
    Arc::new(move |args: &Args| {
        let (array, one) = args.raw(0);
        let cast = super::cast::arrow_cast(array, &ty)?;
        if !one {
            return Ok(cast);
        }
        take(&cast, &UInt32Array::from(vec![0; args.rows]), None).map_err(arrow_error)
    })
}
