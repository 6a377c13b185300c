use super::*;
use arrow_array::{Array, ArrayRef, Decimal128Array, Int32Array, Int64Array, StringArray};
use arrow_array::{TimestampMicrosecondArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::schema::{LOGICAL_JSON, field};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use std::sync::Arc;

fn batch(from: i64, rows: i64, text: &str) -> RecordBatch {
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("big", DataType::UInt64, true),
        field("doc", DataType::Utf8, true, "json", Some(LOGICAL_JSON)),
    ];
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + rows));
    let big: ArrayRef = Arc::new(UInt64Array::from_iter((0..rows).map(|i| (i % 2 == 0).then_some(u64::MAX))));
    let doc: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|i| format!("[{i},{text:?}]"))));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![ids, big, doc]).unwrap()
}

fn encode(options: &ParquetOptions, batches: &[RecordBatch]) -> Vec<u8> {
    let mut encoder = ParquetEncoder::new(batches[0].schema(), Arc::new(options.clone())).unwrap();
    let mut file = Vec::new();
    for batch in batches {
        encoder.write(batch.clone()).unwrap();
        file.extend(encoder.take_output().concat());
    }
    file.extend(encoder.finish().unwrap().concat());
    file
}

fn reader(file: Vec<u8>) -> SerializedFileReader<bytes::Bytes> {
    SerializedFileReader::new(bytes::Bytes::from(file)).unwrap()
}

#[test]
fn columns_have_logical_types_and_statistics() {
    let file = reader(encode(&ParquetOptions::default(), &[batch(5, 10, "x")]));
    let schema = file.metadata().file_metadata().schema_descr();
    assert_eq!(schema.column(2).logical_type_ref(), Some(&parquet::basic::LogicalType::Json));
    assert_eq!(schema.column(1).converted_type(), parquet::basic::ConvertedType::UINT_64);
    let statistics = file.metadata().row_group(0).column(0).statistics().unwrap().clone();
    let parquet::file::statistics::Statistics::Int64(ids) = statistics else { panic!("not INT64") };
    assert_eq!((ids.min_opt(), ids.max_opt()), (Some(&5), Some(&14)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn p11_row_groups_keep_their_limit_and_every_row(
        sizes in prop::collection::vec(1i64..3000, 1..6),
        limit in 20_000usize..200_000,
        codec in prop::sample::select(vec![Compression::None, Compression::Snappy, Compression::Zstd]),
    ) {
        let options = ParquetOptions { compression: codec, row_group_bytes: limit, ..Default::default() };
        let batches: Vec<_> = sizes.iter().map(|&n| batch(0, n, "some text that fills the row")).collect();
        let file = encode(&options, &batches);
        let file = reader(file);
        let rows: i64 = file.metadata().row_groups().iter().map(|g| g.num_rows()).sum();
        prop_assert_eq!(rows, sizes.iter().sum::<i64>());
        let largest = batches.iter().map(RecordBatch::get_array_memory_size).max().unwrap();
        for group in file.metadata().row_groups() {
            prop_assert!(group.num_rows() > 0);
            prop_assert!((group.compressed_size() as usize) < limit + largest.max(SLICE_BYTES));
        }
    }
}

fn read(file: Vec<u8>) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
    reader.with_batch_size(1 << 20).build().unwrap().map(|rows| rows.unwrap()).collect()
}

/// So many columns of so many rows.
fn wide(columns: usize, rows: i64) -> RecordBatch {
    let fields: Vec<_> = (0..columns).map(|n| Field::new(format!("c{n}"), DataType::Int64, n % 2 == 0)).collect();
    let column = |n: usize| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * n as i64))) };
    RecordBatch::try_new(Arc::new(Schema::new(fields)), (0..columns).map(column).collect()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn rows_come_back_in_their_order_however_they_came(
        cuts in prop::collection::vec(1usize..400, 1..60),
        columns in prop::sample::select(vec![3usize, 70]),
        file_bytes in prop::sample::select(vec![1usize, 40_000, 128 << 20]),
        row_group_bytes in prop::sample::select(vec![30_000usize, 32 << 20]),
    ) {
        let rows: usize = cuts.iter().sum();
        let all = if columns == 3 { batch(0, rows as i64, "x") } else { wide(columns, rows as i64) };
        let options = ParquetOptions { file_bytes, row_group_bytes, ..Default::default() };
        let mut start = 0;
        let pieces: Vec<_> = cuts.iter().map(|&count| {
            start += count;
            all.slice(start - count, count)
        }).collect();
        let back = read(encode(&options, &pieces));
        let back = arrow_select::concat::concat_batches(&all.schema(), &back).unwrap();
        prop_assert_eq!(back.columns(), all.columns());
    }
}

