//! What the server must be told to get a carried value back: its oracle.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float32Type, Float64Type, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_schema::{DataType, Field};
use dujiang_core::text::write_plain_value;

/// The text of a cell in the server's own input syntax.
pub fn of(field: &Field, column: &dyn Array, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Binary => {
            let bytes = column.as_binary::<i32>().value(row);
            format!("\\x{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
        }
        DataType::Float32 => {
            format!("{:?}", column.as_primitive::<Float32Type>().value(row)).replace("inf", "Infinity")
        }
        DataType::Float64 => {
            format!("{:?}", column.as_primitive::<Float64Type>().value(row)).replace("inf", "Infinity")
        }
        DataType::Date32 => day(column.as_primitive::<Date32Type>().value(row).into()).join(""),
        DataType::Time64(_) => clock(column.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(_, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let [date, era] = day(micros.div_euclid(86_400_000_000));
            let zone = if zone.is_some() { "+00" } else { "" };
            format!("{date} {}{zone}{era}", clock(micros.rem_euclid(86_400_000_000)))
        }
        DataType::List(item) => list(item, column.as_list::<i32>().value(row).as_ref(), field),
        _ => {
            let mut out = Vec::new();
            write_plain_value(field, column, row, &mut out);
            String::from_utf8(out).unwrap()
        }
    })
}

fn list(item: &Field, items: &dyn Array, field: &Field) -> String {
    let element = |at| match of(item, items, at) {
        None => "NULL".to_owned(),
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    let source = field.metadata().get("dujiang.source_type").map_or("", String::as_str);
    let delimiter = if source.starts_with("box") { ";" } else { "," };
    format!("{{{}}}", (0..items.len()).map(element).collect::<Vec<_>>().join(delimiter))
}

fn clock(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, micros % 1_000_000)
}

/// A date, and its era. Counts day by day of a 400-year cycle, unlike the decoder.
fn day(days: i64) -> [String; 2] {
    let from_2000 = days - 10_957;
    let (cycle, mut rest) = (from_2000.div_euclid(146_097), from_2000.rem_euclid(146_097));
    let mut year = 2000 + cycle * 400;
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while rest >= 365 + i64::from(leap(year)) {
        rest -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    let (shown, era) = if year < 1 { (1 - year, " BC") } else { (year, "") };
    [format!("{shown:04}-{month:02}-{:02}", rest + 1), era.to_owned()]
}
