//! What messages look like, word by word. The envelopes are those of the tools' own documentation.

use super::samples::*;
use crate::messages::{Encoder, KeyFormat, MessageFormat, Messages};
use arrow_array::{RecordBatch, StringArray, TimestampMicrosecondArray};
use dujiang_core::Code;
use std::sync::Arc;

fn values(messages: &Messages) -> Vec<String> {
    messages.iter().map(|message| text(message.value).to_owned()).collect()
}

#[test]
fn json_is_the_row_and_a_tombstone_for_a_delete() {
    let (messages, failed) = encode(&changes(&products(true)), &options(MessageFormat::Json));
    assert!(failed.is_empty());
    let read = r#"{"id":1,"n\"ame":"a\nb","price":-0.05,"seen":"2026-11-20T17:38:25.120000","at":"2026-11-20T17:38:25.123456Z","day":"2026-11-20","raw":"ACL/","big":18446744073709551615,"doc":{"k": 1},"tags":"a,b"}"#;
    let rest = r#""seen":null,"at":null,"day":null,"raw":null,"big":null,"doc":null,"tags":null}"#;
    let inserted = format!(r#"{{"id":2,"n\"ame":"x","price":12.50,{rest}"#);
    let updated = format!(r#"{{"id":2,"n\"ame":"y","price":13.00,{rest}"#);
    assert_eq!(values(&messages), [read, &inserted, &updated, "-"]);
    let keys: Vec<_> = messages.iter().map(|message| text(message.key).to_owned()).collect();
    let key = |id| format!(r#"{{"TableId":"shop.products","id":{id}}}"#);
    assert_eq!(keys, [key(1), key(2), key(2), key(3)]);
    assert_eq!(messages.iter().map(|message| message.row).collect::<Vec<_>>(), [0, 1, 3, 4]);
}

#[test]
fn csv_is_a_record_without_line_end() {
    let (messages, _) = encode(&changes(&products(true)), &options(MessageFormat::Csv));
    let read = "1,\"a\nb\",-0.05,2026-11-20T17:38:25.120000,2026-11-20T17:38:25.123456Z,2026-11-20,ACL/,18446744073709551615,\"{\"\"k\"\": 1}\",\"a,b\"";
    assert_eq!(values(&messages)[0], read);
    assert_eq!(values(&messages)[3], "-");
}

#[test]
fn debezium_has_both_images_and_the_source() {
    let (messages, _) = encode(&changes(&products(true)), &options(MessageFormat::DebeziumJson));
    let values = values(&messages);
    let read = r#"{"before":null,"after":{"id":1,"n\"ame":"a\nb","price":-0.05,"seen":"2026-11-20 17:38:25.120000","at":"2026-11-20 17:38:25.123456Z","day":"2026-11-20","raw":"ACL/","big":18446744073709551615,"doc":"{\"k\": 1}","tags":"a,b"},"source":{"version":""#;
    assert!(values[0].starts_with(read), "{}", values[0]);
    let end = r#""connector":"dujiang","name":"river","db":"shop","table":"products","ts_ms":1795196305123,"ts_us":1795196305123456,"txId":"snapshot:7","position":"bin.000003:4711","snapshot":"true","ordinal":0},"op":"r"}"#;
    assert!(values[0].ends_with(end), "{}", values[0]);
    assert!(values[1].starts_with(r#"{"before":null,"after":{"id":2,"#) && values[1].ends_with(r#""op":"c"}"#));
    assert!(
        values[2].starts_with(r#"{"before":{"id":2,"n\"ame":"x","#)
            && values[2].contains(r#""after":{"id":2,"n\"ame":"y","#)
    );
    assert!(
        values[2]
            .ends_with(r#""txId":"gtid-1","position":"bin.000003:4711","snapshot":"false","ordinal":1},"op":"u"}"#)
    );
    assert!(values[3].contains(r#""after":null"#) && values[3].ends_with(r#""ordinal":2},"op":"d"}"#));
}

#[test]
fn debezium_with_schema_has_its_own_values_and_explains_them() {
    let mut options = options(MessageFormat::DebeziumJsonWithSchema);
    options.key = KeyFormat::Debezium;
    let (messages, _) = encode(&changes(&products(true)), &options);
    let value = &values(&messages)[0];
    // -0.05 is -5 (0xFB), the largest unsigned number has nine bytes, times are milliseconds, days and text.
    let after = r#""after":{"id":1,"n\"ame":"a\nb","price":"+w==","seen":1795196305120,"at":"2026-11-20T17:38:25.123456Z","day":20777,"raw":"ACL/","big":"AP//////////","doc":"{\"k\": 1}","tags":"a,b"}"#;
    assert!(value.contains(after), "{value}");
    let fields = r#"{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"},{"type":"string","optional":true,"field":"n\"ame"},{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2","connect.decimal.precision":"12"},"field":"price"},{"type":"int64","optional":true,"name":"io.debezium.time.Timestamp","version":1,"field":"seen"},{"type":"string","optional":true,"name":"io.debezium.time.ZonedTimestamp","version":1,"field":"at"},{"type":"int32","optional":true,"name":"io.debezium.time.Date","version":1,"field":"day"},{"type":"bytes","optional":true,"field":"raw"},"#;
    assert!(value.starts_with(fields), "{value}");
    let labels = r#"{"type":"string","optional":true,"name":"io.debezium.data.EnumSet","version":1,"parameters":{"allowed":"a,b"},"field":"tags"}],"optional":true,"name":"river.shop.products.Value","field":"before"}"#;
    assert!(value.contains(labels), "{value}");
    let key = r#"{"schema":{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"}],"optional":false,"name":"river.shop.products.Key"},"payload":{"id":1}}"#;
    assert_eq!(text(messages.get(0).key), key);
}

#[test]
fn canal_has_text_and_what_changed() {
    let (messages, _) = encode(&changes(&products(true)), &options(MessageFormat::CanalJson));
    let values = values(&messages);
    let read = r#"{"data":[{"id":"1","n\"ame":"a\nb","price":"-0.05","seen":"2026-11-20 17:38:25.120000","at":"2026-11-20 17:38:25.123456","day":"2026-11-20","raw":"\u0000\"ÿ","big":"18446744073709551615","doc":"{\"k\": 1}","tags":"a,b"}],"database":"shop","table":"products","isDdl":false,"sql":"","pkNames":["id"],"mysqlType":{"id":"bigint(20)","n\"ame":"varchar(80)","#;
    assert!(values[0].starts_with(read), "{}", values[0]);
    let end = r#""es":1795196305123,"ts":1795196305123,"gtid":"snapshot:7","type":"INSERT","old":null}"#;
    assert!(values[0].ends_with(end), "{}", values[0]);
    assert!(values[2].ends_with(r#""type":"UPDATE","old":[{"n\"ame":"x","price":"12.50"}]}"#), "{}", values[2]);
    assert!(values[3].starts_with(r#"{"data":[{"id":"3","n\"ame":null,"#));
    assert!(values[3].ends_with(r#""type":"DELETE","old":null}"#));
}

#[test]
fn maxwell_has_numbers_arrays_and_a_word_for_snapshots() {
    let mut options = options(MessageFormat::MaxwellJson);
    options.key = KeyFormat::Maxwell;
    let (messages, _) = encode(&changes(&products(true)), &options);
    let values = values(&messages);
    let read = r#"{"database":"shop","table":"products","type":"bootstrap-insert","ts":1795196305,"gtid":"snapshot:7","position":"bin.000003:4711","xoffset":0,"primary_key_columns":["id"],"data":{"id":1,"n\"ame":"a\nb","price":-0.05,"seen":"2026-11-20 17:38:25.120000","at":"2026-11-20 17:38:25.123456","day":"2026-11-20","raw":"ACL/","big":18446744073709551615,"doc":{"k": 1},"tags":["a","b"]}}"#;
    assert_eq!(values[0], read);
    assert!(values[2].contains(r#""type":"update""#));
    assert!(values[2].ends_with(r#","old":{"n\"ame":"x","price":12.50}}"#), "{}", values[2]);
    assert!(values[3].contains(r#""type":"delete""#) && values[3].ends_with(r#""tags":[]}}"#));
    assert_eq!(text(messages.get(3).key), r#"{"database":"shop","table":"products","pk.id":3}"#);
}

#[test]
fn a_tombstone_follows_a_delete_where_it_is_wanted() {
    let mut options = with_headers(options(MessageFormat::DebeziumJson));
    options.tombstones = true;
    let (messages, _) = encode(&changes(&products(true)), &options);
    assert_eq!(messages.len(), 5);
    let (delete, tombstone) = (messages.get(3), messages.get(4));
    assert_eq!((tombstone.value, tombstone.key), (None, delete.key));
    let headers: Vec<_> = delete.headers().map(|(name, value)| (name, text(Some(value)))).collect();
    let id = "00000000000000aa/gtid-1/shop.products/2";
    assert_eq!(headers, [("dujiang.event-id", id), ("dujiang.op", "d")]);
    assert!(text(messages.get(0).event_id).starts_with("00000000000000aa/snapshot:7/shop.products/"));
}

#[test]
fn a_part_of_a_batch_keeps_its_ordinals() {
    let batch = changes(&products(true));
    let mut encoder = Encoder::new(&batch.schema, &with_headers(options(MessageFormat::Json))).unwrap();
    let mut out = Messages::default();
    encoder.encode(&batch, 2..5, &mut out).unwrap();
    let ids: Vec<_> = out.iter().map(|message| text(message.event_id).rsplit_once('/').unwrap().1.to_owned()).collect();
    assert_eq!(ids, ["1", "2"]);
    out.clear();
    assert!(out.is_empty() && out.memory() > 0);
}

#[test]
fn a_delete_without_key_has_no_message_where_only_keys_tell_it() {
    let table = products(false);
    for format in MessageFormat::ALL {
        let (messages, failed) = encode(&changes(&table), &options(format));
        if format.has_envelope() {
            assert_eq!((messages.len(), failed.len()), (4, 0), "{format:?}");
            continue;
        }
        assert_eq!(messages.len(), 3, "{format:?}");
        assert_eq!((failed[0].row, failed[0].error.code()), (4, Code::NoMessage), "{format:?}");
        if format == MessageFormat::Json {
            dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &failed[0].error, &[]);
        }
    }
}

#[test]
fn rows_that_a_format_cannot_carry_come_back_and_the_others_have_messages() {
    let table = products(true);
    let mut batch = changes(&table);
    let mut columns = batch.rows.columns().to_vec();
    // No document in the new row of the update, and a time with more digits than its type has in the deleted one.
    columns[8] = Arc::new(StringArray::from(vec![Some("{}"), None, None, Some("{"), None]));
    columns[3] = Arc::new(TimestampMicrosecondArray::from(vec![None, None, None, None, Some(1)]));
    batch.rows = RecordBatch::try_new(table.arrow.clone(), columns).unwrap();
    for format in MessageFormat::ALL {
        let expected: &[usize] = match format {
            MessageFormat::Json | MessageFormat::MaxwellJson => &[2],
            MessageFormat::DebeziumJsonWithSchema => &[4],
            MessageFormat::Csv | MessageFormat::DebeziumJson | MessageFormat::CanalJson => &[],
        };
        for rows in [0..5, 2..5] {
            let mut out = Messages::default();
            let mut encoder = Encoder::new(&table, &options(format)).unwrap();
            let failed = encoder.encode(&batch, rows.clone(), &mut out).unwrap();
            assert_eq!(failed.iter().map(|failed| failed.row).collect::<Vec<_>>(), expected, "{format:?}");
            let changes = if rows.start == 0 { 4 } else { 2 };
            assert_eq!(out.len(), changes - expected.len(), "{format:?}");
        }
        let mut out = Messages::default();
        let failed = Encoder::new(&table, &options(format)).unwrap().encode(&batch, 0..2, &mut out).unwrap();
        assert_eq!((failed.len(), out.len()), (0, 2), "{format:?}");
    }
}
