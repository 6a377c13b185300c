//! What was encoded decodes to the same changes.

use super::samples::*;
use crate::messages::{Decoded, Decoder, Encoder, MessageFormat, Messages};
use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::types::{Decimal128Type, Decimal256Type};
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, TimeUnit};
use dujiang_core::schema::{LOGICAL_BIT, LOGICAL_JSON, LOGICAL_NUMBER, LOGICAL_SET, LOGICAL_YEAR, field};
use dujiang_core::{ChangeBatch, Kind, Origins, TableId, TableSchema};
use proptest::prelude::*;
use std::sync::Arc;

/// A column of every type that a message can hold.
fn every_type() -> Arc<TableSchema> {
    let micros = TimeUnit::Microsecond;
    let utc = || Some("UTC".into());
    let mut fields = vec![
        field("id", DataType::Int64, false, "bigint(20)", None),
        field("bit", DataType::UInt64, true, "bit(1)", Some(LOGICAL_BIT)),
        field("bits", DataType::UInt64, true, "bit(12)", Some(LOGICAL_BIT)),
        field("year", DataType::UInt16, true, "year(4)", Some(LOGICAL_YEAR)),
        field("doc", DataType::Utf8, true, "json", Some(LOGICAL_JSON)),
        field("numeric", DataType::Utf8, true, "numeric", Some(LOGICAL_NUMBER)),
        field("set", DataType::Utf8, true, "set('a','b','c')", Some(LOGICAL_SET)),
        field("datetime3", DataType::Timestamp(micros, None), true, "datetime(3)", None),
        field("datetime6", DataType::Timestamp(micros, None), true, "datetime(6)", None),
        field("instant", DataType::Timestamp(micros, utc()), true, "timestamp(6)", None),
    ];
    let plain = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(38, 5),
        DataType::Decimal256(65, 30),
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Time64(micros),
        DataType::Duration(micros),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(TimeUnit::Second, utc()),
        DataType::List(Arc::new(Field::new("item", DataType::Int32, true))),
    ];
    fields
        .extend(plain.into_iter().enumerate().map(|(index, kind)| plain_field(&format!("c{index} \u{e9}\"\\"), kind)));
    TableSchema::by_value(TableId::new("sh\"op", "t.x"), fields, vec![0])
}

/// The numbers that a seed stands for.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// Small, large and extreme ones.
    fn wide(&mut self) -> i64 {
        let bits = self.next();
        match bits % 8 {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => 0,
            3..=5 => bits as i64,
            _ => (bits >> 8) as i64 % 1000 - 500,
        }
    }

    fn within(&mut self, most: i64) -> i64 {
        self.wide() % (most + 1)
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 12] =
            ["a", "", "\"", "\\", "\n", ",", "\u{1}", "\u{e9}", "\u{1f600}", "null", "\\N", "\u{7f}\u{85}"];
        (0..self.next() % 5).map(|_| PIECES[self.next() as usize % PIECES.len()]).collect()
    }
}

fn some<T>(seeds: &[u64], column: usize, one: impl Fn(&mut Numbers) -> T) -> Vec<Option<T>> {
    let cell = |seed: &u64| {
        let mut numbers = Numbers(seed.wrapping_add(column as u64 * 0x1000_0001));
        (!numbers.next().is_multiple_of(5)).then(|| one(&mut numbers))
    };
    seeds.iter().map(cell).collect()
}

const MOST: i128 = 10_i128.pow(38) - 1;
const DOCUMENTS: [&str; 7] = ["{}", "[1,null]", "\"a\\\"b\"", "0", "true", "{\"a\":{\"b\":[\"\\u00e9\"]}}", "-1.5e300"];
const NUMERICS: [&str; 5] = ["0", "-0.000", "123456789012345678901234567890.123456789", "NaN", "Infinity"];

