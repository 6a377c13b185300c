//! Topics are made, widened and refused.

use crate::support::*;
use arrow_array::builder::{BinaryBuilder, BooleanBuilder};
use arrow_array::*;
use arrow_schema::{DataType, Field, TimeUnit};
use dujiang_core::batch::TimePrecision;
use dujiang_core::examine::Outcome;
use dujiang_core::{ChangeBatch, Code, Kind, Origin, Origins, TableId, TableSchema};
use std::sync::Arc;

#[tokio::test]
async fn a_topic_is_made_and_records_tell_what_happened() {
    for protocol in ["protobuf", "batch", "json"] {
        for compression in ["none", "lz4", "deflate", "zstd"] {
            if (protocol, compression) == ("batch", "zstd") {
                continue;
            }
            let mut hub = Hub::start(&[("protocol", protocol), ("compression", compression)]).await;
            hub.committer.apply_schema(None, &table(2)).await.unwrap();
            hub.committer.apply_schema(None, &table(2)).await.unwrap();
            let fields = hub.service.fields("orders");
            assert_eq!(fields, [("id", "BIGINT"), ("c1", "STRING")].map(|(n, k)| (n.to_owned(), k.to_owned())));
            let rows = [(Kind::Insert, 1), (Kind::UpdateBefore, 1), (Kind::UpdateAfter, 1), (Kind::Delete, 1)];
            let failed = hub.write(&changes(&table(2), "tx", &rows, Some("é\n")), 1).await.unwrap();
            assert!(failed.is_empty());
            let records = hub.records();
            let told: Vec<_> =
                records.iter().map(|r| (r.attribute("dujiang.op"), r.attribute("dujiang.event-id"))).collect();
            let id = |ordinal: &str| format!("00000000000000aa/tx/shop.orders/{ordinal}");
            assert_eq!(told, [("c", id("0").as_str()), ("u", &id("1")), ("d", &id("2"))]);
            assert_eq!(records[0].values, [Some("1".to_owned()), Some("é\n".to_owned())]);
            assert_eq!(records[0].attribute("dujiang.ts-us"), "1795000000000001");
            assert_eq!(records[0].attribute("dujiang.position"), "bin.1:4");
            let failed = hub.write(&inserts(&table(2), "tx2", &[2], None), 1).await.unwrap();
            assert!(failed.is_empty() && hub.records()[3].values[1].is_none(), "NULL stays NULL");
            let figures = hub.writer.figures();
            assert_eq!(figures.units, 4);
            hub.fair();
        }
    }
}

#[tokio::test]
async fn appended_columns_are_appended_fields_and_dropped_ones_stay() {
    let mut hub = Hub::start(&[]).await;
    hub.service.make_topic("orders", &[("old", "STRING"), ("ID", "BIGINT")], 2);
    hub.committer.apply_schema(None, &table(1)).await.unwrap();
    hub.write(&inserts(&table(1), "a", &[5], None), 1).await.unwrap();
    hub.committer.apply_schema(Some(&table(1)), &table(3)).await.unwrap();
    hub.write(&inserts(&table(3), "b", &[6], Some("x")), 1).await.unwrap();
    let names: Vec<_> = hub.service.fields("orders").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["old", "ID", "c1", "c2"]);
    let values: Vec<_> = hub.records().into_iter().map(|record| record.values).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(values, [vec![None, some("5")], vec![None, some("6"), some("x"), some("x")]]);
    let other = Arc::new(TableSchema {
        arrow: Arc::new(arrow_schema::Schema::new(vec![Field::new("c1", DataType::Int64, false)])),
        ..(*table(1)).clone()
    });
    // A STRING takes everything; a BIGINT takes no text.
    hub.committer.apply_schema(None, &other).await.unwrap();
    let text = Arc::new(TableSchema {
        arrow: Arc::new(arrow_schema::Schema::new(vec![Field::new("id", DataType::Utf8, false)])),
        ..(*table(1)).clone()
    });
    let refused = hub.committer.apply_schema(None, &text).await.unwrap_err();
    assert_eq!(refused.code(), Code::SchemaChange);
    assert!(refused.message().contains("field `ID` is BIGINT, which does not take Utf8"), "{refused}");
    hub.fair();
}

