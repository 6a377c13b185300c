//! Messages as the original tools document them.

use super::samples::{options, origin, plain_field};
use crate::messages::{Decoded, Decoder, MessageFormat, table_of};
use arrow_schema::{DataType, TimeUnit};
use dujiang_core::schema::field;
use dujiang_core::text::write_json_row;
use dujiang_core::{ChangeBatch, Code, Error, Kind, TableId, TableSchema};
use std::sync::Arc;

fn table(fields: Vec<arrow_schema::Field>) -> Arc<TableSchema> {
    TableSchema::by_value(TableId::new("inventory", "products"), fields, vec![0])
}

fn decode(table: &Arc<TableSchema>, format: MessageFormat, message: &str) -> Result<ChangeBatch, Error> {
    let mut decoder = Decoder::new(table, &options(format)).unwrap();
    let mut rows = decoder.rows();
    decoder.decode(Some(message.as_bytes()), &origin("topic-0", 7), &mut rows)?;
    Ok(rows.take().unwrap())
}

fn rows(batch: &ChangeBatch) -> Vec<(Kind, String)> {
    let row = |row: usize| {
        let mut out = Vec::new();
        write_json_row(batch, row, &mut out);
        (batch.kinds[row], String::from_utf8(out).unwrap())
    };
    (0..batch.images()).map(row).collect()
}

fn products() -> Arc<TableSchema> {
    table(vec![
        field("id", DataType::Int32, false, "int(11)", None),
        field("name", DataType::Utf8, false, "varchar(255)", None),
        field("description", DataType::Utf8, true, "varchar(512)", None),
        field("weight", DataType::Float32, true, "float", None),
    ])
}

#[test]
fn debeziums_update_of_flinks_manual() {
    let message = r#"{"before":{"id":111,"name":"scooter","description":"Big 2-wheel scooter","weight":5.18},"after":{"id":111,"name":"scooter","description":"Big 2-wheel scooter","weight":5.15},"source":{"version":"1.2.0.Final","connector":"mysql","name":"s","ts_ms":1589362330000,"snapshot":"false","db":"inventory","table":"products"},"op":"u","ts_ms":1589362330904,"transaction":null}"#;
    let before = r#"{"id":111,"name":"scooter","description":"Big 2-wheel scooter","weight":5.18}"#;
    for format in [MessageFormat::DebeziumJson, MessageFormat::DebeziumJsonWithSchema] {
        let batch = decode(&products(), format, message).unwrap();
        let expected = [(Kind::UpdateBefore, before.to_owned()), (Kind::UpdateAfter, before.replace("5.18", "5.15"))];
        assert_eq!(rows(&batch), expected);
        let (_, origin) = batch.origins.iter().next().unwrap();
        assert_eq!((origin.transaction, origin.commit_micros), ("topic-0", 1_589_362_330_000_000));
    }
    let named = table_of(MessageFormat::DebeziumJson, message.as_bytes()).unwrap();
    assert_eq!(named, Some(TableId::new("inventory", "products")));
}

