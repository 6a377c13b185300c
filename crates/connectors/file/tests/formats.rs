//! P11: what the sink writes, pyarrow and DuckDB read back, value by value.
//!
//! Each generated case is one table in all three formats. The rows go to Python as lists of exact text, by a way of
//! their own (`Cell::exact`, not the sink's encoders); `readers.py` reads the files and compares.

use crate::support::*;
use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder, UInt64Builder};
use arrow_array::*;
use arrow_buffer::NullBuffer;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, TimeUnit};
use dujiang_core::schema::{LOGICAL_JSON, TableId, TableSchema, field};
use dujiang_core::{Epoch, Kind};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// One generated row: a value or NULL for every column of [`columns`].
#[derive(Debug, Clone)]
struct Row {
    flag: Option<bool>,
    tiny: Option<i8>,
    small: Option<u16>,
    int: Option<i32>,
    big: Option<i64>,
    huge: Option<u64>,
    single: Option<f32>,
    double: Option<f64>,
    money: Option<i128>,
    wide: Option<i256>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    date: Option<i32>,
    time: Option<i64>,
    wall: Option<i64>,
    instant: Option<i64>,
    span: Option<i64>,
    document: Option<String>,
    items: Option<Vec<Option<String>>>,
    pairs: Option<BTreeMap<String, Option<i64>>>,
    record: Option<Record>,
}

/// A cell of a ROW column.
#[derive(Debug, Clone)]
struct Record {
    number: Option<i32>,
    at: Option<i64>,
    tags: Option<Vec<Option<u64>>>,
}

const DAY: i64 = 86_400_000_000;
/// The years 1 to 9999, which every reader can hold.
const TIMES: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;
const LONGEST_TIME: i64 = (838 * 3600 + 59 * 60 + 59) * 1_000_000;

fn wide() -> impl Strategy<Value = i256> {
    let digits = "-?[1-9][0-9]{0,64}".prop_map(|d| i256::from_string(&d).unwrap());
    prop_oneof![digits, Just(i256::from_string(&"9".repeat(65)).unwrap()), Just(i256::ZERO)]
}

fn double() -> impl Strategy<Value = f64> {
    let special = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.1];
    prop_oneof![any::<f64>(), prop::sample::select(special)]
}

fn text() -> impl Strategy<Value = String> {
    let special = ["", "\\N", "NULL", "a,\"b\"\r\n", " pad ", "=1+1", "é订😀", "\\", "'", "\t", "null", "nan", "0012"];
    prop_oneof!["[^\0]{0,12}", prop::sample::select(special.to_vec()).prop_map(str::to_owned)]
}

fn record() -> impl Strategy<Value = Record> {
    let tags = prop::collection::vec(prop::option::of(any::<u64>()), 0..3);
    (prop::option::of(any::<i32>()), prop::option::of(TIMES), prop::option::of(tags))
        .prop_map(|(number, at, tags)| Record { number, at, tags })
}

fn row() -> impl Strategy<Value = Row> {
    let opt = |range| prop::option::weighted(0.8, range);
    let numbers = (
        prop::option::of(any::<bool>()),
        prop::option::of(any::<i8>()),
        prop::option::of(any::<u16>()),
        prop::option::of(prop_oneof![any::<i32>(), Just(i32::MIN), Just(i32::MAX)]),
        prop::option::of(prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)]),
        prop::option::of(prop_oneof![any::<u64>(), Just(u64::MAX)]),
        prop::option::of(prop_oneof![any::<f32>(), Just(f32::NAN), Just(0.1)]),
        prop::option::of(double()),
        prop::option::of((-(10i128.pow(38) - 1)..10i128.pow(38)).prop_map(|n| n)),
        prop::option::of(wide()),
    );
    let others = (
        prop::option::weighted(0.8, text()),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
        prop::option::of((TIMES.start / DAY) as i32..(TIMES.end / DAY) as i32),
        opt(0..DAY),
        opt(TIMES),
        opt(TIMES),
        opt(-LONGEST_TIME..LONGEST_TIME + 1),
        prop::option::of(prop::sample::select(vec!["{\"a\": [1, null]}", "[]", "\"x\"", "1.50", "{\"n\":\n{}}"])),
    );
    let nested = (
        prop::option::weighted(0.8, prop::collection::vec(prop::option::of(text()), 0..4)),
        prop::option::weighted(0.8, prop::collection::btree_map(text(), prop::option::of(any::<i64>()), 0..3)),
        prop::option::weighted(0.8, record()),
    );
    (numbers, others, nested).prop_map(|(n, o, nested)| Row {
        flag: n.0,
        tiny: n.1,
        small: n.2,
        int: n.3,
        big: n.4,
        huge: n.5,
        single: n.6,
        double: n.7,
        money: n.8,
        wide: n.9,
        text: o.0,
        bytes: o.1,
        date: o.2,
        time: o.3,
        wall: o.4,
        instant: o.5,
        span: o.6,
        document: o.7.map(str::to_owned),
        items: nested.0,
        pairs: nested.1,
        record: nested.2,
    })
}

