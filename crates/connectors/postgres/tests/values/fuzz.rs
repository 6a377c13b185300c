//! Damaged bytes are an error and nothing else: no panic, no half of a row, no memory that they do not justify.

use crate::support::origin;
use arrow_schema::Schema;
use dujiang_core::schema::KeyEquality;
use dujiang_core::{TableId, TableSchema};
use dujiang_postgres::pgoutput::Message;
use dujiang_postgres::values::{Column, Keep, PgKind, RowChange, TableBuilder, ValueSettings};
use dujiang_scratch::Random;
use std::sync::Arc;

const SEED: u64 = 99;
const ROUNDS: usize = 60_000;

fn list(item: PgKind) -> PgKind {
    PgKind::List { item: Box::new(item), item_type: "x".into(), delimiter: b',' }
}

/// Every kind, with cells that its column takes: as text, and in binary.
fn kinds() -> Vec<(PgKind, &'static [u8], Vec<u8>)> {
    let numeric = [0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x13, 0x88].to_vec();
    let mut array = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7].to_vec();
    array.extend([255, 255, 255, 255]);
    vec![
        (PgKind::Bool, b"t", vec![1]),
        (PgKind::Int2, b"-5", vec![0, 7]),
        (PgKind::Int4, b"123456", vec![0, 0, 0, 7]),
        (PgKind::Int8, b"-99", vec![0; 8]),
        (PgKind::Oid, b"7", vec![0; 4]),
        (PgKind::Xid8, b"7", vec![0; 8]),
        (PgKind::Float4, b"1.5e3", vec![0; 4]),
        (PgKind::Float8, b"-Infinity", vec![0; 8]),
        (PgKind::Decimal { precision: 10, scale: 2 }, b"-1.50", numeric.clone()),
        (PgKind::Decimal { precision: 76, scale: 30 }, b"123.456", numeric.clone()),
        (PgKind::Money { scale: 2 }, b"-$1,234.56", vec![0; 8]),
        (PgKind::Number, b"1e5", numeric),
        (PgKind::Date, b"0044-03-15 BC", vec![0; 4]),
        (PgKind::Time, b"12:34:56.789", vec![0; 8]),
        (PgKind::Timestamp, b"2026-11-20 01:02:03.5", vec![0; 8]),
        (PgKind::Timestamptz, b"2026-11-20 01:02:03+00", vec![0; 8]),
        (PgKind::Interval, b"P1Y", vec![1; 16]),
        (PgKind::Text, "\u{fc}".as_bytes(), b"x".to_vec()),
        (PgKind::Jsonb, b"{}", b"\x01{}".to_vec()),
        (PgKind::Uuid, b"0fa7cba9-7175-8eda-97eb-d0567bb2823b", vec![9; 16]),
        (PgKind::Bits, b"0101", vec![0, 0, 0, 9, 255, 128]),
        (PgKind::Bytea, b"\\x00ff", vec![0, 255]),
        (PgKind::Wkb, b"00FF", vec![0, 255]),
        (list(PgKind::Int4), b"{1,NULL,\"3\"}", array.clone()),
        (list(PgKind::Text), b"{a,\"b\\\"c\"}", array.clone()),
        (list(PgKind::Output), b"{\"(1,2)\"}", array),
    ]
}

fn builder() -> TableBuilder {
    let column = |(n, (kind, ..)): (usize, &(PgKind, &[u8], Vec<u8>))| Column {
        name: format!("c{n}").into(),
        kind: kind.clone(),
        field: kind.field(&format!("c{n}"), true, "x"),
        output: (!kind.reads_binary()).then(|| "out".into()),
        in_identity: n == 0,
    };
    let columns: Arc<[Column]> = kinds().iter().enumerate().map(column).collect();
    let fields: Vec<_> = columns.iter().map(|c| c.field.clone()).collect();
    let schema = TableSchema {
        id: TableId::new("s", "t"),
        version: 1,
        arrow: Arc::new(Schema::new(fields)),
        key: vec![],
        key_equality: KeyEquality::NoKey,
    };
    let settings = ValueSettings { unchecked_text: true, ..ValueSettings::default() };
    let mut builder = TableBuilder::new(Arc::new(schema), columns, true, &settings).unwrap();
    builder.begin_span(origin());
    builder
}

fn damaged(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(4) {
            0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, random.pick(b"0123456789-+:. {}\",\\xtNfBC\x00\xff")),
        }
    }
}

#[test]
fn damaged_rows_are_errors_and_leave_nothing_behind() {
    println!("seed {SEED}");
    let mut random = Random::new(SEED);
    let (kinds, mut builder) = (kinds(), builder());
    let mut taken = 0;
    for _ in 0..ROUNDS {
        let before = builder.rows();
        let appended = if random.chance(50) {
            told(&mut random, &kinds, &mut builder)
        } else {
            copied(&mut random, &kinds, &mut builder)
        };
        assert_eq!(builder.rows(), before + usize::from(appended));
        taken += usize::from(appended);
        if random.chance(1) {
            let rows = builder.rows();
            assert_eq!(builder.finish().unwrap().map_or(0, |batch| batch.images()), rows);
        }
    }
    println!("{taken} of {ROUNDS} rows were readable");
    assert!(taken > 1_000 && taken < ROUNDS);
    assert!(builder.memory() < 64 << 20);
}

/// One row of the stream, with one damaged cell, or damaged as a whole.
fn told(random: &mut Random, kinds: &[(PgKind, &[u8], Vec<u8>)], builder: &mut TableBuilder) -> bool {
    let mut message = b"I\x00\x00\x00\x01N".to_vec();
    message.extend((kinds.len() as u16).to_be_bytes());
    let hurt = random.below(kinds.len() as u64) as usize;
    for (n, (kind, text, binary)) in kinds.iter().enumerate() {
        if random.chance(5) {
            message.push(b'n');
            continue;
        }
        let as_text = !kind.reads_binary() || random.chance(50);
        let mut cell = if as_text { text.to_vec() } else { binary.clone() };
        if n == hurt {
            damaged(random, &mut cell);
        }
        message.push(if as_text { b't' } else { b'b' });
        message.extend((cell.len() as u32).to_be_bytes());
        message.extend(cell);
    }
    if random.chance(10) {
        damaged(random, &mut message);
    }
    match Message::read(&message, false) {
        Ok((Message::Insert { new, .. }, _)) => builder.append(RowChange::Insert(new), Keep::Whole, &[]).is_ok(),
        _ => false,
    }
}

fn copied(random: &mut Random, kinds: &[(PgKind, &[u8], Vec<u8>)], builder: &mut TableBuilder) -> bool {
    let mut row = (kinds.len() as u16).to_be_bytes().to_vec();
    let hurt = random.below(kinds.len() as u64) as usize;
    for (n, (kind, text, binary)) in kinds.iter().enumerate() {
        let mut cell = if kind.reads_binary() { binary.clone() } else { text.to_vec() };
        if n == hurt {
            damaged(random, &mut cell);
        }
        row.extend((cell.len() as u32).to_be_bytes());
        row.extend(cell);
    }
    if random.chance(10) {
        damaged(random, &mut row);
    }
    builder.append_copy(&row).is_ok()
}