#[test]
fn a_file_of_few_rows_holds_little_more_than_them() {
    for columns in [8, 4096] {
        let mut encoder = ParquetEncoder::new(wide(columns, 1).schema(), Arc::default()).unwrap();
        for _ in 0..100 {
            encoder.write(wide(columns, 1)).unwrap();
        }
        let per_column = encoder.memory() / columns;
        assert!(per_column < 8 << 10, "{per_column} bytes per column");
    }
}

#[test]
fn a_slice_does_not_keep_what_it_was_cut_from() {
    let large = batch(0, 100_000, "some text that fills the row");
    let mut encoder = ParquetEncoder::new(large.schema(), Arc::default()).unwrap();
    for row in 0..40 {
        encoder.write(large.slice(row * 1000, 2)).unwrap();
    }
    assert!(encoder.memory() < 100_000, "{}", encoder.memory());
}

#[test]
fn a_large_value_has_no_dictionary_and_no_statistics() {
    let value = "x".repeat(3 << 20);
    let codec = |value: &str| {
        reader(encode(&Default::default(), &[batch(0, 1, value)])).metadata().row_group(0).column(2).compression()
    };
    assert!(matches!(codec(&value), parquet::basic::Compression::ZSTD(_)));
    let file = encode(&ParquetOptions::default(), &[batch(0, 1, &value), batch(1, 1, "small"), batch(2, 1, &value)]);
    let groups = reader(file.clone());
    let doc = groups.metadata().row_group(0).column(2).clone();
    assert!(doc.dictionary_page_offset().is_none() && doc.statistics().is_none());
    assert!(groups.metadata().row_group(0).column(0).statistics().is_some());
    let rows: usize = read(file).iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 3);
}

#[test]
fn a_large_value_that_does_not_get_smaller_is_not_compressed() {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let value: Vec<u8> = (0..2 << 20).map(|_| next()).collect();
    let field = Field::new("doc", DataType::Binary, false);
    let rows: ArrayRef = Arc::new(arrow_array::BinaryArray::from_vec(vec![&value]));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![rows]).unwrap();
    let file = encode(&ParquetOptions::default(), std::slice::from_ref(&rows));
    let codec = reader(file.clone()).metadata().row_group(0).column(0).compression();
    assert_eq!(codec, parquet::basic::Compression::UNCOMPRESSED);
    assert_eq!(read(file), [rows]);
}

