//! One table with extremes, odd values and NULLs in every type, here and at the server.

use crate::support;
use arrow_array::types::*;
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use dujiang_core::ChangeBatch;
use dujiang_scratch::Random;
use std::fmt::Write;
use std::sync::Arc;

pub const ROWS: usize = 96;
const TEXTS: &[&str] = &[
    "",
    "a",
    "A",
    "abc",
    "aBc",
    "a%c",
    "a_c",
    "a\\c",
    "%",
    "_",
    "\\",
    "日本語",
    "Ünïcödé",
    "😀x😀",
    "  padded  ",
    "xxabcxx",
    "12",
    "-7",
    " 42 ",
    "1.5",
    "-0.005",
    "1e3",
    "NaN",
    "Infinity",
    "true",
    "no",
    "2024-02-29",
    "2024-02-30",
    "12:34:56",
    "2024-02-29 23:59:59.999999",
    "it's",
    "\"q\"",
    "tab\there",
    "line\nbreak",
    "abcabcabc",
    "zzz",
    "ab",
    "b",
    "caf\u{e9}",
    "cafe\u{301}",
    "99999999999999999999",
    "a.b+c(d)",
];
const INTS: &[i64] = &[
    0,
    1,
    -1,
    2,
    -2,
    3,
    7,
    10,
    -10,
    100,
    127,
    -128,
    32767,
    -32768,
    2_147_483_647,
    -2_147_483_648,
    i64::MAX,
    i64::MIN,
    1_000_000,
];
const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    2.5,
    -2.5,
    0.1,
    0.2,
    0.3,
    1e15,
    1e-5,
    123456.789,
    1e308,
    -1e308,
    5e-324,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    3.4e38,
    1e20,
    9.999999e14,
    100.0,
    0.0001,
    2147483647.5,
];

pub struct Values {
    random: Random,
}

impl Values {
    fn some<T>(&mut self, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if self.random.chance(12) { None } else { Some(value(&mut self.random)) }
    }

    fn int(&mut self, least: i64, most: i64) -> Option<i64> {
        self.some(|r| {
            let value = if r.chance(50) { r.pick(INTS) } else { r.below(200) as i64 - 100 };
            if (least..=most).contains(&value) { value } else { r.below(20) as i64 - 10 }
        })
    }

    fn decimal(&mut self, digits: u32) -> Option<i128> {
        self.some(|r| {
            let most = 10_i128.pow(digits) - 1;
            match r.below(6) {
                0 => most,
                1 => -most,
                2 => 0,
                3 => (i128::from(r.next()) * i128::from(r.next() >> 3)) % most,
                _ => i128::from(r.below(2_000_000)) - 1_000_000,
            }
        })
    }

    fn micros(&mut self) -> Option<i64> {
        const SECOND: i64 = 1_000_000;
        self.some(|r| match r.below(8) {
            0 => -62_135_596_800 * SECOND,
            1 => 253_402_300_799 * SECOND + 999_999,
            2 => 0,
            3 => -1,
            4 => 951_782_400 * SECOND + r.below(86_400) as i64 * SECOND,
            5 => 1_709_164_800 * SECOND + r.below(3 * 86_400) as i64 * SECOND,
            _ => r.below(4_000_000_000) as i64 * SECOND - 1_000_000_000 * SECOND + r.below(1_000_000) as i64,
        })
    }
}

/// The columns: name, type at the server.
pub const COLUMNS: &[(&str, &str)] = &[
    ("b", "boolean"),
    ("s", "int2"),
    ("i", "int4"),
    ("l", "int8"),
    ("d", "numeric(12,3)"),
    ("w", "numeric(30,6)"),
    ("f", "float4"),
    ("g", "float8"),
    ("t", "text"),
    ("da", "date"),
    ("ti", "time"),
    ("ts", "timestamp"),
    ("tz", "timestamptz"),
];

