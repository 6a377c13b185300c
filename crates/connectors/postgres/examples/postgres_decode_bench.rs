//! Rows of ten columns through the decoder, without a server: as text and in binary from the stream, and copied out.
//!
//! `cargo run --release -p dujiang-postgres --example postgres_decode_bench [rows]`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a yardstick talks to its terminal")]

use arrow_schema::Schema;
use dujiang_core::batch::TimePrecision;
use dujiang_core::schema::KeyEquality;
use dujiang_core::{Origin, TableId, TableSchema};
use dujiang_postgres::pgoutput::Message;
use dujiang_postgres::values::{Column, Keep, PgKind, RowChange, TableBuilder, ValueSettings};
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Kinds with a cell as text and in binary.
fn cells() -> Vec<(PgKind, Vec<u8>, Vec<u8>)> {
    let decimal = [0, 3, 0, 1, 0, 0, 0, 2, 0, 12, 0x0d, 0x80, 0x1e, 0x78].to_vec();
    vec![
        (PgKind::Int8, b"123456789012".to_vec(), 123_456_789_012i64.to_be_bytes().to_vec()),
        (PgKind::Int4, b"-7654321".to_vec(), (-7_654_321i32).to_be_bytes().to_vec()),
        (PgKind::Text, b"Dujiangyan".to_vec(), b"Dujiangyan".to_vec()),
        (PgKind::Text, b"a somewhat longer text of a row".to_vec(), b"a somewhat longer text of a row".to_vec()),
        (PgKind::Decimal { precision: 12, scale: 2 }, b"123456.78".to_vec(), decimal),
        (PgKind::Timestamp, b"2026-11-27 12:34:56.789012".to_vec(), 849_098_096_789_012i64.to_be_bytes().to_vec()),
        (PgKind::Timestamptz, b"2026-11-27 12:34:56+00".to_vec(), 849_098_096_000_000i64.to_be_bytes().to_vec()),
        (PgKind::Bool, b"t".to_vec(), vec![1]),
        (PgKind::Float8, b"12345.678".to_vec(), 12_345.678f64.to_be_bytes().to_vec()),
        (PgKind::Date, b"2026-11-27".to_vec(), 9_827i32.to_be_bytes().to_vec()),
    ]
}

fn builder() -> TableBuilder {
    let column = |(n, (kind, ..)): (usize, &(PgKind, Vec<u8>, Vec<u8>))| {
        let name = format!("c{n}");
        let field = kind.field(&name, true, "x");
        Column { name: name.into(), kind: kind.clone(), field, output: None, in_identity: n == 0 }
    };
    let columns: Arc<[Column]> = cells().iter().enumerate().map(column).collect();
    let arrow = Arc::new(Schema::new(columns.iter().map(|c| c.field.clone()).collect::<Vec<_>>()));
    let (id, key_equality) = (TableId::new("s", "t"), KeyEquality::ByValue);
    let schema = TableSchema { id, version: 1, arrow, key: vec![0], key_equality };
    TableBuilder::new(Arc::new(schema), columns, false, &ValueSettings::default()).unwrap()
}

fn message(binary: bool) -> Vec<u8> {
    let cells = cells();
    let mut out = b"I\x00\x00\x00\x01N".to_vec();
    out.extend((cells.len() as u16).to_be_bytes());
    for (_, text, bytes) in &cells {
        let cell = if binary { bytes } else { text };
        out.push(if binary { b'b' } else { b't' });
        out.extend((cell.len() as u32).to_be_bytes());
        out.extend(cell);
    }
    out
}

fn copied() -> Vec<u8> {
    let cells = cells();
    let mut out = (cells.len() as u16).to_be_bytes().to_vec();
    for (_, _, bytes) in &cells {
        out.extend((bytes.len() as u32).to_be_bytes());
        out.extend(bytes);
    }
    out
}

fn measure(name: &str, rows: usize, mut append: impl FnMut(&mut TableBuilder)) {
    let mut builder = builder();
    let origin = Origin {
        transaction: "1",
        position: "0/1",
        commit_micros: 0,
        precision: TimePrecision::Micros,
        first_ordinal: 0,
    };
    builder.begin_span(origin);
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for row in 0..rows {
            append(&mut builder);
            if row % 8192 == 8191 {
                builder.finish().unwrap();
            }
        }
        builder.finish().unwrap();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{name}: {:.0} rows/s, {:.0} ns a row", rows as f64 / best, best * 1e9 / rows as f64);
}

fn main() {
    let rows = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(500_000);
    for (name, binary) in [("stream, text", false), ("stream, binary", true)] {
        let message = message(binary);
        measure(name, rows, |builder| {
            let Message::Insert { new, .. } = Message::read(&message, false).unwrap().0 else { unreachable!() };
            builder.append(RowChange::Insert(new), Keep::Whole, &[]).unwrap();
        });
    }
    let row = copied();
    measure("copied", rows, |builder| {
        builder.append_copy(&row).unwrap();
    });
}