fn column(index: usize, field: &Field, seeds: &[u64]) -> ArrayRef {
    match (field.name().as_str(), field.data_type()) {
        ("id", _) => Arc::new(Int64Array::from_iter_values(seeds.iter().map(|seed| Numbers(*seed).wide()))),
        ("bit", _) => Arc::new(UInt64Array::from(some(seeds, index, |n| n.next() % 2))),
        ("bits", _) => Arc::new(UInt64Array::from(some(seeds, index, |n| n.next() % 4096))),
        ("doc", _) => Arc::new(StringArray::from(some(seeds, index, |n| DOCUMENTS[n.next() as usize % 7]))),
        ("numeric", _) => Arc::new(StringArray::from(some(seeds, index, |n| NUMERICS[n.next() as usize % 5]))),
        ("set", _) => {
            Arc::new(StringArray::from(some(seeds, index, |n| ["", "a", "a,b", "a,b,c"][n.next() as usize % 4])))
        }
        ("datetime3", _) => {
            let values = some(seeds, index, |n| n.within(250_000_000_000_000_000) / 1_000 * 1_000);
            Arc::new(TimestampMicrosecondArray::from(values))
        }
        (_, DataType::Boolean) => Arc::new(BooleanArray::from(some(seeds, index, |n| n.next().is_multiple_of(2)))),
        (_, DataType::Int8) => Arc::new(Int8Array::from(some(seeds, index, |n| n.wide() as i8))),
        (_, DataType::Int16) => Arc::new(Int16Array::from(some(seeds, index, |n| n.wide() as i16))),
        (_, DataType::Int32) => Arc::new(Int32Array::from(some(seeds, index, |n| n.wide() as i32))),
        (_, DataType::UInt8) => Arc::new(UInt8Array::from(some(seeds, index, |n| n.wide() as u8))),
        (_, DataType::UInt16) => Arc::new(UInt16Array::from(some(seeds, index, |n| n.wide() as u16))),
        (_, DataType::UInt32) => Arc::new(UInt32Array::from(some(seeds, index, |n| n.wide() as u32))),
        (_, DataType::UInt64) => Arc::new(UInt64Array::from(some(seeds, index, |n| n.wide() as u64))),
        (_, DataType::Float32) => {
            let not_nan = |n: &mut Numbers| Some(f32::from_bits(n.next() as u32)).filter(|f| !f.is_nan());
            Arc::new(Float32Array::from(some(seeds, index, |n| not_nan(n).unwrap_or(f32::NAN))))
        }
        (_, DataType::Float64) => {
            let not_nan = |n: &mut Numbers| Some(f64::from_bits(n.next())).filter(|f| !f.is_nan());
            Arc::new(Float64Array::from(some(seeds, index, |n| not_nan(n).unwrap_or(f64::NAN))))
        }
        (_, DataType::Decimal128(precision, scale)) => {
            let wide = |n: &mut Numbers| (i128::from(n.wide()) << 64 | i128::from(n.next())) % (MOST + 1);
            let values: PrimitiveArray<Decimal128Type> = some(seeds, index, wide).into_iter().collect();
            Arc::new(values.with_precision_and_scale(*precision, *scale).unwrap())
        }
        (_, DataType::Decimal256(precision, scale)) => {
            let digits = |n: &mut Numbers| format!("{}{}{}", n.wide(), n.next(), n.next());
            let wide = |n: &mut Numbers| i256::from_string(&digits(n)).unwrap();
            let values: PrimitiveArray<Decimal256Type> = some(seeds, index, wide).into_iter().collect();
            Arc::new(values.with_precision_and_scale(*precision, *scale).unwrap())
        }
        (_, DataType::Utf8) => Arc::new(StringArray::from(some(seeds, index, Numbers::text))),
        (_, DataType::Binary) => {
            let bytes = |n: &mut Numbers| n.next().to_le_bytes()[..n.next() as usize % 9].to_vec();
            let values = some(seeds, index, bytes);
            Arc::new(BinaryArray::from_iter(values))
        }
        (_, DataType::Date32) => Arc::new(Date32Array::from(some(seeds, index, |n| n.within(90_000_000) as i32))),
        (_, DataType::Time32(_)) => {
            Arc::new(Time32MillisecondArray::from(some(seeds, index, |n| (n.next() % 86_400_000) as i32)))
        }
        (_, DataType::Time64(_)) => {
            Arc::new(Time64MicrosecondArray::from(some(seeds, index, |n| (n.next() % 86_400_000_000) as i64)))
        }
        (_, DataType::Duration(_)) => {
            Arc::new(DurationMicrosecondArray::from(some(seeds, index, |n| n.within(3_020_399_999_999))))
        }
        (_, DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
            Arc::new(TimestampNanosecondArray::from(some(seeds, index, Numbers::wide)))
        }
        (_, DataType::Timestamp(TimeUnit::Second, zone)) => {
            let values = TimestampSecondArray::from(some(seeds, index, |n| n.within(8_000_000_000_000)));
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        (_, DataType::Timestamp(_, zone)) => {
            let values = TimestampMicrosecondArray::from(some(seeds, index, Numbers::wide));
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        (_, DataType::List(_)) => {
            let mut lists = ListBuilder::new(Int32Builder::new());
            for list in some(seeds, index, |n| (0..n.next() % 4).map(|_| n.wide() as i32).collect::<Vec<_>>()) {
                lists.append_option(list.map(|items| items.into_iter().map(|i| (i % 3 != 0).then_some(i))));
            }
            Arc::new(lists.finish())
        }
        other => panic!("no values for {other:?}"),
    }
}

/// Changes by their kinds and seeds.
fn batch(table: &Arc<TableSchema>, changes: &[(u8, u64, u64)]) -> ChangeBatch {
    let (mut kinds, mut seeds) = (Vec::new(), Vec::new());
    for (kind, first, second) in changes {
        let images: &[Kind] = match kind % 4 {
            0 => &[Kind::Insert],
            1 => &[Kind::UpdateBefore, Kind::UpdateAfter],
            2 => &[Kind::Delete],
            _ => &[Kind::Read],
        };
        kinds.extend_from_slice(images);
        seeds.extend([*first, *second].into_iter().take(images.len()));
    }
    let fields = table.arrow.fields().iter().enumerate();
    let columns = fields.map(|(index, field)| column(index, field, &seeds)).collect();
    let rows = RecordBatch::try_new(table.arrow.clone(), columns).unwrap();
    let mut origins = Origins::default();
    let half = kinds.len() / 2;
    let half = if kinds.get(half) == Some(&Kind::UpdateAfter) { half + 1 } else { half };
    if half > 0 {
        origins.push(half, origin("gtid\"-1", 5));
    }
    if half < kinds.len() {
        origins.push(kinds.len(), origin("gtid-2", 0));
    }
    ChangeBatch::new(table.clone(), rows, kinds, origins).unwrap()
}

/// What of a batch a format carries.
fn carried(batch: &ChangeBatch, format: MessageFormat) -> ChangeBatch {
    if !format.has_envelope() {
        let kept = |row: &u32| !matches!(batch.kinds[*row as usize], Kind::UpdateBefore | Kind::Delete);
        let rows: Vec<u32> = (0..batch.images() as u32).filter(kept).collect();
        let rows = batch.take(&rows).unwrap();
        return rows.with_kinds(vec![Kind::Insert; rows.images()]);
    }
    if format != MessageFormat::CanalJson {
        return batch.clone();
    }
    // Canal has no mark for snapshots.
    batch.with_kinds(batch.kinds.iter().map(|kind| if *kind == Kind::Read { Kind::Insert } else { *kind }).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn p03_every_format_reads_back_what_it_wrote(
        changes in prop::collection::vec(any::<(u8, u64, u64)>(), 1..8),
        format in 0..MessageFormat::ALL.len(),
    ) {
        let format = MessageFormat::ALL[format];
        let table = every_type();
        let batch = batch(&table, &changes);
        let mut messages = Messages::default();
        let mut encoder = Encoder::new(&table, &options(format)).unwrap();
        let failed = encoder.encode(&batch, 0..batch.images(), &mut messages).unwrap();
        prop_assert!(failed.is_empty(), "{:?}", failed);
        let mut decoder = Decoder::new(&table, &options(format)).unwrap();
        let mut rows = decoder.rows();
        for (index, message) in messages.iter().enumerate().filter(|(_, message)| message.value.is_some()) {
            let found = format!("topic:{index}");
            let decoded = decoder.decode(message.value, &origin(&found, 0), &mut rows);
            prop_assert_eq!(decoded.map_err(|e| format!("{e}: {}", text(message.value))), Ok(Decoded::Changes(1)));
        }
        let expected = carried(&batch, format);
        prop_assert_eq!(rows.len(), expected.images());
        let read = rows.take().unwrap();
        for (index, field) in table.arrow.fields().iter().enumerate() {
            prop_assert_eq!(read.rows.column(index), expected.rows.column(index), "{:?} {}", format, field);
        }
        prop_assert_eq!(&read.kinds, &expected.kinds);
        if matches!(format, MessageFormat::DebeziumJson | MessageFormat::DebeziumJsonWithSchema) {
            prop_assert_eq!(&read.origins, &expected.origins);
        }
        prop_assert!(rows.is_empty());
    }
}
