//! JSON of columns whose cells have parts. No source has them, expressions make them.

use super::{write_json_string, write_json_value};
use arrow_array::cast::AsArray;
use arrow_array::{Array, MapArray, StructArray};
use arrow_schema::{DataType, Field};

/// Appends a cell of a list, struct or map; false, with nothing appended, for a column that is none of them.
pub(super) fn write(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> bool {
    match column.data_type() {
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) if column.is_null(row) => {
            out.extend_from_slice(b"null");
        }
        DataType::List(item) => write_list(item, column.as_list::<i32>().value(row).as_ref(), out),
        DataType::Struct(_) => write_struct(column.as_struct(), row, out),
        DataType::Map(..) => write_map(column.as_map(), row, out),
        _ => return false,
    }
    true
}

fn write_list(item: &Field, items: &dyn Array, out: &mut Vec<u8>) {
    out.push(b'[');
    for index in 0..items.len() {
        if index > 0 {
            out.push(b',');
        }
        write_json_value(item, items, index, out);
    }
    out.push(b']');
}

fn write_struct(column: &StructArray, row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (field, values)) in column.fields().iter().zip(column.columns()).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json_string(field.name(), out);
        out.push(b':');
        write_json_value(field, values.as_ref(), row, out);
    }
    out.push(b'}');
}

fn write_map(column: &MapArray, row: usize, out: &mut Vec<u8>) {
    let (key_field, value_field) = column.entries_fields();
    let entries = column.value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let mut key = Vec::new();
    out.push(b'{');
    for index in 0..entries.len() {
        if index > 0 {
            out.push(b',');
        }
        key.clear();
        write_json_value(key_field, keys.as_ref(), index, &mut key);
        // A name must be a string: what is not one already is quoted with its JSON form as the text.
        if key.first() == Some(&b'"') {
            out.extend_from_slice(&key);
        } else {
            write_json_string(&String::from_utf8_lossy(&key), out);
        }
        out.push(b':');
        write_json_value(value_field, values.as_ref(), index, out);
    }
    out.push(b'}');
}
