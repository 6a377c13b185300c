use super::*;
use arrow_array::{ArrayRef, Int64Array, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::schema::{LOGICAL_JSON, field};
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
    let mut encoder = ParquetEncoder::new(batches[0].schema(), options).unwrap();
    let mut file = Vec::new();
    for batch in batches {
        encoder.write(batch).unwrap();
        file.extend(encoder.take_output());
    }
    file.extend(encoder.finish().unwrap());
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
