//! Values under another type, or NULL where that type cannot hold them exactly.
//!
//! Arrow's safe cast turns into NULL only what is out of range; it rounds decimals, cuts fractions and times, and takes every
//! number but 0 for true. So a value counts as held when the way back gives it again.

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType, Field, SortOptions};
use dujiang_core::cells::Cells;
use dujiang_core::{Code, Result, ResultExt};
use std::sync::Arc;

/// A column under another type; values that it cannot hold become NULL, for the caller to see. Zones of time are not looked at.
pub(super) fn exactly(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let from = column.data_type();
    if from == wanted {
        return Ok(column.clone());
    }
    // A number is no date, whatever number stands for the date inside; parts of nested values cannot be told of one by one.
    let apart = from.is_temporal() != wanted.is_temporal();
    let nested = (from.is_nested() || wanted.is_nested()) && !from.equals_datatype(wanted);
    if apart || nested || !can_cast_types(from, wanted) {
        return Ok(new_null_array(wanted, column.len()));
    }
    let out = safely(column, wanted)?;
    if (from.is_integer() && wanted.is_integer()) || from.is_nested() {
        return Ok(out);
    }
    if !can_cast_types(wanted, from) {
        return Ok(new_null_array(wanted, column.len()));
    }
    let bent = different(column, &safely(&out, from)?)?;
    without(&out, &bent)
}

/// Every value as plain text.
pub(super) fn text(from: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    let cells = Cells::new(from, column.as_ref())?;
    let mut out = StringBuilder::with_capacity(column.len(), column.len() * 8);
    let mut value = Vec::new();
    for row in 0..column.len() {
        if cells.is_null(row) {
            out.append_null();
            continue;
        }
        value.clear();
        cells.write_plain(row, &mut value);
        out.append_value(String::from_utf8_lossy(&value));
    }
    Ok(Arc::new(out.finish()))
}

/// Text read as another type; text that is not how the value is written becomes NULL (`1.005` for two digits, `007`), but for
/// zeros at the end of a fraction and the letter between date and time.
pub(super) fn read(column: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    let wanted = to.data_type();
    if matches!(wanted, DataType::Binary | DataType::LargeBinary | DataType::BinaryView) {
        return exactly(column, wanted);
    }
    // Text is read as a clock of UTC: only text that ends with `Z` is written so for a point in time.
    let clock = match wanted {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, None),
        _ => wanted.clone(),
    };
    if wanted.is_nested() || !can_cast_types(column.data_type(), &clock) {
        return Ok(new_null_array(wanted, column.len()));
    }
    let mut out = safely(column, &clock)?;
    if clock != *wanted {
        out = safely(&safely(&out, &DataType::Int64)?, wanted)?;
    }
    let back = text(to, &out)?;
    let (before, after) = (column.as_string::<i32>(), back.as_string::<i32>());
    let bent = (0..out.len()).map(|row| out.is_valid(row) && plain(before.value(row)) != plain(after.value(row)));
    without(&out, &bent.map(Some).collect())
}

/// Arrow's cast: what is out of range becomes NULL.
pub(super) fn safely(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..Default::default() };
    cast_with_options(column, wanted, &options)
        .or_code(Code::Bug, || format!("a column of type {} cannot become {wanted}", column.data_type()))
}

/// Text without what does not count, and whether it tells a point in time.
fn plain(text: &str) -> (String, bool) {
    let (text, instant) = text.strip_suffix('Z').map_or((text, false), |text| (text, true));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    (text.replacen('T', " ", 1), instant)
}

fn different(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanArray> {
    let compare = make_comparator(before, after, SortOptions::default())
        .or_code(Code::Bug, || format!("values of type {} cannot be compared", before.data_type()))?;
    let differs = |row| compare(row, row).is_ne() && !(is_nan(before, row) && is_nan(after, row));
    Ok((0..before.len()).map(|row| Some(differs(row))).collect())
}

fn is_nan(column: &ArrayRef, row: usize) -> bool {
    column.is_valid(row)
        && match column.data_type() {
            DataType::Float32 => column.as_primitive::<Float32Type>().value(row).is_nan(),
            DataType::Float64 => column.as_primitive::<Float64Type>().value(row).is_nan(),
            _ => false,
        }
}

fn without(column: &ArrayRef, rows: &BooleanArray) -> Result<ArrayRef> {
    arrow_select::nullif::nullif(column, rows).or_code(Code::Bug, || "take out values that do not fit".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, UInt64Array};
    use std::sync::Arc;

    #[test]
    fn the_ends_of_wide_integers_are_held_by_decimals() {
        let signed: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]));
        let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None]));
        for column in [signed, unsigned] {
            for wanted in [DataType::Decimal128(20, 0), DataType::Decimal128(38, 10), DataType::Decimal256(60, 20)] {
                assert_eq!(exactly(&column, &wanted).unwrap().null_count(), 1, "{} {wanted}", column.data_type());
            }
            assert_eq!(exactly(&column, &DataType::Decimal128(10, 0)).unwrap().null_count(), {
                if column.data_type() == &DataType::Int64 { 3 } else { 2 }
            });
        }
    }

    #[test]
    fn nested_values_of_other_parts_do_not_fit() {
        let list = |item| DataType::new_list(item, true);
        let column = arrow_array::new_empty_array(&list(DataType::Int64));
        assert_eq!(exactly(&column, &list(DataType::Int32)).unwrap().data_type(), &list(DataType::Int32));
        let items = vec![Some(vec![Some(1)])];
        let column: ArrayRef =
            Arc::new(arrow_array::ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>(items));
        assert_eq!(exactly(&column, &list(DataType::Int32)).unwrap().null_count(), 1);
    }
}