fn schema() -> Arc<TableSchema> {
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let types = [
        ("id", DataType::Int64),
        ("flag", DataType::Boolean),
        ("tiny", DataType::Int8),
        ("small", DataType::UInt16),
        ("int", DataType::Int32),
        ("big", DataType::Int64),
        ("huge", DataType::UInt64),
        ("single", DataType::Float32),
        ("double", DataType::Float64),
        ("money", DataType::Decimal128(38, 9)),
        ("wide", DataType::Decimal256(65, 30)),
        ("text", DataType::Utf8),
        ("bytes", DataType::Binary),
        ("date", DataType::Date32),
        ("time", DataType::Time64(TimeUnit::Microsecond)),
        ("wall", micros(None)),
        ("instant", micros(Some("UTC"))),
        ("span", DataType::Duration(TimeUnit::Microsecond)),
    ];
    let mut fields: Vec<_> = types.map(|(name, data_type)| Field::new(name, data_type, name != "id")).into();
    fields.push(field("document", DataType::Utf8, true, "json", Some(LOGICAL_JSON)));
    let nested = [("items", items(&[])), ("pairs", pairs(&[])), ("record", records(&[]))];
    fields.extend(nested.map(|(name, empty)| Field::new(name, empty.data_type().clone(), true)));
    TableSchema::by_value(TableId::new("shop", "all_types"), fields, vec![0])
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let money = Decimal128Array::from_iter(rows.iter().map(|r| r.money)).with_precision_and_scale(38, 9).unwrap();
    let wide = Decimal256Array::from_iter(rows.iter().map(|r| r.wide)).with_precision_and_scale(65, 30).unwrap();
    let instants = TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.instant)).with_timezone("UTC");
    vec![
        Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|r| r.flag))),
        Arc::new(Int8Array::from_iter(rows.iter().map(|r| r.tiny))),
        Arc::new(UInt16Array::from_iter(rows.iter().map(|r| r.small))),
        Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.int))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.big))),
        Arc::new(UInt64Array::from_iter(rows.iter().map(|r| r.huge))),
        Arc::new(Float32Array::from_iter(rows.iter().map(|r| r.single))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.double))),
        Arc::new(money),
        Arc::new(wide),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.text.clone()))),
        Arc::new(BinaryArray::from_iter(rows.iter().map(|r| r.bytes.clone()))),
        Arc::new(Date32Array::from_iter(rows.iter().map(|r| r.date))),
        Arc::new(Time64MicrosecondArray::from_iter(rows.iter().map(|r| r.time))),
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.wall))),
        Arc::new(instants),
        Arc::new(DurationMicrosecondArray::from_iter(rows.iter().map(|r| r.span))),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.document.clone()))),
        items(rows),
        pairs(rows),
        records(rows),
    ]
}

fn items(rows: &[Row]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    rows.iter().for_each(|row| lists.append_option(row.items.clone()));
    Arc::new(lists.finish())
}

fn pairs(rows: &[Row]) -> ArrayRef {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for row in rows {
        for (key, value) in row.pairs.iter().flatten() {
            maps.keys().append_value(key);
            maps.values().append_option(*value);
        }
        maps.append(row.pairs.is_some()).unwrap();
    }
    Arc::new(maps.finish())
}

