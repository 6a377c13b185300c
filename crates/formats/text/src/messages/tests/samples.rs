//! A table and changes of it.

use crate::messages::{Encoder, MessageFormat, MessageOptions, Messages};
use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, TimeUnit};
use dujiang_core::batch::TimePrecision;
use dujiang_core::schema::{LOGICAL_JSON, LOGICAL_SET, field};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Kind, Lineage, Origin, Origins, TableId, TableSchema};
use std::sync::Arc;

const MICROS: TimeUnit = TimeUnit::Microsecond;

pub(super) fn products(keyed: bool) -> Arc<TableSchema> {
    let fields = vec![
        field("id", DataType::Int64, false, "bigint(20)", None),
        field("n\"ame", DataType::Utf8, true, "varchar(80)", None),
        field("price", DataType::Decimal128(12, 2), true, "decimal(12,2)", None),
        field("seen", DataType::Timestamp(MICROS, None), true, "datetime(3)", None),
        field("at", DataType::Timestamp(MICROS, Some("UTC".into())), true, "timestamp(6)", None),
        field("day", DataType::Date32, true, "date", None),
        field("raw", DataType::Binary, true, "blob", None),
        field("big", DataType::UInt64, true, "bigint(20) unsigned", None),
        field("doc", DataType::Utf8, true, "json", Some(LOGICAL_JSON)),
        field("tags", DataType::Utf8, true, "set('a','b')", Some(LOGICAL_SET)),
    ];
    TableSchema::by_value(TableId::new("shop", "products"), fields, if keyed { vec![0] } else { vec![] })
}

pub(super) fn origin(transaction: &str, first_ordinal: u64) -> Origin<'_> {
    let (precision, commit_micros) = (TimePrecision::Micros, 1_795_196_305_123_456);
    Origin { transaction, position: "bin.000003:4711", commit_micros, precision, first_ordinal }
}

/// One read row, one inserted, one updated, one deleted.
pub(super) fn changes(table: &Arc<TableSchema>) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 2, 2, 3])),
        Arc::new(StringArray::from(vec![Some("a\nb"), Some("x"), Some("x"), Some("y"), None])),
        Arc::new(
            Decimal128Array::from(vec![Some(-5), Some(1_250), Some(1_250), Some(1_300), None])
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1_795_196_305_120_000), None, None, None, Some(0)])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![Some(1_795_196_305_123_456), None, None, None, Some(0)])
                .with_timezone("UTC"),
        ),
        Arc::new(Date32Array::from(vec![Some(20_777), None, None, None, Some(-1)])),
        Arc::new(BinaryArray::from(vec![Some(&b"\x00\"\xff"[..]), None, None, None, Some(b"")])),
        Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, None, None, Some(0)])),
        Arc::new(StringArray::from(vec![Some("{\"k\": 1}"), None, None, None, Some("[]")])),
        Arc::new(StringArray::from(vec![Some("a,b"), None, None, None, Some("")])),
    ];
    let rows = RecordBatch::try_new(table.arrow.clone(), columns).unwrap();
    let kinds = vec![Kind::Read, Kind::Insert, Kind::UpdateBefore, Kind::UpdateAfter, Kind::Delete];
    let mut origins = Origins::default();
    origins.push(1, origin("snapshot:7", 0));
    origins.push(5, origin("gtid-1", 0));
    ChangeBatch::new(table.clone(), rows, kinds, origins).unwrap()
}

pub(super) fn options(format: MessageFormat) -> MessageOptions {
    MessageOptions::new(format, "river")
}

pub(super) fn encode(batch: &ChangeBatch, options: &MessageOptions) -> (Messages, Vec<RowError>) {
    let mut out = Messages::default();
    let failed = Encoder::new(&batch.schema, options).unwrap().encode(batch, 0..batch.images(), &mut out).unwrap();
    (out, failed)
}

pub(super) fn with_headers(mut options: MessageOptions) -> MessageOptions {
    options.headers = Some(Lineage("00000000000000aa".into()));
    options
}

pub(super) fn plain_field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

pub(super) fn text(part: Option<&[u8]>) -> &str {
    part.map_or("-", |bytes| std::str::from_utf8(bytes).unwrap())
}