#[test]
fn debeziums_schema_says_how_values_are_written() {
    let table = table(vec![
        field("id", DataType::Int32, false, "int(11)", None),
        field("price", DataType::Decimal128(10, 2), true, "decimal(10,2)", None),
        field("tax", DataType::Decimal128(10, 2), true, "decimal(10,2)", None),
        field("made", DataType::Timestamp(TimeUnit::Microsecond, None), true, "datetime", None),
        field("sold", DataType::Timestamp(TimeUnit::Microsecond, None), true, "datetime", None),
        field("day", DataType::Date32, true, "date", None),
        field("flag", DataType::UInt64, true, "bit(1)", Some("bit")),
    ]);
    // `made` in milliseconds, `sold` in microseconds, `price` precise and `tax` as text.
    let fields = r#"[{"type":"int32","optional":false,"field":"id"},{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"},"field":"price"},{"type":"string","optional":true,"field":"tax"},{"type":"int64","optional":true,"name":"io.debezium.time.Timestamp","version":1,"field":"made"},{"type":"int64","optional":true,"name":"io.debezium.time.MicroTimestamp","version":1,"field":"sold"},{"type":"int32","optional":true,"name":"io.debezium.time.Date","version":1,"field":"day"},{"type":"boolean","optional":true,"field":"flag"}]"#;
    let schema = format!(
        r#"{{"type":"struct","fields":[{{"type":"struct","fields":{fields},"optional":true,"name":"s.Value","field":"before"}},{{"type":"struct","fields":{fields},"optional":true,"name":"s.Value","field":"after"}}],"optional":false,"name":"s.Envelope"}}"#
    );
    let after = r#"{"id":1004,"price":"F3A=","tax":"1.5","made":1465581902461,"sold":1465581902461000,"day":20777,"flag":true}"#;
    let message = format!(r#"{{"schema":{schema},"payload":{{"before":null,"after":{after},"op":"r"}}}}"#);
    let batch = decode(&table, MessageFormat::DebeziumJsonWithSchema, &message).unwrap();
    let expected = r#"{"id":1004,"price":60.00,"tax":1.50,"made":"2016-06-10T18:05:02.461000","sold":"2016-06-10T18:05:02.461000","day":"2026-11-20","flag":1}"#;
    assert_eq!(rows(&batch), [(Kind::Read, expected.to_owned())]);
    // A message without schema has Debezium's own values, whatever the schema before it said.
    let bare = r#"{"before":null,"after":{"id":1005,"price":"F3A=","tax":"AJY=","made":1465581902461,"sold":1465581902461000,"day":20777,"flag":true},"op":"r"}"#;
    let alone = decode(&table, MessageFormat::DebeziumJsonWithSchema, bare).unwrap();
    let mut decoder = Decoder::new(&table, &options(MessageFormat::DebeziumJsonWithSchema)).unwrap();
    let mut together = decoder.rows();
    for value in [&message, bare] {
        decoder.decode(Some(value.as_bytes()), &origin("topic-0", 7), &mut together).unwrap();
    }
    assert_eq!(rows(&together.take().unwrap())[1], rows(&alone)[0]);
    assert!(rows(&alone)[0].1.contains(r#""tax":1.50"#), "{:?}", rows(&alone));
}

#[test]
fn a_number_that_is_too_long_for_its_decimal_is_refused() {
    let id = || field("id", DataType::Int32, false, "int(11)", None);
    let table = table(vec![id(), field("price", DataType::Decimal128(5, 2), true, "decimal(5,2)", None)]);
    let message = |price: &str| format!(r#"{{"before":null,"after":{{"id":1,"price":{price}}},"op":"r"}}"#);
    for format in [MessageFormat::DebeziumJson, MessageFormat::DebeziumJsonWithSchema] {
        let batch = decode(&table, format, &message("123.45")).unwrap();
        assert_eq!(rows(&batch), [(Kind::Read, r#"{"id":1,"price":123.45}"#.to_owned())]);
        let error = decode(&table, format, &message("123456.78")).unwrap_err();
        assert_eq!(error.code(), Code::MessageField, "{format:?}: {error:?}");
    }
    // 12345678 and 12345 as the bytes of whole numbers.
    let error = decode(&table, MessageFormat::DebeziumJsonWithSchema, &message("\"ALxhTg==\"")).unwrap_err();
    assert_eq!(error.code(), Code::MessageField, "{error:?}");
    let batch = decode(&table, MessageFormat::DebeziumJsonWithSchema, &message("\"MDk=\"")).unwrap();
    assert_eq!(rows(&batch), [(Kind::Read, r#"{"id":1,"price":123.45}"#.to_owned())]);
}

#[test]
fn canals_update_of_flinks_manual() {
    let message = r#"{"data":[{"id":"111","name":"scooter","description":"Big 2-wheel scooter","weight":"5.18"}],"database":"inventory","es":1589373560000,"id":9,"isDdl":false,"mysqlType":{"id":"INTEGER","name":"VARCHAR(255)","description":"VARCHAR(512)","weight":"FLOAT"},"old":[{"weight":"5.15"}],"pkNames":["id"],"sql":"","sqlType":{"id":4,"name":12,"description":12,"weight":7},"table":"products","ts":1589373560798,"type":"UPDATE"}"#;
    let batch = decode(&products(), MessageFormat::CanalJson, message).unwrap();
    let after = r#"{"id":111,"name":"scooter","description":"Big 2-wheel scooter","weight":5.18}"#;
    let expected = [(Kind::UpdateBefore, after.replace("5.18", "5.15")), (Kind::UpdateAfter, after.to_owned())];
    assert_eq!(rows(&batch), expected);
    // Several rows in one message; the dialect writes numbers as numbers.
    let two = r#"{"old":null,"data":[{"id":1,"name":"a","description":null,"weight":1.5},{"id":2,"name":"b","description":null,"weight":null}],"type":"INSERT","database":"inventory","table":"products","pkNames":["id"]}"#;
    let batch = decode(&products(), MessageFormat::CanalJson, two).unwrap();
    assert_eq!(batch.images(), 2);
    assert_eq!(batch.ordinals().map(|(ordinal, _)| ordinal).collect::<Vec<_>>(), [7, 8]);
    let ddl = r#"{"data":null,"database":"inventory","es":1,"id":9,"isDdl":true,"sql":"ALTER TABLE","table":"products","type":"ALTER"}"#;
    assert_eq!(decode(&products(), MessageFormat::CanalJson, ddl).unwrap_err().code(), Code::MessageKind);
}

#[test]
fn maxwells_messages_of_its_manual() {
    let table = table(vec![
        field("id", DataType::Int32, false, "int(10)", None),
        field("m", DataType::Float64, true, "double", None),
        field("c", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true, "timestamp(6)", None),
        field("comment", DataType::Utf8, true, "varchar(255)", None),
        field("setcol", DataType::Utf8, true, "set('a_val','b_val')", Some("set")),
    ]);
    let data = r#"{"id":1,"m":5.444,"c":"2016-10-21 05:33:54.631000","comment":"I am a creature of light.","setcol":["b_val","a_val"]}"#;
    let message = format!(
        r#"{{"database":"test","table":"e","type":"update","ts":1477053234,"xid":23396,"commit":true,"position":"master.000006:800911","server_id":23042,"thread_id":108,"data":{data},"old":{{"m":4.2341,"c":"2016-10-21 05:33:37.523000"}}}}"#
    );
    let batch = decode(&table, MessageFormat::MaxwellJson, &message).unwrap();
    let row = |m: &str, c: &str| {
        format!(
            r#"{{"id":1,"m":{m},"c":"2016-10-21T05:33:{c}Z","comment":"I am a creature of light.","setcol":"b_val,a_val"}}"#
        )
    };
    let expected = [(Kind::UpdateBefore, row("4.2341", "37.523000")), (Kind::UpdateAfter, row("5.444", "54.631000"))];
    assert_eq!(rows(&batch), expected);
    let mut decoder = Decoder::new(&table, &options(MessageFormat::MaxwellJson)).unwrap();
    let mut out = decoder.rows();
    let mark = br#"{"database":"foo","table":"bar","type":"bootstrap-start","ts":1450557744,"data":{}}"#;
    assert_eq!(decoder.decode(Some(mark), &origin("t", 0), &mut out).unwrap(), Decoded::Nothing);
    assert_eq!(decoder.decode(None, &origin("t", 0), &mut out).unwrap(), Decoded::Nothing);
    let snapshot = message.replace("\"update\"", "\"bootstrap-insert\"");
    assert_eq!(rows(&decode(&table, MessageFormat::MaxwellJson, &snapshot).unwrap())[0].0, Kind::Read);
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    let table = table(vec![
        field("id", DataType::Int8, false, "tinyint", None),
        plain_field("name", DataType::Utf8),
        plain_field("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
        plain_field("price", DataType::Decimal128(4, 2)),
    ]);
    let good = r#"{"id":1,"name":"a","at":null,"price":1.50}"#;
    assert!(decode(&table, MessageFormat::Json, good).is_ok());
    let cases = [
        (r#"{"id":1,"name":"a","at":null}"#, Code::MessageField, "column `price` is missing", 0),
        (r#"{"id":1,"name":"a","at":null,"price":1,"x":2}"#, Code::MessageField, "the table has no column `x`", 39),
        (r#"{"id":1,"id":1,"name":"a","at":null,"price":1}"#, Code::MessageField, "column `id` stands in it twice", 8),
        (r#"{"id":null,"name":"a","at":null,"price":1}"#, Code::MessageField, "it is NULL and must not be", 6),
        (r#"{"id":128,"name":"a","at":null,"price":1}"#, Code::MessageField, "`128` is no whole number", 6),
        (r#"{"id":1.5,"name":"a","at":null,"price":1}"#, Code::MessageField, "`1.5` is no whole number", 6),
        (r#"{"id":1,"name":5,"at":null,"price":1}"#, Code::MessageField, "a number is no text", 15),
        (r#"{"id":1,"name":"a","at":"2026-02-29T00:00:00","price":1}"#, Code::MessageField, "no date and time", 24),
        (r#"{"id":1,"name":"a","at":"2026-02-28T00:00:00Z","price":1}"#, Code::MessageField, "no date and time", 24),
        (
            r#"{"id":1,"name":"a","at":"2026-02-28 00:00:00.0001","price":1}"#,
            Code::MessageField,
            "no date and time",
            24,
        ),
        (r#"{"id":1,"name":"a","at":null,"price":1.001}"#, Code::MessageField, "`1.001` is no decimal", 37),
        (r#"{"id":1,"name":"a","at":null,"price":100}"#, Code::MessageField, "`100` is no decimal", 37),
        (r#"{"id":1,"name":"a","at":null,"price":1"#, Code::MessageSyntax, "the end of an object is expected", 38),
        (r#"{"id":1,"name":"\ud800","at":null,"price":1}"#, Code::MessageSyntax, "half of a surrogate pair", 16),
        ("[]", Code::MessageKind, "an array where an object is expected", 0),
        ("", Code::MessageSyntax, "it ends where a value is expected", 0),
        ("{} x", Code::MessageSyntax, "there is more behind the document", 3),
    ];
    for (message, code, part, at) in cases {
        let error = decode(&table, MessageFormat::Json, message).unwrap_err();
        assert_eq!(error.code(), code, "{message}");
        assert!(error.message().contains(part), "{message}: {error}");
        let place = error.facts().iter().find(|(name, _)| *name == "at byte").map(|(_, at)| at.as_str());
        assert_eq!(place, Some(at.to_string().as_str()), "{message}: {error}");
    }
    let message = |index: usize| decode(&table, MessageFormat::Json, cases[index].0).unwrap_err();
    for index in [5, 12, 14] {
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &message(index), &[]);
    }
    let toast =
        r#"{"before":null,"after":{"id":1,"name":"__debezium_unavailable_value","at":null,"price":1},"op":"c"}"#;
    assert!(decode(&table, MessageFormat::DebeziumJson, toast).unwrap_err().message().contains("was not told"));
    let truncate = r#"{"source":{"db":"a","table":"b"},"op":"t"}"#;
    assert_eq!(decode(&table, MessageFormat::DebeziumJson, truncate).unwrap_err().code(), Code::MessageKind);
    let csv = [
        ("1,a,\\N", "is missing"),
        ("1,a,\\N,1,2", "more fields"),
        ("1,\"a,\\N,1", "do not end"),
        ("1,a\"b,\\N,1", "quote"),
    ];
    for (message, part) in csv {
        assert!(decode(&table, MessageFormat::Csv, message).unwrap_err().message().contains(part), "{message}");
    }
    assert!(decode(&table, MessageFormat::Csv, "1,\"\",\\N,1.5\r\n").is_ok());
}