/// Whole numbers of several types, some of them as large as can be, so many that no dictionary holds them.
fn numbers(count: usize, values: &[Option<i64>], step: i64) -> RecordBatch {
    let rows = || {
        (0..count)
            .map(|row| values[row % values.len()].map(|value| value.wrapping_add((row as i64).wrapping_mul(step))))
    };
    let decimal = |row: Option<i64>| row.map(|value| i128::from(value % 1_000_000_000_000_000));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i32", Arc::new(Int32Array::from_iter(rows().map(|row| row.map(|value| value as i32))))),
        ("i64", Arc::new(Int64Array::from_iter(rows()))),
        ("u64", Arc::new(UInt64Array::from_iter(rows().map(|row| row.map(|value| value as u64))))),
        ("price", Arc::new(Decimal128Array::from_iter(rows().map(decimal)).with_precision_and_scale(15, 2).unwrap())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn p11_numbers_stored_as_differences_are_read_as_they_were(
        values in prop::collection::vec(prop_oneof![
            any::<i64>().prop_map(Some), Just(None), Just(Some(i64::MIN)), Just(Some(i64::MAX)), Just(Some(0)),
        ], 1..20),
        step in prop::sample::select(vec![1i64, 7, -3, i64::MAX / 3]),
    ) {
        // A dictionary holds 32,768 of them.
        let rows = numbers(34_000, &values, step);
        let file = encode(&ParquetOptions::default(), std::slice::from_ref(&rows));
        let back = read(file);
        prop_assert_eq!(&arrow_select::concat::concat_batches(&back[0].schema(), &back).unwrap(), &rows);
    }
}

#[test]
fn what_rises_takes_no_bytes() {
    let rows = numbers(100_000, &[Some(5)], 7);
    let file = encode(&ParquetOptions::default(), std::slice::from_ref(&rows));
    for column in reader(file.clone()).metadata().row_group(0).columns() {
        assert!(column.encodings().any(|encoding| encoding == parquet::basic::Encoding::DELTA_BINARY_PACKED));
    }
    let size = reader(file.clone()).metadata().row_group(0).column(1).compressed_size();
    assert!(size < 250_000, "{size} bytes of 800,000");
    let back = read(file);
    assert_eq!(arrow_select::concat::concat_batches(&back[0].schema(), &back).unwrap(), rows);
}

/// Required columns of text and of instants, in runs of so many rows of so many values.
fn runs(counts: &[(usize, u8)]) -> RecordBatch {
    let texts = |prefix: &'static str| {
        let of = move |&(rows, value): &(usize, u8)| std::iter::repeat_n(format!("{prefix}{value}"), rows);
        Arc::new(StringArray::from(counts.iter().flat_map(of).collect::<Vec<_>>())) as ArrayRef
    };
    let instants = |&(rows, value): &(usize, u8)| std::iter::repeat_n(i64::from(value) - 100, rows);
    let instants = TimestampMicrosecondArray::from_iter_values(counts.iter().flat_map(instants)).with_timezone("UTC");
    let empty = StringArray::from_iter_values(std::iter::repeat_n("", instants.len()));
    let mut fields = ["run", "other", "last", "empty"].map(|name| Field::new(name, DataType::Utf8, false)).to_vec();
    fields.push(Field::new("at", instants.data_type().clone(), false));
    let columns = vec![texts("r"), texts("other "), texts(""), Arc::new(empty), Arc::new(instants)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn in_runs(file_bytes: usize) -> ParquetOptions {
    let run_columns = ["run", "last", "empty", "at"].map(str::to_owned).to_vec();
    ParquetOptions { run_columns, file_bytes, without_statistics: vec!["last".to_owned()], ..Default::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn p11_runs_are_read_as_the_rows_they_were(
        counts in prop::collection::vec((1usize..400, 0u8..5), 1..40),
        single in prop::sample::select(vec![0u32, 1000, 1024, 2000]).prop_map(|n| (0..n).map(|n| (1, n as u8)).collect::<Vec<_>>()),
        more in prop::collection::vec((1usize..30_000, any::<u8>()), 0..3),
        file_bytes in prop::sample::select(vec![1usize, 128 << 20]),
    ) {
        let batches: Vec<_> = [counts, single, more].iter().filter(|part| !part.is_empty()).map(|part| runs(part)).collect();
        let back = read(encode(&in_runs(file_bytes), &batches));
        let schema = batches[0].schema();
        let all = arrow_select::concat::concat_batches(&schema, &batches).unwrap();
        let back = arrow_select::concat::concat_batches(&schema, &back).unwrap();
        prop_assert_eq!(back.columns(), all.columns());
    }
}

#[test]
fn runs_take_bytes_by_the_run_and_say_their_least_and_greatest() {
    for file_bytes in [1, 128 << 20] {
        let file = reader(encode(&in_runs(file_bytes), &[runs(&[(70_000, 3), (1, 200), (70_000, 17)])]));
        let group = file.metadata().row_group(0);
        let column = group.column(0);
        assert!(column.compressed_size() < 200, "{}", column.compressed_size());
        assert_eq!(column.compression(), parquet::basic::Compression::UNCOMPRESSED);
        let statistics = column.statistics().unwrap();
        assert_eq!((statistics.min_bytes_opt(), statistics.max_bytes_opt()), (Some(&b"r17"[..]), Some(&b"r3"[..])));
        assert!(group.column(2).statistics().is_none());
        assert!(group.column(4).compressed_size() < 200);
        let instants = group.column(4).statistics().unwrap();
        let bytes = |instant: i64| instant.to_le_bytes();
        assert_eq!(
            (instants.min_bytes_opt(), instants.max_bytes_opt()),
            (Some(&bytes(-97)[..]), Some(&bytes(100)[..]))
        );
        assert!(matches!(group.column(1).compression(), parquet::basic::Compression::ZSTD(_)));
    }
}
