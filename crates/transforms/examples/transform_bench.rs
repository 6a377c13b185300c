//! What a transform costs: a filter and five computed columns on a table of 35 columns, in µs of CPU per row, beside
//! the evaluation of the expressions alone.
//!
//! `cargo run --release -p dujiang-transforms --example transform_bench`

#![allow(clippy::print_stdout, reason = "a bench prints")]

use arrow_array::types::Decimal128Type;
use arrow_array::{ArrayRef, Int64Array, PrimitiveArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use dujiang_core::batch::TimePrecision;
use dujiang_core::clock::Standing;
use dujiang_core::{ChangeBatch, Kind, Origin, Origins, TableId, TableSchema};
use dujiang_transforms::{Compiled, Context, Rule, Tz};
use std::sync::Arc;

const PROJECTION: &str = "*, upper(t0) AS big, n0 + n1 * 2 AS sum, d0 * 1.19 AS gross, \
    COALESCE(t1, 'none') || '-' || t2 AS joined, CASE WHEN n2 > 500 THEN 'high' ELSE 'low' END AS class";
const FILTER: &str = "n3 > 100 AND t3 <> 'never'";
/// Rows per measurement.
const ROWS: usize = 2_000_000;
const ROUNDS: usize = 9;

fn column(nth: usize, rows: usize) -> (Field, ArrayRef) {
    let value = |row: usize| (row * 31 + nth * 17) % 1_000;
    match nth % 5 {
        0 | 1 => {
            let all = (0..rows).map(|row| (row % 20 != nth).then(|| value(row) as i64));
            (
                Field::new(format!("n{}", nth / 5 * 2 + nth % 5), DataType::Int64, true),
                Arc::new(all.collect::<Int64Array>()),
            )
        }
        2 | 3 => {
            let all = (0..rows).map(|row| (row % 20 != nth).then(|| format!("value {}", value(row))));
            (
                Field::new(format!("t{}", nth / 5 * 2 + nth % 5 - 2), DataType::Utf8, true),
                Arc::new(all.collect::<StringArray>()),
            )
        }
        _ if nth.is_multiple_of(2) => {
            let all = (0..rows).map(|row| Some(value(row) as i128));
            let array: PrimitiveArray<Decimal128Type> = all.collect();
            let ty = DataType::Decimal128(12, 2);
            (Field::new(format!("d{}", nth / 10), ty.clone(), true), Arc::new(array.with_data_type(ty)))
        }
        _ => {
            let array = TimestampMicrosecondArray::from_iter_values((0..rows).map(|row| value(row) as i64));
            (
                Field::new(format!("ts{}", nth / 10), DataType::Timestamp(TimeUnit::Microsecond, None), true),
                Arc::new(array),
            )
        }
    }
}

fn batch(rows: usize) -> ChangeBatch {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = (0..35).map(|nth| column(nth, rows)).unzip();
    let schema = TableSchema::by_value(TableId::new("shop", "orders"), fields, vec![0]);
    let mut origins = Origins::default();
    let origin = Origin {
        transaction: "t",
        position: "p",
        commit_micros: 0,
        precision: TimePrecision::Micros,
        first_ordinal: 0,
    };
    origins.push(rows, origin);
    let data = RecordBatch::try_new(Arc::new(Schema::new(schema.arrow.fields().clone())), columns).expect("one length");
    ChangeBatch::new(schema, data, vec![Kind::Insert; rows], origins).expect("one kind per row")
}

/// CPU time of this thread's process so far, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux kernel");
    stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).expect("a number") / 1e9
}

fn main() {
    let context = Context { time_zone: Tz::UTC, clock: Arc::new(Standing(0)), metadata: vec![] };
    let rule = Rule { projection: Some(PROJECTION.to_owned()), filter: Some(FILTER.to_owned()), ..Rule::default() };
    for rows in [8_192, 100] {
        let batch = batch(rows);
        let compiled = Compiled::new(&rule, &batch.schema, &context).expect("a right rule");
        let runs = ROWS / rows;
        let (mut whole, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = cpu();
            (0..runs).for_each(|_| drop(std::hint::black_box(compiled.apply(&batch).expect("no bug"))));
            let middle = cpu();
            (0..runs).for_each(|_| drop(std::hint::black_box(compiled.evaluate_only(&batch).expect("no bug"))));
            whole.push((middle - start) / (runs * rows) as f64 * 1e6);
            alone.push((cpu() - middle) / (runs * rows) as f64 * 1e6);
        }
        whole.sort_by(f64::total_cmp);
        alone.sort_by(f64::total_cmp);
        let (whole, alone) = (whole[ROUNDS / 2], alone[ROUNDS / 2]);
        let kept = compiled.apply(&batch).expect("no bug").batches[0].images();
        println!(
            "{rows} rows a batch ({kept} kept): {whole:.3} µs per row, {alone:.3} of it filter and expressions and picking rows; ours {:.1} %",
            (whole - alone) / whole * 100.0
        );
    }
}