fn records(rows: &[Row]) -> ArrayRef {
    let parts = || rows.iter().map(|row| row.record.as_ref());
    let mut tags = ListBuilder::new(UInt64Builder::new());
    parts().for_each(|part| tags.append_option(part.and_then(|part| part.tags.clone())));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter(parts().map(|part| part?.number))),
        Arc::new(TimestampMicrosecondArray::from_iter(parts().map(|part| part?.at))),
        Arc::new(tags.finish()),
    ];
    let fields = ["number", "at", "tags"].into_iter().zip(&columns);
    let fields: Vec<_> = fields.map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let present: NullBuffer = parts().map(|part| part.is_some()).collect();
    Arc::new(StructArray::try_new(fields.into(), columns, Some(present)).unwrap())
}

/// What Python is told a row holds: integers and decimals (unscaled) as text, floats as the bits of a double, bytes as
/// numbers, dates and times as counts.
fn exact(id: usize, r: &Row) -> Value {
    let bits = |f: f64| if f.is_nan() { "nan".to_owned() } else { f.to_bits().to_string() };
    json!([
        id.to_string(),
        r.flag,
        r.tiny.map(|n| n.to_string()),
        r.small.map(|n| n.to_string()),
        r.int.map(|n| n.to_string()),
        r.big.map(|n| n.to_string()),
        r.huge.map(|n| n.to_string()),
        r.single.map(|f| bits(f.into())),
        r.double.map(bits),
        r.money.map(|n| n.to_string()),
        r.wide.map(|n| n.to_string()),
        r.text,
        r.bytes,
        r.date,
        r.time,
        r.wall,
        r.instant,
        r.span,
        r.document,
        r.items,
        r.pairs,
        r.record.as_ref().map(|part| json!({ "number": part.number, "at": part.at, "tags": part.tags })),
    ])
}

async fn write(root: &Path, options: &[(&str, &str)], rows: &[Row]) {
    let (sink, context, schema) = (sink(root, options), context(1), schema());
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    let batch = changes(&schema, columns(rows), |_| Kind::Insert, NOW);
    assert!(writer.write(&batch).await.unwrap().is_empty());
    let tokens = writer.prepare(Epoch(1)).await.unwrap();
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
}

/// The formats and codecs that take turns.
const VARIANTS: [&[(&str, &str)]; 8] = [
    &[("format", "parquet")],
    &[("format", "parquet"), ("compression", "snappy")],
    &[("format", "parquet"), ("compression", "none"), ("partition-by", "commit-hour")],
    &[("format", "json")],
    &[("format", "json"), ("compression", "gzip")],
    &[("format", "csv")],
    &[("format", "csv"), ("compression", "zstd")],
    &[("format", "csv"), ("compression", "gzip"), ("csv.null", "NULL")],
];

#[test]
fn p11_pyarrow_and_duckdb_read_what_was_written() {
    const CASES: usize = 120;
    let dir = scratch();
    let mut runner = TestRunner::new(Config::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut cases = Vec::new();
    for case in 0..CASES {
        let rows = prop::collection::vec(row(), 1..40).new_tree(&mut runner).unwrap().current();
        let options = VARIANTS[case % VARIANTS.len()];
        let root = dir.path().join(format!("case{case}"));
        runtime.block_on(write(&root, options, &rows));
        let rows: Vec<_> = rows.iter().enumerate().map(|(id, row)| exact(id, row)).collect();
        let null = options.iter().find(|(key, _)| *key == "csv.null").map_or("\\N", |(_, null)| null);
        cases.push(json!({ "path": root, "format": options[0].1, "null": (null), "rows": rows }));
    }
    let list = dir.path().join("cases.json");
    std::fs::write(&list, serde_json::to_vec(&cases).unwrap()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers.py");
    let python = dujiang_testkit::oracle::python();
    let output = Command::new(python).arg(script).arg(&list).output().expect("the test needs python3");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert_eq!(told.trim(), format!("{CASES} cases agree"));
}