#[tokio::test]
async fn values_have_the_text_of_their_type_and_what_has_none_is_an_error_of_its_record() {
    let utc = Some("UTC".into());
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, utc), true),
        Field::new("clock", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("big", DataType::UInt64, true),
        Field::new("raw", DataType::Binary, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("real", DataType::Float64, true),
        Field::new("text", DataType::Utf8, true),
    ];
    let table = TableSchema::by_value(TableId::new("shop", "orders"), fields, vec![0]);
    let long = "x".repeat((2 << 20) + 1);
    let mut raw = BinaryBuilder::new();
    (0..4).for_each(|_| raw.append_value(b"\0\xff"));
    let mut flags = BooleanBuilder::new();
    (0..4).for_each(|_| flags.append_value(true));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        Arc::new(TimestampMicrosecondArray::from(vec![-1, i64::MAX, 0, 0]).with_timezone("UTC")),
        Arc::new(TimestampMicrosecondArray::from(vec![0; 4])),
        Arc::new(UInt64Array::from(vec![u64::MAX; 4])),
        Arc::new(raw.finish()),
        Arc::new(flags.finish()),
        Arc::new(Float64Array::from(vec![0.1, 0.0, f64::NAN, 0.0])),
        Arc::new(StringArray::from(vec!["", "", "", long.as_str()])),
    ];
    let mut origins = Origins::default();
    let (precision, commit_micros) = (TimePrecision::Micros, 0);
    origins.push(4, Origin { transaction: "t", position: "p", commit_micros, precision, first_ordinal: 0 });
    let rows = RecordBatch::try_new(table.arrow.clone(), columns).unwrap();
    let batch = ChangeBatch::new(table, rows, vec![Kind::Insert; 4], origins).unwrap();
    let mut hub = Hub::start(&[]).await;
    let failed = hub.write(&batch, 1).await.unwrap();
    let told: Vec<_> = failed.iter().map(|failed| (failed.row, failed.error.code())).collect();
    assert_eq!(told, [(1, Code::BadRecord), (2, Code::BadRecord), (3, Code::BadRecord)]);
    let values: Vec<_> = hub.records()[0].values.iter().map(|value| value.clone().unwrap()).collect();
    let expected = ["1", "-1", "1970-01-01T00:00:00", "18446744073709551615", "AP8=", "true", "0.1", ""];
    assert_eq!(values, expected);
    let kinds: Vec<_> = hub.service.fields("orders").into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, ["BIGINT", "TIMESTAMP", "STRING", "DECIMAL", "STRING", "BOOLEAN", "DOUBLE", "STRING"]);
}

#[tokio::test]
async fn a_request_stays_below_the_limits() {
    let mut hub = Hub::start(&[("request.max-records", "7"), ("topic.shards", "1")]).await;
    let ids: Vec<i64> = (0..20).collect();
    hub.write(&inserts(&table(2), "a", &ids, Some("x")), 1).await.unwrap();
    assert_eq!((hub.ids(), hub.service.puts()), (ids.clone(), 3));
    // 20 records of 1 MB are more than 4 MB each four of them: the service would refuse.
    hub.write(&inserts(&table(2), "b", &ids, Some(&"y".repeat(1 << 20))), 1).await.unwrap();
    assert_eq!(hub.ids().len(), 40);
    assert_eq!(hub.service.puts(), 3 + 7);
    hub.fair();
}

#[tokio::test]
async fn what_must_be_mended_is_said() {
    let mut hub = Hub::start(&[("access-key", "another")]).await;
    let refused = hub.committer.apply_schema(None, &table(2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::DatahubRefused);
    assert!(!format!("{refused:?}").contains("another"), "{refused:?}");
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &refused, &[]);
    let mut hub = Hub::start(&[]).await;
    hub.committer.apply_schema(None, &table(2)).await.unwrap();
    let other = Arc::new(TableSchema { id: TableId::new("store", "orders"), ..(*table(2)).clone() });
    let refused = hub.committer.apply_schema(None, &other).await.unwrap_err();
    assert!(
        refused.code() == Code::SinkName && refused.message().contains("shop.orders and store.orders"),
        "{refused}"
    );
    let mut hub = Hub::start(&[("topic.create", "false")]).await;
    let refused = hub.committer.apply_schema(None, &table(2)).await.unwrap_err();
    assert!(refused.code() == Code::DatahubRefused && refused.message().contains("NoSuchTopic"), "{refused}");
    assert_eq!(hub.committer.withdraw_after(dujiang_core::Epoch(1)).await.unwrap_err().code(), Code::NotSupported);
}

#[tokio::test]
async fn an_examination_asks_for_the_project_and_makes_nothing() {
    let refused = Some(Code::DatahubRefused);
    let cases = [(("protocol", "json"), None), (("access-id", "nobody"), refused), (("project", "another"), refused)];
    for (option, expected) in cases {
        let hub = Hub::start(&[option]).await;
        let examination = hub.examine().await;
        let found = match &examination.checks[0].outcome {
            Outcome::Ok(_) => None,
            Outcome::Finding(error) => Some(error.code()),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{option:?}");
        assert_eq!((examination.checks.len(), hub.service.puts()), (1, 0));
    }
}