/// The batch, and the script that makes the same table at the server.
pub fn table(seed: u64) -> (ChangeBatch, String) {
    let mut values = Values { random: Random::new(seed) };
    let (mut fields, mut columns, mut literals) = (Vec::new(), Vec::new(), Vec::new());
    for (name, ty) in COLUMNS {
        for nth in 1..=2 {
            let (array, texts) = column(&mut values, name);
            fields.push(Field::new(format!("{name}{nth}"), array.data_type().clone(), true));
            columns.push(array);
            literals.push((format!("{name}{nth} {ty}"), texts));
        }
    }
    let mut script = String::from("CREATE TABLE t (id int PRIMARY KEY");
    literals.iter().for_each(|(definition, _)| write!(script, ", {definition}").unwrap());
    script.push_str(");\n");
    for row in 0..ROWS {
        let cells: Vec<&str> = literals.iter().map(|(_, texts)| texts[row].as_str()).collect();
        writeln!(script, "INSERT INTO t VALUES ({row}, {});", cells.join(", ")).unwrap();
    }
    script.push_str("ANALYZE t;\n");
    let schema = support::table(Arc::new(Schema::new(fields)));
    let rows = RecordBatch::try_new(schema.arrow.clone(), columns).unwrap();
    (support::batch(&schema, rows), script)
}

pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn column(values: &mut Values, name: &str) -> (ArrayRef, Vec<String>) {
    fn made<T>(make: impl FnMut(usize) -> Option<T>, print: impl Fn(&T) -> String) -> (Vec<Option<T>>, Vec<String>) {
        let all: Vec<Option<T>> = (0..ROWS).map(make).collect();
        let texts = all.iter().map(|v| v.as_ref().map_or("NULL".to_owned(), &print)).collect();
        (all, texts)
    }
    fn numbers<T: ArrowPrimitiveType>(
        (all, texts): (Vec<Option<T::Native>>, Vec<String>),
        ty: DataType,
    ) -> (ArrayRef, Vec<String>) {
        (Arc::new(PrimitiveArray::<T>::from_iter(all).with_data_type(ty)), texts)
    }
    let shifted = |base: &str, micros: i64| {
        let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
        format!("{base} 'epoch' + {days} * interval '1 day' + {rest} * interval '1 microsecond'")
    };
    match name {
        "b" => {
            let (all, texts) = made(|_| values.some(|r| r.chance(50)), |v| v.to_string());
            (Arc::new(BooleanArray::from(all)), texts)
        }
        "s" => numbers::<Int16Type>(
            made(|_| values.int(-32768, 32767).map(|v| v as i16), |v| format!("({v})")),
            DataType::Int16,
        ),
        "i" => numbers::<Int32Type>(
            made(|_| values.int(i32::MIN.into(), i32::MAX.into()).map(|v| v as i32), |v| format!("({v})")),
            DataType::Int32,
        ),
        "l" => numbers::<Int64Type>(made(|_| values.int(i64::MIN, i64::MAX), |v| format!("'{v}'")), DataType::Int64),
        "d" => numbers::<Decimal128Type>(
            made(|_| values.decimal(12), |v| format!("{v}::numeric / 1000")),
            DataType::Decimal128(12, 3),
        ),
        "w" => numbers::<Decimal128Type>(
            made(|_| values.decimal(30), |v| format!("{v}::numeric * 0.000001")),
            DataType::Decimal128(30, 6),
        ),
        "f" => numbers::<Float32Type>(
            made(|_| values.some(|r| r.pick(FLOATS) as f32), |v| format!("'{v}'")),
            DataType::Float32,
        ),
        "g" => {
            numbers::<Float64Type>(made(|_| values.some(|r| r.pick(FLOATS)), |v| format!("'{v}'")), DataType::Float64)
        }
        "t" => {
            let (all, texts) = made(|_| values.some(|r| r.pick(TEXTS)), |v| quoted(v));
            (Arc::new(StringArray::from(all)), texts)
        }
        "da" => numbers::<Date32Type>(
            made(|_| values.micros().map(|m| m.div_euclid(86_400_000_000) as i32), |v| format!("date 'epoch' + ({v})")),
            DataType::Date32,
        ),
        "ti" => numbers::<Time64MicrosecondType>(
            made(
                |_| values.micros().map(|m| m.rem_euclid(86_400_000_000)),
                |v| format!("time '00:00' + {v} * interval '1 microsecond'"),
            ),
            DataType::Time64(TimeUnit::Microsecond),
        ),
        "ts" => numbers::<TimestampMicrosecondType>(
            made(|_| values.micros(), |v| shifted("timestamp", *v)),
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        _ => numbers::<TimestampMicrosecondType>(
            made(|_| values.micros(), |v| shifted("timestamptz", *v)),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
    }
}

pub fn texts() -> &'static [&'static str] {
    TEXTS
}
